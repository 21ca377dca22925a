//! Changes of what boots that need no new snapshot: back to another one, kept or not, once.

use crate::OpsError;
use crate::machine::{self, Access, Machine, Target};
use cos_boot::{BootState, Once, TransitionError};
use cos_store::{SnapshotId, Store};
use serde::Serialize;

/// A change that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Changed {
    /// The snapshot that boots by default.
    pub active: SnapshotId,
    /// Those behind it.
    pub passive: Vec<SnapshotId>,
    /// What boots once, at the next boot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub once: Option<String>,
    /// Whether anything is different now.
    pub changed: bool,
}

/// Makes another snapshot active: the one before, or `to`.
pub fn roll_back(machine: &Machine, to: Option<&SnapshotId>) -> Result<Changed, OpsError> {
    change(machine, "rollback", |state, store| {
        let next = state.roll_back(&machine.boot.snapshot, to)?;
        // Better no rollback than one to something that cannot boot.
        store.is_whole(&next.active)?;
        Ok(next)
    })
}

/// Keeps a snapshot from being removed to make room, or lets it be again.
pub fn pin(machine: &Machine, id: &SnapshotId, pinned: bool) -> Result<Changed, OpsError> {
    let operation = if pinned { "pin" } else { "unpin" };
    change(machine, operation, |state, _| Ok(state.pin(id, pinned)?))
}

/// Boots something once, at the next boot; `None` takes that back.
pub fn boot_once(machine: &Machine, once: Option<Once>) -> Result<Changed, OpsError> {
    change(machine, "boot once", |state, _| Ok(state.boot_once(once)?))
}

fn change(
    machine: &Machine,
    operation: &'static str,
    next: impl FnOnce(&BootState, &Store) -> Result<BootState, OpsError>,
) -> Result<Changed, OpsError> {
    if machine.boot.mode == machine::Mode::Live {
        return Err(OpsError::WrongMode {
            operation,
            mode: machine.boot.mode,
        });
    }
    let _lock = machine::lock(&machine.places, operation)?;
    let mounted = machine.state(Access::Write)?;
    let store = mounted.store();
    let record = machine.boot_record(Access::Write)?;
    record.complete(store, Target::System)?;
    let before = record.known(store)?;
    let after = next(&before, store)?;
    let changed = after
        != BootState {
            generation: after.generation,
            ..before
        };
    if changed {
        record.commit(store, &after, Target::System)?;
    }
    Ok(Changed {
        active: after.active,
        passive: after.passive,
        once: after.once.map(|once| once.to_string()),
        changed,
    })
}

/// The snapshot that a user's text names: a whole id, or a beginning that only one has.
pub fn find(machine: &Machine, text: &str) -> Result<SnapshotId, OpsError> {
    let mounted = machine.state(Access::Read)?;
    let state = mounted.store().state()?;
    let mut found = state
        .snapshots()
        .filter(|id| !text.is_empty() && id.as_str().starts_with(text));
    match (found.next(), found.next()) {
        (Some(id), None) => Ok(id.clone()),
        (Some(_), Some(_)) => Err(OpsError::Ambiguous {
            text: text.to_owned(),
        }),
        (None, _) => match text.parse() {
            Ok(id) => Err(TransitionError::Unknown(id).into()),
            Err(source) => Err(OpsError::SnapshotName(source)),
        },
    }
}
