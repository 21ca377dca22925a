//! The files of an image and where they are.

use crate::DiskError;
use std::collections::{BTreeMap, BTreeSet};

/// The index of the root in a [`Tree`].
pub(super) const ROOT: usize = 0;

/// The deepest nesting ISO 9660 allows, the root included.
const MAX_DEPTH: usize = 8;

/// The longest name, in bytes: what fits a directory record beside all else.
const MAX_NAME: usize = 128;

#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) parent: usize,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// Members by name.
    Directory(BTreeMap<String, usize>),
    File {
        /// The first sector.
        first: u64,
        /// Bytes.
        length: u64,
    },
}

impl Node {
    pub(super) fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory(_))
    }
}

#[derive(Debug)]
pub(super) struct Tree {
    pub(super) nodes: Vec<Node>,
}

impl Tree {
    pub(super) fn new() -> Self {
        let kind = Kind::Directory(BTreeMap::new());
        Self {
            nodes: vec![Node {
                name: String::new(),
                parent: ROOT,
                kind,
            }],
        }
    }

    pub(super) fn add_directory(&mut self, path: &str) -> Result<(), DiskError> {
        let mut node = ROOT;
        for name in split(path)? {
            node = self.enter(node, name, path)?;
        }
        Ok(())
    }

    /// Fails unless a file of this path can be added.
    pub(super) fn check_new(&self, path: &str) -> Result<(), DiskError> {
        let mut node = ROOT;
        for name in split(path)? {
            let Kind::Directory(children) = &self.nodes[node].kind else {
                return Err(DiskError::DuplicatePath {
                    path: path.to_owned(),
                });
            };
            match children.get(name) {
                Some(child) => node = *child,
                None => return Ok(()),
            }
        }
        Err(DiskError::DuplicatePath {
            path: path.to_owned(),
        })
    }

    pub(super) fn add_file(
        &mut self,
        path: &str,
        first: u64,
        length: u64,
    ) -> Result<(), DiskError> {
        self.check_new(path)?;
        let names = split(path)?;
        let mut node = ROOT;
        for name in &names[..names.len() - 1] {
            node = self.enter(node, name, path)?;
        }
        let name = names[names.len() - 1];
        self.insert(node, name, Kind::File { first, length }, path)?;
        Ok(())
    }

    /// The member directory `name`, made if need be.
    fn enter(&mut self, parent: usize, name: &str, path: &str) -> Result<usize, DiskError> {
        match &self.nodes[parent].kind {
            Kind::Directory(children) => match children.get(name) {
                Some(child) if self.nodes[*child].is_directory() => Ok(*child),
                Some(_) => Err(DiskError::DuplicatePath {
                    path: path.to_owned(),
                }),
                None => self.insert(parent, name, Kind::Directory(BTreeMap::new()), path),
            },
            Kind::File { .. } => Err(DiskError::DuplicatePath {
                path: path.to_owned(),
            }),
        }
    }

    fn insert(
        &mut self,
        parent: usize,
        name: &str,
        kind: Kind,
        path: &str,
    ) -> Result<usize, DiskError> {
        let index = self.nodes.len();
        match &mut self.nodes[parent].kind {
            Kind::Directory(children) => children.insert(name.to_owned(), index),
            Kind::File { .. } => {
                return Err(DiskError::DuplicatePath {
                    path: path.to_owned(),
                });
            }
        };
        self.nodes.push(Node {
            name: name.to_owned(),
            parent,
            kind,
        });
        Ok(index)
    }

    /// Where a file is and how long.
    pub(super) fn file(&self, path: &str) -> Option<(u64, u64)> {
        let names = split(path).ok()?;
        let found = names
            .iter()
            .try_fold(ROOT, |node, name| match &self.nodes[node].kind {
                Kind::Directory(children) => children.get(*name).copied(),
                Kind::File { .. } => None,
            })?;
        match self.nodes[found].kind {
            Kind::File { first, length } => Some((first, length)),
            Kind::Directory(_) => None,
        }
    }

