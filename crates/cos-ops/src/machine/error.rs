//! Why a machine cannot be worked on.

use cos_sys::block::BlockError;
use cos_sys::mount::MountError;
use std::io;
use std::path::PathBuf;

/// Why a machine cannot be worked on.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// The caller is not root.
    #[error("only root can do this")]
    NotRoot,
    /// Not a system that cos-init started.
    #[error("this system was not booted by cOS: there is no {}", .path.display())]
    NotCos {
        /// What is missing.
        path: PathBuf,
    },
    /// The report of the boot cannot be used.
    #[error("cannot read {}", .path.display())]
    ReadReport {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another operation is at work.
    #[error("another operation is at work: {holder}")]
    Locked {
        /// Which one.
        holder: String,
    },
    /// The lock could not be taken.
    #[error("cannot take the lock {}", .path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Block devices could not be listed.
    #[error("cannot look for the partitions")]
    Devices(#[source] BlockError),
    /// The disk booted from cannot be found any more.
    #[error("{} is not there any more", .device.display())]
    SourceGone {
        /// The device booted from.
        device: PathBuf,
    },
    /// A partition is missing.
    #[error("disk {disk} has no partition {label}")]
    NoPartition {
        /// Label of its file system.
        label: String,
        /// The disk.
        disk: String,
    },
    /// A partition could not be mounted, or made writable.
    #[error("cannot get at the partition's files")]
    Mount(#[from] MountError),
    /// A frozen file system could not be thawed, or a mount point not made.
    #[error("cannot prepare {}", .path.display())]
    Prepare {
        /// Which path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl MachineError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(
            match self {
                Self::NotRoot => "run it with sudo, or as root",
                Self::NotCos { .. } => "to put cOS onto a disk of this machine, use `cos install`",
                Self::Locked { .. } => "wait until it has ended",
                _ => return None,
            }
            .to_owned(),
        )
    }
}
