//! A mount that only this process sees, and that goes away with it, however it ends.

use crate::mount::{Mount, MountError, mount, unmount};
use fs_err::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// Why a file system could not be mounted for this process alone.
#[derive(Debug, thiserror::Error)]
pub enum DetachedError {
    /// The mount itself, or taking it out of sight again.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The mount point could not be made or opened.
    #[error("cannot mount something on {}", .path.display())]
    Target {
        /// The mount point.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A mounted file system without a place in the tree: reached through an open directory, by a path
/// that means something to this process only. Unmounted when dropped.
#[derive(Debug)]
pub struct DetachedMount {
    directory: File,
    path: PathBuf,
}

impl DetachedMount {
    /// Mounts a device. `scratch` is an existing directory in which a mount point is made and removed
    /// again.
    pub fn new(
        device: &Path,
        fstype: &str,
        options: &str,
        scratch: &Path,
    ) -> Result<Self, DetachedError> {
        let target = scratch.join("mounted");
        let failed = |source| DetachedError::Target {
            path: target.clone(),
            source,
        };
        fs_err::create_dir_all(&target).map_err(failed)?;
        mount(&Mount {
            source: device.display().to_string(),
            target: target.clone(),
            fstype: fstype.to_owned(),
            options: options.to_owned(),
        })?;
        let directory = File::open(&target);
        // Out of sight; it lasts as long as the open directory does.
        unmount(&target, true)?;
        drop(fs_err::remove_dir(&target));
        let directory = directory.map_err(failed)?;
        let path = format!("/proc/self/fd/{}", directory.as_raw_fd()).into();
        Ok(Self { directory, path })
    }

    /// The root of the file system.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The root of the file system, open.
    pub fn directory(&self) -> &File {
        &self.directory
    }
}
