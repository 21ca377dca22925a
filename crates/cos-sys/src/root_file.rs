//! Files inside another root: read within limits, and replaced whole or not at all.
//!
//! Every path is resolved by [`crate::root_path`], so that no link leads out of the root, and is
//! worked on through the descriptor of its directory from then on.

mod atomic;

pub use atomic::AtomicFile;

use crate::root_path::{LastLink, Root, RootPathError, kind};
use atomic::with_new_name;
use fs_err::File;
use rustix::fs::{AtFlags, FileType, FsWord, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;
use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// The mode of a new file for which none was said.
const FILE_MODE: u32 = 0o644;

/// The mode of a new directory for which none was said.
const DIRECTORY_MODE: u32 = 0o755;

/// The most entries that [`Root::list`] returns.
const MAX_ENTRIES: usize = 100_000;

/// File systems whose files are the kernel's, which takes writes but no renames: proc, sysfs,
/// cgroup2, debugfs, tracefs, securityfs, configfs, efivarfs (`linux/magic.h`).
const KERNEL_FILE_SYSTEMS: [FsWord; 8] = [
    0x9fa0,
    0x6265_6572,
    0x6367_7270,
    0x6462_6720,
    0x7472_6163,
    0x7363_6673,
    0x6265_6570,
    0xde5e_81e4,
];

/// Mode and owner to give. `None` keeps what is there; what is new gets 0644 (directories 0755) and
/// belongs to the process, which is root. A mode is set exactly, whatever the umask.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Permission bits, at most 07777.
    pub mode: Option<u32>,
    /// User id.
    pub owner: Option<u32>,
    /// Group id.
    pub group: Option<u32>,
}

impl Metadata {
    /// These, and what `existing` has where nothing was said.
    fn or_of(self, existing: &Stat) -> Self {
        Self {
            mode: self.mode.or(Some(existing.st_mode & 0o7777)),
            owner: self.owner.or(Some(existing.st_uid)),
            group: self.group.or(Some(existing.st_gid)),
        }
    }

    /// Gives them to an open file: the owner first, as changing it takes set-id bits away.
    fn apply(self, file: impl AsFd) -> Result<(), Errno> {
        let now = rustix::fs::fstat(&file)?;
        let owner = self.owner.filter(|id| *id != now.st_uid);
        let group = self.group.filter(|id| *id != now.st_gid);
        // To chown(2) this id says "leave it".
        if owner == Some(u32::MAX) || group == Some(u32::MAX) {
            return Err(Errno::INVAL);
        }
        if owner.is_some() || group.is_some() {
            let (owner, group) = (owner.map(Uid::from_raw), group.map(Gid::from_raw));
            rustix::fs::fchown(&file, owner, group)?;
        }
        if let Some(mode) = self.mode {
            rustix::fs::fchmod(&file, Mode::from_raw_mode(mode & 0o7777))?;
        }
        Ok(())
    }
}

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// What sort of file.
    pub kind: FileType,
    /// Permission bits.
    pub mode: u32,
    /// User id.
    pub owner: u32,
    /// Group id.
    pub group: u32,
    /// In bytes.
    pub size: u64,
}

impl Root {
    /// What a regular file holds; `None` when nothing is there. More than `limit` bytes is an error,
    /// and so is a device, FIFO or directory: reading one might never end.
    pub fn read(&self, path: &Path, limit: u64) -> Result<Option<Vec<u8>>, RootPathError> {
        let found = self.read_with_status(path, limit)?;
        Ok(found.map(|(bytes, _)| bytes))
    }

    /// Like [`Root::read`], with the mode and owner of the very file that was read: of a path that
    /// somebody else can change meanwhile, [`Root::status`] may tell of another.
    pub fn read_with_status(
        &self,
        path: &Path,
        limit: u64,
    ) -> Result<Option<(Vec<u8>, Status)>, RootPathError> {
        let failed = |errno| self.failed("read", path, errno);
        let only_files = |kind| kind == FileType::RegularFile;
        let (descriptor, stat) = match self.open_if(path, only_files, failed) {
            Err(RootPathError::Failed { source, .. }) if is_absence(&source) => return Ok(None),
            opened => opened?,
        };
        let status = status(&stat);
        let mut bytes = Vec::new();
        let read = std::fs::File::from(descriptor)
            .take(limit.saturating_add(1))
            .read_to_end(&mut bytes);
        read.map_err(|source| self.failed("read", path, source))?;
        if bytes.len() as u64 > limit {
            return Err(RootPathError::TooLarge {
                path: path.to_owned(),
                root: self.path().to_owned(),
                limit,
            });
        }
        Ok(Some((bytes, status)))
    }

