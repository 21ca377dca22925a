//! Templates that mean harm end with an error that says so, and end.

use cos_template::{LimitKind, Limits, TemplateError, Templates};
use serde_json::{Value, json};

fn render(text: &str) -> Result<String, TemplateError> {
    render_with(text, &Value::Null, Limits::default())
}

fn render_with(text: &str, values: &Value, limits: Limits) -> Result<String, TemplateError> {
    let environment = [("HOME".to_owned(), "/root".to_owned())].into();
    Templates::new(environment, limits).render("hostile.yaml", text, values)
}

/// The limit that a template meets.
fn limit(text: &str) -> Option<LimitKind> {
    match render(text) {
        Err(TemplateError::Limit { limit, .. }) => Some(limit),
        Err(_) | Ok(_) => None,
    }
}

#[test]
fn loops_end() {
    let nested = "{{range until 1000}}".repeat(5) + &"{{end}}".repeat(5);
    for text in [
        "{{range until 1000000}}{{range until 1000000}}{{end}}{{end}}",
        "{{range 1000000000000}}{{end}}",
        "{{range $i := until 900000}}{{$i}}{{range until 100}}x{{end}}{{end}}",
        "{{range until 1000000}}{{continue}}{{end}}{{range until 1000000}}{{end}}",
        "{{$d := dict}}{{range until 1000000}}{{$_ := set $d (toString .) $d}}{{end}}",
        "{{$l := list}}{{range until 1000000}}{{$l = append $l .}}{{end}}",
        nested.as_str(),
    ] {
        let limit = limit(text);
        assert!(
            matches!(limit, Some(LimitKind::Steps | LimitKind::Memory)),
            "{text}: {limit:?}"
        );
    }
}

#[test]
fn lists_and_texts_are_bounded_before_they_are_made() {
    for text in [
        "{{until 1000000000000}}",
        "{{untilStep -9223372036854775807 9223372036854775807 1}}",
        "{{untilStep 9223372036854775807 -9223372036854775807 -1}}",
        "{{seq 1 1000000000}}",
        "{{seq -9223372036854775808 9223372036854775807}}",
        "{{repeat 1000000000 \"x\"}}",
        "{{repeat 9223372036854775807 \"xx\"}}",
        "{{indent 9223372036854775807 \"x\"}}",
        "{{nindent 100000000 \"x\"}}",
        "{{randAlphaNum 10000000000}}",
        "{{randAscii 9223372036854775807}}",
        "{{$x := repeat 100000 \"a\"}}{{replace \"a\" $x $x}}",
        "{{$x := repeat 100000 \"\\n\"}}{{indent 10000 $x}}",
        "{{$x := repeat 100000 \"a\"}}{{regexReplaceAll \"a\" $x $x}}",
        "{{$x := repeat 100000 \"a \"}}{{wrapWith 1 $x $x}}",
        "{{$x := repeat 1000000 \"x\"}}{{join $x (until 1000)}}",
        "{{$x := repeat 9000000 \"&\"}}{{html $x}}",
    ] {
        assert_eq!(limit(text), Some(LimitKind::Memory), "{text}");
    }
    let printf = format!("{{{{printf \"{}\" 1}}}}", "%1000000[1]d".repeat(100));
    assert_eq!(limit(&printf), Some(LimitKind::Memory));
}

#[test]
fn growth_by_doubling_ends() {
    for grow in [
        "$x = print $x $x",
        "$x = list $x $x | toString",
        "$x = list $x $x | toJson",
        "$x = printf \"%q%q\" $x $x",
        "$x = repeat 2 $x",
        "$x = join $x (list 1 2 3)",
        "$x = b64enc $x",
        "$x = html $x \"&\" $x",
    ] {
        let text =
            format!("{{{{$x := \"x\"}}}}{{{{range until 100000}}}}{{{{{grow}}}}}{{{{end}}}}");
        let limit = limit(&text);
        assert!(
            matches!(limit, Some(LimitKind::Steps | LimitKind::Memory)),
            "{text}: {limit:?}"
        );
    }
}

