//! A store that is mounted for as long as it is needed.

use super::MachineError;
use cos_store::Store;
use cos_sys::mount::{self, Mount};
use std::path::{Path, PathBuf};

/// The options of such a mount, besides whether it can be written.
const OPTIONS: &str = "nodev,nosuid,noexec";

/// What a store is wanted for.
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

/// A mounted store; made read-only, or unmounted, when dropped.
#[derive(Debug)]
pub struct MountedStore {
    store: Store,
    afterwards: Afterwards,
}

impl MountedStore {
    /// The store at a place where the initrd mounted it read-only.
    pub(super) fn in_place(place: &Path, access: Access) -> Result<Self, MachineError> {
        let mut afterwards = Afterwards::Nothing;
        if access == Access::Write {
            thaw(place)?;
            mount::remount(place, false, OPTIONS)?;
            afterwards = Afterwards::ReadOnly;
        }
        Ok(Self {
            store: Store::new(place),
            afterwards,
        })
    }

    /// The store on a device, mounted for this purpose.
    pub(super) fn mounted(
        device: &Path,
        target: &PathBuf,
        access: Access,
    ) -> Result<Self, MachineError> {
        fs_err::create_dir_all(target).map_err(|source| MachineError::Prepare {
            path: target.clone(),
            source,
        })?;
        let mode = match access {
            Access::Read => "ro",
            Access::Write => "rw",
        };
        mount::mount(&Mount {
            source: device.display().to_string(),
            target: target.clone(),
            fstype: "ext4".into(),
            options: format!("{mode},{OPTIONS}"),
        })?;
        let mounted = Self {
            store: Store::new(target),
            afterwards: Afterwards::Unmounted,
        };
        if access == Access::Write {
            thaw(target)?;
        }
        Ok(mounted)
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

impl Drop for MountedStore {
    fn drop(&mut self) {
        let root = self.store.root();
        // What is left writable or mounted does no harm; what is on the disk counts.
        drop(match self.afterwards {
            Afterwards::Nothing => Ok(()),
            Afterwards::ReadOnly => mount::remount(root, true, OPTIONS),
            Afterwards::Unmounted => mount::unmount(root, true),
        });
    }
}
