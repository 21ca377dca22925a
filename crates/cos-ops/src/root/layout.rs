//! What of an image's tree goes into its root image (format `cos-root-v1`).

use cos_tree::{Content, ContentStore, Metadata, Node, NodeKind, PathError, Tree};
use std::io;

/// Directories whose contents are made anew at every boot, or (`/boot`) kept beside the root image.
const EMPTIED: [&str; 6] = ["boot", "dev", "proc", "sys", "run", "tmp"];

/// Directories that must be there to mount on, since the root cannot be written.
const MOUNT_POINTS: [&str; 9] = [
    "etc",
    "home",
    "mnt",
    "oem",
    "opt",
    "root",
    "srv",
    "usr/local",
    "var",
];

/// systemd takes an empty file for "not yet known" and a missing one for "first boot".
const MACHINE_ID: &str = "etc/machine-id";

/// Why a tree cannot become a root image.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// Something other than a directory is where one must be.
    #[error("the image has no usable directory structure")]
    Path(#[from] PathError),
    /// The empty machine-id could not be stored.
    #[error("cannot store an empty /{}", MACHINE_ID)]
    Store(#[source] io::Error),
}

/// Makes `tree` the tree of a root image. Take the kernel and the boot loader out of it first.
pub fn apply(tree: &mut Tree, store: &dyn ContentStore) -> Result<(), LayoutError> {
    let mtime = tree.node(Tree::ROOT).meta.mtime;
    for path in EMPTIED {
        let name = path.as_bytes();
        if tree
            .lookup(name)
            .is_some_and(|id| tree.children(id).is_none())
        {
            tree.unlink(Tree::ROOT, name);
        }
        let directory = tree.ensure_directory(name, mtime)?;
        tree.clear(directory);
        if path == "tmp" {
            tree.node_mut(directory).meta.permissions = 0o1777;
        }
    }
    for path in MOUNT_POINTS {
        if tree.resolve(path.as_bytes()).is_none() {
            tree.ensure_directory(path.as_bytes(), mtime)?;
        }
    }
    empty_machine_id(tree, store, mtime)
}

fn empty_machine_id(
    tree: &mut Tree,
    store: &dyn ContentStore,
    mtime: i64,
) -> Result<(), LayoutError> {
    let writer = store
        .create(MACHINE_ID.as_bytes(), 0)
        .map_err(LayoutError::Store)?;
    let id = writer.finish().map_err(LayoutError::Store)?;
    let meta = Metadata {
        permissions: 0o444,
        mtime,
        ..Metadata::default()
    };
    let file = tree.add(Node {
        meta,
        kind: NodeKind::File(Content { size: 0, id }),
    });
    let etc = tree.ensure_directory(b"etc", mtime)?;
    tree.link(etc, b"machine-id", file);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cos_tree::{ContentId, ContentWriter};

    struct NoContent;
    impl ContentStore for NoContent {
        fn create(&self, _: &[u8], _: u64) -> io::Result<Box<dyn ContentWriter + '_>> {
            Ok(Box::new(Self))
        }
        fn open(&self, _: Content) -> io::Result<Box<dyn io::Read + Send + '_>> {
            Ok(Box::new(io::empty()))
        }
    }
    impl ContentWriter for NoContent {
        fn write(&mut self, _: &[u8]) -> io::Result<()> {
            Ok(())
        }
        fn hole(&mut self, _: u64) -> io::Result<()> {
            Ok(())
        }
        fn finish(self: Box<Self>) -> io::Result<ContentId> {
            Ok(ContentId(0))
        }
    }

    fn paths(tree: &Tree) -> Vec<String> {
        let mut paths = Vec::new();
        tree.walk(|path, id| {
            paths.push(format!(
                "{} {:o}",
                cos_tree::display(path),
                tree.node(id).meta.permissions
            ));
        });
        paths
    }

    #[test]
    fn what_boot_fills_is_emptied_and_mount_points_are_there() {
        let mut tree = Tree::new(Metadata::default_directory(5));
        for path in ["boot/grub", "proc/1", "usr/bin", "var/home"] {
            tree.ensure_directory(path.as_bytes(), 1).unwrap();
        }
        let symlink = |target: &[u8]| Node {
            meta: Metadata::default(),
            kind: NodeKind::Symlink(target.into()),
        };
        let home = tree.add(symlink(b"var/home"));
        tree.link(Tree::ROOT, b"home", home);
        let run = tree.add(symlink(b"/elsewhere"));
        tree.link(Tree::ROOT, b"run", run);
        apply(&mut tree, &NoContent).unwrap();
        insta::assert_debug_snapshot!(paths(&tree), @r#"
        [
            " 755",
            "boot 755",
            "dev 755",
            "etc 755",
            "etc/machine-id 444",
            "home 0",
            "mnt 755",
            "oem 755",
            "opt 755",
            "proc 755",
            "root 755",
            "run 755",
            "srv 755",
            "sys 755",
            "tmp 1777",
            "usr 755",
            "usr/bin 755",
            "usr/local 755",
            "var 755",
            "var/home 755",
        ]
        "#);
        assert_eq!(
            tree.lookup(b"home"),
            Some(home),
            "a link to a directory is a mount point already"
        );
    }

    #[test]
    fn a_file_in_the_place_of_a_directory_is_refused() {
        let mut tree = Tree::new(Metadata::default_directory(0));
        let etc = tree.add(Node {
            meta: Metadata::default(),
            kind: NodeKind::Fifo,
        });
        tree.link(Tree::ROOT, b"etc", etc);
        assert!(matches!(
            apply(&mut tree, &NoContent),
            Err(LayoutError::Path(_))
        ));
    }
}
