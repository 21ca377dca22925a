//! A directory of this machine as a tree, or laid over one.

use crate::layer::entry::{Entry, EntryKind};
use crate::limits::{Budget, Limits};
use crate::merge::{DirectoryRule, Merger};
use crate::{EntryError, ImageError};
use cos_events::{Monitor, Task};
use cos_tree::{Content, ContentStore, ContentWriter, DeviceNumber, Metadata, Tree, Xattrs};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, SeekFrom, Stat};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, OsStr};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Size of the pieces in which files are read.
const BUFFER: usize = 256 << 10;

/// Lays a plain directory over a tree, as a layer of its own: files replace what has their path;
/// directories that are there already, or links to such, are kept as they are and filled.
///
/// `owner` is who owns what is laid over; `None` keeps the owners on disk.
pub fn overlay_directory(
    tree: &mut Tree,
    directory: &Path,
    owner: Option<(u32, u32)>,
    store: &dyn ContentStore,
    monitor: &dyn Monitor,
) -> Result<(), ImageError> {
    let limits = Limits::default();
    let mut entries = read_directory(directory, store, &limits, monitor)?;
    if let Some((uid, gid)) = owner {
        for entry in &mut entries {
            (entry.meta.uid, entry.meta.gid) = (uid, gid);
        }
    }
    Merger::new(tree, &limits, DirectoryRule::Follow)
        .apply(entries)
        .map_err(|source| ImageError::Merge {
            layer: directory.display().to_string(),
            source,
        })
}

/// Everything below a directory, without following any symbolic link.
pub(crate) fn read_directory(
    directory: &Path,
    store: &dyn ContentStore,
    limits: &Limits,
    monitor: &dyn Monitor,
) -> Result<Vec<Entry>, ImageError> {
    let budget = Budget::new(limits);
    let task = Task::bytes(monitor, format!("read {}", directory.display()), None);
    let mut walk = Walk {
        root: directory,
        store,
        budget: &budget,
        monitor,
        task: &task,
        entries: Vec::new(),
        links: BTreeMap::new(),
        buffer: vec![0; BUFFER],
    };
    let fd = rustix::fs::open(
        directory,
        OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|error| walk.failed(b"", error))?;
    let stat = rustix::fs::fstat(&fd).map_err(|error| walk.failed(b"", error))?;
    let meta = walk.metadata(b"", &fd, &stat)?;
    walk.push(b"", EntryKind::Directory, meta)?;
    walk.directory(b"", &fd, 0)?;
    let entries = walk.entries;
    task.finish();
    Ok(entries)
}

struct Walk<'w> {
    root: &'w Path,
    store: &'w dyn ContentStore,
    budget: &'w Budget<'w>,
    monitor: &'w dyn Monitor,
    task: &'w Task<'w>,
    entries: Vec<Entry>,
    /// First path of each inode that has several, by device and inode number.
    links: BTreeMap<(u64, u64), Box<[u8]>>,
    buffer: Vec<u8>,
}

