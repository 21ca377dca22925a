//! What real Go makes of templates, and what we make of them.
//!
//! `golden.json` was made by Go 1.19.8 with sprig 3.2.3. It covers every function that we claim,
//! but for those whose value nobody can foretell, of which it checks the shape.

use cos_template::{Limits, Templates, function_names};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Cases that may differ from Go, each with its reason in the table.
const MOST_DIFFERENT: usize = 30;

#[expect(clippy::unwrap_used, reason = "a test's own table")]
fn table() -> Value {
    serde_json::from_str(include_str!("golden.json")).unwrap()
}

#[expect(clippy::unwrap_used, reason = "a test's own table")]
fn cases(table: &Value) -> &Vec<Value> {
    table["cases"].as_array().unwrap()
}

#[expect(clippy::unwrap_used, reason = "a test's own table")]
fn template(case: &Value) -> &str {
    case["template"].as_str().unwrap()
}

/// What is wrong with a case, in words.
fn check(templates: &Templates, table: &Value, case: &Value) -> Option<String> {
    let values = match case["values"].as_str() {
        Some(name) => &table["values"][name],
        None => &Value::Null,
    };
    let text = template(case);
    let got = templates.render("golden", text, values);
    let expected = case["output"].as_str();
    if got.as_deref().ok() == expected {
        return None;
    }
    Some(format!(
        "{text}\n  expected {expected:?}\n  got      {got:?}\n"
    ))
}

#[test]
fn templates_render_as_in_go() {
    let table = table();
    let environment: BTreeMap<String, String> =
        serde_json::from_value(table["environment"].clone()).unwrap();
    let templates = Templates::new(environment, Limits::default());
    let cases = cases(&table);
    assert!(cases.len() > 700, "{}", cases.len());
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|case| check(&templates, &table, case))
        .collect();
    let count = wrong.len();
    assert!(wrong.is_empty(), "{count} wrong:\n{}", wrong.join("\n"));
}

#[test]
fn differences_are_few_and_explained() {
    let table = table();
    let different: Vec<&Value> = cases(&table)
        .iter()
        .filter(|case| case.get("go").is_some())
        .collect();
    assert!(different.len() <= MOST_DIFFERENT, "{}", different.len());
    for case in different {
        assert!(case["differs"].is_string(), "{}", template(case));
    }
}

#[test]
fn every_function_has_a_case_that_succeeds() {
    let table = table();
    let used: BTreeSet<&str> = cases(&table)
        .iter()
        .filter(|case| case["output"].is_string())
        .flat_map(|case| template(case).split(|c: char| !c.is_ascii_alphanumeric() && c != '_'))
        .collect();
    // These two only ever fail.
    let missing: Vec<&str> = function_names()
        .filter(|name| !used.contains(name) && !matches!(*name, "call" | "fail"))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