    /// The members of a directory with their ISO 9660 names, in the order of these.
    pub(super) fn members(&self, directory: usize) -> Vec<(String, usize)> {
        let Kind::Directory(children) = &self.nodes[directory].kind else {
            return Vec::new();
        };
        let mut taken = BTreeSet::new();
        let mut members: Vec<(String, usize)> = children
            .iter()
            .map(|(name, index)| {
                (
                    identifier(name, self.nodes[*index].is_directory(), &mut taken),
                    *index,
                )
            })
            .collect();
        members.sort();
        members
    }

    /// All directories, level by level, as path tables list them; the root first.
    pub(super) fn directories(&self) -> Vec<(String, usize)> {
        let mut directories = vec![("\0".to_owned(), ROOT)];
        let mut visited = 0;
        while let Some((_, index)) = directories.get(visited) {
            let members = self.members(*index);
            let below = members
                .into_iter()
                .filter(|(_, child)| self.nodes[*child].is_directory());
            directories.extend(below);
            visited += 1;
        }
        directories
    }
}

fn split(path: &str) -> Result<Vec<&str>, DiskError> {
    let refuse = |reason| DiskError::IsoName {
        path: path.to_owned(),
        reason,
    };
    let names: Vec<&str> = path.trim_matches('/').split('/').collect();
    if names.len() >= MAX_DEPTH {
        return Err(refuse("more than seven directories deep"));
    }
    for name in &names {
        if matches!(*name, "" | "." | "..") || name.contains('\0') {
            return Err(refuse("not a name"));
        }
        if name.len() > MAX_NAME {
            return Err(refuse("a name is longer than 128 bytes"));
        }
    }
    Ok(names)
}

/// The name a reader without Rock Ridge sees: eight and three capitals, unlike any `taken`.
fn identifier(name: &str, is_directory: bool, taken: &mut BTreeSet<String>) -> String {
    let plain = |part: &str, limit: usize| -> String {
        let capitals = part.chars().map(|c| match c.to_ascii_uppercase() {
            c @ ('A'..='Z' | '0'..='9' | '_') => c,
            _ => '_',
        });
        capitals.take(limit).collect()
    };
    let (base, extension) = match name.rsplit_once('.') {
        Some((base, extension)) if !is_directory && !base.is_empty() => (base, extension),
        _ => (name, ""),
    };
    let form = |base: &str| {
        if is_directory {
            base.to_owned()
        } else {
            format!("{base}.{};1", plain(extension, 3))
        }
    };
    let base = plain(base, 8);
    let mut candidate = form(&base);
    let mut number = 0_u32;
    while !taken.insert(candidate.clone()) {
        let tail = number.to_string();
        let kept = base.len().min(8_usize.saturating_sub(tail.len()));
        candidate = form(&format!("{}{tail}", &base[..kept]));
        number += 1;
    }
    candidate
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_unique_and_plain() {
        let mut taken = BTreeSet::new();
        let mut file = |name: &str| identifier(name, false, &mut taken);
        assert_eq!(file("root.img"), "ROOT.IMG;1");
        assert_eq!(file("initrd"), "INITRD.;1");
        assert_eq!(file("vmlinuz-6.1.0"), "VMLINUZ_.0;1");
        assert_eq!(file("vmlinuz-6.2.0"), "VMLINUZ0.0;1");
        assert_eq!(file("größe.txt"), "GR__E.TXT;1");
    }

    #[test]
    fn directories_come_level_by_level() {
        let mut tree = Tree::new();
        for path in ["b/z", "a/y/x", "a/w"] {
            tree.add_directory(path).unwrap();
        }
        let names: Vec<_> = tree
            .directories()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["\0", "A", "B", "W", "Y", "Z", "X"]);
    }
}
