//! The *tree* of an image: every file, directory and device of the merged layers, as data.
//!
//! Nothing here touches a host path. Names are raw bytes, directories are sorted, hard links are
//! two names for one [`NodeId`], and the bytes of regular files live elsewhere, in a
//! [`ContentStore`], under a [`ContentId`].

mod content;
mod path;

pub use content::{Content, ContentId, ContentStore, ContentWriter};
pub use path::{PathError, components, display};

use std::collections::BTreeMap;

/// A file name: any bytes but `/` and NUL, at most 255 of them.
pub type Name = Box<[u8]>;

/// Extended attributes, by full name (`security.capability`), sorted.
pub type Xattrs = BTreeMap<Box<[u8]>, Box<[u8]>>;

/// Which node of a [`Tree`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u32);

impl NodeId {
    /// Position in the tree's arena, for side tables of [`Tree::arena_len`] entries.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What every node has, whatever its kind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata {
    /// Permission bits with set-uid, set-gid and sticky: `0..=0o7777`.
    pub permissions: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time, whole seconds since 1970; may be negative.
    pub mtime: i64,
    /// Extended attributes.
    pub xattrs: Xattrs,
}

impl Metadata {
    /// A root-owned directory of mode 0755 with the given time: what missing parents get.
    pub fn default_directory(mtime: i64) -> Self {
        Self {
            permissions: 0o755,
            mtime,
            ..Self::default()
        }
    }
}

/// Number of a device node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeviceNumber {
    /// Major number (12 bits on Linux).
    pub major: u32,
    /// Minor number (20 bits on Linux).
    pub minor: u32,
}

/// What kind of thing a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeKind {
    /// Children by name.
    Directory(BTreeMap<Name, NodeId>),
    /// Regular file.
    File(Content),
    /// Symbolic link and its target.
    Symlink(Box<[u8]>),
    /// Character device.
    CharDevice(DeviceNumber),
    /// Block device.
    BlockDevice(DeviceNumber),
    /// Named pipe.
    Fifo,
    /// Socket.
    Socket,
}

impl NodeKind {
    /// An empty directory.
    pub fn directory() -> Self {
        Self::Directory(BTreeMap::new())
    }
}

/// One file, directory, link or device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Ownership, permissions, time, attributes.
    pub meta: Metadata,
    /// Kind, and what belongs to it.
    pub kind: NodeKind,
}

/// A file tree. Nodes live in an arena; removed ones stay there, unreachable.
#[derive(Debug, Clone)]
pub struct Tree {
    nodes: Vec<Node>,
}

impl Tree {
    /// The root directory of every tree.
    pub const ROOT: NodeId = NodeId(0);

    /// An empty tree whose root directory has this metadata.
    pub fn new(root: Metadata) -> Self {
        Self {
            nodes: vec![Node {
                meta: root,
                kind: NodeKind::directory(),
            }],
        }
    }

    /// Length of the arena: one more than the greatest [`NodeId::index`].
    pub fn arena_len(&self) -> usize {
        self.nodes.len()
    }

