//! Layers applied in order: one tree out of many lists of changes.
//!
//! The rules are OCI image-spec, `layer.md`, "Applying Changesets". Paths are resolved the way an
//! unpacker confined to its root does it: a symbolic link where a parent directory is expected is
//! followed, and never leads out of the root.

use crate::layer::entry::{Entry, EntryKind, split_name};
use crate::limits::Limits;
use cos_tree::{Metadata, Name, Node, NodeId, NodeKind, Tree, display};

/// Why a layer does not fit on the ones below it.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// Something that is no directory stands where one is needed.
    #[error("{} stands where entry {entry} needs a directory", display(.at))]
    NotADirectory {
        /// What stands there.
        at: Vec<u8>,
        /// The entry.
        entry: String,
    },
    /// More links than the kernel follows.
    #[error("entry {0} runs through too many symbolic links")]
    LinkLoop(String),
    /// Deeper than the limit, by way of symbolic links.
    #[error("entry {entry} is more than {limit} directories deep")]
    TooDeep {
        /// The entry.
        entry: String,
        /// The limit.
        limit: usize,
    },
    /// A hard link to nothing.
    #[error("hard link {entry} links to {target}, which does not exist")]
    MissingTarget {
        /// The link.
        entry: String,
        /// What it should link to.
        target: String,
    },
    /// A hard link to a directory.
    #[error("hard link {entry} links to the directory {target}")]
    DirectoryTarget {
        /// The link.
        entry: String,
        /// The directory.
        target: String,
    },
    /// A whiteout below a symbolic link: what it would delete is elsewhere.
    #[error("the whiteout of {0} runs through a symbolic link")]
    WhiteoutThroughLink(String),
    /// More nodes than the limit, directories that no entry names included.
    #[error("the tree has more than {limit} nodes")]
    TooManyNodes {
        /// The limit.
        limit: u64,
    },
}

/// As Linux: more links than this in one look-up is a loop.
const MAX_LINKS: u32 = 40;

/// What a directory does to a symbolic link that has its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DirectoryRule {
    /// Replaces it, and sets the metadata of a directory that is already there: layers.
    Replace,
    /// Is merged into the directory that the link leads to, and leaves metadata alone: overlays.
    Follow,
}

/// Applies changes to a tree.
pub(crate) struct Merger<'t> {
    tree: &'t mut Tree,
    limits: &'t Limits,
    rule: DirectoryRule,
    /// The directory found last, by the path that led there: entries come directory by directory.
    last: Option<(Box<[u8]>, NodeId)>,
}

impl<'t> Merger<'t> {
    pub(crate) fn new(tree: &'t mut Tree, limits: &'t Limits, rule: DirectoryRule) -> Self {
        Self {
            tree,
            limits,
            rule,
            last: None,
        }
    }

    /// Applies one layer: its whiteouts to what is below, then its entries.
    pub(crate) fn apply(&mut self, entries: Vec<Entry>) -> Result<(), MergeError> {
        for entry in &entries {
            match entry.kind {
                EntryKind::Whiteout => self.hide(&entry.path, &entries)?,
                EntryKind::Opaque => self.hide_children(&entry.path, &entries)?,
                _ => {}
            }
        }
        self.last = None;
        for entry in entries {
            if !matches!(entry.kind, EntryKind::Whiteout | EntryKind::Opaque) {
                self.put(entry)?;
            }
        }
        Ok(())
    }

    fn hide(&mut self, path: &[u8], layer: &[Entry]) -> Result<(), MergeError> {
        let (parent, name) = split_name(path);
        if let Some(parent) = self.below(parent, path, layer)? {
            self.tree.unlink(parent, name);
        }
        Ok(())
    }

    fn hide_children(&mut self, path: &[u8], layer: &[Entry]) -> Result<(), MergeError> {
        if let Some(directory) = self.below(path, path, layer)? {
            self.tree.clear(directory);
        }
        Ok(())
    }

