//! Putting a snapshot where others may be: beside them, then in their place.

use crate::OpsError;
use crate::build::payload::BuildRequest;
use crate::build::payload::{Payload, create};
use crate::build::running::RunningSnapshot;
use crate::hooks::{HookError, Hooks, RootImage};
use crate::machine::{BootRecord, Target};
use crate::root::convert::ImageRequest;
use crate::root::snapshot::boot_config;
use cos_boot::{Attempts, BootState, SnapshotId};
use cos_events::{Cancelled, Monitor, Task};
use cos_store::{Action, Damage, Store, StoreError, verify_snapshot};
use fs_err::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use tempfile::TempDir;

/// Bytes copied between two questions whether to stop.
const CHUNK: usize = 1 << 20;
/// What must stay free beside a snapshot's files: directories and metadata.
const SLACK: u64 = 4 << 20;

/// What a snapshot is made from.
#[derive(Debug, Clone)]
pub enum SnapshotSource {
    /// An image.
    Image(Box<ImageRequest>),
    /// The system that runs.
    Running(RunningSnapshot),
}

/// Why a snapshot could not be deployed.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// The user asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// The snapshot could not be made.
    #[error(transparent)]
    Ops(#[from] OpsError),
    /// The store.
    #[error("cannot change the snapshots")]
    Store(#[from] StoreError),
    /// A file could not be copied.
    #[error("cannot copy {name} of snapshot {id}")]
    Copy {
        /// Which file.
        name: String,
        /// Which snapshot.
        id: SnapshotId,
        /// Why.
        source: std::io::Error,
    },
    /// What was written is not what is read.
    #[error("snapshot {id} does not read back from {place} as it was written")]
    ReadBack {
        /// Which snapshot.
        id: SnapshotId,
        /// Where it is.
        place: &'static str,
        /// What is wrong.
        source: Damage,
    },
    /// A hook failed.
    #[error("hook {moment} failed")]
    Hook {
        /// Its moment: `before-install`.
        moment: String,
        /// Why.
        source: HookError,
    },
}

/// Makes the payload of an operation, with what the machine's hooks make of it.
pub(crate) fn payload(
    source: &SnapshotSource,
    kernel_arguments: &str,
    action: Action,
    now: i64,
    temp_dir: &Path,
    hooks: &dyn Hooks,
    monitor: &dyn Monitor,
) -> Result<Payload, DeployError> {
    let mut payload = match source {
        SnapshotSource::Image(image) => {
            let request = BuildRequest {
                image: (**image).clone(),
                kernel_arguments: kernel_arguments.to_owned(),
                temp_dir: Some(temp_dir.to_owned()),
                output: temp_dir.to_owned(),
            };
            Payload::build(&request, None, action, monitor)?
        }
        SnapshotSource::Running(running) => {
            let directory = scratch(temp_dir)?;
            Payload::of_running(running, kernel_arguments, directory, monitor)?
        }
    };
    let scratch = payload.directory.path().join("hook");
    fs_err::create_dir_all(&scratch).map_err(|source| OpsError::TempDir {
        directory: scratch.clone(),
        source,
    })?;
    let root = RootImage {
        path: &payload.parts.root,
        root_hash: &payload.snapshot.root_hash,
        hash_offset: payload.snapshot.hash_offset,
        scratch: &scratch,
    };
    let changed = hooks
        .after_chroot(&root)
        .map_err(|source| hook("after", action, "-chroot", source))?;
    if let Some(new) = changed {
        if payload.snapshot.program.is_some() {
            return Err(OpsError::SealedRoot.into());
        }
        payload.replace_root(new.path, &new.verity)?;
    }
    payload.belong_to_machine(action, now)?;
    Ok(payload)
}

/// What a failed hook is.
pub(crate) fn hook(moment: &str, action: Action, suffix: &str, source: HookError) -> DeployError {
    let operation = match action {
        Action::Reset => "reset",
        _ => "install",
    };
    DeployError::Hook {
        moment: format!("{moment}-{operation}{suffix}"),
        source,
    }
}

/// A directory for temporary data, gone when dropped.
pub(crate) fn scratch(parent: &Path) -> Result<TempDir, OpsError> {
    let made = tempfile::Builder::new().prefix(".cos-").tempdir_in(parent);
    made.map_err(|source| OpsError::TempDir {
        directory: parent.to_path_buf(),
        source,
    })
}

/// Bytes a snapshot takes on the file system it goes onto.
pub(crate) fn needed(payload: &Payload) -> u64 {
    let files = payload.sizes().into_iter();
    files.map(|size| size.next_multiple_of(4096)).sum::<u64>() + SLACK
}

/// Bytes that can be written in the file system of a path.
pub(crate) fn free_bytes(path: &Path) -> std::io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Whether the snapshot is in the store already, every byte of it.
pub(crate) fn is_there(store: &Store, payload: &Payload) -> bool {
    let wanted = &payload.snapshot;
    verify_snapshot(store, &wanted.id).is_ok_and(|found| {
        found.root_hash == wanted.root_hash
            && found.kernel == wanted.kernel
            && found.initrd == wanted.initrd
            && found.program == wanted.program
    })
}

/// Writes the snapshot into the store and reads it back. Nothing boots it yet. One that is there
/// already and is sound stays as it is.
pub(crate) fn write(
    store: &Store,
    payload: &Payload,
    place: &'static str,
    monitor: &dyn Monitor,
) -> Result<(), DeployError> {
    let id = &payload.snapshot.id;
    let old = store.state().unwrap_or(BootState::first(id.clone()));
    store.collect(&old, &[])?;
    if is_there(store, payload) {
        return Ok(());
    }
    let draft = store.draft()?;
    let task = Task::bytes(
        monitor,
        format!("write snapshot {id} to {place}"),
        Some(payload.sizes().iter().sum()),
    );
    for (name, from) in payload.parts.named(&payload.snapshot) {
        let target = draft.directory().join(name);
        let copied = copy(from, &target, &task, monitor)?;
        copied.map_err(|source| DeployError::Copy {
            name: name.to_owned(),
            id: id.clone(),
            source,
        })?;
    }
    draft.finish(&payload.snapshot, &boot_config(&payload.snapshot)?)?;
    task.finish();
    monitor.checkpoint()?;
    let task = Task::items(
        monitor,
        format!("read snapshot {id} back from {place}"),
        None,
    );
    read_back(store, id, place)?;
    task.finish();
    Ok(())
}

/// Reads a snapshot from the disk, every byte of it.
pub(crate) fn read_back(
    store: &Store,
    id: &SnapshotId,
    place: &'static str,
) -> Result<(), DeployError> {
    verify_snapshot(store, id)
        .map(drop)
        .map_err(|source| DeployError::ReadBack {
            id: id.clone(),
            place,
            source,
        })
}

/// Makes the snapshot the only one that boots from the store, and removes all others. Returns what
/// was removed.
pub(crate) fn commit(
    store: &Store,
    record: &BootRecord,
    id: &SnapshotId,
) -> Result<Vec<String>, DeployError> {
    let mut state = BootState::first(id.clone());
    if let Ok(old) = store.state() {
        state.generation = old.generation + 1;
        store.repair_attempts(&old)?;
    }
    store.stage(None)?;
    record.commit(store, &state, Target::System)?;
    store.write_attempts(&Attempts::default().about(state.generation))?;
    store.forget_failures(&[])?;
    Ok(store.collect(&state, &[])?)
}

type Copied = Result<(), std::io::Error>;

fn copy(
    from: &Path,
    to: &Path,
    task: &Task<'_>,
    monitor: &dyn Monitor,
) -> Result<Copied, DeployError> {
    let mut source = match File::open(from) {
        Ok(source) => source,
        Err(error) => return Ok(Err(error)),
    };
    let mut target = create(to)?;
    let mut buffer = vec![0; CHUNK];
    loop {
        monitor.checkpoint()?;
        let copied = source.read(&mut buffer).and_then(|read| {
            target.write_all(&buffer[..read])?;
            Ok(read)
        });
        match copied {
            Ok(0) => return Ok(Ok(())),
            Ok(read) => task.advance(read as u64),
            Err(error) => return Ok(Err(error)),
        }
    }
}
