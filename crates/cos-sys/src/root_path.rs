//! Paths inside another root: symbolic links are followed as they would be after `chroot`, so that
//! `/home -> /var/home` of an image leads into the image and never into the running system.

use fs_err::File;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

/// How many symbolic links one path may lead through, as in the kernel (`path_resolution(7)`).
const MAX_LINKS: usize = 40;

/// The mode of directories made because something is to be below them.
const PARENT_MODE: u32 = 0o755;

/// Why a path inside a root could not be used.
#[derive(Debug, thiserror::Error)]
pub enum RootPathError {
    /// The path could not be opened or made.
    #[error("cannot {action} {} inside {}", .path.display(), .root.display())]
    Failed {
        /// What was tried: `open`, `create`, `write`.
        action: &'static str,
        /// The path as it was given.
        path: PathBuf,
        /// The root.
        root: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is larger than the caller takes.
    #[error("{} inside {} is larger than {limit} bytes", .path.display(), .root.display())]
    TooLarge {
        /// The path as it was given.
        path: PathBuf,
        /// The root.
        root: PathBuf,
        /// The most that is taken, in bytes.
        limit: u64,
    },
    /// A device, FIFO, socket or directory where a file was to be read or written.
    #[error("{} inside {} is a {kind}, not a regular file", .path.display(), .root.display())]
    NotAFile {
        /// The path as it was given.
        path: PathBuf,
        /// The root.
        root: PathBuf,
        /// What it is.
        kind: &'static str,
    },
}

impl RootPathError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Failed { source, .. } => {
                let errno = Errno::from_io_error(source)?;
                match errno {
                    Errno::LOOP => Some("its symbolic links lead in a circle".into()),
                    Errno::ROFS => Some("it is on a read-only file system".into()),
                    _ => None,
                }
            }
            Self::TooLarge { .. } | Self::NotAFile { .. } => None,
        }
    }
}

/// What to do with a symbolic link that is the last component of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LastLink {
    /// Go where it leads, also when nothing is there yet.
    Follow,
    /// The link itself is meant.
    Keep,
}

/// A name in a directory that is held open: renaming or replacing what leads there changes nothing.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) directory: OwnedFd,
    pub(crate) name: OsString,
}

/// A directory taken for a root.
#[derive(Debug)]
pub struct Root {
    path: PathBuf,
    directory: File,
}

impl Root {
    /// Opens a directory as a root.
    pub fn open(path: &Path) -> Result<Self, RootPathError> {
        let directory = File::open(path).map_err(|source| RootPathError::Failed {
            action: "open",
            path: "/".into(),
            root: path.to_owned(),
            source,
        })?;
        Ok(Self {
            path: path.to_owned(),
            directory,
        })
    }

    pub(crate) fn failed(
        &self,
        action: &'static str,
        path: &Path,
        errno: impl Into<io::Error>,
    ) -> RootPathError {
        RootPathError::Failed {
            action,
            path: path.to_owned(),
            root: self.path.clone(),
            source: errno.into(),
        }
    }

    /// A directory inside this root that was opened at `path`, as a root.
    pub(crate) fn below(&self, path: &Path, directory: OwnedFd) -> Self {
        let path = self.path.join(path.strip_prefix("/").unwrap_or(path));
        Self {
            directory: File::from_parts(directory.into(), &path),
            path,
        }
    }

    /// The root's own path, for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens what is at `path`, all links followed, atomically by the kernel.
    pub(crate) fn open_inside(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let relative = path.strip_prefix("/").unwrap_or(path);
        let relative = if relative.as_os_str().is_empty() {
            Path::new(".")
        } else {
            relative
        };
        rustix::fs::openat2(
            &self.directory,
            relative,
            flags | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        )
    }

    /// Where a directory inside the root really is, as a path of the running system. `None` when
    /// nothing is there, or no directory.
    pub fn directory(&self, path: &Path) -> Result<Option<PathBuf>, RootPathError> {
        match self.open_inside(path, OFlags::PATH | OFlags::DIRECTORY) {
            Ok(descriptor) => self.path_of(path, &descriptor).map(Some),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(self.failed("open", path, errno)),
        }
    }

