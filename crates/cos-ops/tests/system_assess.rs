//! The judgement of a boot on a real ext4 that is mounted read-only, as in a running system.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at the machine with plain std and stop at the first surprise"
)]

use cos_boot::{Attempts, BootState, Tries};
use cos_events::Silent;
use cos_ops::assess::{Patience, Verdict, assess, diagnose, emergency, expire, mark_good};
use cos_ops::machine::{Machine, Places};
use cos_store::{FailureStage, SnapshotId, Store};
use cos_testkit::{TempDir, find_tool, need_tools, process};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const QUICK: Patience = Patience {
    limit: Duration::from_secs(20),
    tries: 2,
    pause: Duration::from_millis(10),
};

fn id(digit: char) -> SnapshotId {
    digit.to_string().repeat(12).parse().unwrap()
}

/// A machine that runs snapshot `b`, with `a` behind it.
struct Rig {
    directory: TempDir,
    machine: Machine,
}

impl Rig {
    fn new(trial: bool) -> Self {
        let directory = cos_testkit::temp_dir().unwrap();
        let (run, image) = (
            directory.path().join("run"),
            directory.path().join("state.img"),
        );
        let source = run.join("source");
        fs::create_dir_all(&source).unwrap();
        fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
        execute("mke2fs", &["-q", "-F", "-t", "ext4"], &[&image]);
        execute("mount", &["-o", "loop"], &[&image, &source]);
        fill(&Store::new(&source), trial);
        execute(
            "mount",
            &["-o", "remount,ro,nodev,nosuid,noexec"],
            &[&source],
        );
        fs::write(
            run.join("boot.json"),
            format!(
                "{{\"mode\": \"active\", \"snapshot\": \"{}\", \"root_hash\": \"\", \"source\": \"/dev/x\", \"trial\": {trial}}}",
                id('b')
            ),
        )
        .unwrap();
        let places = Places {
            lock: run.join("lock"),
            tpm: run.join("tpm"),
            run,
        };
        let machine = Machine::probe(&places).unwrap();
        Self { directory, machine }
    }

    fn store(&self) -> Store {
        self.machine.own_store()
    }

