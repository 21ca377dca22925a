//! A corpus of hostile images: one case or more for each class of advisories against programs that unpack
//! images. Each says what the class is, whom it struck, and what is done here.
//!
//! Two classes are elsewhere: signatures in the crate that judges them, and YAML (deep nesting, aliases) in
//! `cos-stages`, whose reader bounds both.

use crate::layer::decode::{Compression, Layer};
use crate::layer::entry::Entry;
use crate::layer::tests::support::*;
use crate::merge::{DirectoryRule, MergeError, Merger};
use crate::{Digest, EntryError, ImageError, Limits, Options, Platform, PlatformChoice, fuzzing};
use cos_tree::{Metadata, NodeKind, Tree, display};
use std::io::Write as _;

/// Layers of these members, bottom first, read and merged.
fn image(layers: &[Vec<Vec<u8>>]) -> Result<Tree, ImageError> {
    let limits = Limits::default();
    let mut tree = Tree::new(Metadata::default_directory(0));
    let mut merger = Merger::new(&mut tree, &limits, DirectoryRule::Replace);
    for layer in layers {
        let (entries, _) = read(layer)?;
        let apply = merger.apply(entries);
        apply.map_err(|source| ImageError::Merge {
            layer: "test".into(),
            source,
        })?;
    }
    Ok(tree)
}

/// All paths of a tree, with the kinds of their nodes.
fn paths(tree: &Tree) -> Vec<String> {
    let mut paths = Vec::new();
    tree.walk(|path, id| {
        let mark = match &tree.node(id).kind {
            NodeKind::Directory(_) => "/",
            NodeKind::Symlink(_) => "@",
            _ => "",
        };
        if !path.is_empty() {
            paths.push(format!("{}{mark}", display(path)));
        }
    });
    paths
}

fn blob(bytes: &[u8], compression: Compression, tar: &[u8]) -> Layer {
    Layer {
        blob: Some((Digest::sha256(bytes), bytes.len() as u64)),
        compression: Some(compression),
        diff_id: Digest::sha256(tar),
    }
}

fn decoded(layer: &Layer, bytes: &[u8], limits: &Limits) -> Result<Vec<Entry>, ImageError> {
    read_layer(layer, bytes, limits).map(|(entries, _)| entries)
}

/// A link out of the root, and a file written through it: CVE-2018-20990, CVE-2021-38511 (tar-rs),
/// CVE-2014-9356 (Docker), CVE-2019-18466 (Podman). Nothing is unpacked: links lead inside the tree, where
/// `..` of the root is the root.
#[test]
fn a_file_written_through_a_link_stays_in_the_tree() {
    for target in ["/", "..", "../../../..", "/../../"] {
        let tree = image(&[vec![
            linked("etc", b'2', target),
            member("etc/x", b'0', b""),
        ]]);
        assert_eq!(paths(&tree.unwrap()), ["etc@", "x"], "{target}");
    }
    // The link of a lower layer.
    let lower = vec![linked("a", b'2', "../../b"), member("b/", b'5', b"")];
    let tree = image(&[lower, vec![member("a/x", b'0', b"")]]);
    assert_eq!(paths(&tree.unwrap()), ["a@", "b/", "b/x"]);
}

/// A link as the root itself, so that later layers land on the host: CVE-2021-29136 (umoci).
#[test]
fn the_root_is_no_link() {
    for name in [".", "/", "/.", "./"] {
        refuses!([linked(name, b'2', "/etc")], EntryError::RootNotDirectory);
    }
}

/// Links that lead to each other, or through each other 255 times.
#[test]
fn loops_and_chains_of_links_end() {
    let mut chain: Vec<_> = (0..255)
        .map(|n| linked(&format!("l{n}"), b'2', &format!("l{}", n + 1)))
        .collect();
    chain.push(member("l0/x", b'0', b""));
    for entries in [
        chain,
        vec![linked("a", b'2', "a"), member("a/x", b'0', b"")],
        vec![
            linked("a", b'2', "b/c"),
            linked("b", b'2', "a"),
            member("b/x", b'0', b""),
        ],
    ] {
        let merged = image(&[entries]);
        let Err(ImageError::Merge { source, .. }) = merged else {
            panic!("{merged:?}");
        };
        assert!(matches!(source, MergeError::LinkLoop(_)), "{source}");
    }
}

