//! What is asked for.

use super::LayoutError;
use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Bytes of a MiB.
pub(crate) const MIB: u64 = 1 << 20;

/// Most partitions one request may add: the entries of a usual table.
const MAX_PARTITIONS: usize = 128;

/// Longest name of a partition, in UTF-16 units (UEFI specification, table 5.6).
const NAME_UNITS: usize = 36;

/// Largest size that is taken at all, in MiB: an exbibyte.
const MAX_SIZE: u64 = 1 << 40;

/// Changes to the partitions of one disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayoutRequest {
    /// Which disk.
    pub device: Target,
    /// Write a new, empty table where the disk has neither a table nor a file system.
    pub init_disk: bool,
    /// The GUID of the new table; one is made up when it is none.
    pub disk_name: Option<String>,
    /// Grow the last partition to this many MiB, or into all that is free behind it when 0.
    pub expand: Option<u64>,
    /// Partitions to add behind the last, in this order.
    pub add: Vec<NewPartition>,
}

/// How a disk is named. A partition stands for its disk; so does what is mapped onto one disk alone,
/// such as an unlocked encrypted partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The device node that the system booted from.
    Boot(PathBuf),
    /// The label of a file system on the disk or, when no file system has it, the name of a
    /// partition.
    Label(String),
    /// A device node, or a link to one such as `/dev/disk/by-id/…`.
    Path(PathBuf),
}

/// A partition that the disk is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPartition {
    /// The label of its file system, by which it is known: one that the disk has already is left
    /// as it is. May be empty when `partition_label` is given, which it is known by then.
    pub fs_label: String,
    /// Its size in MiB; 0 is all that is free behind the last partition.
    pub size_mib: u64,
    /// Its name in the table.
    pub partition_label: Option<String>,
    /// What to make on it.
    pub filesystem: FileSystem,
    /// An EFI system partition.
    pub bootable: bool,
}

impl NewPartition {
    /// The name it is known by.
    pub(super) fn key(&self) -> &str {
        match &self.partition_label {
            Some(name) if self.fs_label.is_empty() => name,
            _ => &self.fs_label,
        }
    }

    /// Its name in the table; empty is none.
    pub(super) fn name(&self) -> &str {
        self.partition_label.as_deref().unwrap_or_default()
    }
}

/// A file system that can be made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FileSystem {
    /// ext2
    Ext2,
    /// ext3
    Ext3,
    /// ext4, the default.
    #[default]
    Ext4,
    /// XFS
    Xfs,
    /// Btrfs
    Btrfs,
    /// FAT of whichever width fits the size.
    Vfat,
    /// Swap space.
    Swap,
}

impl FileSystem {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Ext2,
        Self::Ext3,
        Self::Ext4,
        Self::Xfs,
        Self::Btrfs,
        Self::Vfat,
        Self::Swap,
    ];

    /// Its name in cloud-config.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext2 => "ext2",
            Self::Ext3 => "ext3",
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
            Self::Vfat => "vfat",
            Self::Swap => "swap",
        }
    }

    /// The longest label it stores, in bytes; from the manual page of each tool.
    fn longest_label(self) -> usize {
        match self {
            Self::Ext2 | Self::Ext3 | Self::Ext4 => 16,
            Self::Xfs => 12,
            Self::Btrfs => 255,
            Self::Vfat => 11,
            Self::Swap => 15,
        }
    }

    /// The least size its tool makes one on, in bytes: found out before the disk is touched, and
    /// not by a tool that fails when the partition is there.
    pub fn least_size(self) -> u64 {
        match self {
            Self::Ext2 | Self::Ext3 | Self::Ext4 | Self::Vfat | Self::Swap => MIB,
            // mkfs.xfs 5.19 and later.
            Self::Xfs => 300 * MIB,
            // mkfs.btrfs names 114294784 bytes.
            Self::Btrfs => 110 * MIB,
        }
    }

    /// Why it cannot have this label, if so.
    fn refuses(self, label: &str) -> Option<&'static str> {
        if label.len() > self.longest_label() {
            return Some("it is too long");
        }
        if label.trim() != label || label.contains(char::is_control) {
            return Some("it begins or ends with a blank, or holds control characters");
        }
        match self {
            // The specification's set of characters, but for what no tool objects to.
            Self::Vfat
                if !label.is_ascii() || label.contains(|c| "*?/\\|.,;:+=<>[]\"".contains(c)) =>
            {
                Some("FAT takes no such characters")
            }
            Self::Vfat if label == "NO NAME" => Some("it is what FAT calls having no label"),
            Self::Btrfs if label.contains(['/', '\\']) => Some("Btrfs takes no slashes"),
            _ => None,
        }
    }
}

impl fmt::Display for FileSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for FileSystem {
    type Err = LayoutError;

    /// The names of cloud-config, and those that mean FAT. Empty is the default.
    fn from_str(name: &str) -> Result<Self, LayoutError> {
        match name {
            "" => Ok(Self::default()),
            "fat" | "fat16" | "fat32" => Ok(Self::Vfat),
            _ => Self::ALL
                .into_iter()
                .find(|known| known.name() == name)
                .ok_or_else(|| LayoutError::UnknownFileSystem { name: name.into() }),
        }
    }
}

impl LayoutRequest {
    /// Finds what no disk could satisfy.
    pub(super) fn check(&self) -> Result<(), LayoutError> {
        if self.add.len() > MAX_PARTITIONS {
            return Err(LayoutError::TooManyPartitions);
        }
        let mut keys = BTreeSet::new();
        for partition in &self.add {
            partition.check()?;
            if !keys.insert(partition.key()) {
                return Err(LayoutError::Twice {
                    label: partition.key().into(),
                });
            }
        }
        let sizes = self.add.iter().map(|partition| partition.size_mib);
        match sizes.chain(self.expand).find(|&size| size > MAX_SIZE) {
            Some(size_mib) => Err(LayoutError::AbsurdSize { size_mib }),
            None => Ok(()),
        }
    }
}

impl NewPartition {
    /// Finds what no disk could satisfy.
    pub fn check(&self) -> Result<(), LayoutError> {
        if self.key().is_empty() {
            return Err(LayoutError::Unnamed);
        }
        if let Some(reason) = self.filesystem.refuses(&self.fs_label) {
            return Err(LayoutError::Label {
                label: self.fs_label.clone(),
                filesystem: self.filesystem,
                reason,
            });
        }
        let name = self.name();
        if name.encode_utf16().count() > NAME_UNITS || name.contains(char::is_control) {
            return Err(LayoutError::PartitionName { name: name.into() });
        }
        let needed = self.filesystem.least_size();
        if self.size_mib != 0 && self.size_mib.saturating_mul(MIB) < needed {
            return Err(LayoutError::TooSmall {
                label: self.key().into(),
                filesystem: self.filesystem,
                needed,
            });
        }
        Ok(())
    }
}