    fn check(&self, script: &str) {
        let path = self.root().join("etc/cos/health.d/50-test");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    fn verdict(&self) -> Verdict {
        assess(&self.machine, &self.root(), QUICK, &Silent)
            .unwrap()
            .1
    }

    /// What is written is on the disk, and the partition is as the initrd mounted it.
    fn assert_read_only(&self) {
        let source = self.machine.places.source();
        let options = process::text(
            Command::new(find_tool("findmnt").unwrap())
                .args(["--noheadings", "--output", "OPTIONS"])
                .arg(&source),
        )
        .unwrap();
        assert!(options.starts_with("ro,nosuid,nodev,noexec"), "{options}");
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        execute("umount", &[], &[&self.machine.places.source()]);
    }
}

fn execute(program: &str, arguments: &[&str], paths: &[&Path]) {
    let mut command = Command::new(find_tool(program).unwrap());
    process::run(command.args(arguments).args(paths)).unwrap();
}

fn fill(store: &Store, trial: bool) {
    for digit in ['a', 'b'] {
        let directory = store.directory(&id(digit));
        fs::create_dir_all(&directory).unwrap();
        for name in ["root.img", "vmlinuz", "initrd", "boot.cfg", "snapshot.yaml"] {
            fs::write(directory.join(name), "x").unwrap();
        }
    }
    let mut state = BootState::first(id('a'));
    state.trial.clear();
    let mut state = state.deploy(&id('b'), Tries::default()).unwrap();
    if !trial {
        state.trial.clear();
    }
    store.commit(&state).unwrap();
    let attempts = Attempts {
        snapshot: Some(id('b')),
        count: 1,
        ..Attempts::default().about(state.generation)
    };
    store.write_attempts(&attempts).unwrap();
}

/// Whether the test can run; if not, the skip is recorded.
fn can_run(test: &str) -> bool {
    if cos_testkit::is_root() {
        need_tools(&["mke2fs", "mount", "findmnt"]);
        return true;
    }
    cos_testkit::skip(test, "only root can mount");
    false
}

#[test]
fn a_good_boot_ends_the_trial() {
    if !can_run("a_good_boot_ends_the_trial") {
        return;
    }
    let rig = Rig::new(true);
    rig.check("[ \"$COS_TRIAL\" = 1 ]");
    assert_eq!(rig.verdict(), Verdict::GoOn);
    assert!(mark_good(&rig.machine).unwrap().proven);
    rig.assert_read_only();
    let state = rig.store().state().unwrap();
    assert!(state.trial.is_empty());
    assert_eq!(rig.store().attempts(&state).count, 0);
    // The deadline and a shell are nobody's business from here on.
    assert_eq!(expire(&rig.machine, &Silent), Verdict::GoOn);
    assert_eq!(emergency(&rig.machine, "quiet", &Silent), Verdict::GoOn);
    rig.check("exit 1");
    assert!(matches!(rig.verdict(), Verdict::GoOnAnyway { .. }));
    assert_eq!(rig.store().failure(&id('b')), None);
}

#[test]
fn a_trial_that_fails_leaves_its_reason_and_reboots() {
    if !can_run("a_trial_that_fails_leaves_its_reason_and_reboots") {
        return;
    }
    let rig = Rig::new(true);
    rig.check("echo the web is down; exit 3");
    let reason = "health check 50-test: exit status: 3: the web is down".to_owned();
    assert_eq!(
        rig.verdict(),
        Verdict::Reboot {
            reason: reason.clone()
        }
    );
    let failure = rig.store().failure(&id('b')).unwrap();
    assert_eq!(
        (failure.stage, failure.reason),
        (FailureStage::Health, reason)
    );
    assert!(failure.time > 1_700_000_000);
    let text = fs::read_to_string(rig.machine.places.run.join("assessment.json")).unwrap();
    assert!(text.contains("\"healthy\": false"), "{text}");

    assert!(matches!(
        expire(&rig.machine, &Silent),
        Verdict::Reboot { .. }
    ));
    let stage = |rig: &Rig| rig.store().failure(&id('b')).unwrap().stage;
    assert_eq!(stage(&rig), FailureStage::Deadline);
    let asked = emergency(&rig.machine, "quiet systemd.unit=emergency.target", &Silent);
    assert_eq!(asked, Verdict::GoOn);
    assert!(matches!(
        emergency(&rig.machine, "quiet rd.emergency=reboot", &Silent),
        Verdict::Reboot { .. }
    ));
    assert_eq!(stage(&rig), FailureStage::Emergency);
    rig.assert_read_only();
    // A boot that ends well after all leaves no reason behind.
    assert!(mark_good(&rig.machine).unwrap().proven);
    assert_eq!(rig.store().failure(&id('b')), None);
}

#[test]
fn what_was_good_before_is_only_told_of() {
    if !can_run("what_was_good_before_is_only_told_of") {
        return;
    }
    let rig = Rig::new(false);
    rig.check("exit 1");
    assert!(matches!(rig.verdict(), Verdict::GoOnAnyway { .. }));
    assert!(matches!(
        expire(&rig.machine, &Silent),
        Verdict::GoOnAnyway { .. }
    ));
    assert_eq!(rig.store().failure(&id('b')), None);
    // A boot without a shell, though, is none.
    assert!(matches!(
        emergency(&rig.machine, "quiet", &Silent),
        Verdict::Reboot { .. }
    ));
    assert!(!mark_good(&rig.machine).unwrap().proven);
    let state = rig.store().state().unwrap();
    assert_eq!(rig.store().attempts(&state).count, 0);
}

#[test]
fn damage_is_found_afterwards() {
    if !can_run("damage_is_found_afterwards") {
        return;
    }
    let rig = Rig::new(true);
    let source = rig.machine.places.source();
    execute("mount", &["-o", "remount,rw"], &[&source]);
    let state = rig.store().state().unwrap();
    let mut attempts = rig.store().attempts(&state);
    attempts.failed = vec![id('b')];
    rig.store().write_attempts(&attempts).unwrap();
    execute(
        "mount",
        &["-o", "remount,ro,nodev,nosuid,noexec"],
        &[&source],
    );
    let found = diagnose(&rig.machine, &Silent).unwrap();
    assert_eq!(found.len(), 1);
    let failure = rig.store().failure(&id('b')).unwrap();
    assert_eq!(failure.stage, FailureStage::Damaged);
    // What is noted is not asked for again.
    assert_eq!(diagnose(&rig.machine, &Silent).unwrap(), []);
    rig.assert_read_only();
}