impl Walk<'_> {
    fn host_path(&self, path: &[u8]) -> PathBuf {
        self.root.join(OsStr::from_bytes(path))
    }

    fn failed(&self, path: &[u8], error: Errno) -> ImageError {
        ImageError::ReadDirectory {
            path: self.host_path(path),
            source: error.into(),
        }
    }

    fn refuse(&self, path: &[u8], problem: EntryError) -> ImageError {
        let at = self.host_path(path).display().to_string();
        ImageError::entry(self.root.display().to_string(), at, problem)
    }

    fn push(&mut self, path: &[u8], kind: EntryKind, meta: Metadata) -> Result<(), ImageError> {
        let attributes: usize = meta
            .xattrs
            .iter()
            .map(|(k, v)| k.len() + v.len() + 64)
            .sum();
        self.budget
            .take_entry((path.len() + attributes) as u64)
            .map_err(|exhausted| self.refuse(path, exhausted.into()))?;
        let path = path.into();
        self.entries.push(Entry { path, kind, meta });
        Ok(())
    }

    fn directory(&mut self, path: &[u8], fd: &OwnedFd, depth: usize) -> Result<(), ImageError> {
        let limits = self.budget.limits;
        for name in self.names(path, fd)? {
            self.monitor.checkpoint()?;
            let mut child = path.to_vec();
            if !child.is_empty() {
                child.push(b'/');
            }
            child.extend_from_slice(name.to_bytes());
            if depth >= limits.depth || child.len() > limits.path_length {
                return Err(self.refuse(
                    &child,
                    EntryError::PathTooLong {
                        length: child.len(),
                        depth: depth + 1,
                        max_length: limits.path_length,
                        max_depth: limits.depth,
                    },
                ));
            }
            self.entry(&child, fd.as_fd(), &name, depth)?;
        }
        Ok(())
    }

    /// The names in a directory, sorted, so that the same tree gives the same entries.
    fn names(&self, path: &[u8], fd: &OwnedFd) -> Result<Vec<CString>, ImageError> {
        let mut names = Vec::new();
        let mut buffer = vec![MaybeUninit::uninit(); 64 << 10];
        let mut raw = RawDir::new(fd, &mut buffer);
        while let Some(entry) = raw.next() {
            let entry = entry.map_err(|error| self.failed(path, error))?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                names.push(entry.file_name().to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    fn entry(
        &mut self,
        path: &[u8],
        parent: BorrowedFd<'_>,
        name: &CStr,
        depth: usize,
    ) -> Result<(), ImageError> {
        let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| self.failed(path, error))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::Directory && stat.st_nlink > 1 {
            let key = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.links.get(&key) {
                let target = first.clone();
                return self.push(path, EntryKind::HardLink(target), Metadata::default());
            }
            self.links.insert(key, path.into());
        }
        match kind {
            FileType::Directory | FileType::RegularFile => {
                self.opened(path, parent, name, &stat, depth)
            }
            _ => {
                let kind = self.special(path, parent, name, kind, &stat)?;
                let meta = self.metadata_by_path(path, &stat)?;
                self.push(path, kind, meta)
            }
        }
    }

    /// Directories and files are opened once; what was opened is what is read.
    fn opened(
        &mut self,
        path: &[u8],
        parent: BorrowedFd<'_>,
        name: &CStr,
        seen: &Stat,
        depth: usize,
    ) -> Result<(), ImageError> {
        // O_NONBLOCK: a pipe put in the file's place must not hang the walk.
        let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = rustix::fs::openat(parent, name, flags, Mode::empty())
            .map_err(|error| self.failed(path, error))?;
        let stat = rustix::fs::fstat(&fd).map_err(|error| self.failed(path, error))?;
        if (stat.st_dev, stat.st_ino) != (seen.st_dev, seen.st_ino) {
            return Err(ImageError::Changing {
                path: self.host_path(path),
            });
        }
        let meta = self.metadata(path, &fd, &stat)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            self.push(path, EntryKind::Directory, meta)?;
            return self.directory(path, &fd, depth + 1);
        }
        let content = self.content(path, &fd, stat.st_size.unsigned_abs())?;
        self.push(path, EntryKind::File(content), meta)
    }

    fn special(
        &self,
        path: &[u8],
        parent: BorrowedFd<'_>,
        name: &CStr,
        kind: FileType,
        stat: &Stat,
    ) -> Result<EntryKind, ImageError> {
        let device = DeviceNumber {
            major: rustix::fs::major(stat.st_rdev),
            minor: rustix::fs::minor(stat.st_rdev),
        };
        Ok(match kind {
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(parent, name, Vec::new())
                    .map_err(|error| self.failed(path, error))?;
                EntryKind::Symlink(target.as_bytes().into())
            }
            FileType::CharacterDevice => EntryKind::CharDevice(device),
            FileType::BlockDevice => EntryKind::BlockDevice(device),
            FileType::Fifo => EntryKind::Fifo,
            FileType::Socket => EntryKind::Socket,
            _ => return Err(self.refuse(path, EntryError::UnknownType(b'?'))),
        })
    }

    fn metadata(&self, path: &[u8], fd: &OwnedFd, stat: &Stat) -> Result<Metadata, ImageError> {
        let xattrs = read_xattrs(
            |list| rustix::fs::flistxattr(fd, list),
            |name, value| rustix::fs::fgetxattr(fd, name, value),
        );
        self.with_xattrs(path, stat, xattrs)
    }

    /// For what cannot be opened without side effects. The path is only asked for attributes.
    fn metadata_by_path(&self, path: &[u8], stat: &Stat) -> Result<Metadata, ImageError> {
        let host = self.host_path(path);
        let xattrs = read_xattrs(
            |list| rustix::fs::llistxattr(&host, list),
            |name, value| rustix::fs::lgetxattr(&host, name, value),
        );
        self.with_xattrs(path, stat, xattrs)
    }

    fn with_xattrs(
        &self,
        path: &[u8],
        stat: &Stat,
        xattrs: Result<Xattrs, Errno>,
    ) -> Result<Metadata, ImageError> {
        Ok(Metadata {
            permissions: (stat.st_mode & 0o7777) as u16,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: stat.st_mtime,
            xattrs: xattrs.map_err(|error| self.failed(path, error))?,
        })
    }

    fn content(&mut self, path: &[u8], fd: &OwnedFd, size: u64) -> Result<Content, ImageError> {
        let limit = self.budget.limits.file_size;
        if size > limit {
            return Err(self.refuse(path, EntryError::FileTooLarge { size, limit }));
        }
        self.budget
            .take_content(size)
            .map_err(|exhausted| self.refuse(path, exhausted.into()))?;
        let store = self.store;
        let stored = |source| self.refuse(path, EntryError::Store(source));
        let mut writer = store.create(path, size).map_err(stored)?;
        let mut at = 0;
        while at < size {
            let data = match rustix::fs::seek(fd, SeekFrom::Data(at)) {
                Ok(data) => data.clamp(at, size),
                // No data from here on.
                Err(Errno::NXIO) => size,
                // A file system that knows of no holes.
                Err(Errno::INVAL | Errno::OPNOTSUPP) => at,
                Err(error) => return Err(self.failed(path, error)),
            };
            if data > at {
                let stored = |source| self.refuse(path, EntryError::Store(source));
                writer.hole(data - at).map_err(stored)?;
            }
            at = data;
            let end = match rustix::fs::seek(fd, SeekFrom::Hole(at)) {
                _ if at == size => break,
                Ok(hole) => hole.clamp(at, size),
                Err(_) => size,
            };
            self.segment(path, fd, at, end, writer.as_mut())?;
            at = end;
        }
        let stored = |source| self.refuse(path, EntryError::Store(source));
        let id = writer.finish().map_err(stored)?;
        Ok(Content { size, id })
    }

    /// Copies the bytes from `at` to `end`.
    fn segment(
        &mut self,
        path: &[u8],
        fd: &OwnedFd,
        mut at: u64,
        end: u64,
        writer: &mut dyn ContentWriter,
    ) -> Result<(), ImageError> {
        while at < end {
            self.monitor.checkpoint()?;
            let want = usize::try_from(end - at).unwrap_or(BUFFER).min(BUFFER);
            let read = rustix::io::pread(fd, &mut self.buffer[..want], at)
                .map_err(|error| self.failed(path, error))?;
            if read == 0 {
                return Err(ImageError::Changing {
                    path: self.host_path(path),
                });
            }
            writer
                .write(&self.buffer[..read])
                .map_err(|source| self.refuse(path, EntryError::Store(source)))?;
            self.task.advance(read as u64);
            at += read as u64;
        }
        Ok(())
    }
}

/// Reads all attributes. A file system without any is no error.
fn read_xattrs(
    list: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
    get: impl Fn(&CStr, &mut [u8]) -> rustix::io::Result<usize>,
) -> Result<Xattrs, Errno> {
    // linux/limits.h: XATTR_LIST_MAX, XATTR_SIZE_MAX.
    let mut names = vec![0; 64 << 10];
    let length = match list(&mut names) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => 0,
        Err(error) => return Err(error),
    };
    let mut xattrs = Xattrs::new();
    if length == 0 {
        return Ok(xattrs);
    }
    let mut value = vec![0; 64 << 10];
    for name in names[..length].split_inclusive(|&b| b == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else {
            continue;
        };
        let length = match get(name, &mut value) {
            Ok(length) => length,
            // Listed, but gone or not for us to see.
            Err(Errno::NODATA | Errno::PERM | Errno::ACCESS) => continue,
            Err(error) => return Err(error),
        };
        xattrs.insert(name.to_bytes().into(), value[..length].into());
    }
    Ok(xattrs)
}