#[test]
fn the_output_is_bounded() {
    let text = "{{$x := repeat 100000 \"x\"}}{{range until 1000}}{{$x}}{{end}}";
    assert_eq!(limit(text), Some(LimitKind::Output));
    let text = format!("{{{{range until 100000}}}}{}{{{{end}}}}", "x".repeat(1000));
    assert_eq!(limit(&text), Some(LimitKind::Output));
}

#[test]
fn recursion_ends() {
    for text in [
        "{{define \"a\"}}{{template \"a\" .}}{{end}}{{template \"a\" 1}}",
        "{{define \"a\"}}{{template \"b\"}}{{end}}{{define \"b\"}}{{template \"a\"}}{{end}}{{template \"a\"}}",
        "{{define \"a\"}}{{if true}}{{template \"a\"}}{{template \"a\"}}{{end}}{{end}}{{template \"a\"}}",
        "{{block \"a\" .}}{{template \"a\"}}{{end}}",
    ] {
        assert_eq!(limit(text), Some(LimitKind::Depth), "{text}");
    }
    // Two calls at each level of a depth that is allowed: the steps end it.
    let text = "{{define \"a\"}}{{if gt . 0}}{{$n := int (sub . 1)}}{{template \"a\" $n}}{{template \"a\" $n}}{{end}}{{end}}{{template \"a\" 90}}";
    assert_eq!(limit(text), Some(LimitKind::Steps));
}

#[test]
fn deep_nesting_is_refused_and_not_run_out_of_stack() {
    let deep = 40_000;
    let blocks = "{{if true}}".repeat(deep) + &"{{end}}".repeat(deep);
    let ranges = "{{range until 1}}".repeat(deep) + &"{{end}}".repeat(deep);
    let parens = format!("{{{{{}1{}}}}}", "(".repeat(deep), ")".repeat(deep));
    let calls = format!("{{{{{}1{}}}}}", "(not ".repeat(deep), ")".repeat(deep));
    for text in [&blocks, &ranges, &parens, &calls] {
        assert_eq!(limit(text), Some(LimitKind::Depth), "{}", &text[..40]);
    }
    let chain = format!(
        "{{{{if false}}}}{}x{{{{end}}}}",
        "{{else if true}}".repeat(50_000)
    );
    assert_eq!(render(&chain).as_deref(), Ok(""));
    let withs = format!(
        "{{{{with 0}}}}{}x{{{{end}}}}",
        "{{else with 0}}".repeat(50_000)
    );
    assert_eq!(render(&withs).as_deref(), Ok(""));
}

#[test]
fn deep_and_cyclic_values_are_refused() {
    let grow = "{{$x := list 1}}{{range until 50000}}{{$x = list $x}}{{end}}";
    let cycle = "{{$x := dict}}{{$_ := set $x \"x\" $x}}";
    let cycle_of_lists = "{{$d := dict}}{{$x := list $d}}{{$_ := set $d \"x\" $x}}";
    for start in [grow, cycle, cycle_of_lists] {
        for use_it in [
            "{{$x}}",
            "{{toJson $x}}",
            "{{toPrettyJson $x}}",
            "{{printf \"%q\" $x}}",
            "{{deepCopy $x}}",
            "{{quote $x}}",
            "{{join \",\" (list $x)}}",
        ] {
            let text = format!("{start}{use_it}");
            assert_eq!(limit(&text), Some(LimitKind::Depth), "{text}");
        }
    }
    let both = "{{$a := dict}}{{$_ := set $a \"x\" $a}}{{$b := dict}}{{$_ := set $b \"x\" $b}}";
    assert_eq!(
        limit(&format!("{both}{{{{deepEqual $a $b}}}}")),
        Some(LimitKind::Depth)
    );
    assert_eq!(
        limit(&format!("{both}{{{{merge $a $b}}}}")),
        Some(LimitKind::Depth)
    );
    // Unused, they do no harm.
    assert_eq!(
        render(&format!("{grow}{cycle_of_lists}ok")).as_deref(),
        Ok("ok")
    );
    let mut values = json!(1);
    for _ in 0..150 {
        values = json!([values]);
    }
    assert!(render_with("{{.}}", &values, Limits::default()).is_ok());
    for _ in 0..100 {
        values = json!({"a": values});
    }
    let error = render_with("{{1}}", &values, Limits::default()).unwrap_err();
    assert!(error.to_string().contains("nested too deeply"), "{error}");
}

