//! Filling a directory of the persistent state with what the image has and it lacks.

use fs_err::os::unix::fs::symlink;
use rustix::fs::{AtFlags, CWD, Gid, Mode, Uid, XattrFlags};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

/// Directories deeper than this are not followed.
const MAX_DEPTH: u32 = 64;

/// Copies what is missing below `to` from `from`: directories, files and links, with their owners,
/// modes and attributes. What is there already is left as it is, whatever the image has.
pub(crate) fn missing(from: &Path, to: &Path) -> io::Result<()> {
    copy_children(from, to, MAX_DEPTH)
}

fn copy_children(from: &Path, to: &Path, depth: u32) -> io::Result<()> {
    if depth == 0 {
        return Err(io::Error::other(format!("{} is too deep", from.display())));
    }
    for entry in fs_err::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        let exists = fs_err::symlink_metadata(&target).is_ok();
        if kind.is_dir() {
            if !exists {
                fs_err::create_dir(&target)?;
                copy_metadata(&source, &target)?;
            }
            if fs_err::symlink_metadata(&target)?.is_dir() {
                copy_children(&source, &target, depth - 1)?;
            }
        } else if exists
            || kind.is_socket()
            || kind.is_fifo()
            || kind.is_char_device()
            || kind.is_block_device()
        {
            // There already, or nothing that a package keeps state in.
        } else if kind.is_symlink() {
            symlink(fs_err::read_link(&source)?, &target)?;
            copy_owner(&source, &target)?;
        } else {
            fs_err::copy(&source, &target)?;
            copy_metadata(&source, &target)?;
        }
    }
    Ok(())
}

/// Gives `to` the owner, mode and extended attributes of `from`.
pub(crate) fn copy_metadata(from: &Path, to: &Path) -> io::Result<()> {
    copy_owner(from, to)?;
    let mode = fs_err::metadata(from)?.mode();
    // After the owner: changing that takes set-uid bits away.
    rustix::fs::chmod(to, Mode::from_raw_mode(mode & 0o7777))?;
    let mut names = vec![0u8; 64 * 1024];
    let length = match rustix::fs::llistxattr(from, &mut names[..]) {
        Ok(length) => length,
        Err(rustix::io::Errno::NOTSUP) => 0,
        Err(errno) => return Err(errno.into()),
    };
    let mut value = vec![0u8; 64 * 1024];
    for name in names[..length]
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
    {
        let length = rustix::fs::lgetxattr(from, name, &mut value[..])?;
        match rustix::fs::lsetxattr(to, name, &value[..length], XattrFlags::empty()) {
            // Labels and lists that the target's file system does not keep.
            Ok(()) | Err(rustix::io::Errno::NOTSUP) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn copy_owner(from: &Path, to: &Path) -> io::Result<()> {
    let meta = fs_err::symlink_metadata(from)?;
    let (uid, gid) = (Uid::from_raw(meta.uid()), Gid::from_raw(meta.gid()));
    rustix::fs::chownat(CWD, to, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_copied() {
        let temp = tempfile::tempdir().unwrap();
        let (image, state) = (temp.path().join("image"), temp.path().join("state"));
        fs_err::create_dir_all(image.join("d/e")).unwrap();
        fs_err::create_dir_all(state.join("d")).unwrap();
        fs_err::write(image.join("d/new"), "image").unwrap();
        fs_err::write(image.join("d/changed"), "image").unwrap();
        fs_err::write(state.join("d/changed"), "machine").unwrap();
        rustix::fs::chmod(image.join("d/new"), Mode::from_raw_mode(0o4711)).unwrap();
        symlink("new", image.join("d/link")).unwrap();
        missing(&image, &state).unwrap();
        missing(&image, &state).unwrap();
        let read = |name: &str| fs_err::read_to_string(state.join("d").join(name)).unwrap();
        assert_eq!(
            (read("new").as_str(), read("changed").as_str()),
            ("image", "machine")
        );
        assert_eq!(
            fs_err::read_link(state.join("d/link")).unwrap(),
            Path::new("new")
        );
        assert!(state.join("d/e").is_dir());
        assert_eq!(
            fs_err::metadata(state.join("d/new")).unwrap().mode() & 0o7777,
            0o4711
        );
    }
}
