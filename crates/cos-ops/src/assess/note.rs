//! Notes on COS_STATE of why a boot failed, for the system that boots after it.

use super::program;
use crate::OpsError;
use crate::machine::{self, Access, Machine, MachineError, now};
use cos_store::{Failure, FailureStage, SnapshotId};
use cos_sys::lock::Lock;
use cos_sys::tool::in_root;
use std::thread;
use std::time::{Duration, Instant};

/// How long a program of systemd's may take to tell something.
const LIMIT: Duration = Duration::from_secs(20);
/// How long another operation is waited for. A reboot that saves the machine is not kept waiting.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a lock is asked for.
const INTERVAL: Duration = Duration::from_millis(500);
/// Lines of a journal that are kept.
const LINES: &str = "60";

/// Takes the lock of operations, waiting for another one to end.
pub(super) fn wait_for_lock(
    machine: &Machine,
    operation: &str,
    patience: Duration,
) -> Result<Lock, MachineError> {
    let start = Instant::now();
    loop {
        match machine::lock(&machine.places, operation) {
            Err(MachineError::Locked { .. }) if start.elapsed() < patience => {
                thread::sleep(INTERVAL);
            }
            ended => return ended,
        }
    }
}

/// Notes why this boot failed, with the end of its journal.
pub(super) fn note_this_boot(
    machine: &Machine,
    stage: FailureStage,
    reason: &str,
) -> Result<(), OpsError> {
    let failure = Failure {
        stage,
        reason: reason.to_owned(),
        time: now(),
        journal: journal("0"),
    };
    note(machine, &machine.boot.snapshot, &failure)
}

/// Notes why a boot of a snapshot failed.
pub(super) fn note(machine: &Machine, id: &SnapshotId, failure: &Failure) -> Result<(), OpsError> {
    let _lock = wait_for_lock(machine, "boot assessment", PATIENCE)?;
    let mounted = machine.state(Access::Write)?;
    mounted.store().note_failure(id, failure)?;
    Ok(())
}

/// The end of the journal of a boot, as `journalctl -b` counts them.
pub(super) fn journal(boot: &str) -> Vec<String> {
    lines(
        "journalctl",
        &["--no-pager", "--quiet", "-b", boot, "-n", LINES],
    )
}

/// What a program of systemd's says, line by line; nothing when it cannot be asked.
pub(super) fn lines(program: &str, arguments: &[&str]) -> Vec<String> {
    let mut command = in_root(None, program);
    command.args(arguments);
    let Ok(ended) = program::run(command, LIMIT) else {
        return Vec::new();
    };
    if !ended.status.is_some_and(|status| status.success()) {
        return Vec::new();
    }
    ended.output.lines().map(str::to_owned).collect()
}
