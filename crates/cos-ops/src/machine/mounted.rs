//! What is mounted for as long as it is needed.

use super::MachineError;
use cos_store::Store;
use cos_sys::mount::{self, Mount};
use std::path::{Path, PathBuf};

/// The options of such a mount, besides whether it can be written.
const OPTIONS: &str = "nodev,nosuid,noexec";

/// What a partition is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// To look at.
    Read,
    /// To change.
    Write,
}

/// How it is left behind.
#[derive(Debug)]
enum Afterwards {
    Nothing,
    ReadOnly,
    Unmounted,
}

/// A mounted partition; made read-only, or unmounted, when dropped.
#[derive(Debug)]
pub(crate) struct Mounted {
    place: PathBuf,
    afterwards: Afterwards,
}

impl Mounted {
    /// A device, mounted for this purpose.
    pub(super) fn new(
        device: &Path,
        target: &Path,
        fstype: &str,
        access: Access,
    ) -> Result<Self, MachineError> {
        fs_err::create_dir_all(target).map_err(|source| MachineError::Prepare {
            path: target.to_owned(),
            source,
        })?;
        let mode = match access {
            Access::Read => "ro",
            Access::Write => "rw",
        };
        mount::mount(&Mount {
            source: device.display().to_string(),
            target: target.to_owned(),
            fstype: fstype.into(),
            options: format!("{mode},{OPTIONS}"),
        })?;
        Ok(Self {
            place: target.to_owned(),
            afterwards: Afterwards::Unmounted,
        })
    }

    /// A place where the initrd mounted something read-only.
    fn in_place(place: &Path, access: Access) -> Result<Self, MachineError> {
        let mut afterwards = Afterwards::Nothing;
        if access == Access::Write {
            thaw(place)?;
            mount::remount(place, false, OPTIONS)?;
            afterwards = Afterwards::ReadOnly;
        }
        Ok(Self {
            place: place.to_owned(),
            afterwards,
        })
    }

    /// Where it is mounted.
    pub(crate) fn place(&self) -> &Path {
        &self.place
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // What is left writable or mounted does no harm; what is on the disk counts.
        drop(match self.afterwards {
            Afterwards::Nothing => Ok(()),
            Afterwards::ReadOnly => mount::remount(&self.place, true, OPTIONS),
            Afterwards::Unmounted => mount::unmount(&self.place, true),
        });
    }
}

/// A store on a mounted partition.
#[derive(Debug)]
pub struct MountedStore {
    store: Store,
    _mounted: Mounted,
}

impl MountedStore {
    fn of(mounted: Mounted) -> Self {
        Self {
            store: Store::new(mounted.place()),
            _mounted: mounted,
        }
    }

    /// The store at a place where the initrd mounted it read-only.
    pub(super) fn in_place(place: &Path, access: Access) -> Result<Self, MachineError> {
        Ok(Self::of(Mounted::in_place(place, access)?))
    }

    /// The store on a device, mounted for this purpose.
    pub(super) fn mounted(
        device: &Path,
        target: &Path,
        access: Access,
    ) -> Result<Self, MachineError> {
        let mounted = Mounted::new(device, target, "ext4", access)?;
        if access == Access::Write {
            thaw(target)?;
        }
        Ok(Self::of(mounted))
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }
}

/// An operation that was killed may have left the file system frozen.
fn thaw(place: &Path) -> Result<(), MachineError> {
    cos_sys::checkpoint::thaw(place)
        .map(drop)
        .map_err(|source| MachineError::Prepare {
            path: place.to_owned(),
            source,
        })
}
