//! Paths inside a tree: raw bytes, never resolved on the host.

use crate::{NodeId, NodeKind, Tree};
use std::fmt::Write as _;

/// Why a path cannot name something in a tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// A `..` component.
    #[error("path {} leaves the root", display(.0))]
    Escapes(Box<[u8]>),
    /// A component that no file can have.
    #[error("path {} has a name that is over 255 bytes or holds a NUL", display(.0))]
    BadName(Box<[u8]>),
    /// Something that is not a directory stands where one is needed.
    #[error("path {} runs through something that is not a directory", display(.0))]
    NotADirectory(Box<[u8]>),
}

/// The names along a path; empty ones and `.` are dropped, `..` is refused.
pub fn components(path: &[u8]) -> Result<impl Iterator<Item = &[u8]>, PathError> {
    let names = || {
        path.split(|&b| b == b'/')
            .filter(|name| !matches!(*name, b"" | b"."))
    };
    for name in names() {
        if name == b".." {
            return Err(PathError::Escapes(path.into()));
        }
        if name.len() > 255 || name.contains(&0) {
            return Err(PathError::BadName(path.into()));
        }
    }
    Ok(names())
}

/// A path for people: UTF-8 as it is, control and broken bytes escaped, so that a hostile name
/// cannot write to the terminal.
pub fn display(path: &[u8]) -> String {
    let mut out = String::with_capacity(path.len());
    for chunk in path.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() {
                out.extend(c.escape_default());
            } else {
                out.push(c);
            }
        }
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _infallible = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// As Linux: more links than this in one look-up is a loop.
const MAX_LINKS: u32 = 40;

pub(crate) fn resolve(tree: &Tree, path: &[u8]) -> Option<NodeId> {
    let mut at = vec![Tree::ROOT];
    let mut todo: Vec<Vec<u8>> = reversed_names(path);
    let mut links = 0;
    while let Some(name) = todo.pop() {
        if name == b".." {
            if at.len() > 1 {
                at.pop();
            }
            continue;
        }
        let &child = tree.children(*at.last()?)?.get(name.as_slice())?;
        if let NodeKind::Symlink(target) = &tree.node(child).kind {
            links += 1;
            if links > MAX_LINKS {
                return None;
            }
            if target.starts_with(b"/") {
                at.truncate(1);
            }
            todo.extend(reversed_names(target));
        } else {
            at.push(child);
        }
    }
    at.last().copied()
}

fn reversed_names(path: &[u8]) -> Vec<Vec<u8>> {
    let names = path
        .split(|&b| b == b'/')
        .filter(|name| !matches!(*name, b"" | b"."));
    names.rev().map(<[u8]>::to_vec).collect()
}
