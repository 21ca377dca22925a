//! The kernel and `fsck.erofs` read what this crate writes, and see exactly the tree.
#![expect(clippy::unwrap_used, reason = "a test's helpers are tests")]

mod support;
#[path = "support/torture.rs"]
mod torture;

use cos_erofs::{Compression, Identity, KernelVersion, Options, Spool};
use cos_events::Silent;
use cos_tree::{ContentStore, Node, NodeId, NodeKind, Tree, display};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Output;
use torture::Builder;

const ZSTD: Compression = Compression::Zstd { level: 1 };

fn run(program: &Path, arguments: &[&OsStr]) -> Output {
    #[expect(
        clippy::disallowed_methods,
        reason = "the oracles are other people's programs"
    )]
    std::process::Command::new(program)
        .args(arguments)
        .output()
        .unwrap()
}

/// A mounted image; unmounted when dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn new(image: &Path, at: PathBuf) -> Self {
        fs_err::create_dir_all(&at).unwrap();
        let options = [
            OsStr::new("-t"),
            OsStr::new("erofs"),
            OsStr::new("-o"),
            OsStr::new("loop,ro"),
        ];
        let paths = [image.as_os_str(), at.as_os_str()];
        let output = run(Path::new("mount"), &[&options[..], &paths].concat());
        assert!(output.status.success(), "{output:?}");
        Self(at)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let output = run(Path::new("umount"), &[self.0.as_os_str()]);
        assert!(
            output.status.success() || std::thread::panicking(),
            "{output:?}"
        );
    }
}

fn fsck(image: &Path) {
    let Some(fsck) = cos_testkit::tools::fsck_erofs() else {
        return cos_testkit::skip("fsck.erofs", "no fsck.erofs of erofs-utils 1.8");
    };
    // Extracting to nowhere reads all data.
    let output = run(&fsck, &[OsStr::new("--extract"), image.as_os_str()]);
    assert!(output.status.success(), "{output:?}");
}

fn spool(dir: &Path, compression: Compression, kernel: (u32, u32), chunk_size: u32) -> Spool {
    let mut options = Options::new(compression, KernelVersion::new(kernel.0, kernel.1), 2);
    options.chunk_size = chunk_size;
    Spool::new(dir, options, |_| false).unwrap()
}

fn write(tree: &Tree, spool: &Spool, image: &Path) {
    let mut out = fs_err::File::create(image).unwrap();
    cos_erofs::write(tree, spool, &Identity::default(), &mut out, &Silent).unwrap();
}

/// Every difference between two trees, by path.
struct Comparison<'a> {
    ours: (&'a Tree, &'a Spool),
    theirs: (&'a Tree, &'a Spool),
    /// Nodes that are the same one: two names of ours must be two names of theirs.
    pairs: HashMap<NodeId, NodeId>,
    differences: Vec<String>,
}

impl Comparison<'_> {
    fn node(&mut self, path: &[u8], ours: NodeId, theirs: NodeId) {
        let (a, b) = (self.ours.0.node(ours), self.theirs.0.node(theirs));
        if let Some(known) = self.pairs.insert(ours, theirs) {
            self.check(path, "link", known == theirs);
            return;
        }
        self.check(path, "metadata", a.meta == b.meta);
        match (&a.kind, &b.kind) {
            (NodeKind::Directory(a), NodeKind::Directory(b)) => {
                self.check(path, "names", a.keys().eq(b.keys()));
                for (name, &ours) in a {
                    if let Some(&theirs) = b.get(name) {
                        self.node(&[path, b"/", name].concat(), ours, theirs);
                    }
                }
            }
            (NodeKind::File(_), NodeKind::File(_)) => {
                let same = self.content(a, b);
                self.check(path, "content", same);
            }
            (a, b) => self.check(path, "kind", a == b),
        }
    }

    fn content(&self, ours: &Node, theirs: &Node) -> bool {
        let read = |spool: &Spool, node: &Node| {
            let NodeKind::File(content) = node.kind else {
                return Vec::new();
            };
            let mut data = Vec::new();
            std::io::copy(&mut spool.open(content).unwrap(), &mut data).unwrap();
            data
        };
        read(self.ours.1, ours) == read(self.theirs.1, theirs)
    }

    fn check(&mut self, path: &[u8], what: &str, same: bool) {
        if !same {
            self.differences.push(format!("{}: {what}", display(path)));
        }
    }
}

