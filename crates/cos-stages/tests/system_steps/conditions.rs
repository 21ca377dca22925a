//! What keeps a step from running: never an error, and always with a reason.

use crate::scratch::scratch;
use cos_stages::{StepResult, Summary};
use insta::assert_snapshot;

/// Every step and why it was skipped.
fn reasons(summary: &Summary) -> String {
    assert!(!summary.failed(), "{summary}");
    let line = |step: &cos_stages::StepSummary| {
        let name = step.step.rsplit('.').next().unwrap_or_default();
        match (&step.result, &step.reason) {
            (StepResult::Done, None) => format!("{name} runs\n"),
            (StepResult::Skipped, Some(reason)) => format!("{name} because {reason}\n"),
            other => panic!("{name}: {other:?}"),
        }
    };
    summary.steps.iter().map(line).collect()
}

#[test]
fn every_condition() {
    let Some(scratch) = scratch("every_condition") else {
        return;
    };
    scratch.put("etc/there", "");
    scratch.put("usr/lib/systemd/systemd", "");
    let summary = scratch.run(
        "stages:
  boot:
    - {name: if-yes, if: '[ -e /etc/there ]'}
    - {name: if-no, if: '[ -e /etc/nothing ]'}
    - {name: if-template, if: '[ \"{{ .Values.os.vendor }}\" = testos ]'}
    - {name: if-template-wrong, if: '{{ fail \"x\" }}'}
    - {name: node-any, node: .}
    - {name: node-no, node: ^no-such-host$}
    - {name: os-id, only_os: ^test}
    - {name: os-name, only_os: '^Test OS$'}
    - {name: os-no, only_os: debian|ubuntu}
    - {name: version, only_os_version: '^12\\.'}
    - {name: version-no, only_os_version: ^13}
    - {name: arch-no, only_arch: ^vax$}
    - {name: arch, only_arch: '^(amd64|arm64|.*)$'}
    - {name: manager, only_service_manager: systemd}
    - {name: manager-no, only_service_manager: openrc}
    - {name: all, if_files: {all: [/etc/there, /etc/passwd]}}
    - {name: all-no, if_files: {all: [/etc/there, /etc/nothing]}}
    - {name: any, if_files: {any: [/etc/nothing, /etc/passwd]}}
    - {name: any-no, if_files: {any: [/etc/nothing, /etc/nobody]}}
    - {name: none, if_files: {none: [/etc/nothing]}}
    - {name: none-no, if_files: {none: [/etc/nothing, /etc/there]}}
    - {name: two, only_os: test, if: 'false'}
",
    );
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_snapshot!(reasons(&summary).replace(&format!("{:?}", host.trim()), "HOST").replace(&format!("{:?}", architecture()), "ARCH"), @r#"
    if-yes runs
    if-no because if: [ -e /etc/nothing ] (exit status: 1)
    if-template runs
    if-template-wrong because if: cannot fill in the template if: if:1:4: fail: x
    node-any runs
    node-no because node: HOST does not match ^no-such-host$
    os-id runs
    os-name runs
    os-no because only_os: "testos" does not match debian|ubuntu
    version runs
    version-no because only_os_version: "12.4" does not match ^13
    arch-no because only_arch: ARCH does not match ^vax$
    arch runs
    manager runs
    manager-no because only_service_manager: openrc is wanted, and this is "systemd"
    all runs
    all-no because if_files: /etc/nothing is not there
    any runs
    any-no because if_files: none of /etc/nothing, /etc/nobody is there
    none runs
    none-no because if_files: /etc/there is there
    two because if: false (exit status: 1)
"#);
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[test]
fn a_plan_says_the_same_and_changes_nothing() {
    let Some(scratch) = scratch("a_plan_says_the_same_and_changes_nothing") else {
        return;
    };
    let text = "name: web
stages:
  boot.before: [{name: early, commands: [touch /early]}]
  boot:
    - {name: tools, only_os: debian, commands: [touch /tools]}
    - {name: marks, if: '[ -e /etc/passwd ]', files: [{path: /mark, content: x}]}
";
    let summary = scratch.preview(text, &["boot.before", "boot", "boot.after"]);
    assert_snapshot!(summary.to_string(), @r#"
    run   boot.before      web.early  (1.yaml:3)
    skip  boot             web.tools  (1.yaml:5)
          because only_os: "testos" does not match debian
    run   boot             web.marks  (1.yaml:6)
    stage boot.before: 2 to run, 1 to skip
"#);
    assert!(!scratch.exists("early") && !scratch.exists("mark") && !scratch.exists("tools"));
}
