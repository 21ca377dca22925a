//! After a fallback: why did the snapshot before it fail, if it left no word?

use super::note::{journal, lines, note};
use crate::OpsError;
use crate::machine::{Access, Machine, now};
use cos_events::{Monitor, warn};
use cos_store::{Failure, FailureStage, SnapshotId, Store, verify_snapshot};
use serde::Serialize;

/// So many boots back the journal is looked through.
const BOOTS: u32 = 12;

/// What was found out about a snapshot that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Diagnosis {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// Why its boots failed.
    pub reason: String,
}

/// Finds out why snapshots failed that left no note, by reading them from the disk and looking for their
/// boots in the journal, and notes that.
pub fn diagnose(machine: &Machine, monitor: &dyn Monitor) -> Result<Vec<Diagnosis>, OpsError> {
    if !machine.is_installed() {
        return Ok(Vec::new());
    }
    let mounted = machine.state(Access::Read)?;
    let mut found = Vec::new();
    let record = machine.boot_record(Access::Read)?;
    for id in record.known(mounted.store())?.failed {
        if mounted.store().failure(&id).is_some() {
            continue;
        }
        monitor.checkpoint()?;
        let Some(failure) = examine(mounted.store(), &id) else {
            continue;
        };
        warn(monitor, format!("snapshot {id}: {}", failure.reason));
        note(machine, &id, &failure)?;
        found.push(Diagnosis {
            snapshot: id,
            reason: failure.reason,
        });
    }
    Ok(found)
}

fn examine(store: &Store, id: &SnapshotId) -> Option<Failure> {
    let journal = last_boot_of(id);
    let (stage, reason) = match verify_snapshot(store, id) {
        Err(damage) => (FailureStage::Damaged, crate::error::chain(&damage)),
        Ok(_) if journal.is_empty() => return None,
        Ok(_) => (
            FailureStage::Silent,
            "its boot ended without a word (a kernel panic, a hang or a power cut); its files are sound"
                .to_owned(),
        ),
    };
    Some(Failure {
        stage,
        reason,
        time: now(),
        journal,
    })
}

/// The end of the journal of the last boot of a snapshot, where one was kept.
fn last_boot_of(id: &SnapshotId) -> Vec<String> {
    // As the boot loader says it on the command line, or cos-init of a sealed boot.
    let word = format!("snapshot[= ]{id}");
    for back in 1..=BOOTS {
        let boot = format!("-{back}");
        let arguments = [
            "--no-pager",
            "--quiet",
            "-k",
            "-b",
            &boot,
            "-o",
            "cat",
            "-n",
            "1",
            "-g",
            &word,
        ];
        if !lines("journalctl", &arguments).is_empty() {
            return journal(&boot);
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_named() {
        let temp = tempfile::tempdir().unwrap();
        let store = Store::with_checkpoint(temp.path(), |_| Ok(()));
        let id: SnapshotId = "0123456789ab".parse().unwrap();
        let failure = examine(&store, &id).unwrap();
        assert_eq!(failure.stage, FailureStage::Damaged);
        assert!(
            failure.reason.starts_with("its description cannot be read"),
            "{}",
            failure.reason
        );
    }
}
