//! What one layer does to the tree: entries with their paths judged and their contents stored.

use super::problem::{EntryError, TarError};
use super::tar::{Input, Member, MemberKind, TarReader};
use crate::limits::{Budget, Limits};
use cos_events::Monitor;
use cos_tree::{Content, ContentStore, DeviceNumber, Metadata, display};

/// What an entry does at its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EntryKind {
    Directory,
    File(Content),
    Symlink(Box<[u8]>),
    /// Another name for the file at this path.
    HardLink(Box<[u8]>),
    CharDevice(DeviceNumber),
    BlockDevice(DeviceNumber),
    Fifo,
    Socket,
    /// The path is gone from the layers below.
    Whiteout,
    /// Everything inside the directory at the path is gone from the layers below.
    Opaque,
}

/// One change to the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// No leading slash, no `.` or `..`, single slashes; empty for the root.
    pub(crate) path: Box<[u8]>,
    pub(crate) kind: EntryKind,
    pub(crate) meta: Metadata,
}

/// OCI image-spec, `layer.md`, "Whiteouts".
const WHITEOUT_PREFIX: &[u8] = b".wh.";
const OPAQUE_MARKER: &[u8] = b".wh..wh..opq";
/// AUFS kept its own administration under this prefix; it is no part of the tree.
const AUFS_PREFIX: &[u8] = b".wh..wh.";

/// Reads all entries of a layer's tar stream; contents go to `store`.
pub(crate) fn read_entries<R: Input>(
    tar: &mut TarReader<'_, R>,
    store: &dyn ContentStore,
    budget: &Budget<'_>,
    monitor: &dyn Monitor,
) -> Result<Vec<Entry>, TarError> {
    let mut entries = Vec::new();
    while let Some(member) = tar.next()? {
        match read_entry(tar, member, store, budget, monitor) {
            Ok(Some(entry)) => entries.push(entry),
            Ok(None) => {}
            Err(problem) => return Err(tar.locate(problem)),
        }
    }
    Ok(entries)
}

fn read_entry<R: Input>(
    tar: &mut TarReader<'_, R>,
    member: Member,
    store: &dyn ContentStore,
    budget: &Budget<'_>,
    monitor: &dyn Monitor,
) -> Result<Option<Entry>, EntryError> {
    let limits = budget.limits;
    let path = clean(&member.path, limits)?.ok_or(EntryError::Escapes)?;
    let attributes: usize = member
        .xattrs
        .iter()
        .map(|(k, v)| k.len() + v.len() + 64)
        .sum();
    budget.take_entry((path.len() + member.link.len() + attributes) as u64)?;
    let link = match member.kind {
        MemberKind::Symlink => symlink_target(&member.link, limits)?,
        MemberKind::HardLink => hard_link_target(&path, &member.link, limits)?,
        _ => Box::default(),
    };
    // AUFS made whiteouts of hard links, too.
    if let Some((path, kind)) = whiteout(&path)? {
        let meta = Metadata::default();
        return Ok(kind.map(|kind| Entry { path, kind, meta }));
    }
    if path.is_empty() && member.kind != MemberKind::Directory {
        return Err(EntryError::RootNotDirectory);
    }
    let device = DeviceNumber {
        major: member.major,
        minor: member.minor,
    };
    let kind = match member.kind {
        MemberKind::Directory => EntryKind::Directory,
        MemberKind::File => {
            EntryKind::File(read_content(tar, &path, &member, store, budget, monitor)?)
        }
        MemberKind::Symlink => EntryKind::Symlink(link),
        MemberKind::HardLink => EntryKind::HardLink(link),
        MemberKind::CharDevice => EntryKind::CharDevice(device),
        MemberKind::BlockDevice => EntryKind::BlockDevice(device),
        MemberKind::Fifo => EntryKind::Fifo,
    };
    let meta = Metadata {
        permissions: match member.kind {
            // Linux has no other permissions for them.
            MemberKind::Symlink => 0o777,
            _ => member.permissions,
        },
        uid: member.uid,
        gid: member.gid,
        mtime: member.mtime,
        xattrs: member.xattrs,
    };
    Ok(Some(Entry { path, kind, meta }))
}

