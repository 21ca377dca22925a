//! Documents that mean harm: each ends soon, in little memory, and says why.
#![expect(clippy::format_collect, reason = "the texts of tests are short")]

use cos_events::Silent;
use cos_http::{HttpClient, HttpConfig};
use cos_stages::{Loaded, Reader, Source, Strictness, dot_notation, load, plan};
use cos_sys::root_path::Root;
use fs_err as fs;
use proptest::prelude::*;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

/// Loads within a time that unoptimised code on a busy machine keeps.
fn quickly(bytes: &[u8]) -> Loaded {
    let started = Instant::now();
    let loaded = load("hostile", bytes, Strictness::Strict);
    let took = started.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(
        loaded.diagnostics.len() <= 250,
        "{}",
        loaded.diagnostics.len()
    );
    loaded
}

/// What is said of bytes that are refused.
fn refused(bytes: &[u8]) -> String {
    let loaded = quickly(bytes);
    assert!(loaded.documents.is_empty() && loaded.has_errors());
    let first = &loaded.diagnostics[0];
    format!("{}:{}: {}", first.at.line, first.at.column, first.message)
}

#[test]
fn a_file_of_a_gigabyte_is_not_read() {
    let temp = tempfile::tempdir().unwrap();
    let file = fs::File::create(temp.path().join("huge.yaml")).unwrap();
    file.set_len(1 << 30).unwrap();
    fs::write(
        temp.path().join("small.yaml"),
        "stages: {boot: [{name: x}]}\n",
    )
    .unwrap();
    let root = Root::open(temp.path()).unwrap();
    let http = HttpClient::new(&HttpConfig::default()).unwrap();
    let reader = Reader {
        root: &root,
        http: &http,
        strictness: Strictness::Strict,
    };
    let started = Instant::now();
    let loaded = reader.read(&Source::parse("/"), false, &Silent);
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(loaded.documents.len(), 1, "the other one is there");
    let message = &loaded.diagnostics[0].message;
    assert!(message.contains("larger than 4194304 bytes"), "{message}");
}

#[test]
fn what_unpacks_to_a_gigabyte_is_not_unpacked() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&vec![b'#'; 1 << 20]).unwrap();
    let bomb = encoder.finish().unwrap().repeat(1024);
    assert_eq!(refused(&bomb), "1:1: larger than 4 MiB");
    assert!(refused(&bomb[..1000]).contains("gzip data is damaged"));
    assert!(refused(b"\x1f\x8bnothing").contains("gzip data is damaged"));
}

#[test]
fn bombs_of_aliases() {
    let mut doubling = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..30 {
        let list = vec![format!("*a{}", level - 1); 10].join(",");
        writeln!(doubling, "a{level}: &a{level} [{list}]").unwrap();
    }
    assert!(refused(doubling.as_bytes()).contains("more than 200000 values"));
    // Anchors inside anchors are each a copy of what is in them.
    let nested: String = (0..40)
        .map(|level| format!("{}- &a{level}\n", " ".repeat(level)))
        .collect();
    let nested = format!("{nested}{}- {}\n", " ".repeat(40), "x".repeat(2 << 20));
    assert!(refused(nested.as_bytes()).contains("16 MiB"));
    // Merge keys of large mappings.
    let keys: String = (0..20_000).map(|n| format!("k{n}: 1, ")).collect();
    let merges = format!("a: &a {{{keys}}}\nb: {{{keys} <<: *a}}\nc: {{<<: [*a, *a, *a]}}\n");
    quickly(merges.as_bytes());
    assert!(refused(b"a: &a [*a]\n").contains("alias"));
}

#[test]
fn depth() {
    for (open, close) in [
        ("[", "]"),
        ("{a: ", "}"),
        ("- ", ""),
        ("? ", ""),
        ("!t [", "]"),
        ("&a [", "]"),
    ] {
        let text = open.repeat(100_000) + &close.repeat(100_000);
        let said = refused(text.as_bytes());
        assert!(
            said.contains("nested") || said.contains("1:"),
            "{open}: {said}"
        );
    }
    let mut block = String::new();
    for level in 0..2_000 {
        writeln!(block, "{}a:", " ".repeat(level)).unwrap();
    }
    assert!(refused(block.as_bytes()).contains("nested deeper than 48 levels"));
}

#[test]
fn ten_thousand_steps_and_more() {
    let steps = |count: usize| {
        let steps: String = (0..count).map(|n| format!("  - name: n{n}\n")).collect();
        format!("stages:\n  boot:\n{steps}")
    };
    let loaded = quickly(steps(10_000).as_bytes());
    assert_eq!(loaded.diagnostics, []);
    let started = Instant::now();
    let plan = plan::plan(&loaded.documents, "boot");
    assert_eq!(plan.steps.len(), 10_000);
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(refused(steps(10_001).as_bytes()).contains("more than 10000 steps"));
}