/// Number of links: names of a file, two and the subdirectories of a directory.
fn check_link_counts(tree: &Tree, root: &Path) {
    let mut expected: HashMap<NodeId, (u64, Vec<u8>)> = HashMap::new();
    tree.walk(|path, id| {
        let count = match tree.children(id) {
            Some(children) => {
                let is_directory = |id: &&NodeId| tree.children(**id).is_some();
                2 + children.values().filter(is_directory).count() as u64
            }
            None => expected.get(&id).map_or(0, |(count, _)| *count) + 1,
        };
        expected.insert(id, (count, path.to_vec()));
    });
    for (count, path) in expected.values() {
        let stat = fs_err::symlink_metadata(root.join(OsStr::from_bytes(path))).unwrap();
        assert_eq!(stat.nlink(), *count, "{}", display(path));
    }
}

fn check_torture(name: &str, compression: Compression, kernel: (u32, u32), chunk_size: u32) {
    if !cos_testkit::require_root(name) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let ours = spool(dir.path(), compression, kernel, chunk_size);
    let tree = torture::build(&ours, 200 << 20);
    let image = dir.path().join("root.img");
    write(&tree, &ours, &image);
    fsck(&image);
    let mounted = Mounted::new(&image, dir.path().join("mnt"));
    let theirs = spool(dir.path(), Compression::Lz4, (6, 1), chunk_size);
    let found = support::load(&mounted.0, &theirs).unwrap();
    let mut comparison = Comparison {
        ours: (&tree, &ours),
        theirs: (&found, &theirs),
        pairs: HashMap::new(),
        differences: Vec::new(),
    };
    comparison.node(b"", Tree::ROOT, Tree::ROOT);
    assert_eq!(comparison.differences, Vec::<String>::new());
    assert!(comparison.pairs.len() > 12_000);
    check_link_counts(&tree, &mounted.0);
}

#[test]
fn uncompressed_for_any_kernel() {
    check_torture(
        "uncompressed_for_any_kernel",
        Compression::None,
        (5, 4),
        256 * 1024,
    );
}

#[test]
fn uncompressed_with_holes() {
    check_torture(
        "uncompressed_with_holes",
        Compression::None,
        (6, 1),
        256 * 1024,
    );
}

#[test]
fn lz4_without_packing() {
    check_torture("lz4_without_packing", Compression::Lz4, (5, 15), 256 * 1024);
}

#[test]
fn lz4_with_packing() {
    check_torture("lz4_with_packing", Compression::Lz4, (6, 1), 256 * 1024);
}

#[test]
fn lz4_in_small_chunks() {
    check_torture("lz4_in_small_chunks", Compression::Lz4, (6, 1), 16 * 1024);
}

#[test]
fn zstd_with_packing() {
    check_torture("zstd_with_packing", ZSTD, (6, 12), 256 * 1024);
}

#[test]
fn zstd_in_large_chunks() {
    check_torture("zstd_in_large_chunks", ZSTD, (6, 12), 1 << 20);
}

#[test]
fn files_over_4_gib() {
    if !cos_testkit::require_root("files_over_4_gib") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let size = (5 << 30) + 12_345;
    let island = torture::text(1 << 20, 4);
    let offsets = [0, 3 << 30, (4 << 30) + 5, size - island.len() as u64];
    let islands: Vec<_> = offsets.iter().map(|&at| (at, &island[..])).collect();
    for compression in [Compression::None, ZSTD] {
        let spool = spool(dir.path(), compression, (6, 12), 256 * 1024);
        let mut builder = Builder::new(&spool);
        builder.sparse(b"huge", size, &islands);
        let image = dir.path().join("root.img");
        write(&builder.tree, &spool, &image);
        assert!(fs_err::metadata(&image).unwrap().len() < 64 << 20);
        let mounted = Mounted::new(&image, dir.path().join("mnt"));
        let file = fs_err::File::open(mounted.0.join("huge")).unwrap();
        assert_eq!(file.metadata().unwrap().len(), size);
        let mut found = vec![0; island.len()];
        for offset in offsets {
            file.file().read_exact_at(&mut found, offset).unwrap();
            assert!(found == island, "{compression:?} at {offset}");
        }
        file.file().read_exact_at(&mut found, 2 << 30).unwrap();
        assert!(found.iter().all(|&b| b == 0));
    }
}