    /// The directory of the layers below at `path`, if there is one. A link on the way hides nothing
    /// if the layer itself puts a directory in its place; else it is refused.
    fn below(
        &self,
        path: &[u8],
        whiteout: &[u8],
        layer: &[Entry],
    ) -> Result<Option<NodeId>, MergeError> {
        let mut at = Tree::ROOT;
        let mut walked = Vec::new();
        for name in names(path) {
            push_name(&mut walked, name);
            let Some(&child) = self
                .tree
                .children(at)
                .and_then(|children| children.get(name))
            else {
                return Ok(None);
            };
            match self.tree.node(child).kind {
                NodeKind::Directory(_) => at = child,
                NodeKind::Symlink(_) => {
                    let replaced = layer
                        .iter()
                        .any(|entry| *entry.path == *walked && entry.kind == EntryKind::Directory);
                    return if replaced {
                        Ok(None)
                    } else {
                        Err(MergeError::WhiteoutThroughLink(display(whiteout)))
                    };
                }
                _ => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    fn put(&mut self, entry: Entry) -> Result<(), MergeError> {
        let Entry { path, kind, meta } = entry;
        if path.is_empty() {
            if self.rule == DirectoryRule::Replace {
                self.tree.node_mut(Tree::ROOT).meta = meta;
            }
            return Ok(());
        }
        let (parent_path, name) = split_name(&path);
        let parent = self.parent(parent_path, &path)?;
        let kind = match kind {
            EntryKind::Directory => return self.put_directory(parent, name, &path, meta),
            EntryKind::HardLink(target) => return self.put_hard_link(parent, name, &path, &target),
            EntryKind::File(content) => NodeKind::File(content),
            EntryKind::Symlink(target) => NodeKind::Symlink(target),
            EntryKind::CharDevice(device) => NodeKind::CharDevice(device),
            EntryKind::BlockDevice(device) => NodeKind::BlockDevice(device),
            EntryKind::Fifo => NodeKind::Fifo,
            EntryKind::Socket => NodeKind::Socket,
            // Applied before all other entries.
            EntryKind::Whiteout | EntryKind::Opaque => return Ok(()),
        };
        let id = self.add(meta, kind)?;
        self.link(parent, name, id);
        Ok(())
    }

    fn put_directory(
        &mut self,
        parent: NodeId,
        name: &[u8],
        path: &[u8],
        meta: Metadata,
    ) -> Result<(), MergeError> {
        if let Some(child) = self.child(parent, name) {
            match self.tree.node(child).kind {
                NodeKind::Directory(_) => {
                    if self.rule == DirectoryRule::Replace {
                        self.tree.node_mut(child).meta = meta;
                    }
                    return Ok(());
                }
                NodeKind::Symlink(_) if self.rule == DirectoryRule::Follow => {
                    return self.directory(path, path).map(drop);
                }
                _ => {}
            }
        }
        let id = self.add(meta, NodeKind::directory())?;
        self.link(parent, name, id);
        Ok(())
    }

    fn put_hard_link(
        &mut self,
        parent: NodeId,
        name: &[u8],
        path: &[u8],
        target: &[u8],
    ) -> Result<(), MergeError> {
        let (target_parent, target_name) = split_name(target);
        let missing = || MergeError::MissingTarget {
            entry: display(path),
            target: display(target),
        };
        let (directory, unmade) = self.walk(target_parent, path)?;
        if !unmade.is_empty() {
            return Err(missing());
        }
        let id = self.child(directory, target_name).ok_or_else(missing)?;
        if self.tree.children(id).is_some() {
            return Err(MergeError::DirectoryTarget {
                entry: display(path),
                target: display(target),
            });
        }
        self.link(parent, name, id);
        Ok(())
    }

    fn child(&self, parent: NodeId, name: &[u8]) -> Option<NodeId> {
        self.tree.children(parent)?.get(name).copied()
    }

    fn link(&mut self, parent: NodeId, name: &[u8], id: NodeId) {
        // What had the name may be on the remembered way.
        if self.tree.unlink(parent, name).is_some() {
            self.last = None;
        }
        self.tree.link(parent, name, id);
    }

    fn add(&mut self, meta: Metadata, kind: NodeKind) -> Result<NodeId, MergeError> {
        // Every hard link and every directory of every layer counts as an entry already; this
        // bounds what entries imply: the parents that no entry names.
        let limit = self.limits.entries;
        if self.tree.arena_len() as u64 > limit {
            return Err(MergeError::TooManyNodes { limit });
        }
        Ok(self.tree.add(Node { meta, kind }))
    }

    fn parent(&mut self, path: &[u8], entry: &[u8]) -> Result<NodeId, MergeError> {
        if path.is_empty() {
            return Ok(Tree::ROOT);
        }
        if let Some((last, id)) = &self.last
            && **last == *path
        {
            return Ok(*id);
        }
        let id = self.directory(path, entry)?;
        self.last = Some((path.into(), id));
        Ok(id)
    }

    /// The directory at `path`, links followed inside the root, made with its parents where missing.
    fn directory(&mut self, path: &[u8], entry: &[u8]) -> Result<NodeId, MergeError> {
        let (mut at, missing) = self.walk(path, entry)?;
        for name in missing {
            let id = self.add(Metadata::default_directory(0), NodeKind::directory())?;
            self.link(at, &name, id);
            at = id;
        }
        Ok(at)
    }

    /// Walks a path of directories as far as it exists; the names that do not, follow.
    fn walk(&self, path: &[u8], entry: &[u8]) -> Result<(NodeId, Vec<Name>), MergeError> {
        let mut found = vec![Tree::ROOT];
        let mut missing: Vec<Box<[u8]>> = Vec::new();
        let mut todo: Vec<Box<[u8]>> = names(path).rev().map(Into::into).collect();
        let mut links = 0;
        while let Some(name) = todo.pop() {
            if *name == *b".." {
                // At the root, `..` is the root.
                if missing.pop().is_none() && found.len() > 1 {
                    found.pop();
                }
                continue;
            }
            let at = found.last().copied().unwrap_or(Tree::ROOT);
            let child = if missing.is_empty() {
                self.child(at, &name)
            } else {
                None
            };
            let Some(child) = child else {
                missing.push(name);
                self.check_depth(found.len() + missing.len(), entry)?;
                continue;
            };
            match &self.tree.node(child).kind {
                NodeKind::Directory(_) => {
                    found.push(child);
                    self.check_depth(found.len(), entry)?;
                }
                NodeKind::Symlink(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(MergeError::LinkLoop(display(entry)));
                    }
                    if target.starts_with(b"/") {
                        found.truncate(1);
                    }
                    todo.extend(names(target).rev().map(Into::into));
                }
                _ => {
                    return Err(MergeError::NotADirectory {
                        at: name.to_vec(),
                        entry: display(entry),
                    });
                }
            }
        }
        Ok((found.last().copied().unwrap_or(Tree::ROOT), missing))
    }

    fn check_depth(&self, depth: usize, entry: &[u8]) -> Result<(), MergeError> {
        let limit = self.limits.depth;
        // The root is no name.
        if depth > limit + 1 {
            return Err(MergeError::TooDeep {
                entry: display(entry),
                limit,
            });
        }
        Ok(())
    }
}

fn names(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|&b| b == b'/')
        .filter(|name| !matches!(*name, b"" | b"."))
}

fn push_name(path: &mut Vec<u8>, name: &[u8]) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}

#[cfg(test)]
mod tests;