#[test]
fn the_steps_of_all_documents_of_a_source_count() {
    let documents = "---\nhostname: a\n".repeat(10_001);
    let loaded = quickly(format!("#cloud-config\n{documents}").as_bytes());
    assert_eq!(loaded.documents.len(), 10_000);
    let last = &loaded.diagnostics[0];
    assert!(last.message.contains("more than 10000 steps"), "{last}");
}

#[test]
fn steps_that_all_wait_for_all() {
    let mut text = "stages:\n  boot:\n".to_owned();
    for _ in 0..3_000 {
        text += "  - {name: n}\n";
    }
    for _ in 0..3_000 {
        text += "  - {name: m, after: [{name: n}, {name: n}, {name: n}]}\n";
    }
    let loaded = quickly(text.as_bytes());
    assert_eq!(loaded.diagnostics, []);
    let started = Instant::now();
    let plan = plan::plan(&loaded.documents, "boot");
    assert_eq!(plan.steps.len(), 6_000);
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    let circle: String = (0..5_000)
        .map(|n| {
            format!(
                "  - {{name: n{n}, after: [{{name: n{}}}]}}\n",
                (n + 1) % 5_000
            )
        })
        .collect();
    let said = refused(format!("stages:\n  boot:\n{circle}").as_bytes());
    assert!(
        said.contains("wait for each other") && said.len() < 2_000,
        "{said}"
    );
}

#[test]
fn many_stages_and_many_keys() {
    let stages: String = (0..60_000).map(|n| format!("  s{n}: []\n")).collect();
    assert_eq!(
        quickly(format!("stages:\n{stages}").as_bytes()).diagnostics,
        []
    );
    let stages: String = (0..10_000)
        .map(|n| format!("  s{n}: [{{name: x}}]\n"))
        .collect();
    assert_eq!(
        quickly(format!("stages:\n{stages}").as_bytes()).diagnostics,
        []
    );
    let unknown: String = (0..60_000).map(|n| format!("key{n}: 1\n")).collect();
    assert!(quickly(unknown.as_bytes()).has_errors());
    let long = format!(
        "{}: 1\nstages: {{boot: [{{{}: 1}}]}}\n",
        "k".repeat(500_000),
        "x".repeat(500_000)
    );
    assert!(quickly(long.as_bytes()).has_errors());
    let wrong: String = (0..20_000).map(|_| "  - {commands: x}\n").collect();
    assert!(quickly(format!("stages:\n  boot:\n{wrong}").as_bytes()).has_errors());
}

#[test]
fn long_lines_and_texts() {
    let text = format!(
        "stages: {{boot: [{{commands: ['{}']}}]}}\n",
        "x".repeat(3 << 20)
    );
    assert_eq!(quickly(text.as_bytes()).diagnostics, []);
    let text = format!("{}: [\n", "x".repeat(3 << 20));
    let said = refused(text.as_bytes());
    assert!(said.len() < 1_000, "{said}");
    assert!(refused(&vec![b'\n'; (4 << 20) + 1]).contains("larger than 4 MiB"));
    quickly(&vec![b'\n'; 4 << 20]);
    quickly(&vec![b' '; 4 << 20]);
    quickly(&vec![b'-'; 4 << 20]);
    quickly(&b"- ".repeat(2 << 20));
    quickly(&b"a: |\n".repeat(700_000));
    quickly(&b"\"".repeat(4 << 20));
    quickly(&b"--- a\n".repeat(600_000));
    quickly(&b"%TAG ! a\n".repeat(400_000));
}

#[test]
fn what_is_no_text() {
    assert_eq!(refused(b"a: 1\nb: \xff\n"), "2:1: no UTF-8 text");
    assert_eq!(refused(&[0xff, 0xfe, b'a', 0]), "1:1: no UTF-8 text");
    assert!(refused(b"stages: {boot: [{name: \0}]}\n").starts_with("1:"));
    assert!(refused(&[0; 5000]).starts_with("1:"));
    // What is written so that it becomes a NUL cannot become a path or a word of a command.
    let loaded = quickly(b"stages: {boot: [{files: [{path: \"/a\\0b\"}]}]}\n");
    assert_eq!(loaded.documents.len(), 1);
    assert!(refused(b"#cloud-config\nruncmd: [[\"a\\0b\"]]\n").contains("NUL"));
    for control in ["\u{1b}[31m", "\u{7f}", "\u{9b}2J"] {
        let loaded = quickly(format!("stages: {{boot: [{{'k{control}': 1}}]}}\n").as_bytes());
        let shown = loaded.diagnostics[0].to_string();
        assert!(!shown.contains(['\u{1b}', '\u{9b}', '\u{7f}']), "{shown:?}");
    }
}