    /// The node with this id.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// The node with this id, to change.
    pub fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.index()]
    }

    /// Children of a directory; `None` when the node is not one.
    pub fn children(&self, id: NodeId) -> Option<&BTreeMap<Name, NodeId>> {
        match &self.node(id).kind {
            NodeKind::Directory(children) => Some(children),
            _ => None,
        }
    }

    /// Adds a node under no name yet; give it one with [`Tree::link`].
    ///
    /// # Panics
    /// When the tree would hold more than 2³² nodes; readers bound the count far below.
    pub fn add(&mut self, node: Node) -> NodeId {
        let id = NodeId(self.nodes.len() as u32);
        self.nodes.push(node);
        id
    }

    /// Names `id` inside directory `parent`, replacing what had the name. Naming a node twice makes
    /// a hard link. Returns whether `parent` is a directory (when not, nothing changes).
    pub fn link(&mut self, parent: NodeId, name: &[u8], id: NodeId) -> bool {
        match &mut self.node_mut(parent).kind {
            NodeKind::Directory(children) => {
                children.insert(name.into(), id);
                true
            }
            _ => false,
        }
    }

    /// Removes a name from a directory; the node it named lives on under its other names.
    pub fn unlink(&mut self, parent: NodeId, name: &[u8]) -> Option<NodeId> {
        match &mut self.node_mut(parent).kind {
            NodeKind::Directory(children) => children.remove(name),
            _ => None,
        }
    }

    /// Removes everything inside a directory, keeping the directory itself.
    pub fn clear(&mut self, directory: NodeId) {
        if let NodeKind::Directory(children) = &mut self.node_mut(directory).kind {
            children.clear();
        }
    }

    /// Finds a path without following symbolic links. Leading `/` and `./` do not matter.
    pub fn lookup(&self, path: &[u8]) -> Option<NodeId> {
        components(path)
            .ok()?
            .try_fold(Self::ROOT, |at, name| self.children(at)?.get(name).copied())
    }

    /// Finds a path, following symbolic links as the kernel would with this tree as its root
    /// (`..` never leaves it). `None` when missing, or after 40 links.
    pub fn resolve(&self, path: &[u8]) -> Option<NodeId> {
        path::resolve(self, path)
    }

    /// The directory at `path`, made with its parents where missing (root-owned, 0755, `mtime`).
    /// Fails where something other than a directory is in the way.
    pub fn ensure_directory(&mut self, path: &[u8], mtime: i64) -> Result<NodeId, PathError> {
        let mut at = Self::ROOT;
        for name in components(path)? {
            at = match self.children(at).and_then(|children| children.get(name)) {
                Some(&child) => child,
                None => {
                    let meta = Metadata::default_directory(mtime);
                    let child = self.add(Node {
                        meta,
                        kind: NodeKind::directory(),
                    });
                    self.link(at, name, child);
                    child
                }
            };
            if self.children(at).is_none() {
                return Err(PathError::NotADirectory(path.into()));
            }
        }
        Ok(at)
    }

    /// Every name, depth first, parents before children, siblings sorted by bytes. Hard-linked nodes
    /// come once per name. Paths have no leading slash; the root's is empty.
    pub fn walk(&self, mut visit: impl FnMut(&[u8], NodeId)) {
        let mut path = Vec::new();
        let mut stack = vec![(Self::ROOT, 0, Name::default())];
        while let Some((id, parent_len, name)) = stack.pop() {
            path.truncate(parent_len);
            if !name.is_empty() {
                if parent_len > 0 {
                    path.push(b'/');
                }
                path.extend_from_slice(&name);
            }
            visit(&path, id);
            if let Some(children) = self.children(id) {
                let len = path.len();
                stack.extend(
                    children
                        .iter()
                        .rev()
                        .map(|(name, &child)| (child, len, name.clone())),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        let mut tree = Tree::new(Metadata::default_directory(0));
        let usr = tree.ensure_directory(b"usr/bin", 7).unwrap();
        let sh = tree.add(Node {
            meta: Metadata::default(),
            kind: NodeKind::Fifo,
        });
        tree.link(usr, b"sh", sh);
        let bin = tree.add(Node {
            meta: Metadata::default(),
            kind: NodeKind::Symlink((*b"usr/bin").into()),
        });
        tree.link(Tree::ROOT, b"bin", bin);
        let up = tree.add(Node {
            meta: Metadata::default(),
            kind: NodeKind::Symlink((*b"../../../bin").into()),
        });
        tree.link(Tree::ROOT, b"up", up);
        let me = tree.add(Node {
            meta: Metadata::default(),
            kind: NodeKind::Symlink((*b"/loop").into()),
        });
        tree.link(Tree::ROOT, b"loop", me);
        tree
    }

    #[test]
    fn resolving_follows_links_and_stays_inside() {
        let tree = tree();
        let sh = tree.lookup(b"/usr/bin/sh").unwrap();
        assert_eq!(tree.lookup(b"bin/sh"), None);
        assert_eq!(tree.resolve(b"/bin/sh"), Some(sh));
        assert_eq!(tree.resolve(b"up/sh"), Some(sh));
        assert_eq!(tree.resolve(b"loop/x"), None);
    }

    #[test]
    fn walking_is_sorted_and_parents_come_first() {
        let mut seen = Vec::new();
        tree().walk(|path, _| seen.push(String::from_utf8(path.to_vec()).unwrap()));
        assert_eq!(
            seen,
            ["", "bin", "loop", "up", "usr", "usr/bin", "usr/bin/sh"]
        );
    }
}
