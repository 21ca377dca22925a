//! What can go wrong.

use crate::format::DiskFormat;
use crate::gpt::table::TableDefect;
use cos_sys::tool::ToolError;
use std::io;
use std::path::PathBuf;

/// Why a disk, a file system or an image could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// An output file could not be created.
    #[error("cannot create {}", .path.display())]
    CreateOutput {
        /// Where it was to be.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A finished output file could not be put in its place.
    #[error("cannot put the finished file at {}", .path.display())]
    PlaceOutput {
        /// Where it was to be.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What a new file is to hold could not be read.
    #[error("cannot read the content of {}", .path.display())]
    ReadContent {
        /// The path in the new file system.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Two entries of a new file system have the same path, or a file is also a directory.
    #[error("{path} is there more than once")]
    DuplicatePath {
        /// The path in the new file system.
        path: String,
    },
    /// Sizes that no disk has.
    #[error("the sizes asked for exceed what a disk can hold")]
    SizeOverflow,

    /// What is wanted does not fit on the disk.
    #[error("{needed} bytes are needed, but the disk has {available}")]
    DiskTooSmall {
        /// Bytes.
        needed: u64,
        /// Bytes.
        available: u64,
    },
    /// Only the last partition can take the rest.
    #[error("partition {name} takes the rest of the disk but is not the last")]
    RestNotLast {
        /// Its name.
        name: String,
    },
    /// More partitions than a table has entries.
    #[error("more than 128 partitions")]
    TooManyPartitions,
    /// A name that does not fit the table.
    #[error("partition name {name:?} is longer than 36 UTF-16 units")]
    PartitionName {
        /// The name.
        name: String,
    },
    /// A partition table could not be written.
    #[error("cannot write the partition table of {}", .path.display())]
    WriteTable {
        /// The disk.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A partition table could not be read.
    #[error("cannot read the partition table of {}", .path.display())]
    ReadTable {
        /// The disk.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A partition table is absent, damaged or impossible.
    #[error("{} has no usable partition table", .path.display())]
    InvalidTable {
        /// The disk.
        path: PathBuf,
        /// What is wrong.
        source: TableDefect,
    },

    /// A boot image of GRUB is not one.
    #[error("GRUB's {image} is unusable: {reason}")]
    GrubImage {
        /// Which.
        image: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// GRUB's core image does not fit its partition.
    #[error("GRUB's core image of {needed} bytes does not fit the partition of {available}")]
    GrubCoreTooLarge {
        /// Bytes.
        needed: u64,
        /// Bytes.
        available: u64,
    },
    /// GRUB could not be written.
    #[error("cannot install GRUB on {}", .path.display())]
    InstallGrub {
        /// The disk.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },

    /// No FAT has this size.
    #[error("cannot make a FAT file system of {size} bytes: it takes {limit}")]
    FatSize {
        /// Bytes.
        size: u64,
        /// What would do.
        limit: &'static str,
    },
    /// A name FAT cannot store.
    #[error("FAT cannot store the name {path:?}")]
    FatName {
        /// The path.
        path: String,
    },
    /// A label FAT cannot store.
    #[error("FAT cannot store the label {label:?}: up to 11 ASCII letters and digits")]
    FatLabel {
        /// The label.
        label: String,
    },
    /// A file of 4 GiB or more.
    #[error("{path} is too large for FAT: 4 GiB or more")]
    FatFileTooLarge {
        /// The path.
        path: String,
    },
    /// The content does not fit.
    #[error("the FAT file system needs {needed} bytes for its content, but has {available}")]
    FatFull {
        /// Bytes.
        needed: u64,
        /// Bytes.
        available: u64,
    },
    /// A FAT file system could not be written.
    #[error("cannot write the FAT file system in {}", .path.display())]
    WriteFat {
        /// The disk.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },

    /// A program of e2fsprogs is missing or failed.
    #[error("cannot make the ext4 file system")]
    Ext4Tool(#[source] ToolError),
    /// The commands for `debugfs` could not be written down.
    #[error("cannot write the commands for debugfs")]
    Ext4Script(#[source] io::Error),
    /// A label ext4 cannot store.
    #[error("ext4 cannot store the label {label:?}: up to 16 bytes")]
    Ext4Label {
        /// The label.
        label: String,
    },
    /// A path that cannot be made.
    #[error("cannot make {path:?} on ext4: impossible name or mode")]
    Ext4Name {
        /// The path.
        path: String,
    },
    /// A disk file whose name e2fsprogs would misread.
    #[error("e2fsprogs cannot work on {}: its name holds a '?' or starts with '-'", .path.display())]
    Ext4Path {
        /// The disk.
        path: PathBuf,
    },
    /// The content does not fit.
    #[error("file system {label} needs {needed} bytes for its content, but has {available}")]
    Ext4Full {
        /// The label.
        label: String,
        /// Bytes.
        needed: u64,
        /// Bytes.
        available: u64,
    },
    /// `mke2fs` made something other than what was asked for.
    #[error("the new ext4 file system in {} has an unexpected {what}", .path.display())]
    Ext4Layout {
        /// The disk.
        path: PathBuf,
        /// Which part.
        what: &'static str,
    },
    /// A file's content could not be written.
    #[error("cannot write the ext4 file system in {}", .path.display())]
    WriteExt4 {
        /// The disk.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },

    /// A name or structure ISO 9660 cannot store.
    #[error("cannot store {path:?} in an ISO image: {reason}")]
    IsoName {
        /// The path.
        path: String,
        /// Why.
        reason: &'static str,
    },
    /// A boot image that cannot be used.
    #[error("boot image {image} is unusable: {reason}")]
    IsoBootImage {
        /// Which.
        image: String,
        /// Why.
        reason: &'static str,
    },
    /// The directories take more than is reserved for them.
    #[error("the ISO image needs {needed} bytes for its directories, but has {available}")]
    IsoFull {
        /// Bytes.
        needed: u64,
        /// Bytes.
        available: u64,
    },
    /// An ISO image could not be written.
    #[error("cannot write the ISO image {}", .path.display())]
    WriteIso {
        /// The image.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },

    /// Not the name of a format.
    #[error("unknown disk format {name:?}")]
    UnknownFormat {
        /// The name.
        name: String,
    },
    /// A disk could not be written in a format.
    #[error("cannot write {} as {format}", .path.display())]
    Convert {
        /// The format.
        format: DiskFormat,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl DiskError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Ext4Tool(error) => error.hint(),
            Self::DiskTooSmall { needed, .. } => Some(format!(
                "take a disk of at least {} MiB",
                needed.div_ceil(1 << 20)
            )),
            Self::Ext4Full {
                label,
                needed,
                available,
            } => {
                let more = needed.saturating_sub(*available).div_ceil(1 << 20);
                Some(format!(
                    "make the partition of {label} at least {more} MiB larger"
                ))
            }
            Self::UnknownFormat { .. } => {
                let names = DiskFormat::ALL.map(DiskFormat::name);
                Some(format!("known formats: {}", names.join(", ")))
            }
            _ => None,
        }
    }
}
