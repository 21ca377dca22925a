//! Documents as people write them: all of them are understood, and together they use every key.
#![expect(
    clippy::unwrap_used,
    clippy::format_collect,
    reason = "a document that cannot be read is a failure"
)]

use cos_stages::explain::keys;
use cos_stages::yaml::{Node, Value, parse};
use cos_stages::{Loaded, Strictness, dot_notation, load};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const DOCUMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documents");

fn documents() -> Vec<(PathBuf, Vec<u8>)> {
    let mut paths: Vec<PathBuf> = fs_err::read_dir(DOCUMENTS)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let read = |path: PathBuf| {
        let bytes = fs_err::read(&path).unwrap();
        (path, bytes)
    };
    paths.into_iter().map(read).collect()
}

fn loaded(path: &Path, bytes: &[u8]) -> Loaded {
    let name = path.file_name().unwrap().to_str().unwrap();
    match path.extension().unwrap().to_str().unwrap() {
        "txt" => dot_notation::load(std::str::from_utf8(bytes).unwrap(), Strictness::Strict),
        _ => load(name, bytes, Strictness::Strict),
    }
}

fn shown(loaded: &Loaded) -> String {
    loaded
        .diagnostics
        .iter()
        .map(|one| format!("{one}\n"))
        .collect()
}

#[test]
fn every_document_is_understood_without_a_word() {
    let documents = documents();
    assert!(documents.len() >= 40, "{}", documents.len());
    for (path, bytes) in documents {
        let loaded = loaded(&path, &bytes);
        assert_eq!(shown(&loaded), "", "{}", path.display());
        let steps: usize = loaded
            .documents
            .iter()
            .flat_map(|document| &document.stages)
            .map(|stage| stage.steps.len())
            .sum();
        assert!(steps > 0, "{}", path.display());
    }
}

/// Adds the keys of a document that are among `known`.
fn used(node: &Node, path: &str, known: &BTreeSet<String>, out: &mut BTreeSet<String>) {
    match &node.value {
        Value::Null | Value::Scalar { .. } => {}
        Value::Sequence(items) => {
            for item in items {
                used(item, &format!("{path}[]"), known, out);
            }
        }
        Value::Mapping(entries) => {
            for entry in entries {
                let dot = if path.is_empty() { "" } else { "." };
                let key = format!("{path}{dot}{}", entry.key);
                if known.contains(&key) {
                    used(&entry.node, &key, known, out);
                    out.insert(key);
                } else {
                    let any = if path == "stages" { "STAGE" } else { "NAME" };
                    used(&entry.node, &format!("{path}{dot}{any}"), known, out);
                }
            }
        }
    }
}

#[test]
fn together_they_use_every_key() {
    let known: BTreeSet<String> = keys().into_iter().map(|key| key.path).collect();
    let mut found = BTreeSet::new();
    for (path, bytes) in documents() {
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            for node in parse(std::str::from_utf8(&bytes).unwrap()).unwrap() {
                used(&node, "", &known, &mut found);
            }
        }
    }
    let missing: Vec<&String> = known.difference(&found).collect();
    assert_eq!(
        missing,
        Vec::<&String>::new(),
        "no document uses these keys"
    );
}

#[test]
fn a_key_without_a_document_is_noticed() {
    let known: BTreeSet<String> = [
        "stages",
        "stages.STAGE[].files",
        "stages.STAGE[].files[].path",
        "users[].name",
    ]
    .map(str::to_owned)
    .into();
    let mut found = BTreeSet::new();
    let text = "stages: {boot: [{files: [{path: /a}]}]}\nusers: [{nam: x}]\n";
    used(&parse(text).unwrap()[0], "", &known, &mut found);
    let missing: Vec<&String> = known.difference(&found).collect();
    assert_eq!(missing, ["users[].name"]);
}

#[test]
fn multipart_and_command_line_are_documents_like_others() {
    let of = |wanted: &str| {
        let all = documents();
        let (path, bytes) = all.iter().find(|(path, _)| path.ends_with(wanted)).unwrap();
        let documents = loaded(path, bytes).documents;
        let list: Vec<String> = documents
            .iter()
            .flat_map(|document| {
                document.stages.iter().map(|stage| {
                    let names = stage
                        .steps
                        .iter()
                        .map(|step| step.step.name.as_deref().unwrap_or("-"));
                    let names: Vec<&str> = names.collect();
                    format!("{} {} {}", document.source, stage.name, names.join(","))
                })
            })
            .collect();
        list
    };
    assert_eq!(
        of("50-multipart.mime"),
        [
            "50-multipart.mime[base.yaml] initramfs hostname",
            "50-multipart.mime[base.yaml] boot runcmd",
            "50-multipart.mime[setup.sh] network script",
            "50-multipart.mime[stages.yaml] boot -",
        ]
    );
    assert_eq!(
        of("52-cmdline.txt"),
        [
            "kernel command line boot.after -",
            "kernel command line initramfs -",
            "kernel command line network -",
        ]
    );
    let text = fs_err::read_to_string(Path::new(DOCUMENTS).join("52-cmdline.txt")).unwrap();
    assert_eq!(
        dot_notation::setup_sources(&text),
        ["https://conf.example.com/site?rack=4&unit=12"]
    );
}