    /// Whether anything is where `path` leads. A link to nothing is nothing.
    pub fn exists(&self, path: &Path) -> bool {
        self.open_inside(path, OFlags::PATH).is_ok()
    }

    /// What is at `path`, links followed; `None` when nothing is there.
    pub fn status(&self, path: &Path) -> Result<Option<Status>, RootPathError> {
        let failed = |errno| self.failed("open", path, errno);
        match self.open_inside(path, OFlags::PATH) {
            Ok(descriptor) => {
                let stat = rustix::fs::fstat(descriptor).map_err(failed)?;
                Ok(Some(status(&stat)))
            }
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(failed(errno)),
        }
    }

    /// Like [`Root::status`], but of the link itself where the last component is one.
    pub fn link_status(&self, path: &Path) -> Result<Option<Status>, RootPathError> {
        let found = self
            .place(path, LastLink::Keep, false)
            .and_then(|place| place.stat());
        match found {
            Ok(stat) => Ok(stat.as_ref().map(status)),
            // A path without a last component: the root, or something that ends in `..`.
            Err(Errno::ISDIR) => self.status(path),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(self.failed("open", path, errno)),
        }
    }

    /// The text of the symbolic link at `path`; it need not lead inside the root.
    pub fn read_link(&self, path: &Path) -> Result<PathBuf, RootPathError> {
        let text = self
            .place(path, LastLink::Keep, false)
            .and_then(|place| rustix::fs::readlinkat(&place.directory, &place.name, Vec::new()));
        let text = text.map_err(|errno| self.failed("read", path, errno))?;
        Ok(OsString::from_vec(text.into_bytes()).into())
    }

    /// The names in a directory, sorted; `None` when nothing is there. More than 100 000 is an error.
    pub fn list(&self, path: &Path) -> Result<Option<Vec<OsString>>, RootPathError> {
        let descriptor = match self.open_inside(path, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(descriptor) => descriptor,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(self.failed("list", path, errno)),
        };
        let names = names_in(&descriptor).map_err(|errno| self.failed("list", path, errno))?;
        Ok(Some(names))
    }

    /// Writes a whole file, as [`Root::create_file`] does.
    pub fn write(
        &self,
        path: &Path,
        bytes: &[u8],
        metadata: &Metadata,
    ) -> Result<(), RootPathError> {
        let mut file = self.create_file(path, metadata)?;
        file.write_all(bytes)
            .map_err(|source| self.failed("write", path, source))?;
        file.commit()
    }

    /// Opens a file that replaces what is at `path` when it is complete.
    ///
    /// A link is followed to where it leads, also to nothing (`/etc/resolv.conf ->
    /// ../run/systemd/resolve/stub-resolv.conf`), and missing directories on the way are made
    /// (0755). What is written goes to a file of its own beside the target that only its owner may
    /// read, until [`AtomicFile::commit`] gives it mode and owner and renames it.
    ///
    /// Some files cannot be replaced, and are written in place from the first byte: devices (which
    /// keep mode and owner) and files of the kernel's own file systems, like `/proc/sys` (likewise).
    /// Where the file is a mount point of its own, or its directory is read-only, it is written in
    /// place too. Directories, FIFOs and sockets are errors.
    pub fn create_file(
        &self,
        path: &Path,
        metadata: &Metadata,
    ) -> Result<AtomicFile, RootPathError> {
        let failed = |errno| self.failed("write", path, errno);
        let place = self.place(path, LastLink::Follow, true).map_err(failed)?;
        let existing = place.stat().map_err(failed)?;
        let kept = existing.map_or(FILE_MODE, |stat| stat.st_mode);
        let mode = metadata.mode.unwrap_or(kept);
        let kind = existing.map(|stat| FileType::from_raw_mode(stat.st_mode));
        let target = match kind {
            Some(FileType::CharacterDevice | FileType::BlockDevice) => Target::Device,
            Some(FileType::RegularFile) | None => {
                if place.of_the_kernel().map_err(failed)? {
                    Target::Device
                } else {
                    Target::Temporary
                }
            }
            Some(kind) => return Err(self.not_a_file(path, kind)),
        };
        let (file, temporary, metadata) = match target {
            Target::Device => (
                place.open_in_place().map_err(failed)?,
                None,
                Metadata::default(),
            ),
            Target::Temporary => match place.make_temporary(mode) {
                Ok((file, name)) => (file, Some(name), *metadata),
                Err(Errno::ROFS) if existing.is_some() => {
                    (place.open_in_place().map_err(failed)?, None, *metadata)
                }
                Err(errno) => return Err(failed(errno)),
            },
        };
        Ok(AtomicFile {
            file: File::from_parts(file.into(), path),
            path: path.to_owned(),
            root: self.path().to_owned(),
            place,
            temporary,
            metadata,
            existing,
        })
    }

