//! `files`, `directories`.

use crate::scratch::scratch;
use base64::Engine as _;
use fs_err as fs;
use fs_err::os::unix::fs::symlink;
use insta::assert_snapshot;
use std::io::Write as _;

fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn modes_and_owners() {
    let Some(scratch) = scratch("modes_and_owners") else {
        return;
    };
    scratch.put(
        "etc/passwd",
        "root:x:0:0::/root:/bin/sh\nbob:x:1007:1008::/home/bob:/bin/sh\n",
    );
    scratch.put("etc/group", "root:x:0:\nadm:x:4:\nbob:x:1008:\n");
    scratch.step(
        "files:
- {path: /srv/default, content: x}
- {path: /srv/secret, content: x, permissions: 0600}
- {path: /srv/zero, content: x, permissions: 0}
- {path: /srv/sticky, content: x, permissions: 04755, owner: 5, group: 6}
- {path: /srv/by-name, content: x, ownerstring: 'bob:adm'}
- {path: /srv/user-alone, content: x, ownerstring: bob}
- {path: /srv/by-number, content: x, ownerstring: '12:34'}
- {path: /srv/group-alone, content: x, ownerstring: ':adm'}
- {path: /srv/empty}
- {path: /home/bob/.config/app/settings, content: x, ownerstring: 'bob:bob', permissions: 0640}",
    );
    assert_snapshot!(scratch.tree("srv"), @r"
    by-name 0644 1007:4
    by-number 0644 12:34
    default 0644 0:0
    empty 0644 0:0
    group-alone 0644 0:4
    secret 0600 0:0
    sticky 4755 5:6
    user-alone 0644 1007:1008
    zero 0000 0:0
");
    assert_snapshot!(scratch.tree("home"), @r"
    bob/ 0755 1007:1008
    bob/.config/ 0755 1007:1008
    bob/.config/app/ 0755 1007:1008
    bob/.config/app/settings 0640 1007:1008
");
}

#[test]
fn every_encoding() {
    let Some(scratch) = scratch("every_encoding") else {
        return;
    };
    let text = b"one\ntwo\n";
    for encoding in [
        "",
        "b64",
        "base64",
        "gz+b64",
        "gz+base64",
        "gzip+b64",
        "gzip+base64",
    ] {
        let content = match encoding {
            "" => String::from_utf8(text.to_vec()).unwrap(),
            "b64" | "base64" => base64(text),
            _ => base64(&gzip(text)),
        };
        let content = content.escape_default();
        scratch.step(&format!(
            "files: [{{path: /file, encoding: '{encoding}', content: \"{content}\"}}]"
        ));
        assert_eq!(fs::read(scratch.at("file")).unwrap(), text, "{encoding}");
        fs::remove_file(scratch.at("file")).unwrap();
    }
    // What gz alone means can only be said as !!binary.
    let content = base64(&gzip(&[0xff, 0, 1]));
    scratch.step(&format!(
        "files: [{{path: /file, encoding: gz, content: !!binary {content}}}]"
    ));
    assert_eq!(fs::read(scratch.at("file")).unwrap(), [0xff, 0, 1]);
    let broken = base64(b"\x1f\x8bnot really");
    let said = scratch.failing(&format!(
        "files: [{{path: /broken, encoding: gz+b64, content: {broken}}}, {{path: /after, content: x}}]"
    ));
    assert!(said.contains("/broken") && said.contains("gzip"), "{said}");
    assert!(!scratch.exists("broken") && scratch.exists("after"));
}

#[test]
fn contents_are_templates_once_decoded() {
    let Some(scratch) = scratch("contents_are_templates_once_decoded") else {
        return;
    };
    let encoded = base64(b"{{ .MachineID | trunc 4 }}");
    scratch.step(&format!(
        "files:
- {{path: /a, content: '{{{{ .Values.os.name }}}} {{{{ env \"SITE\" }}}}'}}
- {{path: /b, encoding: b64, content: {encoded}}}"
    ));
    assert_eq!(
        (scratch.text("a"), scratch.text("b")),
        ("Test OS lab".into(), "0123".into())
    );
    let said = scratch.failing("files: [{path: /c, content: '{{ fail \"no\" }}'}]");
    assert!(said.contains("/c:1:4"), "{said}");
    assert!(!scratch.exists("c"));
}

#[test]
fn a_file_is_replaced_whole_or_not_at_all() {
    let Some(scratch) = scratch("a_file_is_replaced_whole_or_not_at_all") else {
        return;
    };
    scratch.put("etc/x", "old");
    scratch.set_mode("etc/x", 0o600);
    let old = fs::File::open(scratch.at("etc/x")).unwrap();
    scratch.step("files: [{path: /etc/x, content: new, permissions: 0640}]");
    assert_eq!(
        (scratch.text("etc/x"), scratch.metadata("etc/x")),
        ("new".into(), "0640 0:0".into())
    );
    // Who had it open still reads the whole old one.
    assert_eq!(std::io::read_to_string(old).unwrap(), "old");
    assert!(fs::read_dir(scratch.at("etc")).unwrap().all(|entry| {
        let name = entry.unwrap().file_name();
        !name.to_string_lossy().contains("tmp")
    }));
    let said = scratch.failing("files: [{path: /etc, content: x}]");
    assert!(said.contains("directory"), "{said}");
}

#[test]
fn no_link_leads_out() {
    let Some(scratch) = scratch("no_link_leads_out") else {
        return;
    };
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("file"), "untouched").unwrap();
    symlink(outside.path(), scratch.at("away")).unwrap();
    symlink("../../../../../../..", scratch.at("up")).unwrap();
    symlink(outside.path().join("file"), scratch.at("link")).unwrap();
    let real = outside.path().to_str().unwrap();
    scratch.step(&format!(
        "files:
- {{path: /away/file, content: inside}}
- {{path: /up{real}/other, content: inside}}
- {{path: /link, content: inside}}
- {{path: '/../../..{real}/third', content: inside}}
directories: [{{path: /away/made}}]"
    ));
    assert_eq!(
        fs::read_to_string(outside.path().join("file")).unwrap(),
        "untouched"
    );
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    let inside = |name: &str| scratch.exists(&format!("{real}/{name}"));
    assert!(inside("file") && inside("other") && inside("third") && inside("made"));
    symlink("circle", scratch.at("circle")).unwrap();
    let said = scratch.failing("files: [{path: /circle/x, content: x}]");
    assert!(
        said.contains("/circle") && said.contains("symbolic links"),
        "{said}"
    );
    let long = format!("/{}", "a/".repeat(3000));
    let said = scratch.failing(&format!("files: [{{path: {long}x, content: x}}]"));
    assert!(said.contains("4095"), "{said}");
}

#[test]
fn directories_are_made_and_changed() {
    let Some(scratch) = scratch("directories_are_made_and_changed") else {
        return;
    };
    fs::create_dir_all(scratch.at("srv/there/below")).unwrap();
    scratch.set_mode("srv/there", 0o777);
    scratch.put("srv/file", "");
    std::os::unix::fs::chown(scratch.at("srv/there"), Some(9), Some(9)).unwrap();
    scratch.step(
        "directories:
- {path: /srv/default}
- {path: /srv/deep/er/own, permissions: 0750, owner: 5, group: 6}
- {path: /srv/there, permissions: 0700}
- {path: /srv/shared, permissions: 01777}",
    );
    assert_snapshot!(scratch.tree("srv"), @r"
    deep/ 0750 5:6
    deep/er/ 0750 5:6
    deep/er/own/ 0750 5:6
    default/ 0755 0:0
    file 0644 0:0
    shared/ 1777 0:0
    there/ 0700 0:0
    there/below/ 0755 0:0
");
    let said = scratch.failing("directories: [{path: /srv/file}]");
    assert!(said.contains("/srv/file"), "{said}");
}

#[test]
fn running_again_changes_nothing() {
    let Some(scratch) = scratch("running_again_changes_nothing") else {
        return;
    };
    let step = "directories: [{path: /srv/a, permissions: 0750, owner: 3}]
files: [{path: /srv/a/b/c, content: x, owner: 4}]";
    scratch.step(step);
    let before = scratch.tree("srv");
    scratch.step(step);
    assert_eq!(scratch.tree("srv"), before);
}
