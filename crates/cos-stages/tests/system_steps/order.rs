//! Steps one after another, and some of them failing.

use crate::scratch::scratch;
use cos_stages::{StepResult, Summary};
use insta::assert_snapshot;
use std::time::{Duration, Instant};

/// A summary with its times left out.
fn timeless(summary: &Summary) -> String {
    let text = summary.to_string();
    let mut lines: Vec<&str> = text.lines().collect();
    let last = lines
        .pop()
        .unwrap()
        .split(" in ")
        .next()
        .unwrap()
        .to_owned();
    format!("{}\n{last}", lines.join("\n"))
}

#[test]
fn files_then_steps_and_after() {
    let Some(scratch) = scratch("files_then_steps_and_after") else {
        return;
    };
    let mark = |name: &str, more: &str| {
        format!("    - {{name: {name}, {more} commands: ['echo {name} >>/marks']}}\n")
    };
    let one = format!(
        "stages:\n  boot:\n{}{}{}  boot.after:\n{}",
        mark("a", ""),
        mark("late", "after: [{name: 2.yaml.d}],"),
        mark("b", ""),
        mark("end", ""),
    );
    let two = format!(
        "stages:\n  boot.before:\n{}  boot:\n{}{}",
        mark("start", ""),
        mark("c", ""),
        mark("d", ""),
    );
    let summary = scratch.run_all(&[&one, &two], &["boot.before", "boot", "boot.after"]);
    assert!(!summary.failed(), "{summary}");
    let marks: Vec<String> = scratch.text("marks").lines().map(str::to_owned).collect();
    assert_eq!(marks, ["start", "a", "c", "d", "late", "b", "end"]);
}

#[test]
fn a_circle_between_files_stops_nobody_else() {
    let Some(scratch) = scratch("a_circle_between_files_stops_nobody_else") else {
        return;
    };
    let one = "stages: {boot: [{name: x, after: [{name: y}], commands: [touch /x]}]}";
    let two = "stages: {boot: [{name: y, after: [{name: x}]}, {name: z, commands: ['echo >/z']}]}";
    let summary = scratch.run_all(&[one, two], &["boot"]);
    assert!(summary.failed());
    assert_eq!(
        summary.errors,
        ["steps of stage boot wait for each other: 1.yaml.x -> 2.yaml.y -> 1.yaml.x"]
    );
    assert!(scratch.exists("z") && !scratch.exists("x"));
}