    /// Makes a directory, and the directories above it that are missing (0755, of the process).
    /// One that is there already is given what `metadata` says, and nothing below or above it. A
    /// link to a directory is followed; anything else in the way is an error.
    pub fn make_directories(&self, path: &Path, metadata: &Metadata) -> Result<(), RootPathError> {
        let failed = |errno| self.failed("create directory", path, errno);
        let mode = metadata.mode.unwrap_or(DIRECTORY_MODE);
        let directory = self.directory_made(path, mode).map_err(failed)?;
        if *metadata == Metadata::default() {
            return Ok(());
        }
        let directory = reopen_directory(&directory).map_err(failed)?;
        metadata.apply(&directory).map_err(failed)
    }

    /// Makes a directory that must not be there yet, of the process and with exactly `mode`, and
    /// opens it as a root of its own; `None` when anything has that name. Missing parents are made.
    pub fn new_directory(&self, path: &Path, mode: u32) -> Result<Option<Root>, RootPathError> {
        let failed = |errno| self.failed("create directory", path, errno);
        let place = match self.place(path, LastLink::Keep, true) {
            // The root itself, or `..`: there already.
            Err(Errno::ISDIR) => return Ok(None),
            found => found.map_err(failed)?,
        };
        let mode = Mode::from_raw_mode(mode & 0o7777);
        match rustix::fs::mkdirat(&place.directory, &place.name, mode) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Ok(None),
            Err(errno) => return Err(failed(errno)),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&place.directory, &place.name, flags, Mode::empty());
        let directory = opened.map_err(failed)?;
        rustix::fs::fchmod(&directory, mode).map_err(failed)?;
        Ok(Some(self.below(path, directory)))
    }

    /// Opens a directory inside this root as a root of its own, links followed. From then on it is
    /// the same directory, whatever happens to the path; no link in it leads out of it.
    pub fn descend(&self, path: &Path) -> Result<Root, RootPathError> {
        let opened = self.open_inside(path, OFlags::RDONLY | OFlags::DIRECTORY);
        let directory = opened.map_err(|errno| self.failed("open", path, errno))?;
        Ok(self.below(path, directory))
    }

    /// Opens a file that programs lock to keep each other out (`lckpwdf(3)`), made empty and 0600
    /// when it is missing.
    pub fn open_lock(&self, path: &Path) -> Result<File, RootPathError> {
        let failed = |errno| self.failed("open", path, errno);
        let place = self.place(path, LastLink::Follow, true).map_err(failed)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mode = Mode::RUSR | Mode::WUSR;
        let flags = flags | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file =
            rustix::fs::openat(&place.directory, &place.name, flags, mode).map_err(failed)?;
        Ok(File::from_parts(file.into(), self.path().join(path)))
    }

    /// Makes a symbolic link with the text `target`, which may lead anywhere, in place of any file
    /// or link at `path`. A directory there is an error.
    pub fn symlink(&self, target: &Path, path: &Path) -> Result<(), RootPathError> {
        let failed = |errno| self.failed("link", path, errno);
        let place = self.place(path, LastLink::Keep, true).map_err(failed)?;
        let make = |name: &OsString| rustix::fs::symlinkat(target, &place.directory, name);
        let ((), name) = with_new_name(make).map_err(failed)?;
        let renamed = rustix::fs::renameat(&place.directory, &name, &place.directory, &place.name);
        if let Err(errno) = renamed {
            let _ = rustix::fs::unlinkat(&place.directory, &name, AtFlags::empty()).ok();
            return Err(failed(errno));
        }
        place.sync().map_err(failed)
    }

    /// Removes a file, or a link itself, and says whether there was one. A directory is an error.
    pub fn remove(&self, path: &Path) -> Result<bool, RootPathError> {
        let removed = self.place(path, LastLink::Keep, false).and_then(|place| {
            rustix::fs::unlinkat(&place.directory, &place.name, AtFlags::empty())?;
            place.sync()
        });
        match removed {
            Ok(()) => Ok(true),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
            Err(errno) => Err(self.failed("remove", path, errno)),
        }
    }

    /// Gives a file or directory mode and owner; links are followed. Anything else is an error: the
    /// modes of devices are udev's.
    pub fn set_metadata(&self, path: &Path, metadata: &Metadata) -> Result<(), RootPathError> {
        let failed = |errno| self.failed("change", path, errno);
        let wanted = |kind| matches!(kind, FileType::RegularFile | FileType::Directory);
        let (file, _) = self.open_if(path, wanted, failed)?;
        metadata.apply(&file).map_err(failed)
    }

    /// Gives a symbolic link itself an owner; what it leads to is not touched.
    pub fn set_link_owner(&self, path: &Path, owner: u32, group: u32) -> Result<(), RootPathError> {
        let changed = self.place(path, LastLink::Keep, false).and_then(|place| {
            if owner == u32::MAX || group == u32::MAX {
                return Err(Errno::INVAL);
            }
            let (owner, group) = (Some(Uid::from_raw(owner)), Some(Gid::from_raw(group)));
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::chownat(&place.directory, &place.name, owner, group, flags)
        });
        changed.map_err(|errno| self.failed("change", path, errno))
    }

    /// Opens what is there for reading, if it is of a wanted kind. It is looked at first: only to
    /// open a watchdog or a tape has consequences.
    fn open_if(
        &self,
        path: &Path,
        wanted: impl Fn(FileType) -> bool,
        failed: impl Fn(Errno) -> RootPathError,
    ) -> Result<(OwnedFd, Stat), RootPathError> {
        let found = self.open_inside(path, OFlags::PATH).map_err(&failed)?;
        let seen = rustix::fs::fstat(&found).map_err(&failed)?;
        let kind = FileType::from_raw_mode(seen.st_mode);
        if !wanted(kind) {
            return Err(self.not_a_file(path, kind));
        }
        // Should it be replaced in between, this does not wait for the other end of a FIFO.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = self.open_inside(path, flags).map_err(&failed)?;
        let stat = rustix::fs::fstat(&file).map_err(&failed)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if !wanted(kind) {
            return Err(self.not_a_file(path, kind));
        }
        Ok((file, stat))
    }

    fn not_a_file(&self, path: &Path, found: FileType) -> RootPathError {
        RootPathError::NotAFile {
            path: path.to_owned(),
            root: self.path().to_owned(),
            kind: kind(found.as_raw_mode()),
        }
    }
}

enum Target {
    Temporary,
    Device,
}

/// A descriptor from `O_PATH` cannot be listed, synced or changed; this one can.
fn reopen_directory(directory: &OwnedFd) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(directory, ".", flags, Mode::empty())
}

/// Whether an error says that nothing is there.
fn is_absence(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::NOENT | Errno::NOTDIR))
}

fn names_in(directory: &OwnedFd) -> Result<Vec<OsString>, Errno> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name == b"." || name == b".." {
            continue;
        }
        if names.len() == MAX_ENTRIES {
            return Err(Errno::OVERFLOW);
        }
        names.push(OsString::from_vec(name));
    }
    names.sort();
    Ok(names)
}

fn status(stat: &Stat) -> Status {
    Status {
        kind: FileType::from_raw_mode(stat.st_mode),
        mode: stat.st_mode & 0o7777,
        owner: stat.st_uid,
        group: stat.st_gid,
        size: u64::try_from(stat.st_size).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests;
