//! Paths inside another root: symbolic links are followed as they would be after `chroot`, so that
//! `/home -> /var/home` of an image leads into the image and never into the running system.

use fs_err::File;
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::io;
use std::path::{Path, PathBuf};

/// Why a path inside a root could not be used.
#[derive(Debug, thiserror::Error)]
pub enum RootPathError {
    /// The path could not be opened or made.
    #[error("cannot {action} {} inside {}", .path.display(), .root.display())]
    Failed {
        /// What was tried: `open`, `create`.
        action: &'static str,
        /// The path as it was given.
        path: PathBuf,
        /// The root.
        root: PathBuf,
        /// Why.
        source: io::Error,
    },
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

    fn failed(
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

    fn open_inside(&self, path: &Path, flags: OFlags) -> Result<std::os::fd::OwnedFd, Errno> {
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
            Ok(descriptor) => self.real_path(path, &descriptor).map(Some),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(self.failed("open", path, errno)),
        }
    }

    /// Like [`Root::directory`], making what is missing (root-owned, mode 0755).
    pub fn make_directory(&self, path: &Path) -> Result<PathBuf, RootPathError> {
        let mut so_far = PathBuf::from("/");
        for component in path.strip_prefix("/").unwrap_or(path).components() {
            let parent = self
                .open_inside(&so_far, OFlags::PATH | OFlags::DIRECTORY)
                .map_err(|errno| self.failed("open", path, errno))?;
            match rustix::fs::mkdirat(&parent, component.as_os_str(), Mode::from(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                // A read-only file system says so even where the directory is there already.
                Err(Errno::ROFS)
                    if rustix::fs::statat(&parent, component.as_os_str(), AtFlags::empty())
                        .is_ok() => {}
                Err(errno) => return Err(self.failed("create", path, errno)),
            }
            so_far.push(component);
        }
        let descriptor = self
            .open_inside(path, OFlags::PATH | OFlags::DIRECTORY)
            .map_err(|errno| self.failed("open", path, errno))?;
        self.real_path(path, &descriptor)
    }

    fn real_path(
        &self,
        path: &Path,
        descriptor: &impl std::os::fd::AsRawFd,
    ) -> Result<PathBuf, RootPathError> {
        let link = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
        fs_err::read_link(link).map_err(|source| self.failed("open", path, source))
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
