//! ext4, made with its content by `mke2fs` and `debugfs`, at an offset inside a disk file.
//!
//! The tools make the file system and reserve each file's blocks; the bytes go straight to those
//! blocks from here, at the speed of a plain copy. Features are named one by one and the host's
//! `mke2fs.conf` is not read, so that one version of the tools gives the same bytes everywhere, and
//! are those that every GRUB since 2.06 and every kernel since 4.4 reads.

mod blocks;
mod content;
mod script;
mod size;

use crate::{DiskError, Source, sparse};
use blocks::Volume;
use content::{Item, Members};
use cos_sys::tool::{self, Tool, ToolError};
use fs_err::File;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::Command;
use uuid::Uuid;

pub use size::size_for;

/// Bytes of a block, whatever the size of the file system.
const BLOCK: u64 = 4096;

/// Bytes of an inode.
const INODE: u64 = 256;

/// What the file system can grow to online, in bytes, unless it is larger from the start.
const GROWS_TO: u64 = 1 << 40;

/// The smallest file system made; below, there is no room for a journal.
const MIN_SIZE: u64 = 16 << 20;

/// The whole feature set. Not among it, though newer tools would add them, are `metadata_csum_seed`
/// and `orphan_file`, which boot loaders do not know; and `metadata_csum`, as its checksum of the
/// superblock lies in another sector than what changes in it. Every mount writes the superblock: when
/// the power is cut between the two sectors, neither the kernel nor `e2fsck -p` takes the file system
/// any more. What must not change unnoticed is verified by cOS itself.
const FEATURES: &str = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,\
    flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize";

/// The programs of e2fsprogs.
#[derive(Debug, Clone)]
pub struct Ext4Tools {
    mke2fs: Tool,
    debugfs: Tool,
    knows_prezeroed: bool,
}

impl Ext4Tools {
    /// Looks for the programs along `search_path`, or in the system's directories.
    pub fn find(search_path: Option<&OsStr>) -> Result<Self, DiskError> {
        let find = |name| Tool::find(name, "e2fsprogs", search_path).map_err(DiskError::Ext4Tool);
        let mke2fs = find("mke2fs")?;
        let mut command = mke2fs.command();
        command.arg("-V").env_clear();
        let version = tool::run(command).map_err(DiskError::Ext4Tool)?;
        Ok(Self {
            knows_prezeroed: version_of(&version.stderr) >= Some((1, 47)),
            debugfs: find("debugfs")?,
            mke2fs,
        })
    }
}

/// Major and minor version from `mke2fs 1.47.0 (5-Feb-2023)`.
fn version_of(banner: &[u8]) -> Option<(u32, u32)> {
    let banner = std::str::from_utf8(banner).ok()?;
    let mut numbers = banner.split_whitespace().nth(1)?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// What tells one file system from another, and its times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ext4Options {
    /// The label: up to 16 bytes.
    pub label: String,
    /// The identity; also the seed of directory hashes.
    pub uuid: Uuid,
    /// The time of everything, in seconds since 1970, UTC; limited to 1970 to 2038.
    pub time: i64,
    /// One inode is made for this many bytes. 16384 is what `mke2fs` takes.
    pub bytes_per_inode: u32,
    /// The size of the journal, in bytes. `None` takes a size that fits the file system; one that
    /// is to grow much wants it larger from the start.
    pub journal: Option<u64>,
}

impl Ext4Options {
    /// Options with the usual numbers.
    pub fn new(label: &str, uuid: Uuid, time: i64) -> Self {
        Self {
            label: label.to_owned(),
            uuid,
            time,
            bytes_per_inode: 16_384,
            journal: None,
        }
    }

    /// The time as e2fsprogs take it: 0 would mean now.
    fn seconds(&self) -> i64 {
        self.time.clamp(1, i32::MAX.into())
    }
}

/// A file or directory of the new file system; it belongs to root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ext4Entry {
    /// Its path from the root, separated by `/`; `/` itself is the root directory. Directories
    /// above are made as needed, with mode 0755.
    pub path: String,
    /// Permission bits, for example `0o644`.
    pub mode: u16,
    /// What it is.
    pub content: Ext4Content,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ext4Content {
    /// A directory.
    Directory,
    /// A file.
    File(Source),
}

/// Formats `size` bytes of `file` from `offset` and fills them with `entries`.
///
/// In a regular file whatever was there before is cleared and what is free stays a hole.
pub fn format(
    tools: &Ext4Tools,
    file: &File,
    offset: u64,
    size: u64,
    options: &Ext4Options,
    entries: &[Ext4Entry],
) -> Result<(), DiskError> {
    check(size, options)?;
    let members = Members::collect(entries)?;
    if size < MIN_SIZE {
        let needed = size_for(&members.sizes(), members.directories(), 0, options);
        return Err(DiskError::Ext4Full {
            label: options.label.clone(),
            needed,
            available: size,
        });
    }
    let is_file = prepare(file, offset, size).map_err(|source| DiskError::WriteExt4 {
        path: file.path().into(),
        source,
    })?;
    let target = Target::of(file, offset)?;
    make(tools, &target, is_file, size, options)?;

    let volume = Volume::open(file, offset)?;
    let (needed, available) = (members.blocks() * BLOCK, volume.free_bytes());
    if needed > available {
        return Err(DiskError::Ext4Full {
            label: options.label.clone(),
            needed,
            available,
        });
    }
    let output = script::run(&tools.debugfs, &target, &members, options)?;
    for (path, item) in members.iter() {
        fill(&volume, &path, item, is_file).map_err(|error| error.with_output(&output))?;
    }
    Ok(())
}

