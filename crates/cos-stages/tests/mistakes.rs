//! Documents that are wrong: what is said, and where.
#![expect(clippy::format_collect, reason = "the texts of tests are short")]

use cos_stages::{Loaded, Severity, Strictness, load};
use insta::assert_snapshot;

fn strict(text: &str) -> Loaded {
    load("a.yaml", text.as_bytes(), Strictness::Strict)
}

/// What is said of a document of which something is wrong, as people see it.
fn said(text: &str) -> String {
    let loaded = strict(text);
    assert!(
        loaded.has_errors() && loaded.documents.is_empty(),
        "{loaded:?}"
    );
    shown(&loaded)
}

fn shown(loaded: &Loaded) -> String {
    let lines: Vec<String> = loaded.diagnostics.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

#[test]
fn a_wrong_key_of_a_step() {
    let text = "\
name: web
stages:
  boot:
    - name: one
      comands:
        - echo
";
    assert_snapshot!(said(text), @r#"
    a.yaml:5:7: error: unknown key "comands"
     5 |       comands:
       |       ^
      help: did you mean commands?
"#);
}

#[test]
fn wrong_keys_at_every_depth() {
    let text = "\
stage: {}
stages:
  boot:
    - files:
        - path: /etc/x
          contents: x
          permisions: 0600
      users:
        bob: {sshkeys: []}
      systemctl:
        overrides: [{unit: x}]
";
    assert_snapshot!(said(text), @r#"
    a.yaml:1:1: error: unknown key "stage"
     1 | stage: {}
       | ^
      help: did you mean stages?
    a.yaml:6:11: error: unknown key "contents"
     6 |           contents: x
       |           ^
      help: did you mean content?
    a.yaml:7:11: error: unknown key "permisions"
     7 |           permisions: 0600
       |           ^
      help: did you mean permissions?
    a.yaml:9:15: error: unknown key "sshkeys"
     9 |         bob: {sshkeys: []}
       |               ^
    a.yaml:11:22: error: unknown key "unit"
     11 |         overrides: [{unit: x}]
        |                      ^
"#);
}

#[test]
fn a_wrong_key_of_cloud_config() {
    let text = "\
#cloud-config
hostnme: x
write-files:
  - path: /x
    permission: 0600
users:
  - nam: bob
power_state: {modus: reboot}
";
    assert_snapshot!(said(text), @r#"
    a.yaml:2:1: error: unknown key "hostnme"
     2 | hostnme: x
       | ^
      help: did you mean hostname?
    a.yaml:3:1: error: unknown key "write-files"
     3 | write-files:
       | ^
      help: did you mean write_files?
    a.yaml:7:5: error: unknown key "nam"
     7 |   - nam: bob
       |     ^
      help: did you mean name?
    a.yaml:8:1: error: power_state: mode is poweroff, reboot or halt, and not ""
     8 | power_state: {modus: reboot}
       | ^
    a.yaml:8:15: error: unknown key "modus"
     8 | power_state: {modus: reboot}
       |               ^
"#);
}

#[test]
fn values_of_the_wrong_kind() {
    let text = "\
stages:
  boot:
    - commands: echo
      files:
        path: /etc/x
      hostname: [a]
      users:
        bob: {system: perhaps, groups: adm}
      layout:
        expand_partition: {size: -1}
      downloads:
        - {path: /x, url: http://x, timeout: soon, owner: 4294967296}
      environment: [A=1]
";
    assert_snapshot!(said(text), @r#"
    a.yaml:3:17: error: commands takes a list, and this is a single value
     3 |     - commands: echo
       |                 ^
      help: write it as a list: a line below that starts with a dash
    a.yaml:5:9: error: files takes a list, and this is a mapping
     5 |         path: /etc/x
       |         ^
    a.yaml:6:17: error: hostname takes a text, and this is a list
     6 |       hostname: [a]
       |                 ^
    a.yaml:8:23: error: system takes true or false, and this is "perhaps"
     8 |         bob: {system: perhaps, groups: adm}
       |                       ^
    a.yaml:8:40: error: groups takes a list, and this is a single value
     8 |         bob: {system: perhaps, groups: adm}
       |                                        ^
      help: write it as a list: a line below that starts with a dash
    a.yaml:10:34: error: size takes a number, and this is "-1"
     10 |         expand_partition: {size: -1}
        |                                  ^
    a.yaml:12:46: error: timeout takes a number, and this is "soon"
     12 |         - {path: /x, url: http://x, timeout: soon, owner: 4294967296}
        |                                              ^
    a.yaml:12:59: error: owner is at most 4294967295, and this is 4294967296
     12 |         - {path: /x, url: http://x, timeout: soon, owner: 4294967296}
        |                                                           ^
    a.yaml:13:20: error: environment takes a mapping, and this is a list
     13 |       environment: [A=1]
        |                    ^
"#);
}

#[test]
fn modes_that_are_none() {
    let text = "\
stages:
  boot:
    - files:
        - {path: /a, permissions: 0888}
        - {path: /b, permissions: u+x}
        - {path: /c, permissions: 77777}
";
    assert_snapshot!(said(text), @r#"
    a.yaml:4:35: error: "0888" is no file mode; one is written like 0644
     4 |         - {path: /a, permissions: 0888}
       |                                   ^
    a.yaml:5:35: error: "u+x" is no file mode; one is written like 0644
     5 |         - {path: /b, permissions: u+x}
       |                                   ^
    a.yaml:6:35: error: "77777" is no file mode; one is written like 0644
     6 |         - {path: /c, permissions: 77777}
       |                                   ^
"#);
}

#[test]
fn a_key_twice() {
    let text = "\
stages:
  boot:
    - name: one
      commands: [a]
      name: two
";
    assert_snapshot!(said(text), @r#"
    a.yaml:5:7: error: the key "name" stands here twice
     5 |       name: two
       |       ^
"#);
    let text = "\
#cloud-config
ca_certs: {trusted: []}
ca-certs: {trusted: []}
";
    assert_snapshot!(said(text), @r"
    a.yaml:3:1: error: ca_certs is said twice, here as ca-certs
     3 | ca-certs: {trusted: []}
       | ^
");
}

#[test]
fn stages_of_the_wrong_shape() {
    assert_snapshot!(said("stages:\n  - boot\n"), @r"
    a.yaml:2:3: error: stages takes a mapping, and this is a list
     2 |   - boot
       |   ^
");
    assert_snapshot!(said("stages:\n  boot:\n    name: one\n"), @r"
    a.yaml:3:5: error: boot takes a list, and this is a mapping
     3 |     name: one
       |     ^
");
    assert_snapshot!(said("stages:\n  boot:\n    - echo\n"), @r"
    a.yaml:3:7: error: an entry of boot takes a mapping, and this is a single value
     3 |     - echo
       |       ^
");
    assert_snapshot!(said("- echo\n"), @r"
    a.yaml:1:1: error: the document takes a mapping, and this is a list
     1 | - echo
       | ^
");
    assert_snapshot!(said("just words\n"), @r"
    a.yaml:1:1: error: the document takes a mapping, and this is a single value
     1 | just words
       | ^
");
}

#[test]
fn a_stage_that_is_nearly_one() {
    let loaded = strict("stages:\n  netwrok.before:\n    - commands: [a]\n");
    assert!(!loaded.has_errors());
    assert_snapshot!(shown(&loaded), @r"
    a.yaml:2:3: warning: nothing runs the stage netwrok by itself
     2 |   netwrok.before:
       |   ^
      help: did you mean network?
");
}

#[test]
fn contents_that_cannot_be_decoded() {
    let text = "\
stages:
  boot:
    - files:
        - path: /a
          encoding: b64
          content: '***'
        - path: /b
          encoding: base46
          content: aGk=
        - path: relative
          encoding: gzip+b64
          content: aGk
        - content: x
";
    assert_snapshot!(said(text), @r#"
    a.yaml:6:20: error: content is no base64: Invalid symbol 42, offset 0.
     6 |           content: '***'
       |                    ^
    a.yaml:8:21: error: "base46" is no encoding; there are b64, gzip and gzip+b64
     8 |           encoding: base46
       |                     ^
      help: did you mean base64?
    a.yaml:10:17: error: the path "relative" does not start with a slash
     10 |         - path: relative
        |                 ^
    a.yaml:12:20: error: content is no base64: Invalid padding
     12 |           content: aGk
        |                    ^
    a.yaml:13:11: error: the path is missing
     13 |         - content: x
        |           ^
"#);
    let text = "\
#cloud-config
write_files:
  - path: /a
    encoding: zstd
    content: x
";
    assert_snapshot!(said(text), @r#"
    a.yaml:4:15: error: "zstd" is no encoding; there are b64, gzip and gzip+b64
     4 |     encoding: zstd
       |               ^
"#);
}

#[test]
fn steps_that_wait_for_each_other() {
    let text = "\
stages:
  boot:
    - name: first
    - name: a
      after:
        - name: b
    - name: b
      commands: [b]
      after: [{name: a}]
";
    assert_snapshot!(said(text), @r"
    a.yaml:5:7: error: steps of stage boot wait for each other: a.yaml.a -> a.yaml.b -> a.yaml.a
     5 |       after:
       |       ^
");
}

#[test]
fn expressions_templates_and_other_words() {
    let text = "\
stages:
  boot:
    - node: '['
      only_service_manager: systemdd
      if: '{{ .Values.x'
      hostname: '{{ uper .Hostname }}'
      datasource: {providers: [cdrom, asw]}
      ensure_entities:
        - entity: 'kind: wizard'
        - entity: '- a'
      users:
        bob: {uid: one}
";
    assert_snapshot!(said(text), @r#"
    a.yaml:3:13: error: node is no regular expression: error: unclosed character class
     3 |     - node: '['
       |             ^
    a.yaml:4:29: error: only_service_manager is one of systemd, openrc, and not "systemdd"
     4 |       only_service_manager: systemdd
       |                             ^
      help: did you mean systemd?
    a.yaml:5:11: error: the template is wrong: if:1:3: unclosed action
     5 |       if: '{{ .Values.x'
       |           ^
    a.yaml:6:17: error: the template is wrong: hostname:1:4: unknown function "uper"
     6 |       hostname: '{{ uper .Hostname }}'
       |                 ^
      help: did you mean "upper"?
    a.yaml:7:39: error: there is no datasource named "asw"; the datasources are cdrom, nocloud, config-drive, vmware, file, aws, gcp, azure, openstack, digitalocean, hetzner, vultr, scaleway, packet, metaldata
     7 |       datasource: {providers: [cdrom, asw]}
       |                                       ^
      help: did you mean aws?
    a.yaml:9:19: error: the entity without a name: unknown variant `wizard`, expected one of `user`, `shadow`, `group`, `gshadow`
     9 |         - entity: 'kind: wizard'
       |                   ^
    a.yaml:10:19: error: an entity is one YAML mapping
     10 |         - entity: '- a'
        |                   ^
    a.yaml:12:20: error: uid takes a number, and this is "one"
     12 |         bob: {uid: one}
        |                    ^
"#);
}

#[test]
fn cloud_config_that_cannot_be_done() {
    let text = "\
#cloud-config
chpasswd:
  users: [{name: root, type: RANDOM}]
power_state:
  mode: sleep
growpart: {mode: gparted}
runcmd:
  - {a: b}
";
    assert_snapshot!(said(text), @r#"
    a.yaml:2:1: error: chpasswd: random passwords are not made: nobody would see them
    a.yaml:5:9: error: power_state: mode is poweroff, reboot or halt, and not "sleep"
     5 |   mode: sleep
       |         ^
    a.yaml:6:18: error: mode is one of auto, growpart, off, and not "gparted"
     6 | growpart: {mode: gparted}
       |                  ^
    a.yaml:8:5: error: an entry of runcmd takes a text or a list, and this is a mapping
     8 |   - {a: b}
       |     ^
"#);
    assert_snapshot!(said("#cloud-config\nchpasswd: {list: 'root:R'}\n"), @"a.yaml:2:1: error: chpasswd: random passwords are not made: nobody would see them");
    assert_snapshot!(said("#cloud-config\npower_state: {mode: halt, delay: soon}\n"), @r#"
    a.yaml:2:34: error: power_state: delay is now or minutes, as +30, and not "soon"
     2 | power_state: {mode: halt, delay: soon}
       |                                  ^
"#);
}

#[test]
fn cloud_config_keys_without_the_line() {
    assert_snapshot!(said("hostname: x\nstages: {}\n"), @r"
    a.yaml:1:1: error: hostname counts in #cloud-config documents alone
     1 | hostname: x
       | ^
      help: make #cloud-config the first line, or put the step under stages
");
}

#[test]
fn what_is_no_yaml() {
    assert_snapshot!(said("stages:\n  boot:\n  - a: 'b\n"), @r"
    a.yaml:3:8: error: unclosed quote
     3 |   - a: 'b
       |        ^
");
    assert_snapshot!(said("stages:\n\t- a\n"), @r"
    a.yaml:2:2: error: tabs disallowed within this context (block indentation)
     2 |  - a
       |  ^
");
    assert_snapshot!(said("a: b: c\n"), @r"
    a.yaml:1:5: error: mapping values are not allowed in this context
     1 | a: b: c
       |     ^
");
    assert_snapshot!(said("a: [b\n"), @r"
    a.yaml:1:4: error: unclosed bracket '['
     1 | a: [b
       |    ^
");
    assert_snapshot!(said("a: *nobody\n"), @r"
    a.yaml:1:4: error: while parsing node, found unknown anchor
     1 | a: *nobody
       |    ^
");
}

#[test]
fn lines_that_may_hold_secrets_are_not_shown() {
    for text in [
        "#cloud-config\nchpasswd:\n  list:\n    - root: hunter2\n",
        "#cloud-config\npassword: [hunter2]\n",
        "stages:\n  boot:\n  - git:\n      auth:\n        private_key:\n          - hunter2\n",
        "stages:\n  boot:\n  - systemd_firstboot:\n      root-password: [hunter2]\n",
    ] {
        let loaded = strict(text);
        assert!(loaded.has_errors(), "{text}");
        assert!(!shown(&loaded).contains("hunter2"), "{}", shown(&loaded));
        let json = serde_json::to_string(&loaded.diagnostics).unwrap();
        assert!(!json.contains("hunter2"), "{json}");
    }
}

#[test]
fn compatible_documents_are_warned_of_and_used() {
    let text = "\
stages:
  boot:
    - comands: [a]
      commands: [b]
      files: [{path: x, encoding: rot13}]
";
    let loaded = load("a.yaml", text.as_bytes(), Strictness::Compatible);
    assert!(!loaded.has_errors());
    assert_eq!(loaded.documents[0].stages[0].steps[0].step.commands, ["b"]);
    assert!(
        loaded
            .diagnostics
            .iter()
            .all(|one| one.severity == Severity::Warning)
    );
    assert_snapshot!(shown(&loaded), @r#"
    a.yaml:3:7: warning: unknown key "comands"
     3 |     - comands: [a]
       |       ^
      help: did you mean commands?
    a.yaml:5:22: warning: the path "x" does not start with a slash
     5 |       files: [{path: x, encoding: rot13}]
       |                      ^
    a.yaml:5:35: warning: "rot13" is no encoding; there are b64, gzip and gzip+b64
     5 |       files: [{path: x, encoding: rot13}]
       |                                   ^
"#);
    for word in ["true", "yes", "True"] {
        let strict = format!("strict: {word}\n{text}");
        let loaded = load("a.yaml", strict.as_bytes(), Strictness::Compatible);
        assert!(loaded.has_errors() && loaded.documents.is_empty(), "{word}");
    }
}

#[test]
fn one_wrong_document_of_several_does_not_stop_the_others() {
    let loaded =
        strict("stages: {boot: [{commands: [a]}]}\n---\nstags: {}\n---\nname: c\nstages: {}\n");
    let names: Vec<Option<&str>> = loaded
        .documents
        .iter()
        .map(|document| document.name.as_deref())
        .collect();
    assert_eq!(names, [None, Some("c")]);
    assert_snapshot!(shown(&loaded), @r#"
    a.yaml:3:1: error: unknown key "stags"
     3 | stags: {}
       | ^
      help: did you mean stages?
"#);
}

#[test]
fn many_mistakes_are_counted_and_not_all_listed() {
    let lines: String = (0..5000).map(|n| format!("x{n}: 1\n")).collect();
    let late = load(
        "a.yaml",
        format!("{lines}name: [a]\n").as_bytes(),
        Strictness::Compatible,
    );
    assert!(
        late.has_errors(),
        "the last line is an error behind many warnings"
    );
    assert!(late.documents.is_empty());
    assert!(late.diagnostics.len() < 300, "{}", late.diagnostics.len());
}
