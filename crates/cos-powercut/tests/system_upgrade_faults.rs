//! `cos upgrade` killed at its system calls, and disks that cannot write: a reduced form of `cargo xtask
//! powercut --faults`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_macros,
    clippy::print_stdout,
    reason = "a test fails by panicking, and these show what they found"
)]

use cos_powercut::disk::Histories;
use cos_powercut::faults::{Outcome, fail_writes, kill_upgrades};
use cos_powercut::unavailable;
use std::path::Path;

const UPGRADE: &str = env!("CARGO_BIN_EXE_cos-powercut-upgrade");

fn can_run(name: &str) -> bool {
    if let Some(reason) = unavailable() {
        cos_testkit::skip(name, &reason);
        return false;
    }
    cos_testkit::need_tools(&["mke2fs", "debugfs", "e2fsck", "losetup", "strace"]);
    true
}

fn show(what: &str, outcome: &Outcome) {
    let Outcome {
        faults, old, new, ..
    } = outcome;
    println!("{what}: {faults} faults; the old {old} times, the new {new} times");
    for line in outcome.said.iter().chain(&outcome.trouble) {
        println!("  {line}");
    }
}

#[test]
fn killed_at_its_system_calls_an_upgrade_leaves_the_old_or_the_new() {
    if can_run("killed_at_its_system_calls_an_upgrade_leaves_the_old_or_the_new") {
        let histories = Histories::new().unwrap();
        let outcome = kill_upgrades(&histories, Path::new(UPGRADE), 200).unwrap();
        show("killed", &outcome);
        assert_eq!(outcome.trouble, Vec::<String>::new());
        assert!(
            outcome.old > 0 && outcome.new > 0 && outcome.faults > 20,
            "{outcome:?}"
        );
    }
}

#[test]
fn a_disk_that_cannot_write_a_sector_leaves_the_old_or_the_new() {
    if can_run("a_disk_that_cannot_write_a_sector_leaves_the_old_or_the_new") {
        let outcome = fail_writes(3).unwrap();
        show("a bad sector", &outcome);
        assert_eq!(outcome.trouble, Vec::<String>::new());
        assert!(outcome.old > 0, "{outcome:?}");
    }
}
