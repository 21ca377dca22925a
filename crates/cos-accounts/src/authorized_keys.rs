//! Public keys that may log in, in `~/.ssh/authorized_keys` (`sshd(8)`, its section on
//! that file).

use crate::check::check_name;
use crate::database::{id_of, read_table};
use crate::error::AccountsError;
use crate::home::Owner;
use crate::table::{Kind, passwd};
use cos_sys::root_file::{AtomicFile, Metadata, Status};
use cos_sys::root_path::{Root, RootPathError};
use key::Key;
use rustix::fs::FileType;
use std::io::Write as _;
use std::path::{Path, PathBuf};

mod key;

/// The most that is read of an existing file, in bytes.
const MAX_FILE: u64 = 4 << 20;

/// Adds public keys to those that a user may log in with, and returns how many were new: a key is
/// there when its type and its body are, whatever options and comment say. Blank lines and comments
/// are skipped; a line that is no key is an error, and nothing is added.
///
/// The user is looked up in `/etc/passwd` (save the [`crate::Database`] first). `~/.ssh` is made
/// 0700, the file 0600, both the user's. The home is the user's own ground, where links may lead
/// anywhere: what they lead to is used only when it belongs to the user.
pub fn add_authorized_keys(
    root: &Root,
    user: &str,
    keys: &[String],
) -> Result<usize, AccountsError> {
    check_name("user", user)?;
    let mut wanted: Vec<(&str, Key<'_>)> = Vec::new();
    for line in keys.iter().map(|line| line.trim()) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let key = Key::parse(line)?;
        if !wanted.iter().any(|(_, other)| *other == key) {
            wanted.push((line, key));
        }
    }
    if wanted.is_empty() {
        return Ok(0);
    }
    let ground = Ground::of(root, user)?;
    let (place, path) = ground.ssh_directory()?;
    ground.add(&place, &path, &wanted)
}

/// Where a user lives.
struct Ground<'a> {
    root: &'a Root,
    name: &'a str,
    owner: Owner,
    home: PathBuf,
}

impl<'a> Ground<'a> {
    fn of(root: &'a Root, name: &'a str) -> Result<Self, AccountsError> {
        let table = read_table(root, Kind::Passwd, Path::new(Kind::Passwd.path()))?;
        let no_user = || AccountsError::NoUser { name: name.into() };
        let row = table.find(name).ok_or_else(no_user)?;
        let owner = Owner {
            uid: id_of(Kind::Passwd, &row, passwd::UID, "uid")?,
            gid: id_of(Kind::Passwd, &row, passwd::GID, "gid")?,
        };
        let ground = Self {
            root,
            name,
            owner,
            home: row.text(passwd::HOME).into(),
        };
        if !ground.home.has_root() {
            return Err(ground.refused(&ground.home, "it is no absolute path"));
        }
        Ok(ground)
    }

    fn refused(&self, path: &Path, why: &'static str) -> AccountsError {
        AccountsError::Refused {
            path: path.to_owned(),
            name: self.name.to_owned(),
            why,
        }
    }

    fn owned(&self, mode: u32) -> Metadata {
        Metadata {
            mode: Some(mode),
            owner: Some(self.owner.uid),
            group: Some(self.owner.gid),
        }
    }

    /// Opens `~/.ssh`, made when it is missing; also its path in the root.
    fn ssh_directory(&self) -> Result<(Root, PathBuf), AccountsError> {
        let home = match self.root.descend(&self.home) {
            Ok(home) => home,
            Err(error) if is_missing(&error) => {
                return Err(self.refused(&self.home, "the home directory is not there"));
            }
            Err(error) => return Err(error.into()),
        };
        let status = own_status(&home)?;
        if !self.is_ours_or_roots(status) {
            return Err(self.refused(&self.home, "it belongs to somebody else"));
        }
        let (name, path) = (Path::new(".ssh"), self.home.join(".ssh"));
        let ssh = match home.new_directory(name, 0o700)? {
            Some(new) => new,
            None => self.existing_ssh(&home, name, &path)?,
        };
        ssh.set_metadata(Path::new("/"), &self.owned(0o700))?;
        Ok((ssh, path))
    }

