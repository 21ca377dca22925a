//! The bytes of the format: the same on every run, and those that `FORMAT` names.
#![expect(clippy::unwrap_used, reason = "a test's helpers are tests")]

#[path = "support/torture.rs"]
mod torture;

use cos_erofs::{Compression, FORMAT, Identity, KernelVersion, Options, Spool};
use cos_events::{Cancelled, Event, Monitor, Silent};
use cos_tree::{NodeKind, Tree};
use sha2::{Digest, Sha256};
use std::sync::Mutex;
use torture::Builder;

const ZSTD: Compression = Compression::Zstd { level: 1 };

fn spool(compression: Compression, kernel: (u32, u32), threads: usize) -> Spool {
    let kernel = KernelVersion::new(kernel.0, kernel.1);
    let options = Options::new(compression, kernel, threads);
    Spool::new(&std::env::temp_dir(), options, |_| false).unwrap()
}

fn image(tree: &Tree, spool: &Spool) -> Vec<u8> {
    let mut image = Vec::new();
    let summary = cos_erofs::write(tree, spool, &Identity::default(), &mut image, &Silent).unwrap();
    assert_eq!(summary.size, image.len() as u64);
    let superblock = cos_erofs::read_superblock(&mut &image[..]).unwrap();
    assert_eq!(superblock.size(), summary.size);
    assert_eq!(superblock.uuid, summary.uuid);
    image
}

fn digest(image: &[u8]) -> String {
    hex::encode(Sha256::digest(image))
}