/// A hard link to a file of the host: CVE-2026-50163 (oras), CVE-2014-6407 (Docker). A target is a path in
/// the tree, and must be there already.
#[test]
fn hard_links_lead_to_what_the_image_has() {
    for target in ["../etc/passwd", "a/../../etc/passwd"] {
        refuses!([linked("a", b'1', target)], EntryError::LinkEscapes(_));
    }
    for target in ["/etc/passwd", "out/passwd", "later"] {
        let entries = vec![
            linked("out", b'2', "/etc"),
            linked("a", b'1', target),
            member("later", b'0', b""),
        ];
        let Err(ImageError::Merge { source, .. }) = image(&[entries]) else {
            panic!("{target}");
        };
        assert!(
            matches!(source, MergeError::MissingTarget { .. }),
            "{source}"
        );
    }
}

/// Permissions set through a link: CVE-2021-32760 (containerd), CVE-2026-33056 (tar-rs). A directory takes
/// the place of a link of its name, and what the link led to stays as it is.
#[test]
fn a_directory_in_a_links_place_leaves_the_target_alone() {
    let mode = |name: &str, flag, mode: &[u8]| Block::new(name, flag, 0).with(100, mode).bytes();
    let lower = vec![
        mode("secret", b'5', b"0000700\0"),
        linked("link", b'2', "secret"),
    ];
    let tree = image(&[lower, vec![mode("link", b'5', b"0000777\0")]]).unwrap();
    assert_eq!(paths(&tree), ["link/", "secret/"]);
    let secret = tree.lookup(b"secret").unwrap();
    assert_eq!(tree.node(secret).meta.permissions, 0o700);
}

/// Two sizes, and an archive hidden in the difference: CVE-2025-62518 (tokio-tar, "`TARmageddon`"),
/// CVE-2026-33055 (tar-rs), CVE-2026-32766 (astral-tokio-tar).
#[test]
fn a_size_is_said_once() {
    let hidden = member("hidden", b'0', b"evil");
    let size = hidden.len().to_string();
    // The record counts, so that what is hidden is content.
    let nested = [
        pax(&[("size", &size)]),
        Block::new("outer", b'0', 0).bytes(),
        hidden.clone(),
    ];
    let (entries, store) = read(&nested).unwrap();
    assert_eq!((entries.len(), &store.0.lock().unwrap()[0]), (1, &hidden));
    // The other way round: a record that makes a file shorter than its header says.
    let mut outer = Block::new("outer", b'0', hidden.len() as u64).bytes();
    outer.extend(&hidden);
    refuses!(
        [pax(&[("size", "0")]), outer],
        EntryError::SizeMismatch { .. }
    );
    let twice = pax(&[("size", "0"), ("size", &size)]);
    refuses!([twice, hidden], EntryError::ConflictingPax(_));
}

/// A whiteout of nothing, of the root, through a link: umoci took `.wh.` for an opaque directory, others
/// delete files of the host.
#[test]
fn whiteouts_hide_what_the_image_has() {
    for name in [".wh.", "a/.wh.", ".wh..", ".wh..."] {
        refuses!([member(name, b'0', b"")], EntryError::EmptyWhiteout);
    }
    let lower = || {
        vec![
            linked("link", b'2', "/etc"),
            member("etc/passwd", b'0', b""),
        ]
    };
    for name in ["link/.wh.passwd", "link/.wh..wh..opq"] {
        let merged = image(&[lower(), vec![member(name, b'0', b"")]]);
        let Err(ImageError::Merge { source, .. }) = merged else {
            panic!("{name}");
        };
        assert!(matches!(source, MergeError::WhiteoutThroughLink(_)));
    }
    // What its own layer brings stays; an opaque root is the end of the layers below.
    let upper = vec![
        member(".wh.etc", b'0', b""),
        member("etc/new", b'0', b""),
        member("b", b'0', b""),
        member(".wh.b", b'0', b""),
    ];
    let tree = image(&[lower(), upper]).unwrap();
    assert_eq!(paths(&tree), ["b", "etc/", "etc/new", "link@"]);
    let tree = image(&[lower(), vec![member(".wh..wh..opq", b'0', b"")]]).unwrap();
    assert!(paths(&tree).is_empty());
}