#[test]
fn the_keys_of_a_step_run_in_yips_order() {
    let Some(scratch) = scratch("the_keys_of_a_step_run_in_yips_order") else {
        return;
    };
    scratch.step(
        "users: {bob: {}}
commands:
- cat() { while read -r line; do echo \"$line\"; done; }; cat </file >/seen
- 'while IFS=: read -r name rest; do [ $name = bob ] && echo yes >/bob; done </etc/passwd; [ ! -e /bob ]'
environment: {A: b}
files: [{path: /dir/file, content: x}, {path: /file, content: \"from files\\n\"}]
directories: [{path: /dir, permissions: 0711}]",
    );
    assert_eq!(
        scratch.text("seen"),
        "from files\n",
        "files before commands"
    );
    assert_eq!(
        scratch.metadata("dir"),
        "0711 0:0",
        "directories before files"
    );
    assert!(!scratch.exists("bob"), "users after commands");
}

#[test]
fn a_failing_step_is_told_and_the_rest_goes_on() {
    let Some(scratch) = scratch("a_failing_step_is_told_and_the_rest_goes_on") else {
        return;
    };
    let summary = scratch.run(
        "name: web
stages:
  boot:
    - name: broken
      commands:
        - echo starting; echo 'no such service' >&2; exit 3
        - echo still here; echo >/later
        - kill -9 $$
        - 'true {{ nil | fail }}'
      files:
        - {path: /good, content: x}
    - name: fine
      commands: ['echo >/fine']
    - {name: elsewhere, only_os: plan9}
",
    );
    assert!(summary.failed());
    assert!(scratch.exists("later") && scratch.exists("good") && scratch.exists("fine"));
    assert_snapshot!(timeless(&summary), @r#"
    FAIL  boot             web.broken  (1.yaml:4)
          commands: echo starting; echo 'no such service' >&2; exit 3: exit status: 3
          commands: kill -9 $$: signal: 9 (SIGKILL)
          commands: cannot fill in the template command: command:1:9: nil is not a command
          | starting
          | no such service
          | still here
    done  boot             web.fine  (1.yaml:12)
    skip  boot             web.elsewhere  (1.yaml:14)
          because only_os: "testos" does not match plan9
    stage boot: 1 done, 1 failed, 1 skipped
"#);
    let root = cos_sys::root_path::Root::open(scratch.temp.path()).unwrap();
    summary.keep(&root).unwrap();
    assert_eq!(scratch.metadata("run/cos/stages/boot.json"), "0600 0:0");
    let kept: serde_json::Value =
        serde_json::from_str(&scratch.text("run/cos/stages/boot.json")).unwrap();
    let step = &kept["steps"][0];
    assert_eq!(
        (&step["step"], &step["result"]),
        (&"web.broken".into(), &"failed".into())
    );
    assert_eq!(step["failures"][0]["key"], "commands");
    assert_eq!(step["output"], "starting\nno such service\nstill here\n");
    assert_eq!(step["line"], 4);
    assert!(step["duration_ms"].is_u64());
    assert_eq!(kept["steps"][2]["result"], "skipped");
    assert!(
        kept["steps"][2]["reason"]
            .as_str()
            .unwrap()
            .contains("plan9")
    );
}

#[test]
fn the_end_of_long_output_is_kept() {
    let Some(scratch) = scratch("the_end_of_long_output_is_kept") else {
        return;
    };
    let step = "commands: ['i=0; while [ $i -lt 20000 ]; do echo \"line $i ü\"; i=$((i+1)); done; exit 1']";
    let summary = scratch.run(&crate::scratch::document(step));
    let output = &summary.steps[0].output;
    assert!(
        output.len() <= 8 << 10 && output.ends_with("line 19999 ü\n"),
        "{}",
        output.len()
    );
}

#[test]
fn secrets_of_commands_are_not_told() {
    let Some(scratch) = scratch("secrets_of_commands_are_not_told") else {
        return;
    };
    let summary = scratch.run(
        "stages:
  boot:
    - if: '[ hunter2 = \"$PASSWORD\" ]'
    - commands: ['register --token hunter2; exit 1']
    - systemd_firstboot: {root-password: hunter2}
    - git: {url: 'https://me:hunter2@127.0.0.1:1/x', path: /srv/x}
",
    );
    assert!(summary.failed());
    assert_eq!(summary.steps[0].result, StepResult::Skipped);
    assert!(!summary.to_string().contains("hunter2"), "{summary}");
}

#[test]
fn templates_without_end_fail_their_step_alone() {
    let Some(scratch) = scratch("templates_without_end_fail_their_step_alone") else {
        return;
    };
    let started = Instant::now();
    let summary = scratch.run(
        "stages:
  boot:
    - name: loops
      files:
      - {path: /a, content: '{{ range until 1000000000 }}x{{ end }}'}
      - {path: /b, content: '{{ define \"t\" }}{{ template \"t\" }}{{ end }}{{ template \"t\" }}'}
      - {path: /c, content: '{{ repeat 1000000000 \"x\" }}'}
      - {path: /d, content: '{{ range until 90000 }}{{ range until 90000 }}{{ end }}{{ end }}'}
      commands: ['{{ randAlphaNum 1000000000 }}']
    - commands: ['echo >/fine']
",
    );
    assert!(
        started.elapsed() < Duration::from_secs(30),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(summary.steps[0].failures.len(), 5, "{summary}");
    assert!(scratch.exists("fine") && !scratch.exists("a"));
}

#[test]
fn ten_thousand_steps_are_run() {
    let Some(scratch) = scratch("ten_thousand_steps_are_run") else {
        return;
    };
    let steps: String = (0..10_000)
        .map(|n| format!("  - {{name: n{n}, only_os: test}}\n"))
        .collect();
    let started = Instant::now();
    let summary = scratch.run(&format!("stages:\n  boot:\n{steps}"));
    assert_eq!(summary.steps.len(), 10_000);
    assert!(!summary.failed());
    assert!(
        started.elapsed() < Duration::from_mins(1),
        "{:?}",
        started.elapsed()
    );
}
