//! One entry for every inode of the image, in the order of a walk through the tree.

use super::files::Files;
use super::xattrs::{Refusal, XattrTable};
use crate::ErofsError;
use crate::disk::encode_device;
use crate::spool::Table;
use cos_events::Monitor;
use cos_tree::{NodeId, NodeKind, Tree, display};
use std::collections::BTreeSet;
use xxhash_rust::xxh3::xxh3_64;

/// An inode, and where it will be.
#[derive(Debug, Clone)]
pub(crate) struct InodePlan {
    pub(crate) node: NodeId,
    /// The inode of the directory it was found in; the root's is the root.
    pub(crate) parent: u32,
    pub(crate) nlink: u32,
    /// Which set of attributes.
    pub(crate) xattrs: u32,
    /// Which file, for regular files that are not empty.
    pub(crate) file: Option<u32>,
    /// Offset in the image.
    pub(crate) position: u64,
    /// Bytes of data that stand behind the inode.
    pub(crate) inline: u32,
    /// First block of directory or link data that does not.
    pub(crate) block: u32,
}

/// All inodes and what they refer to.
pub(crate) struct Inodes<'t> {
    pub(crate) tree: &'t Tree,
    pub(crate) plans: Vec<InodePlan>,
    pub(crate) xattrs: XattrTable<'t>,
    /// Inode of each node in the tree's arena.
    by_node: Vec<u32>,
}

const NONE: u32 = u32::MAX;

impl<'t> Inodes<'t> {
    /// Walks the tree; files go to `files` in the order of their first paths.
    pub(crate) fn collect(
        tree: &'t Tree,
        table: &Table,
        files: &mut Files,
        monitor: &dyn Monitor,
    ) -> Result<Self, ErofsError> {
        let mut collector = Collector {
            inodes: Self {
                tree,
                plans: Vec::new(),
                xattrs: XattrTable::default(),
                by_node: vec![NONE; tree.arena_len()],
            },
            table,
            files,
            monitor,
            ancestors: Vec::new(),
            warned: BTreeSet::new(),
        };
        let mut result = Ok(());
        tree.walk(|path, node| {
            if result.is_ok() {
                result = collector.visit(path, node);
            }
        });
        result?;
        let mut inodes = collector.inodes;
        inodes.xattrs.build().map_err(|set| {
            let owner = inodes.plans.iter().position(|p| p.xattrs as usize == set);
            ErofsError::Unrepresentable {
                path: format!("of inode {}", owner.unwrap_or(0) + 1),
                what: "more than 256 KiB of extended attributes".to_owned(),
            }
        })?;
        Ok(inodes)
    }

    /// The inode of a node that the walk came by.
    pub(crate) fn of(&self, node: NodeId) -> &InodePlan {
        &self.plans[self.by_node[node.index()] as usize]
    }

    /// The most common modification time, the earliest of several.
    pub(crate) fn common_time(&self) -> i64 {
        let mut times: Vec<i64> = self
            .plans
            .iter()
            .map(|p| self.tree.node(p.node).meta.mtime)
            .collect();
        times.sort_unstable();
        let groups = times.chunk_by(|a, b| a == b);
        let most = groups.rev().max_by_key(|group| group.len());
        most.and_then(|group| group.first().copied()).unwrap_or(0)
    }
}

struct Collector<'a, 't> {
    inodes: Inodes<'t>,
    table: &'a Table,
    files: &'a mut Files,
    monitor: &'a dyn Monitor,
    /// Inodes of the directories above the present path.
    ancestors: Vec<u32>,
    /// Attribute names already warned of.
    warned: BTreeSet<Box<[u8]>>,
}

impl Collector<'_, '_> {
    fn visit(&mut self, path: &[u8], id: NodeId) -> Result<(), ErofsError> {
        let depth = match path {
            b"" => 0,
            _ => path.split(|&b| b == b'/').count(),
        };
        self.ancestors.truncate(depth);
        let node = self.inodes.tree.node(id);
        let is_directory = matches!(node.kind, NodeKind::Directory(_));
        let known = self.inodes.by_node[id.index()];
        if known != NONE {
            if is_directory {
                return Err(unrepresentable(path, "a directory with two names"));
            }
            self.inodes.plans[known as usize].nlink += 1;
            return Ok(());
        }
        let number = self.inodes.plans.len() as u32;
        let parent = self.ancestors.last().copied().unwrap_or(number);
        if is_directory {
            if depth > 0 {
                self.inodes.plans[parent as usize].nlink += 1;
            }
            self.ancestors.push(number);
        }
        let file = self.check_kind(path, &node.kind)?;
        let xattrs = self.add_xattrs(path, id)?;
        self.inodes.by_node[id.index()] = number;
        self.inodes.plans.push(InodePlan {
            node: id,
            parent,
            nlink: if is_directory { 2 } else { 1 },
            xattrs,
            file,
            position: 0,
            inline: 0,
            block: crate::disk::NULL_ADDR,
        });
        Ok(())
    }

    fn check_kind(&mut self, path: &[u8], kind: &NodeKind) -> Result<Option<u32>, ErofsError> {
        match kind {
            NodeKind::File(content) if content.size > 0 => {
                let record = self.table.get(*content).ok_or_else(|| {
                    let path = display(path);
                    ErofsError::UnknownContent { path }
                })?;
                Ok(Some(self.files.add(content.id, record, xxh3_64(path))))
            }
            NodeKind::Symlink(target) if target.is_empty() || target.len() > 4095 => {
                let what = "a symbolic link's target must have 1 to 4095 bytes";
                Err(unrepresentable(path, what))
            }
            NodeKind::CharDevice(device) | NodeKind::BlockDevice(device)
                if encode_device(*device).is_none() =>
            {
                let what = "a device's numbers must be below 4096 and 1048576";
                Err(unrepresentable(path, what))
            }
            _ => Ok(None),
        }
    }

    fn add_xattrs(&mut self, path: &[u8], id: NodeId) -> Result<u32, ErofsError> {
        let xattrs = &self.inodes.tree.node(id).meta.xattrs;
        let mut result = Ok(());
        let (warned, monitor) = (&mut self.warned, self.monitor);
        let set = self.inodes.xattrs.add(xattrs, |name, refusal| match refusal {
            Refusal::Bounds => {
                let what = format!("extended attribute {} is too long", display(name));
                result = Err(unrepresentable(path, &what));
            }
            Refusal::ForeignName => {
                if warned.insert(name.into()) {
                    let (name, path) = (display(name), display(path));
                    let message = format!(
                        "extended attribute {name} (first on {path}) is left out: EROFS has no attributes of this name"
                    );
                    cos_events::warn(monitor, message);
                }
            }
        });
        result.map(|()| set as u32)
    }
}

fn unrepresentable(path: &[u8], what: &str) -> ErofsError {
    ErofsError::Unrepresentable {
        path: display(path),
        what: what.to_owned(),
    }
}
