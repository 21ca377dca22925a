//! Media attached to the machine: found by label, read without trusting them.

use crate::iso9660::{Iso, IsoError};
use cos_sys::block::{BlockDevice, BlockDevices, BlockError};
use cos_sys::mount::{Mount, MountError, mount, unmount};
use cos_sys::probe::probe;
use cos_sys::root_path::{Root, RootPathError};
use fs_err::File;
use std::io;
use std::path::{Path, PathBuf};

/// Why a medium could not be read.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// The devices could not be listed.
    #[error("cannot look for media")]
    List {
        /// Why.
        #[from]
        source: BlockError,
    },
    /// A file of an ISO 9660 medium could not be read.
    #[error("cannot read {path} on {medium}")]
    Read {
        /// The file.
        path: String,
        /// The device.
        medium: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file is larger than is taken.
    #[error("{path} on {medium} is larger than {limit} bytes")]
    TooLarge {
        /// The file.
        path: String,
        /// The device.
        medium: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// There is no place to mount a medium on.
    #[error("cannot make a directory to mount media on in {}", .directory.display())]
    Directory {
        /// Where it was to be.
        directory: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A medium could not be mounted.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// A file of a mounted medium could not be read.
    #[error(transparent)]
    File(#[from] RootPathError),
}

/// What is known of a medium from its superblock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediumDescription {
    /// The device, for messages: `/dev/sr0`.
    pub name: String,
    /// Label of its file system.
    pub label: Option<String>,
    /// Type of its file system as mount(8) takes it: `iso9660`.
    pub kind: &'static str,
    /// Whether it is in a CD drive.
    pub optical: bool,
}

/// A medium with a file system.
pub trait Medium {
    /// What it is.
    fn description(&self) -> &MediumDescription;

    /// Reads a file of at most `limit` bytes by its path from the root (`a/b`); `None` when there
    /// is none.
    fn read(&mut self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, MediaError>;
}

/// Finds media.
pub trait Media {
    /// The media that `wanted` says yes to, in the order of their names.
    fn find<'a>(
        &'a self,
        wanted: &dyn Fn(&MediumDescription) -> bool,
    ) -> Result<Vec<Box<dyn Medium + 'a>>, MediaError>;
}

/// A machine without media.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoMedia;

impl Media for NoMedia {
    fn find<'a>(
        &'a self,
        _: &dyn Fn(&MediumDescription) -> bool,
    ) -> Result<Vec<Box<dyn Medium + 'a>>, MediaError> {
        Ok(Vec::new())
    }
}

/// The block devices of the machine. ISO 9660 is read straight from the device; other file systems
/// are mounted read-only, without devices, programs and set-id bits, for as long as they are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockMedia {
    /// Those looked at; the machine's when `None`.
    nodes: Option<Vec<PathBuf>>,
    mount_below: PathBuf,
}

/// Devices that hold no media: loop devices are files of the running system, and a floppy drive
/// takes seconds to say that it is empty.
const NO_MEDIA: &[&str] = &["loop", "ram", "zram", "fd", "nbd", "dm-", "md"];

impl Media for BlockMedia {
    fn find<'a>(
        &'a self,
        wanted: &dyn Fn(&MediumDescription) -> bool,
    ) -> Result<Vec<Box<dyn Medium + 'a>>, MediaError> {
        let nodes: Vec<(PathBuf, bool)> = match &self.nodes {
            Some(nodes) => nodes.iter().map(|node| (node.clone(), false)).collect(),
            None => BlockDevices::list()?
                .0
                .into_iter()
                .filter_map(candidate)
                .collect(),
        };
        let media = nodes
            .iter()
            .filter_map(|(node, optical)| self.open(node, *optical));
        let found = media.filter(|medium| wanted(&medium.about));
        Ok(found
            .map(|medium| Box::new(medium) as Box<dyn Medium + 'a>)
            .collect())
    }
}

/// The node of a device that may hold a medium, and whether it is a CD drive.
fn candidate(device: BlockDevice) -> Option<(PathBuf, bool)> {
    let held = |prefix: &&str| device.name.starts_with(prefix);
    if device.size == 0 || NO_MEDIA.iter().any(held) {
        return None;
    }
    let optical = device.disk().starts_with("sr");
    Some((device.node, optical))
}