    fn existing_ssh(&self, home: &Root, name: &Path, path: &Path) -> Result<Root, AccountsError> {
        let kind = home.link_status(name)?.map(|status| status.kind);
        if kind == Some(FileType::Directory) {
            // Only root can have put a directory of root's here.
            let ssh = home.descend(name)?;
            if self.is_ours_or_roots(own_status(&ssh)?) {
                return Ok(ssh);
            }
            return Err(self.refused(path, "it belongs to somebody else"));
        }
        if kind != Some(FileType::Symlink) {
            return Err(self.refused(path, "it is no directory"));
        }
        let ssh = match self.root.descend(path) {
            Ok(ssh) => ssh,
            Err(error) if is_missing(&error) => {
                return Err(self.refused(path, "the link leads to no directory"));
            }
            Err(error) => return Err(error.into()),
        };
        if own_status(&ssh)?.owner == self.owner.uid {
            return Ok(ssh);
        }
        Err(self.refused(path, "the link leads to what belongs to somebody else"))
    }

    fn add(
        &self,
        ssh: &Root,
        directory: &Path,
        wanted: &[(&str, Key<'_>)],
    ) -> Result<usize, AccountsError> {
        let name = Path::new("authorized_keys");
        let full = directory.join(name);
        let status = ssh.link_status(name)?;
        let linked = status.is_some_and(|status| status.kind == FileType::Symlink);
        // Links are of the whole root, everything else is looked up in the directory that is open.
        let (root, path) = if linked {
            (self.root, full.as_path())
        } else {
            (ssh, name)
        };
        if linked {
            match root.status(path)? {
                None => return Err(self.refused(&full, "the link leads to nothing")),
                // Looked at again below, when it cannot change any more; a device must not even
                // be opened.
                Some(status) if status.kind == FileType::RegularFile => {}
                Some(_) => return Err(self.refused(&full, "the link leads to no file")),
            }
        }
        let mut file = root.create_file(path, &self.owned(0o600))?;
        self.check_file(&file, &full)?;
        let (old, as_is) = match root.read_with_status(path, MAX_FILE)? {
            None => (Vec::new(), false),
            Some((bytes, status)) if self.is_readable(status) => {
                let as_is = status.mode == 0o600 && status.owner == self.owner.uid;
                (bytes, as_is)
            }
            Some(_) => return Err(self.refused(&full, "it belongs to somebody else")),
        };
        let text = String::from_utf8_lossy(&old);
        let there: Vec<Key<'_>> = text.lines().filter_map(Key::find).collect();
        let new: Vec<&str> = wanted
            .iter()
            .filter(|(_, key)| !there.contains(key))
            .map(|(line, _)| *line)
            .collect();
        if new.is_empty() && as_is {
            return Ok(0);
        }
        let mut bytes = old.clone();
        if !bytes.is_empty() && !bytes.ends_with(b"\n") {
            bytes.push(b'\n');
        }
        for line in &new {
            bytes.extend_from_slice(line.as_bytes());
            bytes.push(b'\n');
        }
        file.write_all(&bytes)
            .map_err(|source| RootPathError::Failed {
                action: "write",
                path: full,
                root: PathBuf::from("/"),
                source,
            })?;
        file.commit()?;
        Ok(new.len())
    }

    /// Where the file will be, and what it replaces, is open and cannot change any more; whoever
    /// owns that directory can only put their own things in its place.
    fn check_file(&self, file: &AtomicFile, path: &Path) -> Result<(), AccountsError> {
        if file.directory()?.owner != self.owner.uid {
            return Err(self.refused(path, "the link leads to a directory of somebody else"));
        }
        match file.replaces() {
            Some(status) if !self.is_readable(status) => {
                Err(self.refused(path, "it belongs to somebody else"))
            }
            _ => Ok(()),
        }
    }

    fn is_ours_or_roots(&self, status: Status) -> bool {
        status.owner == self.owner.uid || status.owner == 0
    }

    /// The user's own, or one that root made (`sudo tee`) and everybody may read: what is in it
    /// will be the user's to read.
    fn is_readable(&self, status: Status) -> bool {
        status.owner == self.owner.uid || (status.owner == 0 && status.mode & 0o004 != 0)
    }
}

fn own_status(directory: &Root) -> Result<Status, AccountsError> {
    let status = directory.status(Path::new("/"))?;
    status.ok_or_else(|| {
        AccountsError::File(RootPathError::Failed {
            action: "open",
            path: "/".into(),
            root: PathBuf::from("."),
            source: std::io::ErrorKind::NotFound.into(),
        })
    })
}

fn is_missing(error: &RootPathError) -> bool {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    matches!(error, RootPathError::Failed { source, .. }
        if matches!(source.kind(), NotFound | NotADirectory))
}

#[cfg(test)]
mod tests;