/// If this fails, the bytes of root images have changed: every root hash changes with them. That needs
/// a new `FORMAT`, and a reason.
#[test]
fn the_bytes_are_those_of_the_format() {
    let digest_of = |compression, kernel| {
        let spool = spool(compression, kernel, 2);
        digest(&image(&torture::build(&spool, 20 << 20), &spool))
    };
    assert_eq!(FORMAT, "cos-root-v1");
    let expected = [
        (
            Compression::None,
            (5, 4),
            "77376ce94579c68e46483cf686cb632efda2fa471937c6e1845ac0fc1d492064",
        ),
        (
            Compression::None,
            (6, 1),
            "d2f0acc25b6b70300eda6a06b6df022b6bb76e2dabd2e8cf0c590ca08793b304",
        ),
        (
            Compression::Lz4,
            (5, 15),
            "a599002121813f5f48d511c0adecfdf3b8086cc674b17abd3027c0916d866634",
        ),
        (
            Compression::Lz4,
            (6, 1),
            "82bd4b4acee633ab356f6fac89e1981c49a453342c8f2e755147b82bc2c0828e",
        ),
        (
            ZSTD,
            (6, 12),
            "3a2e15c824908471b2737e9f31ca4b0ae6419998bb185262a055c1d6865425a0",
        ),
    ];
    let found: Vec<_> = expected
        .iter()
        .map(|&(compression, kernel, _)| (compression, kernel, digest_of(compression, kernel)))
        .collect();
    let expected: Vec<_> = expected
        .iter()
        .map(|&(c, k, d)| (c, k, d.to_owned()))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn threads_and_order_of_arrival_change_nothing() {
    let files: Vec<_> = (0..300_usize)
        .map(|i| {
            (
                format!("d{}/f{i:03}", i % 7),
                torture::text(i * i * 10, i as u64),
            )
        })
        .collect();
    let build = |threads, order: &mut dyn Iterator<Item = &(String, Vec<u8>)>| {
        let spool = spool(ZSTD, (6, 12), threads);
        let mut builder = Builder::new(&spool);
        builder.file(b"never-used", b"shadowed by another layer");
        let root = Tree::ROOT;
        builder.tree.unlink(root, b"never-used");
        for (path, data) in order {
            builder.file(path.as_bytes(), data);
        }
        image(&builder.tree, &spool)
    };
    let first = build(0, &mut files.iter());
    for threads in [1, 2, 5] {
        assert!(
            build(threads, &mut files.iter().rev()) == first,
            "{threads} threads"
        );
    }
}

#[test]
fn changing_one_file_changes_little_else() {
    let build = |change: bool| {
        let spool = spool(ZSTD, (6, 12), 2);
        let mut builder = Builder::new(&spool);
        for i in 0..600_usize {
            let mut data = torture::text(i * 400, i as u64);
            if change && i == 300 {
                data[1000..2000].copy_from_slice(&torture::noise(1000, 1));
            }
            builder.file(format!("d{}/f{i:03}", i / 50).as_bytes(), &data);
        }
        image(&builder.tree, &spool)
    };
    let (before, after) = (build(false), build(true));
    let blocks = |image: &[u8]| -> std::collections::BTreeSet<Vec<u8>> {
        image.chunks(4096).map(<[u8]>::to_vec).collect()
    };
    let new = blocks(&after).difference(&blocks(&before)).count();
    let total = after.len() / 4096;
    // The pack or chunk it is in, and inodes whose addresses moved.
    assert!(new < 64 + total / 50, "{new} of {total} blocks are new");
}

#[test]
fn the_same_content_is_stored_once() {
    let size = |copies: usize| {
        let spool = spool(Compression::Lz4, (6, 1), 2);
        let mut builder = Builder::new(&spool);
        for copy in 0..copies {
            builder.file(format!("small{copy}").as_bytes(), &torture::noise(9000, 1));
            builder.file(
                format!("large{copy}").as_bytes(),
                &torture::noise(900_000, 2),
            );
        }
        image(&builder.tree, &spool).len()
    };
    assert!(size(10) < size(1) + 64 * 1024);
}

#[derive(Default)]
struct Recorder {
    messages: Mutex<Vec<String>>,
    cancel: bool,
}

impl Monitor for Recorder {
    fn report(&self, event: Event) {
        if let Event::Warning { message } = event {
            self.messages.lock().unwrap().push(message);
        }
    }

    fn is_cancelled(&self) -> bool {
        self.cancel
    }
}

#[test]
fn foreign_attributes_are_left_out_with_a_warning() {
    let spool = spool(Compression::None, (6, 1), 0);
    let mut builder = Builder::new(&spool);
    for name in [&b"a"[..], b"b"] {
        let id = builder.file(name, b"x");
        let xattrs = &mut builder.meta(id).xattrs;
        xattrs.insert((*b"com.apple.provenance").into(), name.into());
    }
    let monitor = Recorder::default();
    let mut out = Vec::new();
    cos_erofs::write(
        &builder.tree,
        &spool,
        &Identity::default(),
        &mut out,
        &monitor,
    )
    .unwrap();
    let messages = monitor.messages.into_inner().unwrap();
    assert_eq!(messages.len(), 1);
    assert!(
        messages[0].contains("com.apple.provenance (first on a)"),
        "{messages:?}"
    );
}

#[test]
fn a_cancelled_write_says_so() {
    let spool = spool(ZSTD, (6, 12), 1);
    let mut builder = Builder::new(&spool);
    builder.file(b"f", &torture::text(1 << 20, 1));
    let monitor = Recorder {
        cancel: true,
        ..Recorder::default()
    };
    let result = cos_erofs::write(
        &builder.tree,
        &spool,
        &Identity::default(),
        &mut Vec::new(),
        &monitor,
    );
    assert!(matches!(
        result,
        Err(cos_erofs::ErofsError::Cancelled(Cancelled))
    ));
}

#[test]
fn what_cannot_be_expressed_is_refused_by_path() {
    let refused = |kind: NodeKind| {
        let spool = spool(Compression::None, (6, 1), 0);
        let mut builder = Builder::new(&spool);
        builder.add(b"dir/bad", kind);
        let result = cos_erofs::write(
            &builder.tree,
            &spool,
            &Identity::default(),
            &mut Vec::new(),
            &Silent,
        );
        result.unwrap_err().to_string()
    };
    let device = cos_tree::DeviceNumber {
        major: 5000,
        minor: 0,
    };
    assert!(refused(NodeKind::CharDevice(device)).starts_with("file dir/bad: "));
    assert!(refused(NodeKind::Symlink(vec![b'a'; 4096].into())).starts_with("file dir/bad: "));
    let content = cos_tree::Content {
        size: 5,
        id: cos_tree::ContentId(99),
    };
    assert!(refused(NodeKind::File(content)).contains("never stored"));
}