/// Devices, set-user-ID, capabilities, overlayfs' own attributes: CVE-2024-29068 (snapd). They are data of
/// the tree; nothing is made on the machine that reads the image. Numbers that Linux does not have are
/// refused.
#[test]
fn special_files_and_attributes_are_data() {
    let device = Block::new("mem", b'3', 0).with(100, b"0000666\0");
    let device = device.with(329, b"0000001\0").with(337, b"0000001\0");
    let (entries, _) = read(&[
        device.bytes(),
        pax(&[
            ("SCHILY.xattr.security.capability", "\u{1}"),
            ("SCHILY.xattr.trusted.overlay.redirect", "/etc"),
        ]),
        Block::new("su", b'0', 0).with(100, b"0004755\0").bytes(),
    ])
    .unwrap();
    assert_eq!(entries[1].meta.permissions, 0o4755);
    assert_eq!(entries[1].meta.xattrs.len(), 2);
    for number in [b"0010000\0", b"7777777\0"] {
        let block = Block::new("mem", b'4', 0).with(329, number);
        refuses!([block.bytes()], EntryError::DeviceOutOfRange { .. });
    }
    let long = "x".repeat(65_537);
    refuses!(
        [
            pax(&[("SCHILY.xattr.user.a", &long)]),
            member("a", b'0', b"")
        ],
        EntryError::Xattrs(_)
    );
    let nobody = pax(&[("uid", "4294967295")]);
    refuses!(
        [nobody, member("a", b'0', b"")],
        EntryError::OwnerOutOfRange(_)
    );
}

/// What was checked is exchanged before it is used: CVE-2026-32282 (Go), CVE-2023-0778 (Podman). Bytes are
/// hashed as they are read, once, and a layer whose last byte is another is none.
#[test]
fn what_is_hashed_is_what_is_read() {
    let tar = archive(&[member("a", b'0', b"hello")]);
    let layer = blob(&tar, Compression::None, &tar);
    assert!(decoded(&layer, &tar, &Limits::default()).is_ok());
    let mut other = tar.clone();
    *other.last_mut().unwrap() = 1;
    let read = decoded(&layer, &other, &Limits::default());
    assert!(matches!(read, Err(ImageError::WrongDigest { .. })));
    for length in [0, tar.len() - 1] {
        let read = decoded(&layer, &tar[..length], &Limits::default());
        assert!(read.is_err(), "{length}");
    }
    let longer = [&tar[..], b"x"].concat();
    let read = decoded(&layer, &longer, &Limits::default());
    assert!(matches!(read, Err(ImageError::BlobSize { .. })));
}

/// Numbers that make readers take memory before there is anything: CVE-2025-58183 and CVE-2022-2879 (Go),
/// CVE-2023-25153 (containerd). All are bounded before memory is taken.
#[test]
fn numbers_take_no_memory() {
    let sparse = |map: &[u8]| {
        let records = [
            ("GNU.sparse.major", "1"),
            ("GNU.sparse.minor", "0"),
            ("GNU.sparse.realsize", "10"),
        ];
        [pax(&records), member("a", b'0', map)]
    };
    refuses!(sparse(b"1000000000\n"), EntryError::Sparse(_));
    for flag in *b"LKxg" {
        refuses!(
            [Block::new("x", flag, 4 << 30).bytes()],
            EntryError::ExtensionTooLarge { .. }
        );
    }
    let huge = Block::new("a", b'0', 0).with(124, b"\x80\0\0\0\x10\0\0\0\0\0\0\0");
    refuses!([huge.bytes()], EntryError::FileTooLarge { .. });
    let limits = Limits {
        entries: 1000,
        ..Limits::default()
    };
    let many = member("a", b'0', b"").repeat(1001);
    let (_, problem) = refusal(&many, &limits);
    assert!(matches!(problem, EntryError::Exhausted { limit: 1000, .. }));
}

/// A small layer that decompresses to very much: CVE-2023-30551 (rekor), CVE-2021-20291 (containers). From a
/// gigabyte on, a layer may decompress to 1100 times its size at most.
#[test]
fn bombs_end_at_their_size() {
    let limits = Limits {
        free_expansion: 1 << 20,
        ..Limits::default()
    };
    let zeroes = member("a", b'0', &vec![0; 32 << 20]);
    let bomb = zstd::encode_all(&zeroes[..], 19).unwrap();
    assert!(bomb.len() < 5000);
    let read = decoded(&blob(&bomb, Compression::Zstd, &zeroes), &bomb, &limits);
    let Err(ImageError::Entry { source, .. }) = read else {
        panic!("{read:?}");
    };
    assert!(matches!(source, EntryError::Expansion { ratio: 1100, .. }));
    let allowed = decoded(
        &blob(&bomb, Compression::Zstd, &zeroes),
        &bomb,
        &Limits::default(),
    );
    assert_eq!(allowed.unwrap().len(), 1);
}

