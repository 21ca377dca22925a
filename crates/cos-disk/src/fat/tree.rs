//! The files of a new volume and where they go.

use super::geometry::{FIRST_CLUSTER, Geometry, Width};
use super::name::{self, UNITS_PER_SLOT};
use super::{FatContent, FatEntry};
use crate::DiskError;
use crate::content::OpenSource;
use std::collections::{BTreeMap, BTreeSet};

/// The deepest nesting of directories.
const MAX_DEPTH: usize = 32;

/// The index of the root in a [`Tree`].
pub(super) const ROOT: usize = 0;

#[derive(Debug)]
pub(super) struct Node<'s> {
    pub(super) name: String,
    pub(super) short: [u8; 11],
    pub(super) parent: usize,
    /// `None` for a directory.
    pub(super) source: Option<OpenSource<'s>>,
    /// Members by the form of their name that must be unique.
    pub(super) children: BTreeMap<String, usize>,
    pub(super) first_cluster: u32,
    pub(super) clusters: u32,
}

impl<'s> Node<'s> {
    fn new(name: &str, parent: usize, source: Option<OpenSource<'s>>) -> Self {
        Self {
            name: name.to_owned(),
            short: [b' '; 11],
            parent,
            source,
            children: BTreeMap::new(),
            first_cluster: 0,
            clusters: 0,
        }
    }

    pub(super) fn is_directory(&self) -> bool {
        self.source.is_none()
    }

    /// How many 32-byte slots its entry takes in the directory above.
    pub(super) fn slots(&self) -> u64 {
        let long = name::needs_long(&self.name, &self.short);
        let units = if long {
            self.name.encode_utf16().count()
        } else {
            0
        };
        1 + units.div_ceil(UNITS_PER_SLOT) as u64
    }
}

/// All files, parents before their members.
#[derive(Debug)]
pub(super) struct Tree<'s> {
    nodes: Vec<Node<'s>>,
}

impl<'s> Tree<'s> {
    pub(super) fn build(entries: &'s [FatEntry]) -> Result<Self, DiskError> {
        let mut tree = Self {
            nodes: vec![Node::new("", ROOT, None)],
        };
        for entry in entries {
            tree.insert(entry)?;
        }
        for index in 0..tree.nodes.len() {
            let mut taken = BTreeSet::new();
            let children: Vec<usize> = tree.nodes[index].children.values().copied().collect();
            for child in children {
                let short = name::short(&tree.nodes[child].name, &mut taken);
                tree.nodes[child].short = short;
            }
        }
        Ok(tree)
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = &Node<'s>> {
        self.nodes.iter()
    }

    pub(super) fn node(&self, index: usize) -> &Node<'s> {
        &self.nodes[index]
    }

    fn insert(&mut self, entry: &'s FatEntry) -> Result<(), DiskError> {
        let path = entry.path.as_str();
        let names: Vec<&str> = path.trim_matches('/').split('/').collect();
        if names.len() > MAX_DEPTH {
            return Err(DiskError::FatName {
                path: path.to_owned(),
            });
        }
        let mut parent = ROOT;
        for (depth, name) in names.iter().enumerate() {
            name::check(name, path)?;
            let is_last = depth + 1 == names.len();
            let source = match &entry.content {
                FatContent::File(source) if is_last => {
                    Some(source.open().map_err(|source| DiskError::ReadContent {
                        path: path.into(),
                        source,
                    })?)
                }
                _ => None,
            };
            parent = self.enter(parent, name, source, path)?;
        }
        Ok(())
    }

    /// The member `name` of a directory, made if need be.
    fn enter(
        &mut self,
        parent: usize,
        name: &str,
        source: Option<OpenSource<'s>>,
        path: &str,
    ) -> Result<usize, DiskError> {
        let key = name.to_uppercase();
        if let Some(known) = self.nodes[parent].children.get(&key).copied() {
            let same = &self.nodes[known];
            // A directory may be named again; names that differ in case alone may not meet.
            if source.is_none() && same.is_directory() && same.name == name {
                return Ok(known);
            }
            return Err(DiskError::DuplicatePath {
                path: path.to_owned(),
            });
        }
        if source
            .as_ref()
            .is_some_and(|source| source.len() > u64::from(u32::MAX))
        {
            return Err(DiskError::FatFileTooLarge {
                path: path.to_owned(),
            });
        }
        let index = self.nodes.len();
        self.nodes.push(Node::new(name, parent, source));
        self.nodes[parent].children.insert(key, index);
        Ok(index)
    }

    /// Gives every file its clusters, one after the other. Returns how many are used.
    pub(super) fn place(&mut self, geometry: &Geometry, label: bool) -> Result<u32, DiskError> {
        let mut used: u64 = 0;
        for index in self.sorted() {
            let bytes = self.bytes_of(index, label);
            let fixed_root = index == ROOT && geometry.width == Width::Fat16;
            if fixed_root {
                let available = u64::from(geometry.root_entries) * 32;
                if bytes > available {
                    return Err(DiskError::FatFull {
                        needed: bytes,
                        available,
                    });
                }
                continue;
            }
            let clusters = bytes.div_ceil(geometry.cluster_bytes());
            if clusters > 0 {
                self.nodes[index].first_cluster = (u64::from(FIRST_CLUSTER) + used) as u32;
            }
            self.nodes[index].clusters = clusters as u32;
            used += clusters;
        }
        if used > u64::from(geometry.clusters) {
            return Err(DiskError::FatFull {
                needed: used * geometry.cluster_bytes(),
                available: u64::from(geometry.clusters) * geometry.cluster_bytes(),
            });
        }
        Ok(used as u32)
    }

    /// All nodes in the order of their paths, so that the order of the input does not matter.
    fn sorted(&self) -> Vec<usize> {
        let mut order = Vec::with_capacity(self.nodes.len());
        let mut pending = vec![ROOT];
        while let Some(index) = pending.pop() {
            order.push(index);
            pending.extend(self.nodes[index].children.values().rev());
        }
        order
    }

    fn bytes_of(&self, index: usize, label: bool) -> u64 {
        let node = &self.nodes[index];
        match &node.source {
            Some(source) => source.len(),
            None => {
                let own = if index == ROOT { u64::from(label) } else { 2 };
                let members: u64 = node
                    .children
                    .values()
                    .map(|child| self.nodes[*child].slots())
                    .sum();
                // A root without members and label still has its cluster.
                (own + members).max(1) * 32
            }
        }
    }
}