    /// Like [`Root::directory`], making what is missing (root-owned, mode 0755 whatever the umask).
    pub fn make_directory(&self, path: &Path) -> Result<PathBuf, RootPathError> {
        let descriptor = self
            .directory_made(path, PARENT_MODE)
            .map_err(|errno| self.failed("create", path, errno))?;
        self.path_of(path, &descriptor)
    }

    /// Where an existing file, directory or device inside the root really is, as a path of the
    /// running system, for programs that take nothing but paths.
    pub fn real_path(&self, path: &Path) -> Result<PathBuf, RootPathError> {
        let descriptor = self
            .open_inside(path, OFlags::PATH)
            .map_err(|errno| self.failed("open", path, errno))?;
        self.path_of(path, &descriptor)
    }

    fn path_of(&self, path: &Path, descriptor: &impl AsRawFd) -> Result<PathBuf, RootPathError> {
        let link = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
        fs_err::read_link(link).map_err(|source| self.failed("open", path, source))
    }

    /// The directory at `path` and what is missing of it: parents with mode 0755, itself with
    /// `mode`, whatever the umask. `path` may be the root.
    pub(crate) fn directory_made(&self, path: &Path, mode: u32) -> Result<OwnedFd, Errno> {
        let mut walk = Walk::new(self, path);
        while let Some(name) = walk.rest.pop_front() {
            let mode = if walk.rest.is_empty() {
                mode
            } else {
                PARENT_MODE
            };
            walk.enter(&name, Some(mode))?;
        }
        match walk.entered.pop() {
            Some(descriptor) => Ok(descriptor),
            None => self.open_inside(Path::new("/"), OFlags::PATH | OFlags::DIRECTORY),
        }
    }

    /// Finds the directory that has the last component of `path`, or will have it. `make_parents`
    /// makes missing directories (0755). A path that names no entry (`/`, `a/..`) is `EISDIR`.
    ///
    /// The kernel cannot say where a link to nothing leads, so this walks one component at a time,
    /// each from the descriptor of the one before.
    pub(crate) fn place(
        &self,
        path: &Path,
        last: LastLink,
        make_parents: bool,
    ) -> Result<Place, Errno> {
        let make = make_parents.then_some(PARENT_MODE);
        let mut walk = Walk::new(self, path);
        while let Some(name) = walk.rest.pop_front() {
            if !walk.rest.is_empty() || name == ".." {
                walk.enter(&name, make)?;
                continue;
            }
            let link = match last {
                LastLink::Follow => walk.link(&name)?,
                LastLink::Keep => None,
            };
            match link {
                Some(link) => walk.follow(&name, &link)?,
                None => return walk.place(name),
            }
        }
        Err(Errno::ISDIR)
    }
}

/// A path on its way down from the root.
struct Walk<'a> {
    root: BorrowedFd<'a>,
    /// The directories entered, outermost first; none: the root.
    entered: Vec<OwnedFd>,
    /// What is still to be entered.
    rest: VecDeque<OsString>,
    links: usize,
}

impl<'a> Walk<'a> {
    fn new(root: &'a Root, path: &Path) -> Self {
        Self {
            root: root.directory.as_fd(),
            entered: Vec::new(),
            rest: names(path).collect(),
            links: 0,
        }
    }

