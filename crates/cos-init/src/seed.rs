//! Filling a directory of the persistent state with what the image has and it lacks, and bringing what
//! the machine never touched up to date with the image.
//!
//! A copy remembers, in an extended attribute, what it was when it was made. As long as it still is that,
//! it is the image's and not the machine's, and a newer image's file takes its place. A program that
//! writes a file anew by renaming leaves one without the attribute, and one that writes into it changes
//! its time: either way it is the machine's from then on.

use fs_err::os::unix::fs::symlink;
use rustix::fs::{AtFlags, CWD, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Directories deeper than this are not followed.
const MAX_DEPTH: u32 = 64;
/// Says of a file what it was when it was copied: size, and seconds and nanoseconds of its time.
const SEEDED: &str = "trusted.cos.seeded";
/// What the name of an unfinished copy ends with.
const UNFINISHED: &str = ".cos-seed";

/// Copies what is missing below `to` from `from`: directories, files and links, with their owners,
/// modes and attributes. Files that are there are left as they are, but for copies that the machine
/// has not changed and the image has.
pub(crate) fn bring_up_to_date(from: &Path, to: &Path) -> io::Result<()> {
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
        } else if kind.is_file() {
            if !exists || is_outdated_copy(&source, &target)? {
                copy_file(&source, &target)?;
            }
        } else if !exists && kind.is_symlink() {
            symlink(fs_err::read_link(&source)?, &target)?;
            copy_owner(&source, &target)?;
        }
        // Sockets, pipes and devices are nothing that a package keeps state in.
    }
    Ok(())
}

/// What a file is, as the attribute says it.
fn fingerprint(meta: &std::fs::Metadata) -> String {
    format!("{} {} {}", meta.size(), meta.mtime(), meta.mtime_nsec())
}

/// Whether `target` is still the copy that it was made as, of a file that the image no longer has.
fn is_outdated_copy(source: &Path, target: &Path) -> io::Result<bool> {
    let now = fs_err::symlink_metadata(target)?;
    if !now.is_file() {
        return Ok(false);
    }
    let mut noted = [0; 128];
    let Ok(length) = rustix::fs::lgetxattr(target, SEEDED, &mut noted[..]) else {
        return Ok(false);
    };
    let noted = &noted[..length];
    let unchanged = noted == fingerprint(&now).as_bytes();
    let current = noted == fingerprint(&fs_err::metadata(source)?).as_bytes();
    Ok(unchanged && !current)
}

/// Copies a file so that a power cut leaves the old one or the new one.
fn copy_file(source: &Path, target: &Path) -> io::Result<()> {
    let mut name = target.as_os_str().to_owned();
    name.push(UNFINISHED);
    let unfinished = Path::new(&name);
    fs_err::copy(source, unfinished)?;
    copy_metadata(source, unfinished)?;
    let meta = fs_err::metadata(source)?;
    let time = Timespec {
        tv_sec: meta.mtime(),
        tv_nsec: meta.mtime_nsec(),
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::utimensat(CWD, unfinished, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    let fingerprint = fingerprint(&meta);
    match rustix::fs::lsetxattr(
        unfinished,
        SEEDED,
        fingerprint.as_bytes(),
        XattrFlags::empty(),
    ) {
        // A file system that keeps no such attributes: the copy is the machine's at once.
        Ok(()) | Err(rustix::io::Errno::NOTSUP) => {}
        Err(errno) => return Err(errno.into()),
    }
    fs_err::File::open(unfinished)?.sync_all()?;
    fs_err::rename(unfinished, target)
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
        bring_up_to_date(&image, &state).unwrap();
        bring_up_to_date(&image, &state).unwrap();
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

    /// Whether this file system keeps trusted attributes for this user.
    fn keeps_attributes(directory: &Path) -> bool {
        let probe = directory.join("probe");
        fs_err::write(&probe, "").unwrap();
        rustix::fs::lsetxattr(&probe, SEEDED, b"x", XattrFlags::empty()).is_ok()
    }

    #[test]
    fn a_copy_follows_the_image_until_the_machine_changes_it() {
        let temp = tempfile::tempdir().unwrap();
        let (image, state) = (temp.path().join("image"), temp.path().join("state"));
        fs_err::create_dir_all(&image).unwrap();
        fs_err::create_dir_all(&state).unwrap();
        if !keeps_attributes(temp.path()) {
            cos_testkit::skip(
                "a_copy_follows_the_image_until_the_machine_changes_it",
                "trusted attributes need root and a file system that keeps them",
            );
            return;
        }
        let write = |directory: &Path, name: &str, text: &str| {
            fs_err::write(directory.join(name), text).unwrap();
        };
        let read = |name: &str| fs_err::read_to_string(state.join(name)).unwrap();
        for name in ["untouched", "edited", "replaced"] {
            write(&image, name, "version 1");
        }
        bring_up_to_date(&image, &state).unwrap();
        write(&state, "edited", "by the machine");
        write(&state, "new", "by a program");
        fs_err::rename(state.join("new"), state.join("replaced")).unwrap();
        for name in ["untouched", "edited", "replaced"] {
            write(&image, name, "version 2, longer");
        }
        bring_up_to_date(&image, &state).unwrap();
        assert_eq!(read("untouched"), "version 2, longer");
        assert_eq!(read("edited"), "by the machine");
        assert_eq!(read("replaced"), "by a program");
        write(&image, "untouched", "version 3");
        bring_up_to_date(&image, &state).unwrap();
        assert_eq!(read("untouched"), "version 3");
    }
}
