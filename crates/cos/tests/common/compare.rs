//! Compares two file trees of this machine, entry by entry, with all metadata.

use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// What one entry is, as text, so that a difference shows itself.
pub(crate) type Listing = BTreeMap<Vec<u8>, String>;

/// Lists everything below `root`, leaving out the contents of `emptied` directories and `ignored` paths.
pub(crate) fn list(root: &Path, emptied: &[&str], ignored: &[&str]) -> Listing {
    let mut listing = Listing::new();
    let mut inodes: BTreeMap<(u64, u64), Vec<u8>> = BTreeMap::new();
    let mut stack = vec![PathBuf::new()];
    while let Some(relative) = stack.pop() {
        let path = root.join(&relative);
        let name = relative.as_os_str().as_bytes().to_vec();
        if ignored.iter().any(|ignored| ignored.as_bytes() == name) {
            continue;
        }
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.is_dir() && !emptied.iter().any(|emptied| emptied.as_bytes() == name) {
            for entry in fs::read_dir(&path).unwrap() {
                stack.push(relative.join(entry.unwrap().file_name()));
            }
        }
        listing.insert(name, describe(&path, &meta));
    }
    // Hard links: the first path, in sorted order, stands for the group.
    for (name, text) in &mut listing {
        let meta = fs::symlink_metadata(root.join(OsStr::from_bytes(name))).unwrap();
        if !meta.is_dir() && meta.nlink() > 1 {
            let first = inodes
                .entry((meta.dev(), meta.ino()))
                .or_insert_with(|| name.clone());
            *text += " linked=";
            *text += &String::from_utf8_lossy(first);
        }
    }
    listing
}

fn describe(path: &Path, meta: &fs::Metadata) -> String {
    let kind = meta.file_type();
    let what = if kind.is_dir() {
        "dir".to_owned()
    } else if kind.is_symlink() {
        format!(
            "symlink={:?}",
            fs::read_link(path).unwrap().into_os_string().into_vec()
        )
    } else if kind.is_file() {
        format!("file={} sha256={}", meta.len(), digest(path))
    } else if kind.is_char_device() || kind.is_block_device() {
        format!("device={} block={}", meta.rdev(), kind.is_block_device())
    } else {
        format!("fifo={} socket={}", kind.is_fifo(), kind.is_socket())
    };
    let (mode, uid, gid, mtime) = (meta.mode() & 0o7777, meta.uid(), meta.gid(), meta.mtime());
    format!(
        "{what} mode={mode:o} owner={uid}:{gid} mtime={mtime} xattrs={:?}",
        xattrs(path)
    )
}

fn digest(path: &Path) -> String {
    let mut hasher = Sha256::new();
    std::io::copy(&mut fs::File::open(path).unwrap(), &mut hasher).unwrap();
    hex::encode(hasher.finalize())
}

fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0_u8; 65536];
    let Ok(length) = rustix::fs::llistxattr(path, &mut names[..]) else {
        return BTreeMap::new();
    };
    let names = names[..length]
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty());
    names
        .map(|name| {
            let mut value = vec![0_u8; 65536];
            let length =
                rustix::fs::lgetxattr(path, OsStr::from_bytes(name), &mut value[..]).unwrap();
            value.truncate(length);
            (String::from_utf8_lossy(name).into_owned(), value)
        })
        .collect()
}

/// The first differences between two listings, one a line; empty when they are the same.
pub(crate) fn differences(expected: &Listing, found: &Listing) -> Vec<String> {
    let names: std::collections::BTreeSet<_> = expected.keys().chain(found.keys()).collect();
    names
        .into_iter()
        .filter(|name| expected.get(*name) != found.get(*name))
        .take(20)
        .map(|name| {
            let (expected, found) = (expected.get(name), found.get(name));
            format!(
                "{}\n  expected {expected:?}\n  found    {found:?}",
                String::from_utf8_lossy(name)
            )
        })
        .collect()
}
