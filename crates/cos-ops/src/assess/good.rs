//! A boot that is good.

use super::note::wait_for_lock;
use crate::OpsError;
use crate::machine::{Access, BootRecord, Machine, Target};
use cos_boot::{Attempts, BootState};
use cos_store::{SnapshotId, Store, StoreError};
use serde::Serialize;
use std::time::Duration;

/// An upgrade that is at work at boot is waited for as long.
const PATIENCE: Duration = Duration::from_mins(10);

/// What was made of a good boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Marked {
    /// The snapshot that runs.
    pub snapshot: SnapshotId,
    /// Whether its trial ended with this boot.
    pub proven: bool,
    /// Why its version could not be noted as the lowest for later upgrades, or only without the TPM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor_problem: Option<String>,
}

/// Marks the boot in progress as good: ends the trial of its snapshot, and gives back the tries that the
/// boot loader took. A recovery or live system has neither.
pub fn mark_good(machine: &Machine) -> Result<Marked, OpsError> {
    let id = &machine.boot.snapshot;
    if !machine.is_installed() {
        return Ok(Marked {
            snapshot: id.clone(),
            proven: false,
            floor_problem: None,
        });
    }
    let _lock = wait_for_lock(machine, "boot good", PATIENCE)?;
    let mounted = machine.state(Access::Write)?;
    let store = mounted.store();
    let record = machine.boot_record(Access::Write)?;
    let proven = mark(store, &record, id)?;
    if proven {
        store.forget_failure(id)?;
    }
    // The boot was good, whether or not that could be noted.
    let raised = crate::trust::raise_floor(store, id, &machine.places.tpm);
    Ok(Marked {
        snapshot: id.clone(),
        proven,
        floor_problem: raised.err().map(|error| crate::error::chain(&error)),
    })
}

fn mark(store: &Store, record: &BootRecord, id: &SnapshotId) -> Result<bool, OpsError> {
    record.complete(store, Target::System)?;
    let state = store.state()?;
    let attempts = record.attempts(store, &state)?;
    let next = if state.trial.contains(id) {
        Some(state.with_attempts(&attempts).prove(id)?)
    } else {
        None
    };
    let committed = match &next {
        Some(next) => record.commit(store, next, Target::System),
        None => Ok(()),
    };
    // Where the trial cannot be ended, its tries are given back all the same: the boot was good.
    let notes = match (&next, &committed) {
        (Some(next), Ok(())) => Attempts::default().about(next.generation),
        _ => attempts.after_good_boot(),
    };
    store.write_attempts(&notes)?;
    committed?;
    Ok(next.is_some())
}

/// Whether the boot of a snapshot still has to become good.
pub(super) fn is_open(store: &Store, id: &SnapshotId) -> Result<Open, StoreError> {
    let state: BootState = store.state()?;
    let tried = store.attempts(&state).snapshot;
    Ok(Open {
        trial: state.trial.contains(id),
        boot: state.trial.contains(id) || tried.as_ref() == Some(id),
    })
}

/// What has not been settled yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Open {
    /// The snapshot is on trial.
    pub trial: bool,
    /// The boot is not good yet.
    pub boot: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use cos_boot::{ATTEMPT_ENVIRONMENT, Tries};
    use cos_store::{BOOT_CONFIG, INITRD, KERNEL, METADATA, ROOT_IMAGE};

    fn id(digit: char) -> SnapshotId {
        digit.to_string().repeat(12).parse().unwrap()
    }

    /// A store with snapshots `b` (active, on trial) and `a`, of which the boot loader tried `tried`.
    fn store(root: &std::path::Path, tried: char) -> (Store, BootState) {
        let store = Store::with_checkpoint(root, |_| Ok(()));
        for digit in ['a', 'b'] {
            let directory = store.directory(&id(digit));
            fs_err::create_dir_all(&directory).unwrap();
            for name in [BOOT_CONFIG, INITRD, KERNEL, METADATA, ROOT_IMAGE] {
                fs_err::write(directory.join(name), "x").unwrap();
            }
        }
        let mut state = BootState::first(id('a'));
        state.trial.clear();
        let state = state.deploy(&id('b'), Tries::default()).unwrap();
        store.commit(&state).unwrap();
        let attempts = Attempts {
            generation: state.generation,
            snapshot: Some(id(tried)),
            count: 1,
            failed: (tried == 'a').then(|| id('b')).into_iter().collect(),
            once_done: false,
        };
        store.write_attempts(&attempts).unwrap();
        (store, state)
    }

    #[test]
    fn a_good_boot_ends_the_trial_and_gives_tries_back() {
        let temp = tempfile::tempdir().unwrap();
        let (store, before) = store(temp.path(), 'b');
        assert!(is_open(&store, &id('b')).unwrap().trial);
        assert!(mark(&store, &BootRecord::default(), &id('b')).unwrap());
        let state = store.state().unwrap();
        assert_eq!(state.generation, before.generation + 1);
        assert!(state.trial.is_empty());
        assert_eq!(
            store.attempts(&state),
            Attempts::default().about(state.generation)
        );
        let open = is_open(&store, &id('b')).unwrap();
        assert_eq!(
            open,
            Open {
                trial: false,
                boot: false
            }
        );
        // The next good boot changes no state.
        assert!(!mark(&store, &BootRecord::default(), &id('b')).unwrap());
        assert_eq!(store.state().unwrap(), state);
    }

    #[test]
    fn a_good_boot_of_the_passive_after_a_fallback_keeps_what_was_given_up() {
        let temp = tempfile::tempdir().unwrap();
        let (store, before) = store(temp.path(), 'a');
        assert!(is_open(&store, &id('a')).unwrap().boot);
        assert!(!mark(&store, &BootRecord::default(), &id('a')).unwrap());
        let state = store.state().unwrap();
        assert_eq!(state, before);
        let attempts = store.attempts(&state);
        assert_eq!(
            (attempts.count, attempts.failed.as_slice()),
            (0, &[id('b')][..])
        );
        assert!(!is_open(&store, &id('a')).unwrap().boot);
    }

    #[test]
    fn damaged_notes_are_made_anew() {
        let temp = tempfile::tempdir().unwrap();
        let (store, _) = store(temp.path(), 'a');
        fs_err::write(temp.path().join(ATTEMPT_ENVIRONMENT), "damaged").unwrap();
        mark(&store, &BootRecord::default(), &id('a')).unwrap();
        let bytes = fs_err::read(temp.path().join(ATTEMPT_ENVIRONMENT)).unwrap();
        assert!(Attempts::from_bytes(&bytes).is_ok());
    }

    #[test]
    fn tries_are_given_back_even_where_the_trial_cannot_be_ended() {
        let temp = tempfile::tempdir().unwrap();
        let (store, state) = store(temp.path(), 'b');
        fs_err::remove_file(store.directory(&id('b')).join(INITRD)).unwrap();
        assert!(mark(&store, &BootRecord::default(), &id('b')).is_err());
        assert_eq!(store.attempts(&state).count, 0);
    }
}
