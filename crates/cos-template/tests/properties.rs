//! Whatever the template, nothing panics, and the output stays within its limit.

use cos_template::{Limits, Templates, function_names};
use proptest::prelude::*;
use serde_json::json;

const LIMITS: Limits = Limits {
    input: 1 << 16,
    output: 1 << 16,
    steps: 20_000,
    memory: 1 << 20,
    depth: 50,
};

fn render(text: &str) {
    let values = json!({
        "s": "é/a.b", "n": 3, "f": -1.5, "l": ["b", 1, null], "m": {"x": {"y": "z"}}, "null": null
    });
    let environment = [("A".to_owned(), "b".to_owned())].into();
    if let Ok(rendered) = Templates::new(environment, LIMITS).render("property", text, &values) {
        assert!(rendered.len() <= LIMITS.output.max(text.len()));
    }
}

/// Arguments of every type, edges first.
fn argument() -> impl Strategy<Value = String> {
    let constant = proptest::sample::select(vec![
        "nil",
        "true",
        "0",
        "1",
        "-1",
        "9223372036854775807",
        "-9223372036854775808",
        "1.5",
        "1e300",
        "-0.0",
        "\"\"",
        "\"a\"",
        "\"é日\\u0000\"",
        "\"%5.3[2]*d%!q%+v\"",
        "\"a/b//../c\"",
        "\"(a|b)*[^c]{2,3}$\"",
        "\"$1${x}$\"",
        "\"1.2.3-rc.1+b\"",
        "\">=1.2, <2 || ^0.1\"",
        "\"2006-01-02T15:04:05.000Z07:00\"",
        "\"aGVsbG8=\"",
        "\"{\\\"a\\\":[1]}\"",
        "(list)",
        "(list 1 \"a\" nil (list))",
        "(until 5)",
        "(splitList \"\" \"aé\")",
        "(dict)",
        "(dict \"a\" (dict \"b\" 1))",
        "(split \",\" \"a,b\")",
        "now",
        "(semver \"1.2.3\")",
        ".s",
        ".n",
        ".f",
        ".l",
        ".m",
        ".null",
        ".none",
        "(add 1 2)",
        "(index \"a\" 0)",
        "(float64 \"nan\")",
        "(float64 \"inf\")",
        "(chunk 1 .l)",
    ]);
    let text = any::<String>().prop_map(|text| format!("{:?}", text.replace(['{', '}'], "")));
    prop_oneof![6 => constant.prop_map(str::to_owned), 1 => text]
}

fn call() -> impl Strategy<Value = String> {
    let name = proptest::sample::select(function_names().collect::<Vec<_>>());
    let arguments = proptest::collection::vec(argument(), 0..5);
    (name, arguments).prop_map(|(name, arguments)| format!("{name} {}", arguments.join(" ")))
}

/// Parts of templates, well put together or not.
fn part() -> impl Strategy<Value = String> {
    let keyword = proptest::sample::select(vec![
        "{{if .n}}",
        "{{else}}",
        "{{else if .f}}",
        "{{else with .s}}",
        "{{end}}",
        "{{range .l}}",
        "{{range $i, $e := .m}}",
        "{{with .m}}",
        "{{with $x := .s}}",
        "{{$x := 1}}",
        "{{$x = 2}}",
        "{{$x}}",
        "{{break}}",
        "{{continue}}",
        "{{define \"t\"}}",
        "{{template \"t\" .}}",
        "{{block \"u\" .l}}",
        "{{- /* c */ -}}",
        "{{.m.x.y}}",
        "{{`raw`}}",
        "{{",
        "}}",
        "{{- ",
        " -}}",
        "(",
        ")",
        "|",
        " ",
        "\n",
        "'",
        "\"",
        "é",
    ]);
    prop_oneof![
        3 => keyword.prop_map(str::to_owned),
        2 => call().prop_map(|call| format!("{{{{ {call} }}}}")),
        1 => any::<String>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn no_text_panics(text in any::<String>()) {
        render(&text);
        render(&format!("{{{{{text}}}}}"));
    }

    #[test]
    fn no_call_panics(call in call(), then in call()) {
        render(&format!("{{{{ {call} }}}}"));
        render(&format!("{{{{ {call} | {then} }}}}"));
        render(&format!("{{{{ printf \"%v %s %d %q %x %T\" ({call}) ({then}) }}}}"));
    }

    #[test]
    fn no_template_panics(parts in proptest::collection::vec(part(), 0..12)) {
        render(&parts.concat());
    }
}