#[test]
fn mime_without_end() {
    let part = "--b\nContent-Type: text/cloud-config\n\nhostname: x\n";
    let many = format!(
        "Content-Type: multipart/mixed; boundary=\"b\"\n\n{}--b--\n",
        part.repeat(200)
    );
    let loaded = quickly(many.as_bytes());
    assert_eq!(loaded.documents.len(), 64);
    assert!(
        loaded.diagnostics[0].message.contains("more than 64 parts"),
        "{:?}",
        loaded.diagnostics
    );
    assert!(
        refused(
            many.replace("text/cloud-config", "text/plain")
                .repeat(300)
                .as_bytes()
        )
        .contains("64 parts")
    );
    // Each level in the one above it, in the spellings that a parser may take.
    for header in [
        "Content-Type: multipart/mixed; boundary=",
        "Content-Type: multipart/mixed; boundary =",
        "content-type:multipart/mixed;\n boundary=",
        "CONTENT-TYPE: =?utf-8?q?multipart/mixed?=; boundary=",
    ] {
        let mut nested = format!("MIME-Version: 1.0\n{header}b0\n");
        for level in 0..50_000 {
            write!(nested, "\n--b{level}\n{header}b{}\n", level + 1).unwrap();
        }
        assert!(
            refused(&nested.as_bytes()[..nested.len().min(4 << 20)]).contains("more than 64 parts"),
            "{header}"
        );
    }
    let dashes = format!(
        "Content-Type: multipart/mixed; boundary=\"\"\n\n{}",
        "--\n".repeat(1 << 20)
    );
    assert!(refused(dashes.as_bytes()).contains("more than 64 parts"));
    for broken in [
        "Content-Type: multipart/mixed; boundary=x",
        "Content-Type: multipart/mixed\n\n",
        "MIME-Version: 1.0\n\n",
        "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/cloud-config\nContent-Transfer-Encoding: base64\n\n***\n--b--\n",
        "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: application/octet-stream\n\nx\n--b--\n",
        "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/x-shellscript\n\nno script\n--b--\n",
    ] {
        assert!(quickly(broken.as_bytes()).has_errors(), "{broken}");
    }
}

#[test]
fn command_lines_of_all_kinds() {
    let long = "stages.boot[0].commands[0]=x ".repeat(100_000);
    let started = Instant::now();
    let loaded = dot_notation::load(&long, Strictness::Strict);
    assert!(started.elapsed() < Duration::from_secs(10));
    assert!(loaded.documents.is_empty(), "the same word twice");
    for wrong in [
        "stages.boot[18446744073709551616].name=x",
        "stages.boot[0][0][0]=x",
        "stages.boot[0=x",
        "stages.boot]0[=x",
        "stages.=x",
        "stages.boot[0].a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q=x",
        "stages.boot[0].name=x stages.boot[0].name.y=z",
        "stages.boot[-1].name=x",
    ] {
        assert!(
            dot_notation::load(wrong, Strictness::Strict).has_errors(),
            "{wrong}"
        );
    }
    dot_notation::load("stages.boot[0].name=\"unbalanced", Strictness::Strict);
    dot_notation::load(&"ä".repeat(40_000), Strictness::Strict);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        load("x", &bytes, Strictness::Strict);
    }

    #[test]
    fn no_text_panics(text in "(#cloud-config\n)?([a-z]{1,6}: ?|- |\\{|\\[|\\]|\\}|&a |\\*a|!!binary |<<: |[|>'\"]|\n|  ){0,40}") {
        let loaded = load("x", text.as_bytes(), Strictness::Strict);
        for finding in &loaded.diagnostics {
            // A place that is there, or the one behind the end.
            prop_assert!(finding.at.line >= 1 && finding.at.line <= text.lines().count() + 1);
            prop_assert!(finding.at.column >= 1);
        }
    }

    #[test]
    fn no_command_line_panics(text in "(stages|name|\\.|\\[|\\]|[0-9]{1,4}|=|boot|commands| |'|\"|\\\\){0,30}") {
        dot_notation::load(&text, Strictness::Strict);
    }

    #[test]
    fn every_order_is_an_order(waits in proptest::collection::vec(proptest::collection::vec(0..12usize, 0..3), 1..12)) {
        let steps: String = waits.iter().enumerate().map(|(at, list)| {
            let after: Vec<String> = list.iter().map(|other| format!("{{name: n{other}}}")).collect();
            format!("  - {{name: n{at}, after: [{}]}}\n", after.join(", "))
        }).collect();
        // Through documents of one step each, so that circles are between documents.
        let documents: Vec<_> = steps.lines().enumerate().flat_map(|(at, line)| {
            let text = format!("stages:\n  boot:\n{line}\n");
            load(&format!("{at}"), text.as_bytes(), Strictness::Compatible).documents
        }).collect();
        let plan = plan::plan(&documents, "boot");
        let place = |name: &str| plan.steps.iter().position(|step| step.step.step.name.as_deref() == Some(name));
        for step in &plan.steps {
            let own = place(step.step.step.name.as_deref().unwrap()).unwrap();
            for dependency in &step.step.step.after {
                if let Some(other) = place(&dependency.name) {
                    prop_assert!(other < own);
                }
            }
        }
        let refused = plan.refused.map_or(0, |refused| refused.cycle.len() - 1 + refused.others.len());
        prop_assert_eq!(plan.steps.len() + refused, documents.len());
    }
}
