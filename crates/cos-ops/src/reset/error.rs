//! Why a reset failed.

use crate::deploy::DeployError;
use crate::{ErrorKind, OpsError};
use cos_disk::DiskError;
use cos_disk::live::LayoutError;
use cos_events::Cancelled;
use cos_sys::block::BlockError;
use cos_sys::detached_mount::DetachedError;
use cos_sys::tool::ToolError;
use std::io;
use std::path::PathBuf;

/// Why a reset failed.
#[derive(Debug, thiserror::Error)]
pub enum ResetError {
    /// The user asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// The snapshot could not be made or deployed.
    #[error(transparent)]
    Deploy(#[from] DeployError),
    /// The system that runs is the one that would be replaced.
    #[error("the system that runs cannot be reset from itself")]
    Installed,
    /// A sealed machine is reset to its recovery system.
    #[error("a sealed machine is reset to its recovery system, and to no other image")]
    SealedImage,
    /// Not a system of cOS.
    #[error("this system was not booted by cOS")]
    NotCos,
    /// In a live system nobody knows which disk is meant.
    #[error("a live system can reset any disk, and none is named")]
    NoDevice,
    /// A disk is named where it is known.
    #[error("recovery resets the disk it was booted from, {}", .device.display())]
    OtherDevice {
        /// The device booted from.
        device: PathBuf,
    },
    /// Block devices could not be listed.
    #[error("cannot look for the partitions")]
    Devices(#[source] BlockError),
    /// A device is not there.
    #[error("there is no disk {}", .device.display())]
    NoDisk {
        /// The device.
        device: PathBuf,
    },
    /// A partition is missing.
    #[error("disk {disk} has no partition {label}")]
    NoPartition {
        /// Label of its file system.
        label: &'static str,
        /// The disk.
        disk: String,
    },
    /// A partition is used by somebody.
    #[error("{} is in use", .device.display())]
    InUse {
        /// The partition.
        device: PathBuf,
        /// Why it is not let go.
        source: io::Error,
    },
    /// A partition could not be mounted.
    #[error("cannot get at the files of {}", .device.display())]
    Mount {
        /// The partition.
        device: PathBuf,
        /// Why.
        source: Box<DetachedError>,
    },
    /// A file system could not be made.
    #[error("cannot make the file system {label} on {}", .device.display())]
    Format {
        /// Its label.
        label: &'static str,
        /// The partition.
        device: PathBuf,
        /// Why.
        source: DiskError,
    },
    /// A file system could not be made by its tool.
    #[error(transparent)]
    Make(#[from] LayoutError),
    /// A program is missing.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// A partition could not be opened or read.
    #[error("cannot use {}", .device.display())]
    Open {
        /// The partition.
        device: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl From<OpsError> for ResetError {
    fn from(error: OpsError) -> Self {
        Self::Deploy(error.into())
    }
}

impl ResetError {
    /// Whose fault it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Cancelled(_) => ErrorKind::Cancelled,
            Self::Deploy(error) => error.kind(),
            Self::Installed
            | Self::SealedImage
            | Self::NotCos
            | Self::NoDevice
            | Self::OtherDevice { .. }
            | Self::NoDisk { .. }
            | Self::NoPartition { .. } => ErrorKind::Request,
            _ => ErrorKind::Host,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Deploy(error) => return error.hint(),
            Self::Make(error) => return error.hint(),
            Self::Tool(error) => return error.hint(),
            Self::Installed => {
                "boot into recovery first: `cos boot once recovery`, restart, then `cos reset`"
                    .to_owned()
            }
            Self::NoDevice => "name it: cos reset /dev/DISK".to_owned(),
            Self::NoPartition { .. } => {
                "to write the whole disk anew, use `cos install`".to_owned()
            }
            Self::InUse { .. } => "stop what uses it, or unmount it".to_owned(),
            _ => return None,
        })
    }
}