/// The path as the tree knows it, or `None` with `..` in it: whether that takes back a name or leads where
/// a link of that name comes from is for each unpacker to say.
fn clean(path: &[u8], limits: &Limits) -> Result<Option<Box<[u8]>>, EntryError> {
    if path.is_empty() {
        return Err(EntryError::EmptyPath);
    }
    let too_long = |length: usize, depth: usize| EntryError::PathTooLong {
        length,
        depth,
        max_length: limits.path_length,
        max_depth: limits.depth,
    };
    if path.len() > limits.path_length {
        return Err(too_long(path.len(), 0));
    }
    let mut names: Vec<&[u8]> = Vec::new();
    for name in path.split(|&b| b == b'/') {
        match name {
            b"" | b"." => {}
            b".." => return Ok(None),
            _ if name.len() > 255 || name.contains(&0) => return Err(EntryError::BadName),
            _ => names.push(name),
        }
    }
    if names.len() > limits.depth {
        return Err(too_long(path.len(), names.len()));
    }
    Ok(Some(names.join(&b'/').into()))
}

type Removal = (Box<[u8]>, Option<EntryKind>);

/// Whether the path is a whiteout: what it is about, and what it does there (nothing for AUFS' own files).
fn whiteout(path: &[u8]) -> Result<Option<Removal>, EntryError> {
    let (parent, name) = split_name(path);
    if name == OPAQUE_MARKER {
        return Ok(Some((parent.into(), Some(EntryKind::Opaque))));
    }
    if name.starts_with(AUFS_PREFIX) {
        return Ok(Some((path.into(), None)));
    }
    let mut parents = parent.split(|&b| b == b'/');
    if let Some(reserved) = parents.find(|name| name.starts_with(WHITEOUT_PREFIX)) {
        return if reserved.starts_with(AUFS_PREFIX) {
            Ok(Some((path.into(), None)))
        } else {
            Err(EntryError::InsideWhiteout)
        };
    }
    let Some(hidden) = name.strip_prefix(WHITEOUT_PREFIX) else {
        return Ok(None);
    };
    if matches!(hidden, b"" | b"." | b"..") {
        return Err(EntryError::EmptyWhiteout);
    }
    let path = if parent.is_empty() {
        hidden.into()
    } else {
        [parent, b"/", hidden].concat().into()
    };
    Ok(Some((path, Some(EntryKind::Whiteout))))
}

/// Parent path and name of a clean path.
pub(crate) fn split_name(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&b| b == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&[], path),
    }
}

fn symlink_target(link: &[u8], limits: &Limits) -> Result<Box<[u8]>, EntryError> {
    if link.is_empty() {
        return Err(EntryError::EmptyLink);
    }
    // The kernel's PATH_MAX counts the NUL.
    if link.len() >= limits.path_length || link.contains(&0) {
        return Err(EntryError::BadLink);
    }
    Ok(link.into())
}

fn hard_link_target(path: &[u8], link: &[u8], limits: &Limits) -> Result<Box<[u8]>, EntryError> {
    if link.is_empty() {
        return Err(EntryError::EmptyLink);
    }
    let target = clean(link, limits)?.ok_or_else(|| EntryError::LinkEscapes(display(link)))?;
    if *target == *path {
        return Err(EntryError::SelfLink);
    }
    Ok(target)
}

/// Takes a file's content to the store, holes included.
pub(crate) fn read_content<R: Input>(
    tar: &mut TarReader<'_, R>,
    path: &[u8],
    member: &Member,
    store: &dyn ContentStore,
    budget: &Budget<'_>,
    monitor: &dyn Monitor,
) -> Result<Content, EntryError> {
    let size = member.size();
    budget.take_content(size)?;
    let mut writer = store.create(path, size).map_err(EntryError::Store)?;
    let whole = [(0, member.stored)];
    let segments = match &member.sparse {
        Some(map) => map.segments.as_slice(),
        None => &whole,
    };
    let mut at = 0;
    for &(offset, length) in segments {
        if offset > at {
            writer.hole(offset - at).map_err(EntryError::Store)?;
        }
        tar.content(length, |bytes| {
            monitor.checkpoint()?;
            writer.write(bytes).map_err(EntryError::Store)
        })?;
        at = offset + length;
    }
    if size > at {
        writer.hole(size - at).map_err(EntryError::Store)?;
    }
    let id = writer.finish().map_err(EntryError::Store)?;
    Ok(Content { size, id })
}