fn check(size: u64, options: &Ext4Options) -> Result<(), DiskError> {
    let label = &options.label;
    if label.len() > 16 || label.contains(char::is_control) || label.starts_with('-') {
        return Err(DiskError::Ext4Label {
            label: label.clone(),
        });
    }
    if size > 16 << 40 {
        return Err(DiskError::SizeOverflow);
    }
    Ok(())
}

/// Clears a regular file's part. Returns whether the part is known to read as zeros.
fn prepare(file: &File, offset: u64, size: u64) -> std::io::Result<bool> {
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Ok(false);
    }
    sparse::clear(file, offset, size)?;
    if meta.len() < offset + size {
        file.set_len(offset + size)?;
    }
    Ok(true)
}

/// The disk file as the tools are told of it. They run in its directory: libext2fs ends a path at
/// the first `?`, so that no foreign directory name may be part of it.
struct Target<'f> {
    directory: &'f Path,
    name: &'f OsStr,
    offset: u64,
}

impl<'f> Target<'f> {
    fn of(file: &'f File, offset: u64) -> Result<Self, DiskError> {
        let path = file.path();
        let unusable = || DiskError::Ext4Path { path: path.into() };
        let name = path.file_name().ok_or_else(unusable)?;
        let bytes = name.as_encoded_bytes();
        if bytes.contains(&b'?') || bytes.starts_with(b"-") {
            return Err(unusable());
        }
        let directory = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        Ok(Self {
            directory: directory.unwrap_or(Path::new(".")),
            name,
            offset,
        })
    }

    fn with_offset(&self) -> OsString {
        let mut target = self.name.to_owned();
        target.push(format!("?offset={}", self.offset));
        target
    }

    fn command(&self, tool: &Tool, options: &Ext4Options) -> Command {
        let seconds = options.seconds().to_string();
        let mut command = tool.command();
        command
            .current_dir(self.directory)
            .env_clear()
            .env("LC_ALL", "C")
            .env("MKE2FS_CONFIG", "/dev/null")
            .env("E2FSPROGS_FAKE_TIME", &seconds)
            .env("SOURCE_DATE_EPOCH", &seconds);
        command
    }
}

fn make(
    tools: &Ext4Tools,
    target: &Target<'_>,
    is_zero: bool,
    size: u64,
    options: &Ext4Options,
) -> Result<(), DiskError> {
    let uuid = options.uuid.to_string();
    let offset = format!("offset={}", target.offset);
    let seed = format!("hash_seed={uuid}");
    let growth = format!("resize={}", GROWS_TO / BLOCK);
    let mut extended = vec![
        &*offset,
        &*seed,
        "nodiscard",
        "root_owner=0:0",
        "lazy_itable_init=1",
    ];
    if is_zero {
        extended.push("lazy_journal_init=1");
    }
    if is_zero && tools.knows_prezeroed {
        // Spares the first mount the zeroing of inode tables that are zero.
        extended.push("assume_storage_prezeroed=1");
    }
    if size < GROWS_TO {
        extended.push(&growth);
    }
    let journal = size::journal_bytes(size, options) >> 20;
    let mut command = target.command(&tools.mke2fs, options);
    command
        .args([
            "-q", "-F", "-b", "4096", "-I", "256", "-m", "0", "-o", "Linux", "-O", FEATURES,
        ])
        .args(["-i", &options.bytes_per_inode.to_string()])
        .args(["-J", &format!("size={journal}")])
        .args(["-U", &uuid, "-L", &options.label, "-E", &extended.join(",")])
        .arg(target.name)
        .arg((size / BLOCK).to_string());
    tool::run(command).map_err(DiskError::Ext4Tool)?;
    Ok(())
}

/// Why a file could not be filled: it is wrong on the disk, which the tool's words may explain.
enum FillError {
    Disk(DiskError),
    NotAsAsked { path: String },
}

impl From<DiskError> for FillError {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

impl FillError {
    fn with_output(self, output: &str) -> DiskError {
        match self {
            Self::Disk(error) => error,
            Self::NotAsAsked { path } => DiskError::Ext4Tool(ToolError::Failed {
                command: format!("debugfs, making {path}"),
                status: "the file is not as asked for".to_owned(),
                stderr: output.to_owned(),
            }),
        }
    }
}

/// Checks that the tools made an item as asked, and writes its content to its blocks.
fn fill(
    volume: &Volume<'_>,
    path: &[&str],
    item: &Item<'_>,
    is_zero: bool,
) -> Result<(), FillError> {
    let wrong = || FillError::NotAsAsked {
        path: path.join("/"),
    };
    let mut inode = volume.lookup(path)?.ok_or_else(wrong)?;
    if inode.mode() != item.full_mode() {
        return Err(wrong());
    }
    let Some(source) = &item.source else {
        return Ok(());
    };
    let extents = volume.make_written(&mut inode)?;
    let mapped: u64 = extents.iter().map(|extent| extent.blocks).sum();
    if inode.size() != source.len() || mapped != source.len().div_ceil(BLOCK) {
        return Err(wrong());
    }
    volume.write(&extents, source, is_zero)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_the_banner() {
        let banner = b"mke2fs 1.47.0 (5-Feb-2023)\n\tUsing EXT2FS Library version 1.47.0\n";
        assert_eq!(version_of(banner), Some((1, 47)));
        assert_eq!(version_of(b"mke2fs 1.46.5 (30-Dec-2021)"), Some((1, 46)));
        assert_eq!(version_of(b"what?"), None);
    }
}
