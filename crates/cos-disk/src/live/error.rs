//! What can go wrong.

use super::FileSystem;
use cos_events::Cancelled;
use cos_sys::block::BlockError;
use cos_sys::gpt::GptError;
use cos_sys::mount::MountError;
use cos_sys::tool::ToolError;
use std::io;
use std::path::PathBuf;

/// Why the partitions of a disk could not be laid out.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// Not a file system that can be made.
    #[error("unknown file system {name:?}")]
    UnknownFileSystem {
        /// The name.
        name: String,
    },
    /// A label that the file system cannot have.
    #[error("{filesystem} cannot have the label {label:?}: {reason}")]
    Label {
        /// The label.
        label: String,
        /// The file system.
        filesystem: FileSystem,
        /// Why.
        reason: &'static str,
    },
    /// A name that the table cannot have.
    #[error("partition name {name:?} is longer than 36 UTF-16 units or holds control characters")]
    PartitionName {
        /// The name.
        name: String,
    },
    /// A partition to add with neither label nor name.
    #[error("a partition to add has neither a file system label nor a name")]
    Unnamed,
    /// Two partitions to add are known by the same name.
    #[error("partition {label} is to be added twice")]
    Twice {
        /// The label.
        label: String,
    },
    /// A size that no disk has.
    #[error("no disk has {size_mib} MiB")]
    AbsurdSize {
        /// In MiB.
        size_mib: u64,
    },
    /// A file system does not fit the partition that is to hold it.
    #[error("partition {label} is too small for {filesystem}, which takes {} MiB", .needed >> 20)]
    TooSmall {
        /// The label.
        label: String,
        /// The file system.
        filesystem: FileSystem,
        /// Bytes.
        needed: u64,
    },
    /// More partitions than the table has entries.
    #[error("the partition table has no room for more partitions")]
    TooManyPartitions,
    /// A partition was to be added behind one that takes all that is free.
    #[error("partition {label} takes all that is free, but is not the last to be added")]
    RestNotLast {
        /// The label of that which takes everything.
        label: String,
    },
    /// What is wanted does not fit behind the last partition.
    #[error("{what} needs {} MiB, but {} has {} MiB free", .needed >> 20, .disk.display(), .available >> 20)]
    NoRoom {
        /// The disk.
        disk: PathBuf,
        /// What does.
        what: String,
        /// Bytes.
        needed: u64,
        /// Bytes behind the last partition.
        available: u64,
    },
    /// There is no last partition.
    #[error("{} has no partition that could be expanded", .disk.display())]
    NothingToExpand {
        /// The disk.
        disk: PathBuf,
    },

    /// The machine's disks could not be listed.
    #[error("cannot look for the disk")]
    Devices(#[source] BlockError),
    /// A device could not be found.
    #[error("cannot find the disk {}", .path.display())]
    Find {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A path of something else.
    #[error("{} is no disk or partition", .path.display())]
    NotADisk {
        /// The path.
        path: PathBuf,
    },
    /// No disk bears a label.
    #[error("no disk has a file system or partition labelled {label:?}")]
    NoSuchLabel {
        /// The label.
        label: String,
    },
    /// Several disks bear a label, none of which is the one the system booted from.
    #[error("several disks have a file system or partition labelled {label:?}: {}", .disks.join(", "))]
    Ambiguous {
        /// The label.
        label: String,
        /// Their device nodes.
        disks: Vec<String>,
    },
    /// A device could not be opened.
    #[error("cannot open {}", .path.display())]
    Open {
        /// The device.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else holds the lock of the disk.
    #[error("{} is locked by another program", .path.display())]
    Locked {
        /// The disk.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A device could not be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The device.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },

    /// A table of the old kind.
    #[error("{} has an MBR partition table; only GUID partition tables are changed", .disk.display())]
    Mbr {
        /// The disk.
        disk: PathBuf,
    },
    /// No table.
    #[error("{} has no partition table", .disk.display())]
    NoTable {
        /// The disk.
        disk: PathBuf,
    },
    /// A file system or the like on the whole disk.
    #[error("{} has no partition table, but holds {kind}", .disk.display())]
    Occupied {
        /// The disk.
        disk: PathBuf,
        /// What it holds.
        kind: &'static str,
    },
    /// Too small for a table.
    #[error("{} is too small for a partition table", .disk.display())]
    DiskTooSmall {
        /// The disk.
        disk: PathBuf,
    },
    /// Something uses the whole disk.
    #[error("{} is in use", .disk.display())]
    Busy {
        /// The disk.
        disk: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The table could not be read or written, or the kernel not be told of it.
    #[error("cannot change the partitions of {}", .disk.display())]
    Table {
        /// The disk.
        disk: PathBuf,
        /// Why.
        source: GptError,
    },
    /// What the kernel knows is not what the table says.
    #[error("the kernel has another idea of partition {number} of {} than its table", .disk.display())]
    KernelDisagrees {
        /// The disk.
        disk: PathBuf,
        /// The partition.
        number: u32,
    },
    /// The kernel made no random identity for a new table.
    #[error("cannot make up an identity for the disk: {reason}")]
    Random {
        /// Why.
        reason: String,
    },
    /// The device node of a partition does not appear.
    #[error("partition {number} of {} has no device node after {seconds} seconds", .disk.display())]
    NoNode {
        /// The disk.
        disk: PathBuf,
        /// The partition.
        number: u32,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The remains of something else could not be removed from the place of a new partition.
    #[error("cannot clear the place of a new partition on {}", .path.display())]
    Clear {
        /// The disk or partition.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },

    /// The tool that is needed is not there.
    #[error("cannot lay out {} without a tool", .disk.display())]
    MissingTool {
        /// The disk.
        disk: PathBuf,
        /// Which.
        source: ToolError,
    },
    /// A file system could not be made.
    #[error("cannot make the file system {label} on {}", .device.display())]
    Make {
        /// Its label.
        label: String,
        /// The partition.
        device: PathBuf,
        /// Why.
        source: Box<ToolError>,
    },
    /// A file system could not be grown by its tool.
    #[error("cannot grow the file system on {}", .device.display())]
    Grow {
        /// The partition.
        device: PathBuf,
        /// Why.
        source: ToolError,
    },
    /// A file system could not be grown by the kernel.
    #[error("cannot grow the mounted file system on {}", .device.display())]
    GrowMounted {
        /// The partition.
        device: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file system that grows only while it is mounted could not be mounted.
    #[error("cannot mount {} for growing its file system", .device.display())]
    Mount {
        /// The partition.
        device: PathBuf,
        /// Why.
        source: Box<MountError>,
    },
    /// The operation was asked to stop, before anything was written.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl LayoutError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownFileSystem { .. } => {
                let names = FileSystem::ALL.map(FileSystem::name);
                Some(format!("known file systems: {}", names.join(", ")))
            }
            Self::MissingTool { source, .. } | Self::Grow { source, .. } => source.hint(),
            Self::Make { source, .. } => source.hint(),
            Self::NoTable { .. } => Some("set init_disk to have a new, empty table written".into()),
            Self::Occupied { disk, .. } => Some(format!(
                "if nothing on it is needed, clear it: wipefs --all {}",
                disk.display()
            )),
            Self::Mbr { disk } => Some(format!(
                "convert the table: sgdisk --mbrtogpt {}",
                disk.display()
            )),
            Self::Ambiguous { .. } => {
                Some("name the disk by its path, such as a link in /dev/disk/by-id".into())
            }
            Self::KernelDisagrees { .. } => Some("restart the machine".into()),
            Self::Table {
                source: GptError::Add { .. } | GptError::Resize { .. },
                ..
            } => Some("the table is written: restart the machine to go on".into()),
            _ => None,
        }
    }
}
