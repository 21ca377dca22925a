//! New home directories, started with the files of `/etc/skel`.

use crate::error::AccountsError;
use cos_sys::root_file::{Metadata, Status};
use cos_sys::root_path::Root;
use rustix::fs::FileType;
use std::path::{Path, PathBuf};

/// How deep directories may be nested.
const MAX_DEPTH: usize = 16;

/// How many files and directories there may be.
const MAX_FILES: usize = 10_000;

/// How large all files may be together, in bytes.
const MAX_BYTES: u64 = 64 << 20;

/// Whose home it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Makes a home directory as `useradd(8)` `--create-home` does, and says whether it did: one that
/// is there is left as it is. `warnings` gets what could not be copied.
pub(crate) fn make(
    root: &Root,
    home: &Path,
    skeleton: &Path,
    owner: Owner,
    mode: u32,
    warnings: &mut Vec<String>,
) -> Result<bool, AccountsError> {
    // Nobody but us gets in before it is complete.
    let Some(new) = root.new_directory(home, 0o700)? else {
        return Ok(false);
    };
    let copied = copy(root, &new, skeleton, owner, warnings);
    // Also of half a copy: the next time this home is there already, and would stay root's.
    new.set_metadata(Path::new("/"), &owned(owner, mode))?;
    copied.map(|()| true)
}

fn copy(
    root: &Root,
    new: &Root,
    skeleton: &Path,
    owner: Owner,
    warnings: &mut Vec<String>,
) -> Result<(), AccountsError> {
    let status = root.status(skeleton)?;
    if status.is_none_or(|status| status.kind != FileType::Directory) {
        return Ok(());
    }
    let mut copy = Copy {
        from: root.descend(skeleton)?,
        to: new,
        skeleton: skeleton.to_owned(),
        owner,
        files: 0,
        bytes: 0,
        warnings,
    };
    copy.directory(Path::new("/"), 0)
}

fn owned(owner: Owner, mode: u32) -> Metadata {
    Metadata {
        // Not even an image makes set-id programs of users.
        mode: Some(mode & 0o777),
        owner: Some(owner.uid),
        group: Some(owner.gid),
    }
}

struct Copy<'a> {
    from: Root,
    to: &'a Root,
    skeleton: PathBuf,
    owner: Owner,
    files: usize,
    bytes: u64,
    warnings: &'a mut Vec<String>,
}

impl Copy<'_> {
    fn directory(&mut self, path: &Path, depth: usize) -> Result<(), AccountsError> {
        if depth > MAX_DEPTH {
            return Err(self.too_much("16 directories deep"));
        }
        for name in self.from.list(path)?.unwrap_or_default() {
            self.files += 1;
            if self.files > MAX_FILES {
                return Err(self.too_much("10 000 files"));
            }
            let path = path.join(name);
            if let Some(status) = self.from.link_status(&path)? {
                self.one(&path, status, depth)?;
            }
        }
        Ok(())
    }

    fn one(&mut self, path: &Path, status: Status, depth: usize) -> Result<(), AccountsError> {
        let Owner { uid, gid } = self.owner;
        match status.kind {
            FileType::RegularFile => {
                let left = MAX_BYTES - self.bytes;
                if status.size > left {
                    return Err(self.too_much("64 MiB"));
                }
                let bytes = self.from.read(path, left)?.unwrap_or_default();
                self.bytes += bytes.len() as u64;
                self.to
                    .write(path, &bytes, &owned(self.owner, status.mode))?;
            }
            FileType::Directory => {
                let closed = Metadata {
                    mode: Some(0o700),
                    ..Metadata::default()
                };
                self.to.make_directories(path, &closed)?;
                self.directory(path, depth + 1)?;
                self.to
                    .set_metadata(path, &owned(self.owner, status.mode))?;
            }
            // Copied, not followed.
            FileType::Symlink => {
                self.to.symlink(&self.from.read_link(path)?, path)?;
                self.to.set_link_owner(path, uid, gid)?;
            }
            _ => self.warnings.push(format!(
                "{}{} is no file, directory or link: not copied",
                self.skeleton.display(),
                path.display()
            )),
        }
        Ok(())
    }

    fn too_much(&self, limit: &'static str) -> AccountsError {
        AccountsError::Skeleton {
            path: self.skeleton.clone(),
            limit,
        }
    }
}