#[test]
fn values_that_share_their_parts_cost_what_they_show() {
    // 2^60 leaves, of one list each.
    let share = "{{$x := list 1}}{{range until 60}}{{$x = list $x $x}}{{end}}";
    for use_it in [
        "{{$x}}",
        "{{toJson $x}}",
        "{{deepCopy $x}}",
        "{{deepEqual $x (deepCopy $x)}}",
    ] {
        let text = format!("{share}{use_it}");
        let limit = limit(&text);
        assert!(
            matches!(limit, Some(LimitKind::Steps | LimitKind::Memory)),
            "{text}: {limit:?}"
        );
    }
}

#[test]
fn regular_expressions_end() {
    let text = "{{$a := repeat 30000 \"a\"}}{{range until 100000}}{{regexMatch \"(a*)*(a*)*(a*)*b\" $a}}{{end}}";
    assert_eq!(limit(text), Some(LimitKind::Steps));
    let text = "{{$a := repeat 1000000 \"a\"}}{{regexMatch \"(a{30}){30}$\" $a}}";
    assert!(render(text).is_ok() || limit(text) == Some(LimitKind::Steps));
    let text = "{{range $i := until 1000000}}{{regexMatch (print \"a{1000}\" $i) \"x\"}}{{end}}";
    assert_eq!(limit(text), Some(LimitKind::Steps));
    // Quadratic: every match is found by reading to the end.
    let text = "{{$a := repeat 200000 \"aZ\"}}{{regexFindAll \".*[^A-Z]|[A-Z]\" $a -1 | len}}";
    assert!(render(text).is_ok() || limit(text).is_some());
    for pattern in [
        "((a{100}){100}){100}",
        "(a{1000}){1000}",
        "[a-z]{1000}{1000}",
    ] {
        assert!(render(&format!("{{{{mustRegexMatch \"{pattern}\" \"a\"}}}}")).is_err());
    }
    let deep = "(".repeat(100_000) + &")".repeat(100_000);
    assert!(render(&format!("{{{{mustRegexMatch \"{deep}\" \"a\"}}}}")).is_err());
}

#[test]
fn the_input_is_bounded() {
    let text = "{{1}}".repeat(300_000);
    assert_eq!(limit(&text), Some(LimitKind::Input));
    let variables = "{{$x := 1}}".repeat(90_000);
    assert!(matches!(
        render(&variables),
        Err(TemplateError::Parse { .. })
    ));
}

#[test]
fn smaller_limits_hold() {
    let limits = Limits {
        input: 100,
        output: 10,
        steps: 100,
        memory: 1000,
        depth: 3,
    };
    let limit = |text: &str| match render_with(text, &Value::Null, limits) {
        Err(TemplateError::Limit { limit, .. }) => Some(limit),
        _ => None,
    };
    assert_eq!(limit("{{\"12345678901\"}}"), Some(LimitKind::Output));
    assert_eq!(limit("{{range 200}}{{end}}"), Some(LimitKind::Steps));
    assert_eq!(limit("{{repeat 2000 \"x\"}}"), Some(LimitKind::Memory));
    assert_eq!(limit("{{((((1))))}}"), Some(LimitKind::Depth));
    assert_eq!(limit(&"{{1}}".repeat(30)), Some(LimitKind::Input));
    assert_eq!(limit("{{((1))}}"), None);
    let deep = Limits {
        depth: usize::MAX,
        ..Limits::default()
    };
    let text = "{{define \"a\"}}{{template \"a\"}}{{end}}{{template \"a\"}}";
    assert!(render_with(text, &Value::Null, deep).is_err());
}

#[test]
fn the_process_environment_is_out_of_reach() {
    assert_eq!(render("{{env \"HOME\"}}").as_deref(), Ok("/root"));
    assert_eq!(
        render("[{{env \"PATH\"}}{{expandenv \"$PATH\"}}]").as_deref(),
        Ok("[]")
    );
}
