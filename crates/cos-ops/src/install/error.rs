//! Why an installation failed.

use crate::build::plan::PlanError;
use crate::build::sizes::Bytes;
use crate::deploy::DeployError;
use crate::install::config::ConfigError;
use crate::{ErrorKind, OpsError};
use cos_disk::DiskError;
use cos_disk::live::LayoutError;
use cos_events::Cancelled;
use cos_http::HttpError;
use cos_sys::detached_mount::DetachedError;
use cos_sys::loop_device::LoopError;
use cos_sys::root_path::RootPathError;
use cos_sys::tool::ToolError;
use std::io;
use std::path::PathBuf;

/// Why an installation failed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The user asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// The snapshot could not be made or deployed.
    #[error(transparent)]
    Deploy(#[from] DeployError),
    /// The disk cannot be laid out.
    #[error("cannot lay out the disk")]
    Plan(#[from] PlanError),
    /// The configuration file.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No disk was named.
    #[error("no disk is named; this machine has:\n{list}")]
    NoDevice {
        /// The disks, one a line.
        list: String,
    },
    /// Nothing to install was named.
    #[error("no image is named, and this system was not booted live by cOS")]
    NoSource,
    /// The report of the boot cannot be used.
    #[error("cannot read {}", .path.display())]
    Running {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file in the place of a disk.
    #[error("{} is a file, no disk", .device.display())]
    IsFile {
        /// The file.
        device: PathBuf,
    },
    /// The disk is used by somebody.
    #[error("{} is in use: {}", .device.display(), .users.join(", "))]
    InUse {
        /// The disk.
        device: PathBuf,
        /// By whom.
        users: Vec<String>,
    },
    /// The disk is a machine's already.
    #[error("{} holds a cOS deployment", .device.display())]
    Deployed {
        /// The disk.
        device: PathBuf,
    },
    /// The disk holds something else.
    #[error("{} is not empty: it holds {what}", .device.display())]
    NotEmpty {
        /// The disk.
        device: PathBuf,
        /// What is there.
        what: String,
    },
    /// A disk whose sectors are no 512 bytes.
    #[error("{} has sectors of {size} bytes; cOS installs to disks with 512", .device.display())]
    SectorSize {
        /// The disk.
        device: PathBuf,
        /// Bytes of a sector.
        size: u32,
    },
    /// Partitions to be used are not there.
    #[error("{} has no partition {}", .device.display(), .missing.join(", "))]
    Missing {
        /// The disk.
        device: PathBuf,
        /// Names of those that are missing.
        missing: Vec<&'static str>,
    },
    /// A partition that cannot be used as it is.
    #[error("partition {number} ({name}) of {} cannot be used: {reason}", .device.display())]
    Unusable {
        /// The disk.
        device: PathBuf,
        /// Its number.
        number: u32,
        /// What it is to be.
        name: &'static str,
        /// Why not.
        reason: String,
    },
    /// What goes onto an existing partition does not fit.
    #[error("partition {name} needs {} free and has {}", Bytes(*.needed), Bytes(*.free))]
    NoSpace {
        /// Which one.
        name: &'static str,
        /// Bytes.
        needed: u64,
        /// Bytes.
        free: u64,
    },
    /// The image does not boot by the firmware that is wanted.
    #[error("the image brings no boot loader for {firmware}")]
    Firmware {
        /// `BIOS`, `UEFI`.
        firmware: &'static str,
    },
    /// The existing partitions have no place for the BIOS' loader.
    #[error("a BIOS could not boot from these partitions")]
    NoBiosPlace,
    /// A cloud-config could not be read.
    #[error("cannot read the cloud-config {path}")]
    CloudConfig {
        /// File or URL.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A cloud-config could not be fetched.
    #[error("cannot fetch the cloud-config {url}")]
    Fetch {
        /// Where from, without secrets.
        url: String,
        /// Why.
        source: HttpError,
    },
    /// The disk itself.
    #[error(transparent)]
    Disk(#[from] LayoutError),
    /// A program is missing.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// A part of the disk could not be written.
    #[error("cannot write {what} on {}", .device.display())]
    Write {
        /// What.
        what: &'static str,
        /// The disk.
        device: PathBuf,
        /// Why.
        source: DiskError,
    },
    /// A partition could not be got at.
    #[error("cannot get at partition {name} of {}", .device.display())]
    Loop {
        /// Which one.
        name: String,
        /// The disk.
        device: PathBuf,
        /// Why.
        source: LoopError,
    },
    /// A partition could not be mounted.
    #[error("cannot look into partition {name} of {}", .device.display())]
    Mount {
        /// Which one.
        name: String,
        /// The disk.
        device: PathBuf,
        /// Why.
        source: Box<DetachedError>,
    },
    /// Files on a partition could not be written.
    #[error("cannot write to partition {name}")]
    WriteFiles {
        /// Which partition.
        name: String,
        /// Why.
        source: RootPathError,
    },
    /// The disk could not be brought to rest.
    #[error("cannot flush {}", .device.display())]
    Flush {
        /// The disk.
        device: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The table that is read is not the one that was written.
    #[error("the partition table of {} does not read back as it was written", .device.display())]
    ReadBack {
        /// The disk.
        device: PathBuf,
    },
}

impl From<OpsError> for InstallError {
    fn from(error: OpsError) -> Self {
        Self::Deploy(error.into())
    }
}

impl InstallError {
    /// Whose fault it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Cancelled(_) => ErrorKind::Cancelled,
            Self::Deploy(error) => error.kind(),
            Self::Firmware { .. } => ErrorKind::Image,
            Self::Plan(_)
            | Self::Config(_)
            | Self::NoDevice { .. }
            | Self::NoSource
            | Self::IsFile { .. }
            | Self::InUse { .. }
            | Self::Deployed { .. }
            | Self::NotEmpty { .. }
            | Self::SectorSize { .. }
            | Self::Missing { .. }
            | Self::Unusable { .. }
            | Self::NoSpace { .. }
            | Self::NoBiosPlace
            | Self::CloudConfig { .. }
            | Self::Disk(LayoutError::NotADisk { .. } | LayoutError::Find { .. }) => {
                ErrorKind::Request
            }
            _ => ErrorKind::Host,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Deploy(error) => return error.hint(),
            Self::Plan(PlanError::Size(error)) => return error.hint(),
            Self::Plan(PlanError::Disk(error)) => return error.hint(),
            Self::Fetch { source, .. } => return source.hint(),
            Self::Disk(error) => return error.hint(),
            Self::Tool(error) => return error.hint(),
            Self::NoDevice { .. } => "name one: cos install /dev/DISK".to_owned(),
            Self::NoSource => "name an image: --image REF".to_owned(),
            Self::IsFile { .. } => "--force takes it for a disk".to_owned(),
            Self::InUse { .. } => "unmount it, or take another disk".to_owned(),
            Self::Deployed { .. } => {
                "--force overwrites it; to bring a machine back, use `cos reset`".to_owned()
            }
            Self::NotEmpty { .. } => "--force overwrites it".to_owned(),
            Self::Missing { .. } => {
                "partitions are found by their name in the GPT or the label of their file system"
                    .to_owned()
            }
            Self::NoBiosPlace => {
                "a BIOS boot partition is needed, and the EFI system partition as \
                 number 2; or use --firmware efi"
                    .to_owned()
            }
            Self::Firmware { .. } => {
                "--firmware bios or --firmware efi, for a disk of another machine".to_owned()
            }
            _ => return None,
        })
    }
}

impl DeployError {
    /// Whose fault it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Cancelled(_) => ErrorKind::Cancelled,
            Self::Ops(error) => error.kind(),
            _ => ErrorKind::Host,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Ops(error) => error.hint(),
            _ => None,
        }
    }
}
