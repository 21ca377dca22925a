//! `unpack_images`: the tree of an image, laid into a directory.

use crate::root::convert::{CompressionChoice, ImageRequest, Loaded, load};
use crate::trust::Gate;
use cos_erofs::Compression;
use cos_events::Monitor;
use cos_image::{Options, Platform, PlatformChoice};
use cos_stages::ImageUnpacker;
use cos_sys::root_file::Metadata;
use cos_sys::root_path::Root;
use cos_tree::{ContentStore as _, DeviceNumber, NodeId, NodeKind, Tree};
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, UTIME_OMIT, XattrFlags};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Unpacks images as the options say.
pub(super) struct Unpacker<'o> {
    pub(super) options: &'o Options,
}

impl ImageUnpacker for Unpacker<'_> {
    fn unpack(
        &self,
        image: &str,
        platform: Option<&str>,
        target: &Path,
        monitor: &dyn Monitor,
    ) -> Result<(), Failure> {
        let mut options = self.options.clone();
        if let Some(platform) = platform {
            options.platform = PlatformChoice::Exactly(platform.parse::<Platform>()?);
        }
        // On the same file system, which has room for the image anyway.
        let temporary = tempfile::Builder::new()
            .prefix(".cos-unpack-")
            .tempdir_in(target)?;
        temporary.path().clone_into(&mut options.temp_dir);
        let request = ImageRequest {
            source: image.parse()?,
            overlays: Vec::new(),
            gate: Gate::Open,
            options,
            compression: CompressionChoice::Fixed(Compression::None),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            time: None,
        };
        let loaded = load(&request, temporary.path(), monitor)?;
        Laying {
            loaded: &loaded,
            root: Root::open(target)?,
            placed: HashMap::new(),
        }
        .directory(Tree::ROOT, Path::new("/"), monitor)
    }
}

/// Laying a tree into a root of its own: links of the tree, and links that are there already, lead
/// nowhere else.
struct Laying<'l> {
    loaded: &'l Loaded,
    root: Root,
    /// Where files with several names have their first.
    placed: HashMap<NodeId, PathBuf>,
}

impl Laying<'_> {
    fn directory(&mut self, id: NodeId, path: &Path, monitor: &dyn Monitor) -> Result<(), Failure> {
        let node = self.loaded.image.tree.node(id);
        let metadata = Metadata {
            mode: Some(u32::from(node.meta.permissions)),
            owner: Some(node.meta.uid),
            group: Some(node.meta.gid),
        };
        // The target itself keeps what it has.
        if path != Path::new("/") {
            self.root.make_directories(path, &metadata)?;
        }
        let NodeKind::Directory(children) = &node.kind else {
            return Ok(());
        };
        let children: Vec<(PathBuf, NodeId)> = children
            .iter()
            .map(|(name, child)| (path.join(OsStr::from_bytes(name)), *child))
            .collect();
        for (path, child) in children {
            monitor.checkpoint()?;
            match &self.loaded.image.tree.node(child).kind {
                NodeKind::Directory(_) => self.directory(child, &path, monitor)?,
                _ => self.leaf(child, &path)?,
            }
        }
        if path == Path::new("/") {
            return Ok(());
        }
        self.finish(id, path)
    }

    fn leaf(&mut self, id: NodeId, path: &Path) -> Result<(), Failure> {
        if let Some(first) = self.placed.get(&id) {
            let (first, second) = (self.host(first)?, self.host(path)?);
            self.root.remove(path)?;
            rustix::fs::linkat(CWD, &first, CWD, &second, AtFlags::empty())
                .map_err(|errno| at(path, errno))?;
            return Ok(());
        }
        self.placed.insert(id, path.to_owned());
        let node = self.loaded.image.tree.node(id);
        let metadata = Metadata {
            mode: Some(u32::from(node.meta.permissions)),
            owner: Some(node.meta.uid),
            group: Some(node.meta.gid),
        };
        match &node.kind {
            NodeKind::Directory(_) => {}
            NodeKind::File(content) => {
                let mut file = self.root.create_file(path, &metadata)?;
                io::copy(&mut self.loaded.spool.open(*content)?, &mut file)?;
                file.commit()?;
            }
            NodeKind::Symlink(target) => {
                self.root
                    .symlink(Path::new(OsStr::from_bytes(target)), path)?;
                self.root
                    .set_link_owner(path, node.meta.uid, node.meta.gid)?;
            }
            NodeKind::CharDevice(number) => {
                self.special(path, FileType::CharacterDevice, *number)?;
            }
            NodeKind::BlockDevice(number) => self.special(path, FileType::BlockDevice, *number)?,
            NodeKind::Fifo => self.special(path, FileType::Fifo, DeviceNumber::default())?,
            NodeKind::Socket => self.special(path, FileType::Socket, DeviceNumber::default())?,
        }
        self.finish(id, path)
    }

    /// Where a name of the tree is on the running system: in its directory, whatever that is.
    fn host(&self, path: &Path) -> Result<PathBuf, Failure> {
        let parent = path.parent().unwrap_or(Path::new("/"));
        let directory = self
            .root
            .directory(parent)?
            .ok_or_else(|| format!("{} is no directory", parent.display()))?;
        Ok(directory.join(path.file_name().unwrap_or_default()))
    }

    fn special(&self, path: &Path, kind: FileType, number: DeviceNumber) -> Result<(), Failure> {
        self.root.remove(path)?;
        let device = rustix::fs::makedev(number.major, number.minor);
        rustix::fs::mknodat(CWD, self.host(path)?, kind, Mode::from(0o600), device)
            .map_err(|errno| at(path, errno).into())
    }

    /// Owner and mode of special files, attributes and time of all.
    fn finish(&self, id: NodeId, path: &Path) -> Result<(), Failure> {
        let node = self.loaded.image.tree.node(id);
        let host = self.host(path)?;
        let failed = |errno| at(path, errno);
        if !matches!(
            node.kind,
            NodeKind::Symlink(_) | NodeKind::File(_) | NodeKind::Directory(_)
        ) {
            let owner = rustix::fs::Uid::from_raw(node.meta.uid);
            let group = rustix::fs::Gid::from_raw(node.meta.gid);
            let no_follow = AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::chownat(CWD, &host, Some(owner), Some(group), no_follow).map_err(failed)?;
            let mode = Mode::from(u32::from(node.meta.permissions));
            rustix::fs::chmodat(CWD, &host, mode, AtFlags::empty()).map_err(failed)?;
        }
        for (name, value) in &node.meta.xattrs {
            let set =
                rustix::fs::lsetxattr(&host, OsStr::from_bytes(name), value, XattrFlags::empty());
            match set {
                // A file system without them, as memory is for user.*: the file counts more.
                Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => {}
                Err(errno) => return Err(failed(errno).into()),
            }
        }
        let times = Timestamps {
            last_access: Timespec {
                tv_sec: 0,
                tv_nsec: UTIME_OMIT,
            },
            last_modification: Timespec {
                tv_sec: node.meta.mtime,
                tv_nsec: 0,
            },
        };
        rustix::fs::utimensat(CWD, &host, &times, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| failed(errno).into())
    }
}

/// An error with the path it happened at.
fn at(path: &Path, errno: rustix::io::Errno) -> io::Error {
    let error = io::Error::from(errno);
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
