//! A file that is written whole or not at all.

use super::{FILE_MODE, KERNEL_FILE_SYSTEMS, Metadata, Status, reopen_directory, status};
use crate::root_path::{Place, RootPathError};
use fs_err::File;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, XattrFlags};
use rustix::io::Errno;
use std::ffi::OsString;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, Seek as _, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// How often another name for a temporary file is tried.
const NAME_TRIES: usize = 64;

/// A file on its way: [`Write`] to it, then [`AtomicFile::commit`]. Dropped without that, what was
/// there before stays, and nothing of it remains.
#[derive(Debug)]
#[must_use = "without commit() what is written is thrown away"]
pub struct AtomicFile {
    pub(super) file: File,
    pub(super) path: PathBuf,
    pub(super) root: PathBuf,
    pub(super) place: Place,
    /// The name of what is written; `None` when that is the target itself.
    pub(super) temporary: Option<OsString>,
    pub(super) metadata: Metadata,
    pub(super) existing: Option<Stat>,
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl AtomicFile {
    /// What it will replace, links followed; `None` when nothing is there. What somebody else puts
    /// there from now on is replaced just the same.
    pub fn replaces(&self) -> Option<Status> {
        self.existing.as_ref().map(status)
    }

    /// The directory it will be in, links followed. Who owns it can put anything in the file's place.
    pub fn directory(&self) -> Result<Status, RootPathError> {
        let stat = rustix::fs::fstat(&self.place.directory);
        let stat = stat.map_err(|errno| self.failed(errno.into()))?;
        Ok(status(&stat))
    }

    /// Puts the file in its place, with its mode and owner, and on the disk.
    pub fn commit(mut self) -> Result<(), RootPathError> {
        self.finish().map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> RootPathError {
        RootPathError::Failed {
            action: "write",
            path: self.path.clone(),
            root: self.root.clone(),
            source,
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        let Some(temporary) = self.temporary.clone() else {
            self.metadata.apply(&self.file)?;
            return sync_if_supported(&self.file);
        };
        let mut metadata = self.metadata;
        metadata = match &self.existing {
            Some(existing) => metadata.or_of(existing),
            None => Metadata {
                mode: metadata.mode.or(Some(FILE_MODE)),
                ..metadata
            },
        };
        metadata.apply(&self.file)?;
        if self.existing.is_some() {
            self.place.copy_label(&self.file);
        }
        self.file.sync_all()?;
        let directory = &self.place.directory;
        match rustix::fs::renameat(directory, &temporary, directory, &self.place.name) {
            Ok(()) => self.temporary = None,
            // Something is mounted on the file: it cannot be replaced, only written.
            Err(Errno::BUSY | Errno::XDEV) => return self.copy_in_place(),
            Err(errno) => return Err(errno.into()),
        }
        Ok(self.place.sync()?)
    }

    fn copy_in_place(&mut self) -> io::Result<()> {
        let mut target = std::fs::File::from(self.place.open_in_place()?);
        self.file.rewind()?;
        io::copy(&mut self.file, &mut target)?;
        self.metadata.apply(&target)?;
        target.sync_all()
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            let directory = &self.place.directory;
            let _ = rustix::fs::unlinkat(directory, temporary, AtFlags::empty()).ok();
        }
    }
}

impl Place {
    /// What is there, a link itself; `None` for nothing.
    pub(super) fn stat(&self) -> Result<Option<Stat>, Errno> {
        match rustix::fs::statat(&self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    pub(super) fn of_the_kernel(&self) -> Result<bool, Errno> {
        let file_system = rustix::fs::fstatfs(&self.directory)?;
        Ok(KERNEL_FILE_SYSTEMS.contains(&file_system.f_type))
    }

    /// A new file in the same directory, which only its owner may read, and only if `mode` lets it.
    pub(super) fn make_temporary(&self, mode: u32) -> Result<(OwnedFd, OsString), Errno> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let mode = Mode::from_raw_mode(mode & 0o600);
        with_new_name(|name| {
            rustix::fs::openat(&self.directory, name, flags | OFlags::CLOEXEC, mode)
        })
    }

    /// Opens what is there to be written over. What became a FIFO meanwhile is refused.
    pub(super) fn open_in_place(&self) -> Result<OwnedFd, Errno> {
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let flags = flags | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.directory, &self.name, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&file)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => match rustix::fs::ftruncate(&file, 0) {
                // Files of the kernel have no length.
                Ok(()) | Err(Errno::INVAL | Errno::PERM | Errno::ACCESS) => {}
                Err(errno) => return Err(errno),
            },
            FileType::CharacterDevice | FileType::BlockDevice => {}
            _ => return Err(Errno::INVAL),
        }
        // Only opening was not to wait; a device that is busy for a moment is no error.
        let flags = rustix::fs::fcntl_getfl(&file)?;
        rustix::fs::fcntl_setfl(&file, flags - OFlags::NONBLOCK)?;
        Ok(file)
    }

    /// Gives a new file the `SELinux` label of the one it replaces, where there is one: `shadow`
    /// has another than its directory. Without `SELinux` there is nothing to copy.
    fn copy_label(&self, file: &File) {
        const LABEL: &str = "security.selinux";
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let old = rustix::fs::openat(&self.directory, &self.name, flags, Mode::empty());
        let mut label = [0; 4096];
        let Ok(length) = old.and_then(|old| rustix::fs::fgetxattr(&old, LABEL, &mut label[..]))
        else {
            return;
        };
        let _ = rustix::fs::fsetxattr(file, LABEL, &label[..length], XattrFlags::empty()).ok();
    }

    /// Puts the directory on the disk: a rename is not there after a power cut until then.
    pub(super) fn sync(&self) -> Result<(), Errno> {
        // A directory that may be written but not listed cannot be opened for this.
        let Ok(directory) = reopen_directory(&self.directory) else {
            return Ok(());
        };
        match rustix::fs::fsync(directory) {
            Ok(()) | Err(Errno::INVAL | Errno::ROFS | Errno::NOTSUP) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

fn sync_if_supported(file: &File) -> io::Result<()> {
    match rustix::fs::fsync(file) {
        // What devices and files of the kernel say.
        Ok(()) | Err(Errno::INVAL | Errno::ROFS | Errno::NOTSUP | Errno::NOTTY) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Makes something under a name that nobody can have foreseen.
pub(super) fn with_new_name<T>(
    make: impl Fn(&OsString) -> Result<T, Errno>,
) -> Result<(T, OsString), Errno> {
    for _ in 0..NAME_TRIES {
        // The standard library's hash keys come from the kernel's random numbers.
        let random = RandomState::new().build_hasher().finish();
        let name = OsString::from(format!(".cos-{random:016x}.tmp"));
        match make(&name) {
            Ok(result) => return Ok((result, name)),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::EXIST)
}
