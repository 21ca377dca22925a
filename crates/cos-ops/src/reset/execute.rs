//! Carrying a reset out.

use super::partitions::{mount, release};
use super::{Fate, Prepared, ResetError, ResetRequest};
use crate::build::payload::{Payload, PlacedFile, step};
use crate::deploy::{self, DeployError};
use crate::hooks::Hooks;
use crate::machine::BootRecord;
use crate::sealed::Loader;
use cos_disk::ext4::{self, Ext4Content, Ext4Entry, Ext4Options, Ext4Tools};
use cos_disk::live::{FileSystem, Maker, claim};
use cos_disk::{Source, sparse};
use cos_events::{Monitor, Task};
use cos_store::{Action, Store, VERSION_FLOOR, VersionFloor};
use cos_sys::probe::{self, label_on};
use fs_err::{File, OpenOptions};
use std::path::{Path, PathBuf};

/// Bytes at the beginning of a partition that say what it is.
const SUPERBLOCKS: u64 = 1 << 20;

/// A partition to be made anew, and what makes it.
struct Wipe<'w> {
    label: &'static str,
    device: &'w PathBuf,
    maker: Option<Maker>,
}

/// Everything that can be refused is, before anything is changed; then the snapshot, the commit, and
/// what is wiped.
pub(super) fn run(
    request: &ResetRequest,
    prepared: &Prepared,
    hooks: &dyn Hooks,
    monitor: &dyn Monitor,
) -> Result<(), ResetError> {
    let payload = &prepared.payload;
    let state = &request.partitions.state;
    let search_path = request.search_path.as_deref();
    let tools = Ext4Tools::find(search_path).map_err(|source| ResetError::Format {
        label: "COS_STATE",
        device: state.clone(),
        source,
    })?;
    let wipes = wipes(request)?;
    let loader = match &request.partitions.loader {
        Some(device) if request.is_sealed => {
            Some(mount(device, "vfat", "rw", payload.directory.path())?)
        }
        _ => None,
    };
    let record = match &loader {
        Some(mounted) => BootRecord::sealed(Loader::new(mounted.path())),
        None => BootRecord::default(),
    };
    monitor.checkpoint()?;
    release(state)?;
    for wipe in &wipes {
        release(wipe.device)?;
        drop(claim(wipe.device).map_err(|source| ResetError::InUse {
            device: wipe.device.clone(),
            source,
        })?);
    }
    if matches!(prepared.fate, Fate::Anew { .. }) {
        step(monitor, "write COS_STATE", || {
            let mut entries = payload.files.iter().cloned().map(entry).collect::<Vec<_>>();
            // At no moment is there a machine that may go back.
            entries.extend(floor(&prepared.new_floor(&request.tpm)));
            format(&tools, state, "COS_STATE", payload, &entries)
        })?;
    }
    let scratch = payload.directory.path();
    let mounted = mount(state, "ext4", "rw", scratch)?;
    let store = Store::new(mounted.path());
    deploy::write(&store, payload, "COS_STATE", monitor)?;
    mend_floor(&store, request, prepared)?;
    hooks
        .after()
        .map_err(|source| deploy::hook("after", Action::Reset, "", source))?;
    step(monitor, "switch COS_STATE", || {
        deploy::commit(&store, &record, &payload.snapshot.id).map_err(ResetError::from)
    })?;
    drop(mounted);
    for wipe in &wipes {
        // The new system is committed: nothing is left half done from here on.
        let task = Task::items(monitor, format!("make {}", wipe.label), None);
        match &wipe.maker {
            Some(maker) => {
                clear(wipe.device)?;
                maker.run(wipe.device)?;
            }
            None => format(&tools, wipe.device, wipe.label, payload, &[])?,
        }
        task.finish();
    }
    Ok(())
}

/// Notes the floor of a machine where it was lost. Nothing is deployed unasked while it is.
fn mend_floor(
    store: &Store,
    request: &ResetRequest,
    prepared: &Prepared,
) -> Result<(), ResetError> {
    let is_kept = matches!(prepared.fate, Fate::Kept { .. });
    if is_kept && prepared.floor.lost().is_some() {
        let mended = store.set_floor(&prepared.new_floor(&request.tpm));
        mended.map_err(DeployError::from)?;
    }
    Ok(())
}

/// The note of the floor, as a file of a new file system.
fn floor(floor: &VersionFloor) -> Option<Ext4Entry> {
    let text = floor.to_text()?;
    Some(Ext4Entry {
        path: VERSION_FLOOR.to_owned(),
        mode: 0o644,
        content: Ext4Content::File(Source::Bytes(text.into_bytes())),
    })
}

fn entry(file: PlacedFile) -> Ext4Entry {
    Ext4Entry {
        path: file.path,
        mode: 0o644,
        content: Ext4Content::File(file.source),
    }
}

fn wipes(request: &ResetRequest) -> Result<Vec<Wipe<'_>>, ResetError> {
    let partitions = &request.partitions;
    let mut wipes = Vec::new();
    if let Some(device) = partitions
        .persistent
        .as_ref()
        .filter(|_| request.persistent)
    {
        let label = "COS_PERSISTENT";
        let maker = filesystem_of(device)?
            .map(|filesystem| {
                let label = label_on(filesystem.name(), label);
                Maker::find(filesystem, label, request.search_path.as_deref())
            })
            .transpose()?;
        wipes.push(Wipe {
            label,
            device,
            maker,
        });
    }
    if let Some(device) = partitions.oem.as_ref().filter(|_| request.oem) {
        // Always one that GRUB reads.
        wipes.push(Wipe {
            label: "COS_OEM",
            device,
            maker: None,
        });
    }
    Ok(wipes)
}

/// The file system that a partition keeps, where it is not ext4.
fn filesystem_of(device: &Path) -> Result<Option<FileSystem>, ResetError> {
    let found = File::open(device).and_then(|file| probe::probe(&file));
    let found = found.map_err(|source| ResetError::Open {
        device: device.to_owned(),
        source,
    })?;
    Ok(match found.map(|found| found.kind) {
        Some("xfs") => Some(FileSystem::Xfs),
        Some("btrfs") => Some(FileSystem::Btrfs),
        _ => None,
    })
}

fn open(device: &Path) -> Result<File, ResetError> {
    let opened = OpenOptions::new().read(true).write(true).open(device);
    opened.map_err(|source| ResetError::Open {
        device: device.to_owned(),
        source,
    })
}

/// Makes sure that nothing of the old file system is taken for the new one's.
fn clear(device: &Path) -> Result<(), ResetError> {
    let file = claim(device).map_err(|source| ResetError::InUse {
        device: device.to_owned(),
        source,
    })?;
    let cleared = sparse::clear(&file, 0, SUPERBLOCKS).and_then(|()| file.sync_all());
    cleared.map_err(|source| ResetError::Open {
        device: device.to_owned(),
        source,
    })
}

fn format(
    tools: &Ext4Tools,
    device: &Path,
    label: &'static str,
    payload: &Payload,
    entries: &[Ext4Entry],
) -> Result<(), ResetError> {
    clear(device)?;
    let file = open(device)?;
    let failed = |source| ResetError::Open {
        device: device.to_owned(),
        source,
    };
    let size = sparse::size_of(&file).map_err(failed)?;
    let uuid = payload.identity.uuid(&format!("{label} file system"));
    let options = Ext4Options::new(label, uuid, payload.time);
    let made = ext4::format(tools, &file, 0, size, &options, entries);
    made.map_err(|source| ResetError::Format {
        label,
        device: device.to_owned(),
        source,
    })?;
    file.sync_all().map_err(failed)
}