/// Many members, and what comes behind them.
#[test]
fn gzip_of_many_members_is_one_stream() {
    let tar = archive(&[member("a", b'0', &vec![7; 10_000])]);
    let mut gzip = Vec::new();
    for byte in &tar {
        let mut member = flate2::write::GzEncoder::new(&mut gzip, flate2::Compression::none());
        member.write_all(&[*byte]).unwrap();
        member.finish().unwrap();
    }
    let read = |bytes: &[u8]| {
        let layer = blob(bytes, Compression::Gzip, &tar);
        decoded(&layer, bytes, &Limits::default()).map(|entries| entries.len())
    };
    assert_eq!(read(&gzip).unwrap(), 1);
    let garbage = [&gzip[..], b"garbage"].concat();
    assert!(read(&garbage).is_err());
    assert!(read(&gzip[..gzip.len() - 1]).is_err());
}

/// A window of gigabytes, or a dictionary that nobody has: CVE-2026-32829 (`lz4_flex`), RUSTSEC-2024-0400
/// (ruzstd). 128 MiB of window is what zstd itself takes without being told.
#[test]
fn decompressors_take_bounded_memory() {
    let tar = archive(&[member("a", b'0', b"")]);
    let framed = |head: &[u8]| {
        let bytes = [b"\x28\xb5\x2f\xfd", head, &[1, 0, 0]].concat();
        let layer = blob(&bytes, Compression::Zstd, &tar);
        decoded(&layer, &bytes, &Limits::default())
    };
    // Window descriptors (RFC 8878, 3.1.1.1.2): an exponent of 21 is 2 GiB.
    let window = framed(&[0x00, 21 << 3]);
    assert!(matches!(window, Err(ImageError::Decompress { .. })));
    // A dictionary's number in one byte, and a content size of nothing.
    let dictionary = framed(&[0x21, 0x07, 0x00]);
    assert!(matches!(dictionary, Err(ImageError::Decompress { .. })));
    // A frame that is only to be skipped, and longer than there is.
    let skipped = b"\x50\x2a\x4d\x18\xff\xff\xff\xff".to_vec();
    let read = decoded(
        &blob(&skipped, Compression::Zstd, &tar),
        &skipped,
        &Limits::default(),
    );
    assert!(read.is_err());
}

/// A configuration that a container engine acts on: CVE-2024-40635 (containerd: `User` over 2³¹ is root),
/// CVE-2026-53488 (a label runs as root), CVE-2026-55686 (Podman: `WorkingDir` is a link). Of a configuration
/// the platform and the layers are used; labels come as text, and nothing is run.
#[test]
fn configurations_start_nothing() {
    let layer = Digest::sha256(b"layer").to_string();
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux",
        "config": {
            "User": "4294967296:4294967296",
            "WorkingDir": "/proc/self/fd/7/../../..",
            "Entrypoint": ["/bin/sh", "-c", "exit 1"],
            "Labels": { "run": "$(reboot)", "a\nb": "\u{1b}[2J" },
            "Env": ["LD_PRELOAD=/evil.so"],
            "Volumes": { "/../../etc": {} },
        },
        "rootfs": { "type": "layers", "diff_ids": [layer] },
    });
    let config = config.to_string().into_bytes();
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": Digest::sha256(&config).to_string(), "size": config.len(),
        },
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": 5,
        }],
    });
    let options = Options::new(
        PlatformChoice::Prefer(Platform::linux("amd64")),
        "/nonexistent",
    );
    let manifest = manifest.to_string().into_bytes();
    let layers = fuzzing::read_documents(&manifest, &config, &options);
    assert_eq!(layers.unwrap(), 1);
}

/// A document that is a manifest to one reader and an index to another: CVE-2021-41190 (OCI); and JSON that
/// is nested too deep for the stack.
#[test]
fn documents_are_one_thing_only() {
    let options = Options::new(
        PlatformChoice::Prefer(Platform::linux("amd64")),
        "/nonexistent",
    );
    let read = |document: &[u8]| fuzzing::read_documents(document, b"{}", &options);
    let both = br#"{"schemaVersion":2,"manifests":[],"layers":[],"config":{}}"#;
    assert!(matches!(
        read(both),
        Err(ImageError::AmbiguousManifest { .. })
    ));
    let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
    assert!(read(&deep).is_err());
}
