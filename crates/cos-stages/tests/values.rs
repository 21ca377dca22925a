//! What scalars mean: the same as yip, which reads documents with yaml.v3, takes them for.

use cos_stages::schema::Step;
use cos_stages::{Loaded, Strictness, load};

fn loaded(text: &str) -> Loaded {
    load("a.yaml", text.as_bytes(), Strictness::Strict)
}

/// The one step of a document, in flow style.
fn step(keys: &str) -> Step {
    let loaded = loaded(&format!("stages: {{boot: [{keys}]}}"));
    assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics);
    loaded.documents[0].stages[0].steps[0].step.clone()
}

fn mode(text: &str) -> (Option<u32>, usize) {
    let text = format!("stages: {{boot: [{{files: [{{path: /a, permissions: {text}}}]}}]}}");
    let loaded = loaded(&text);
    let mode = loaded
        .documents
        .first()
        .and_then(|document| document.stages[0].steps[0].step.files[0].permissions);
    (mode, loaded.diagnostics.len())
}

#[test]
fn modes_are_octal_and_decimal_ones_are_warned_of() {
    for text in ["0644", "0o644", "'0644'", "\"0644\"", "'644'", "00644"] {
        assert_eq!(mode(text), (Some(0o644), 0), "{text}");
    }
    // yaml.v3 gives yip the number 420 here, and chmod takes it: 0644 in octal.
    assert_eq!(mode("420"), (Some(0o644), 1));
    // The number 644 would be 01204: nobody means that.
    assert_eq!(mode("644"), (Some(0o644), 1));
    assert_eq!(mode("1777"), (Some(0o1777), 1));
    assert_eq!(mode("0"), (Some(0), 0));
    assert_eq!(mode("~"), (None, 0));
    for wrong in ["0888", "rw-r--r--", "-1", "0x1ff", "99999"] {
        assert_eq!(mode(wrong), (None, 1), "{wrong}");
    }
}

#[test]
fn words_stay_words_where_a_text_is_wanted() {
    let step = step(
        "{environment: {A: yes, B: true, C: 0644, D: 1.0, E: ~, F: 1e3, G: '', H: 2024-01-01, I: null}, \
         timesyncd: {NTP: on}, name: 12}",
    );
    let values: Vec<(&str, &str)> = step
        .environment
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        values,
        [
            ("A", "yes"),
            ("B", "true"),
            ("C", "0644"),
            ("D", "1.0"),
            ("E", ""),
            ("F", "1e3"),
            ("G", ""),
            ("H", "2024-01-01"),
            ("I", ""),
        ]
    );
    assert_eq!(step.timesyncd["NTP"], "on");
    assert_eq!(step.name.as_deref(), Some("12"));
}

#[test]
fn truth_has_many_words() {
    for (word, meaning) in [
        ("yes", true),
        ("on", true),
        ("True", true),
        ("'true'", true),
        ("no", false),
        ("OFF", false),
    ] {
        let step = step(&format!("{{packages: {{refresh: {word}}}}}"));
        assert_eq!(step.packages.unwrap().refresh, meaning, "{word}");
    }
}

#[test]
fn numbers_are_written_in_many_ways() {
    for (text, number) in [
        ("1000", 1000),
        ("0x3E8", 1000),
        ("0o1750", 1000),
        ("01750", 1000),
        ("1_000", 1000),
    ] {
        let step = step(&format!("{{files: [{{path: /a, owner: {text}}}]}}"));
        assert_eq!(step.files[0].owner, Some(number), "{text}");
    }
}

#[test]
fn a_name_with_nothing_said_is_there_all_the_same() {
    let step = step("{users: {bob: }, sysctl: {a.b: }}");
    assert_eq!(step.users.len(), 1);
    assert_eq!(step.sysctl["a.b"], "");
}

#[test]
fn other_spellings_of_keys_are_known() {
    let step = step("{files: [{path: /a, owner_string: 'bob:adm'}]}");
    assert_eq!(step.files[0].ownerstring.as_deref(), Some("bob:adm"));
}

#[test]
fn blocks_keep_their_lines_and_binary_is_decoded() {
    let text = "\
stages:
  boot:
    - files:
        - {path: /a, content: \"a\\tb\\n\"}
        - path: /b
          content: |-
            one
              two
        - path: /c
          content: >
            folded
            line
        - path: /d
          content: !!binary aGVsbG8K
        - path: /e
          content: !!binary /w==
        - path: /f
          encoding: gzip
          content: !!binary H4sIAAAAAAACA8tIzcnJVyjPL8pJ4QIALTsIrwwAAAA=
";
    let loaded = loaded(text);
    assert_eq!(loaded.diagnostics, []);
    let files: Vec<(&str, &str)> = loaded.documents[0].stages[0].steps[0]
        .step
        .files
        .iter()
        .map(|file| (file.content.as_str(), file.encoding.as_str()))
        .collect();
    assert_eq!(
        files,
        [
            ("a\tb\n", ""),
            ("one\n  two", ""),
            ("folded line\n", ""),
            ("hello\n", ""),
            ("/w==", "b64"),
            ("H4sIAAAAAAACA8tIzcnJVyjPL8pJ4QIALTsIrwwAAAA=", "gzip+b64"),
        ]
    );
    for wrong in [
        "stages: {boot: [{commands: [!!binary /w==]}]}",
        "stages: {boot: [{files: [{path: /a, content: !!binary '*'}]}]}",
        "stages: {boot: [{files: [{path: /a, encoding: b64, content: !!binary /w==}]}]}",
    ] {
        assert!(
            load("a", wrong.as_bytes(), Strictness::Strict).has_errors(),
            "{wrong}"
        );
    }
}

#[test]
fn byte_order_marks_and_foreign_line_ends_change_nothing() {
    let text = "#cloud-config\nhostname: x\nstages:\n  boot:\n    - commands:\n        - |\n          one\n          two\n";
    let plain = loaded(text);
    for other in [
        format!("\u{feff}{text}"),
        text.replace('\n', "\r\n"),
        format!("\u{feff}{}", text.replace('\n', "\r\n")),
    ] {
        let other = loaded(&other);
        assert_eq!(other.diagnostics, []);
        assert_eq!(
            format!("{:?}", other.documents),
            format!("{:?}", plain.documents)
        );
    }
    let wrong = loaded("\u{feff}#cloud-config\r\nhostname: x\r\n  bad: y\r\n");
    assert_eq!(wrong.diagnostics[0].at.line, 3);
}
