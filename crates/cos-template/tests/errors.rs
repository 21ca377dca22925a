//! Errors say where, and what to do.

use cos_template::{TemplateError, Templates};
use serde_json::{Value, json};

#[expect(clippy::unwrap_used, reason = "a test's own helper")]
fn error(text: &str) -> TemplateError {
    let values = json!({"a": {"b": 1}, "n": null});
    let rendered = Templates::default().render("oem/90.yaml", text, &values);
    rendered.unwrap_err()
}

#[test]
fn the_place_is_told() {
    for (text, expected) in [
        ("a\nb {{if}}", "oem/90.yaml:2:7: missing value for if"),
        (
            "{{if true}}x",
            "oem/90.yaml:1:13: unexpected end of the template: a block is not closed with {{end}}",
        ),
        ("é {{end}}", "oem/90.yaml:1:5: unexpected {{end}}"),
        ("{{ foo }", "oem/90.yaml:1:8: unexpected '}' in action"),
        (
            "x\n\n  {{ upper .a }}",
            "oem/90.yaml:3:12: upper: a map[string]interface {} where a string is expected",
        ),
        (
            "{{ .a.b | upper }}",
            "oem/90.yaml:1:11: upper: a float64 where a string is expected",
        ),
        (
            "{{ upper .x }}",
            "oem/90.yaml:1:10: upper: nothing where a string is expected",
        ),
        ("{{ fail \"no disk\" }}", "oem/90.yaml:1:4: fail: no disk"),
        ("{{ $x }}", "oem/90.yaml:1:4: undefined variable \"$x\""),
        ("{{ .n.x }}", "oem/90.yaml:1:4: n is null and has no x"),
        (
            "{{ template \"t\" }}",
            "oem/90.yaml:1:4: template \"t\" is not defined",
        ),
        (
            "{{ break }}",
            "oem/90.yaml:1:4: {{break}} outside {{range}}",
        ),
        ("{{ div 1 0 }}", "oem/90.yaml:1:4: div: division by zero"),
        (
            "{{ trunc 1 \"é\" }}",
            "oem/90.yaml:1:4: trunc: this would cut a character in two",
        ),
        (
            "{{ mustRegexMatch \"(\" \"\" }}",
            "oem/90.yaml:1:4: mustRegexMatch: missing closing )",
        ),
        (
            "{{ regexMatch `\\pL` \"\" }}",
            "oem/90.yaml:1:4: regexMatch: classes of Unicode (\\p) are not supported",
        ),
        (
            "{{ upper }}",
            "oem/90.yaml:1:4: upper wants 1 arguments, got 0",
        ),
        (
            "{{ range 1000000 }}{{ range 1000 }}{{ end }}{{ end }}",
            "oem/90.yaml:1:23: too many steps (a loop without end?)",
        ),
    ] {
        assert_eq!(error(text).to_string(), expected);
    }
}

#[test]
fn an_unknown_function_is_told_with_the_nearest() {
    let error = error("line\n{{ uper \"x\" }}");
    assert_eq!(
        error.to_string(),
        "oem/90.yaml:2:4: unknown function \"uper\""
    );
    assert_eq!(error.hint().as_deref(), Some("did you mean \"upper\"?"));
    assert_eq!((error.place().line, error.place().column), (2, 4));
}

#[test]
fn what_is_left_out_is_unknown() {
    for name in [
        "getHostByName",
        "genCA",
        "genPrivateKey",
        "bcrypt",
        "htpasswd",
        "derivePassword",
        "encryptAES",
        "randBytes",
        "sha1sum",
        "ago",
        "dateModify",
        "duration",
        "toDate",
        "addf",
        "urlParse",
        "shuffle",
    ] {
        let error = error(&format!("{{{{ {name} \"x\" }}}}"));
        assert!(
            matches!(error, TemplateError::UnknownFunction { .. }),
            "{error}"
        );
    }
}

#[test]
fn text_without_actions_is_returned_as_it_is() {
    let text = "a: }} {b} {% c %}\n".repeat(100_000);
    assert_eq!(
        Templates::default().render("x", &text, &Value::Null),
        Ok(text.clone())
    );
}