    fn here(&self) -> BorrowedFd<'_> {
        self.entered.last().map_or(self.root, AsFd::as_fd)
    }

    /// Goes into the directory `name`, or where the link of that name leads; `make` is the mode it
    /// gets when it is missing.
    fn enter(&mut self, name: &OsStr, make: Option<u32>) -> Result<(), Errno> {
        if name == ".." {
            self.entered.pop();
            return Ok(());
        }
        // With O_DIRECTORY the kernel also mounts what systemd.automount(5) promises.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let found = rustix::fs::openat(self.here(), name, flags, Mode::empty());
        let descriptor = match (found, make) {
            (Err(Errno::NOENT), Some(mode)) => {
                make_directory(self.here(), name, mode)?;
                rustix::fs::openat(self.here(), name, flags, Mode::empty())?
            }
            (Err(Errno::NOTDIR | Errno::LOOP), _) => {
                let link = self.link(name)?.ok_or(Errno::NOTDIR)?;
                return self.follow(name, &link);
            }
            (found, _) => found?,
        };
        self.entered.push(descriptor);
        Ok(())
    }

    /// The text of the link `name`; `None` when it is no link, or nothing.
    fn link(&self, name: &OsStr) -> Result<Option<PathBuf>, Errno> {
        match rustix::fs::readlinkat(self.here(), name, Vec::new()) {
            Ok(text) => Ok(Some(OsString::from_vec(text.into_bytes()).into())),
            Err(Errno::INVAL | Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    fn follow(&mut self, name: &OsStr, link: &Path) -> Result<(), Errno> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(Errno::LOOP);
        }
        self.refuse_planted(name)?;
        if link.has_root() {
            self.entered.clear();
        }
        for name in names(link).rev() {
            self.rest.push_front(name);
        }
        Ok(())
    }

    /// What the kernel does with `fs.protected_symlinks` (`proc_sys_fs(5)`): in a directory like
    /// `/tmp`, links of other users are not followed.
    fn refuse_planted(&self, name: &OsStr) -> Result<(), Errno> {
        let shared = Mode::SVTX | Mode::WOTH;
        let directory = rustix::fs::fstat(self.here())?;
        if !Mode::from_raw_mode(directory.st_mode).contains(shared) {
            return Ok(());
        }
        let link = rustix::fs::statat(self.here(), name, AtFlags::SYMLINK_NOFOLLOW)?;
        let ours = rustix::process::geteuid().as_raw();
        if link.st_uid == ours || link.st_uid == directory.st_uid {
            return Ok(());
        }
        Err(Errno::ACCESS)
    }

    fn place(mut self, name: OsString) -> Result<Place, Errno> {
        let directory = match self.entered.pop() {
            Some(directory) => directory,
            None => self
                .root
                .try_clone_to_owned()
                .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?,
        };
        Ok(Place { directory, name })
    }
}

/// The names of a path, `..` among them, without what means nothing.
fn names(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

/// Makes a directory with exactly this mode. One that somebody else makes meanwhile is left alone.
fn make_directory(parent: BorrowedFd<'_>, name: &OsStr, mode: u32) -> Result<(), Errno> {
    let mode = Mode::from_raw_mode(mode & 0o7777);
    match rustix::fs::mkdirat(parent, name, mode) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Ok(()),
        Err(errno) => return Err(errno),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    rustix::fs::fchmod(&directory, mode)
}

/// What a file that is not regular is called.
pub(crate) fn kind(mode: u32) -> &'static str {
    match FileType::from_raw_mode(mode) {
        FileType::Directory => "directory",
        FileType::Fifo => "FIFO",
        FileType::Socket => "socket",
        FileType::CharacterDevice => "character device",
        FileType::BlockDevice => "block device",
        FileType::Symlink => "symbolic link",
        _ => "file of unknown kind",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fs_err::os::unix::fs::symlink;

    #[test]
    fn links_lead_inside_the_root() {
        let temp = tempfile::tempdir().unwrap();
        let top = temp.path().canonicalize().unwrap();
        fs_err::create_dir_all(top.join("var/home")).unwrap();
        symlink("/var/home", top.join("home")).unwrap();
        symlink("../../../../etc", top.join("out")).unwrap();
        let root = Root::open(&top).unwrap();
        assert_eq!(
            root.directory(Path::new("/home")).unwrap(),
            Some(top.join("var/home"))
        );
        assert_eq!(root.directory(Path::new("/out")).unwrap(), None);
        assert_eq!(root.directory(Path::new("/nothing")).unwrap(), None);
        assert_eq!(root.directory(Path::new("/")).unwrap(), Some(top.clone()));
        let made = root.make_directory(Path::new("/home/a/b")).unwrap();
        assert_eq!(made, top.join("var/home/a/b"));
        assert!(made.is_dir());
    }

    #[test]
    fn a_file_in_the_way_is_an_error_that_names_the_path() {
        let temp = tempfile::tempdir().unwrap();
        fs_err::write(temp.path().join("file"), "").unwrap();
        let root = Root::open(temp.path()).unwrap();
        let error = root.make_directory(Path::new("/file/below")).unwrap_err();
        assert!(error.to_string().contains("/file/below"), "{error}");
    }
}
