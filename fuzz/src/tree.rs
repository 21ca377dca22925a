//! What must hold of every tree that was merged from layers.

use cos_tree::{NodeKind, Tree};
use std::collections::BTreeSet;

/// Panics unless it is a tree, of names that a file system takes.
pub fn assert_tree(tree: &Tree) {
    let mut directories = BTreeSet::new();
    let mut paths = BTreeSet::new();
    tree.walk(|path, id| {
        let node = tree.node(id);
        assert!(paths.insert(path.to_vec()), "a path comes twice");
        for name in path
            .split(|&byte| byte == b'/')
            .filter(|_| !path.is_empty())
        {
            assert!(!matches!(name, b"" | b"." | b".."), "{path:?}");
            assert!(name.len() <= 255 && !name.contains(&0), "{path:?}");
            assert!(!name.starts_with(b".wh."), "a whiteout is left: {path:?}");
        }
        assert!(node.meta.permissions <= 0o7777);
        assert!(node.meta.uid != u32::MAX && node.meta.gid != u32::MAX);
        match &node.kind {
            // A directory with two names would be no tree, and the walk without end.
            NodeKind::Directory(_) => assert!(directories.insert(id)),
            NodeKind::Symlink(target) => assert!(!target.is_empty() && !target.contains(&0)),
            NodeKind::CharDevice(device) | NodeKind::BlockDevice(device) => {
                assert!(device.major < 1 << 12 && device.minor < 1 << 20);
            }
            _ => {}
        }
    });
}
