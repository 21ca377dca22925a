//! The book's page on templates names every function, and no other.

use cos_template::function_names;
use std::collections::BTreeSet;

#[test]
fn every_function_is_on_the_page() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/src/reference/templates.md"
    );
    let page = fs_err::read_to_string(path).unwrap();
    let (_, functions) = page.split_once("\n## Functions\n").unwrap();
    let (functions, after) = functions.split_once("\n## Left out\n").unwrap();
    let names = |text: &str| -> BTreeSet<String> {
        text.split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect()
    };
    let documented = names(functions);
    let registered: BTreeSet<String> = function_names().map(str::to_owned).collect();
    let missing: Vec<_> = registered.difference(&documented).collect();
    let invented: Vec<_> = documented.difference(&registered).collect();
    assert!(missing.is_empty(), "not on the page: {missing:?}");
    assert!(invented.is_empty(), "no functions: {invented:?}");
    let (left_out, _) = after.split_once("\n## ").unwrap();
    let left_out = names(left_out);
    assert!(left_out.contains("getHostByName"));
    assert!(registered.is_disjoint(&left_out));
}
