//! Policy files: what they say, and where they are wrong.
#![expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use cos_sys::root_path::Root;
use cos_trust::{LOCAL, Policy, SigningKey, TrustError};
use std::path::Path;

fn load(files: &[(&str, &str)]) -> Result<Policy, TrustError> {
    let temp = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = temp.path().join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }
    Policy::load(&Root::open(temp.path()).unwrap())
}

fn mistake(text: &str) -> String {
    load(&[("etc/cos/policy.yaml", text)])
        .unwrap_err()
        .to_string()
}

#[test]
fn without_a_policy_every_image_is_refused_and_the_two_lines_are_told() {
    for files in [&[][..], &[("etc/cos/policy.yaml", "# nothing\n\n")]] {
        let policy = load(files).unwrap();
        let error = policy
            .require("r.example/os", "r.example/os:2")
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "no rule of the policy is for r.example/os:2"
        );
        let hint = error.hint().unwrap();
        assert!(hint.contains("/etc/cos/policy.yaml"), "{hint}");
        assert!(
            hint.ends_with("  - match: r.example/os\n    insecure: true"),
            "{hint}"
        );
        // What the hint says is a policy that helps.
        let (_, lines) = hint.split_once("`images:`\n").unwrap();
        let policy = load(&[("etc/cos/policy.yaml", &format!("images:\n{lines}\n"))]).unwrap();
        assert!(policy.require("r.example/os", "").unwrap().is_insecure());
        assert!(policy.require("r.example/other", "").is_err());
        assert!(policy.require(LOCAL, "dir:/").is_err());
    }
}

#[test]
fn the_most_specific_rule_counts_and_of_equal_ones_the_last() {
    let key = SigningKey::generate().unwrap().public_pem().unwrap();
    let inline = key.replace('\n', "\n        ");
    let first = format!(
        "images:\n  - match: \"**\"\n    insecure: true\n  - match: r.example/os/*\n    keys:\n      - |\n        {inline}\n"
    );
    let policy = load(&[
        ("etc/cos/policy.yaml", &first),
        (
            "etc/cos/policy.d/20-b.yaml",
            "images: [{match: r.example/lab, keys: [a.pub]}]\n",
        ),
        ("etc/cos/policy.d/a.pub", &key),
        (
            "etc/cos/policy.d/10-a.yml",
            "images: [{match: r.example/lab, insecure: true}]\n",
        ),
        ("etc/cos/policy.d/notes.txt", "not read\n"),
    ])
    .unwrap();
    let rule = |name: &str| policy.rule_for(name).unwrap();
    assert!(rule("other.example/x").is_insecure());
    assert_eq!(
        rule("r.example/os/edge").pattern().as_str(),
        "r.example/os/*"
    );
    assert!(!rule("r.example/os/edge").is_insecure());
    assert!(rule("r.example/os/edge/more").is_insecure());
    let place = rule("r.example/lab").place();
    assert!(
        place.starts_with("/etc/cos/policy.d/20-b.yaml:1:"),
        "{place}"
    );
    assert!(policy.rule_for(LOCAL).is_none());
}

#[test]
fn mistakes_name_file_line_and_column() {
    let unknown = mistake("images:\n  - match: r.example/os\n    insecur: true\n");
    assert!(unknown.starts_with("/etc/cos/policy.yaml: "), "{unknown}");
    assert!(
        unknown.contains("line 3") && unknown.contains("insecur"),
        "{unknown}"
    );
    for (lines, wanted) in [
        (
            "match: r.example/os",
            "neither keys nor keyless nor insecure",
        ),
        ("match: r.example/os:2\n    insecure: true", "has a tag"),
        (
            "match: debian\n    insecure: true",
            "docker.io/library/debian",
        ),
        (
            "match: r.example/os\n    insecure: true\n    threshold: 1",
            "stands alone",
        ),
        (
            "match: r.example/os\n    keyless: [{issuer: a, subject: b}]",
            "needs a trust-root",
        ),
        (
            "match: r.example/os\n    keyless: [{issuer: \"a*\", subject: b}]",
            "word for word",
        ),
        (
            "match: r.example/os\n    keyless: [{issuer: a, subject: \"**\"}]",
            "everybody",
        ),
    ] {
        let text = mistake(&format!("images:\n  - {lines}\n"));
        assert!(text.starts_with("/etc/cos/policy.yaml:2:12: "), "{text}");
        assert!(text.contains(wanted), "{text}");
    }
    for not_a_policy in [
        "images: 1\n",
        "- a\n",
        "images:\n  - match\n",
        "\u{1}\n",
        "a: &a [*a]\n",
    ] {
        let text = mistake(not_a_policy);
        assert!(text.starts_with("/etc/cos/policy.yaml: "), "{text}");
    }
    assert!(mistake("images:\n  - {match: a/b, insecure: true, match: c/d}\n").contains("match"));
}

#[test]
fn a_file_that_is_named_must_be_there() {
    let temp = tempfile::tempdir().unwrap();
    let root = Root::open(temp.path()).unwrap();
    let missing = Policy::load_file(&root, Path::new("/none.yaml"));
    assert!(matches!(missing, Err(TrustError::Missing { .. })));
    let text = mistake("images: [{match: a.example/b, keys: [../keys/none.pub]}]\n");
    assert!(
        text.contains("/etc/cos/../keys/none.pub is not there"),
        "{text}"
    );
    fs_err::write(temp.path().join("big.yaml"), vec![b'#'; 2 << 20]).unwrap();
    assert!(Policy::load_file(&root, Path::new("/big.yaml")).is_err());
}

#[test]
fn the_schema_knows_every_key() {
    let schema = cos_trust::schema().to_string();
    for key in [
        "images",
        "match",
        "keys",
        "keyless",
        "issuer",
        "subject",
        "trust-root",
        "threshold",
        "insecure",
    ] {
        assert!(schema.contains(&format!("\"{key}\"")), "{key}");
    }
}

#[test]
fn the_book_shows_a_policy() {
    let page = include_str!("../../../docs/src/reference/policy.md");
    let (_, rest) = page.split_once("```text\n").unwrap();
    let (text, _) = rest.split_once("```").unwrap();
    let key = || SigningKey::generate().unwrap().public_pem().unwrap();
    let policy = load(&[
        ("etc/cos/policy.yaml", text),
        ("etc/cos/keys/release.pub", &key()),
        ("etc/cos/keys/audit.pub", &key()),
        (
            "etc/cos/trusted_root.json",
            include_str!("fixtures/public-good.json"),
        ),
    ])
    .unwrap();
    assert_eq!(policy.rules().len(), 3);
    assert!(
        policy
            .rule_for("registry.example.com/lab/a/b")
            .unwrap()
            .is_insecure()
    );
}
