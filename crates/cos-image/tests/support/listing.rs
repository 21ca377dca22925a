//! A tree and a directory on disk, each as lines of text that can be compared.

use super::MemoryStore;
use cos_image::Digest;
use cos_tree::{Metadata, NodeKind, Tree, display};
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// Everything of a tree: path, type, mode, owner, time, content, target, device, attributes, links.
pub(crate) fn of_tree(tree: &Tree, store: &MemoryStore) -> BTreeMap<String, String> {
    let mut lines = BTreeMap::new();
    let mut names: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    tree.walk(|path, id| {
        let path = display(path);
        let node = tree.node(id);
        let kind = match &node.kind {
            NodeKind::Directory(_) => "directory".into(),
            NodeKind::File(content) => {
                let bytes = store.bytes(*content);
                assert_eq!(bytes.len() as u64, content.size);
                format!("file {} {}", bytes.len(), Digest::sha256(&bytes))
            }
            NodeKind::Symlink(target) => format!("link {}", display(target)),
            NodeKind::CharDevice(device) => format!("char {}:{}", device.major, device.minor),
            NodeKind::BlockDevice(device) => format!("block {}:{}", device.major, device.minor),
            NodeKind::Fifo => "fifo".into(),
            NodeKind::Socket => "socket".into(),
        };
        let Metadata {
            permissions,
            uid,
            gid,
            mtime,
            xattrs,
        } = &node.meta;
        let xattrs: Vec<String> = xattrs
            .iter()
            .map(|(name, value)| format!("{}={}", display(name), hex::encode(value)))
            .collect();
        let line = format!(
            "{kind} {permissions:o} {uid}:{gid} {mtime} {}",
            xattrs.join(",")
        );
        names.entry(id.index()).or_default().push(path.clone());
        lines.insert(path, line);
    });
    add_links(&mut lines, names);
    lines
}

/// The same of a directory.
pub(crate) fn of_directory(root: &Path) -> BTreeMap<String, String> {
    let mut lines = BTreeMap::new();
    let mut names: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    let mut todo = vec![root.to_path_buf()];
    while let Some(path) = todo.pop() {
        let meta = fs_err::symlink_metadata(&path).unwrap();
        let kind = meta.file_type();
        let device = || {
            let rdev = meta.rdev();
            format!("{}:{}", rustix::fs::major(rdev), rustix::fs::minor(rdev))
        };
        let line = if kind.is_dir() {
            todo.extend(
                fs_err::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
            "directory".into()
        } else if kind.is_symlink() {
            format!(
                "link {}",
                display(fs_err::read_link(&path).unwrap().as_os_str().as_bytes())
            )
        } else if kind.is_file() {
            let bytes = fs_err::read(&path).unwrap();
            format!("file {} {}", bytes.len(), Digest::sha256(&bytes))
        } else if kind.is_char_device() {
            format!("char {}", device())
        } else if kind.is_block_device() {
            format!("block {}", device())
        } else if kind.is_fifo() {
            "fifo".into()
        } else {
            "socket".into()
        };
        let relative = path.strip_prefix(root).unwrap().as_os_str().as_bytes();
        let relative = display(relative);
        let line = format!(
            "{line} {:o} {}:{} {} {}",
            meta.mode() & 0o7777,
            meta.uid(),
            meta.gid(),
            meta.mtime(),
            xattrs(&path)
        );
        if !kind.is_dir() {
            names.entry(meta.ino()).or_default().push(relative.clone());
        }
        lines.insert(relative, line);
    }
    add_links(&mut lines, names);
    lines
}

fn xattrs(path: &Path) -> String {
    let mut names = vec![0; 65536];
    let length = rustix::fs::llistxattr(path, &mut names).unwrap();
    let mut list: Vec<String> = Vec::new();
    for name in names[..length]
        .split(|&b| b == 0)
        .filter(|name| !name.is_empty())
    {
        let mut value = vec![0; 65536];
        let name = std::str::from_utf8(name).unwrap();
        let length = rustix::fs::lgetxattr(path, name, &mut value).unwrap();
        list.push(format!("{name}={}", hex::encode(&value[..length])));
    }
    list.sort();
    list.join(",")
}

/// Names that share an inode are part of what is compared.
fn add_links<K>(lines: &mut BTreeMap<String, String>, names: BTreeMap<K, Vec<String>>) {
    for mut group in names.into_values() {
        group.sort();
        if group.len() > 1 {
            for name in &group {
                lines
                    .get_mut(name)
                    .unwrap()
                    .push_str(&[" = ", &format!("{group:?}")].concat());
            }
        }
    }
}

/// Compares line by line, so that a failure shows what differs and not everything.
pub(crate) fn assert_same(ours: &BTreeMap<String, String>, theirs: &BTreeMap<String, String>) {
    let mut differences = Vec::new();
    for path in ours.keys().chain(theirs.keys()) {
        let (a, b) = (ours.get(path), theirs.get(path));
        if a != b {
            differences.push(format!("{path:?}\n  ours:   {a:?}\n  theirs: {b:?}"));
        }
    }
    differences.dedup();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