impl BlockMedia {
    /// The machine's media. They are mounted below `mount_below`, a directory of root's alone that
    /// is made (mode 0700) when the first one is.
    pub fn new(mount_below: impl Into<PathBuf>) -> Self {
        Self {
            nodes: None,
            mount_below: mount_below.into(),
        }
    }

    /// Only these devices or images.
    pub fn of(nodes: Vec<PathBuf>, mount_below: impl Into<PathBuf>) -> Self {
        Self {
            nodes: Some(nodes),
            mount_below: mount_below.into(),
        }
    }

    /// Opens a device if it has a file system. One that cannot be read is like one that has none:
    /// drives are empty, disks are broken, and neither is what was asked for.
    fn open(&self, node: &Path, optical: bool) -> Option<BlockMedium<'_>> {
        let file = File::open(node).ok()?;
        let filesystem = probe(&file).ok()??;
        Some(BlockMedium {
            about: MediumDescription {
                name: node.display().to_string(),
                label: filesystem.label,
                kind: filesystem.kind,
                optical,
            },
            file,
            mounted: None,
            below: &self.mount_below,
        })
    }
}

#[derive(Debug)]
struct BlockMedium<'m> {
    about: MediumDescription,
    file: File,
    mounted: Option<Mounted>,
    below: &'m Path,
}

impl Medium for BlockMedium<'_> {
    fn description(&self) -> &MediumDescription {
        &self.about
    }

    fn read(&mut self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, MediaError> {
        if self.about.kind == "iso9660" {
            return read_iso(&self.file, path, limit, &self.about.name);
        }
        let mounted = match self.mounted.take() {
            Some(mounted) => mounted,
            None => Mounted::new(&self.about, self.below)?,
        };
        let root = &self.mounted.insert(mounted).root;
        Ok(root.read(Path::new(path), limit)?)
    }
}

fn read_iso(
    file: &File,
    path: &str,
    limit: u64,
    medium: &str,
) -> Result<Option<Vec<u8>>, MediaError> {
    let read = Iso::open(file).and_then(|iso| iso.read(path, limit));
    read.map_err(|error| match error {
        IsoError::TooLarge { path, limit } => MediaError::TooLarge {
            path,
            medium: medium.to_owned(),
            limit,
        },
        source => MediaError::Read {
            path: path.to_owned(),
            medium: medium.to_owned(),
            source: Box::new(source),
        },
    })
}

/// A medium that is mounted until this is dropped.
#[derive(Debug)]
struct Mounted {
    root: Root,
    #[expect(dead_code, reason = "held: it unmounts when dropped")]
    target: Target,
}

impl Mounted {
    fn new(medium: &MediumDescription, below: &Path) -> Result<Self, MediaError> {
        let mut target = Target::new(below)?;
        // A journal is not replayed: that would write to the medium.
        let more = if medium.kind == "ext4" { ",noload" } else { "" };
        mount(&Mount {
            source: medium.name.clone(),
            target: target.path.clone(),
            fstype: medium.kind.to_owned(),
            options: format!("ro,nodev,noexec,nosuid,nosymfollow{more}"),
        })?;
        target.mounted = true;
        let root = Root::open(&target.path)?;
        Ok(Self { root, target })
    }
}

/// A mount point that goes away, mounted or not.
#[derive(Debug)]
struct Target {
    path: PathBuf,
    mounted: bool,
}

impl Target {
    fn new(below: &Path) -> Result<Self, MediaError> {
        let failed = |source| MediaError::Directory {
            directory: below.to_owned(),
            source,
        };
        make_private(below).map_err(failed)?;
        let made = tempfile::Builder::new().prefix("medium-").tempdir_in(below);
        Ok(Self {
            // Kept: what removes a temporary directory would go through the mounted medium.
            path: made.map_err(failed)?.keep(),
            mounted: false,
        })
    }
}

fn make_private(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(directory)
}

impl Drop for Target {
    fn drop(&mut self) {
        // Nobody is left to be told. Lazily, so that a file still open does not keep it mounted;
        // then the directory is empty, or still a mount point and stays.
        if self.mounted {
            drop(unmount(&self.path, true));
        }
        drop(fs_err::remove_dir(&self.path));
    }
}
