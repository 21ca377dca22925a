//! Making file systems, each by its own tool.

use super::request::MIB;
use super::{FileSystem, LayoutError};
use cos_sys::tool::{Tool, ToolError};
use fs_err::os::unix::fs::{FileExt, OpenOptionsExt};
use fs_err::{File, OpenOptions};
use rustix::fs::{Advice, OFlags};
use std::ffi::{OsStr, OsString};
use std::io;
use std::num::NonZeroU64;
use std::path::Path;

/// A file system to be made, and the tool for it.
#[derive(Debug)]
pub struct Maker {
    tool: Tool,
    filesystem: FileSystem,
    label: String,
}

impl Maker {
    /// Looks for the tool.
    pub fn find(
        filesystem: FileSystem,
        label: &str,
        search_path: Option<&OsStr>,
    ) -> Result<Self, ToolError> {
        let (name, package) = match filesystem {
            FileSystem::Ext2 | FileSystem::Ext3 | FileSystem::Ext4 => ("mke2fs", "e2fsprogs"),
            FileSystem::Xfs => ("mkfs.xfs", "xfsprogs"),
            FileSystem::Btrfs => ("mkfs.btrfs", "btrfs-progs"),
            FileSystem::Vfat => ("mkfs.fat", "dosfstools"),
            FileSystem::Swap => ("mkswap", "util-linux"),
        };
        Ok(Self {
            tool: Tool::find(name, package, search_path)?,
            filesystem,
            label: label.to_owned(),
        })
    }

    /// Makes it on a partition whose first MiB is blank, and leaves that blank if it fails: the next
    /// run knows by it that nothing was made.
    pub fn run(&self, node: &Path) -> Result<(), LayoutError> {
        drop(claim(node).map_err(|source| LayoutError::Busy {
            disk: node.to_owned(),
            source,
        })?);
        let made = self.tool.run(self.arguments(node));
        if made.is_err() {
            let cleared = claim(node).and_then(|device| clear(&device, 0, MIB));
            cleared.map_err(|source| cannot_clear(node, source))?;
        }
        made.map(drop).map_err(|source| LayoutError::Make {
            label: self.label.clone(),
            device: node.to_owned(),
            source: Box::new(source),
        })?;
        let synced = File::open(node).and_then(|device| device.sync_all());
        synced.map_err(|source| LayoutError::Open {
            path: node.to_owned(),
            source,
        })
    }

    fn arguments(&self, node: &Path) -> Vec<OsString> {
        // Forced, but mounted or otherwise used devices all of them refuse.
        let (options, label): (&[&str], &str) = match self.filesystem {
            FileSystem::Ext2 => (&["-q", "-F", "-t", "ext2"], "-L"),
            FileSystem::Ext3 => (&["-q", "-F", "-t", "ext3"], "-L"),
            FileSystem::Ext4 => (&["-q", "-F", "-t", "ext4"], "-L"),
            FileSystem::Xfs | FileSystem::Btrfs => (&["-q", "-f"], "-L"),
            FileSystem::Vfat => (&[], "-n"),
            FileSystem::Swap => (&[], "-L"),
        };
        let mut arguments: Vec<OsString> = options.iter().map(OsString::from).collect();
        if !self.label.is_empty() {
            arguments.extend([label.into(), OsString::from(&self.label)]);
        }
        arguments.push(node.into());
        arguments
    }
}

/// Opens a device that nobody else uses: it is not mounted, no active swap space, no part of
/// anything.
pub fn claim(node: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(OFlags::EXCL.bits().cast_signed())
        .open(node)
}

/// Overwrites bytes of a device with zeros, durably, and forgets them: the device of the partition
/// that lies there has a cache of its own.
pub(super) fn clear(device: &File, start: u64, size: u64) -> io::Result<()> {
    let zeros = vec![0; MIB as usize];
    let mut at = start;
    while at < start + size {
        let length = (start + size - at).min(MIB);
        device.write_all_at(&zeros[..length as usize], at)?;
        at += length;
    }
    device.sync_all()?;
    rustix::fs::fadvise(device, start, NonZeroU64::new(size), Advice::DontNeed)?;
    Ok(())
}

pub(super) fn cannot_clear(path: &Path, source: io::Error) -> LayoutError {
    LayoutError::Clear {
        path: path.to_owned(),
        source,
    }
}
