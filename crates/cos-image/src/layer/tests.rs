//! Tar streams written byte by byte, and what becomes of them.

use super::decode::{Compression, Context, Layer, decode};
use super::entry::{Entry, EntryKind};
use super::problem::EntryError;
use crate::limits::{Budget, Limits};
use crate::{Digest, ImageError};
use cos_events::{Silent, Task};
use cos_tree::{Content, ContentId, ContentStore, ContentWriter};
use proptest::prelude::*;
use std::io::{self, Read};
use std::sync::Mutex;

/// Keeps contents; holes are zeroes.
#[derive(Default)]
struct Store(Mutex<Vec<Vec<u8>>>);

struct Writer<'s>(&'s Store, Vec<u8>, u64);

impl ContentStore for Store {
    fn create(&self, _: &[u8], size: u64) -> io::Result<Box<dyn ContentWriter + '_>> {
        Ok(Box::new(Writer(self, Vec::new(), size)))
    }

    fn open(&self, content: Content) -> io::Result<Box<dyn Read + Send + '_>> {
        let bytes = self.0.lock().unwrap()[content.id.0 as usize].clone();
        Ok(Box::new(io::Cursor::new(bytes)))
    }
}

impl ContentWriter for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.1.extend_from_slice(bytes);
        Ok(())
    }

    fn hole(&mut self, length: u64) -> io::Result<()> {
        self.1.resize(self.1.len() + length as usize, 0);
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<ContentId> {
        assert_eq!(self.1.len() as u64, self.2);
        let mut files = self.0.0.lock().unwrap();
        files.push(self.1);
        Ok(ContentId(files.len() as u64 - 1))
    }
}

/// A header block, written field by field.
#[derive(Clone)]
struct Block([u8; 512]);

impl Block {
    fn new(name: &str, flag: u8, size: u64) -> Self {
        let mut block = Self([0; 512]);
        block.put(0, name.as_bytes());
        block.put(100, b"0000644\0");
        block.put(108, b"0000000\0");
        block.put(116, b"0000000\0");
        block.put(124, format!("{size:011o}\0").as_bytes());
        block.put(136, b"00000000000\0");
        block.0[156] = flag;
        block.put(257, b"ustar\x0000");
        block
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn with(mut self, at: usize, bytes: &[u8]) -> Self {
        self.put(at, bytes);
        self
    }

    fn bytes(mut self) -> Vec<u8> {
        self.put(148, b"        ");
        let sum: u32 = self.0.iter().map(|&b| u32::from(b)).sum();
        self.put(148, format!("{sum:06o}\0 ").as_bytes());
        self.0.to_vec()
    }
}

fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    out.resize(bytes.len().next_multiple_of(512), 0);
    out
}

fn member(name: &str, flag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = Block::new(name, flag, content.len() as u64).bytes();
    out.extend(padded(content));
    out
}

fn linked(name: &str, flag: u8, target: &str) -> Vec<u8> {
    Block::new(name, flag, 0)
        .with(157, target.as_bytes())
        .bytes()
}

fn pax(records: &[(&str, &str)]) -> Vec<u8> {
    member("PaxHeaders/x", b'x', &pax_records(records))
}

fn pax_records(records: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, value) in records {
        let rest = format!(" {key}={value}\n");
        let mut length = rest.len() + 1;
        while length != rest.len() + length.to_string().len() {
            length = rest.len() + length.to_string().len();
        }
        out.extend(format!("{length}{rest}").into_bytes());
    }
    out
}

fn archive(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut out = parts.concat();
    out.extend([0; 1024]);
    out
}

fn read_with(tar: &[u8], limits: &Limits) -> Result<(Vec<Entry>, Store), ImageError> {
    let layer = Layer {
        blob: Some((Digest::sha256(tar), tar.len() as u64)),
        compression: Some(Compression::None),
        diff_id: Digest::sha256(tar),
    };
    read_layer(&layer, tar, limits)
}

fn read_layer(
    layer: &Layer,
    blob: &[u8],
    limits: &Limits,
) -> Result<(Vec<Entry>, Store), ImageError> {
    let store = Store::default();
    let budget = Budget::new(limits);
    let context = Context {
        store: &store,
        budget: &budget,
        monitor: &Silent,
    };
    let task = Task::bytes(&Silent, "test", None);
    let entries = decode(layer, Box::new(blob), context, &task)?;
    Ok((entries, store))
}

fn read(parts: &[Vec<u8>]) -> Result<(Vec<Entry>, Store), ImageError> {
    read_with(&archive(parts), &Limits::default())
}

fn one(parts: &[Vec<u8>]) -> Entry {
    let (mut entries, _) = read(parts).unwrap();
    assert_eq!(entries.len(), 1);
    entries.remove(0)
}

/// Why the stream is refused, and where.
fn refusal(tar: &[u8], limits: &Limits) -> (String, EntryError) {
    match read_with(tar, limits) {
        Err(ImageError::Entry { at, source, layer }) => {
            assert!(layer.starts_with("sha256:"));
            (at, source)
        }
        other => panic!("{:?}", other.map(|(entries, _)| entries)),
    }
}

macro_rules! refuses {
    ($parts:expr, $pattern:pat) => {
        let (at, problem) = refusal(&archive(&$parts), &Limits::default());
        assert!(matches!(problem, $pattern), "{at}: {problem:?}");
    };
}

#[test]
fn plain_files_are_read() {
    let (entries, store) = read(&[
        member("./a/b", b'0', b"hello"),
        member("/c", 0, &[7; 1000]),
        member("d/", b'5', b""),
        member("e/", b'0', b""),
        linked("f", b'1', "./a//b"),
        linked("g", b'2', "../../x"),
    ])
    .unwrap();
    let paths: Vec<_> = entries
        .iter()
        .map(|e| String::from_utf8_lossy(&e.path))
        .collect();
    assert_eq!(paths, ["a/b", "c", "d", "e", "f", "g"]);
    assert_eq!(*store.0.lock().unwrap(), [b"hello".to_vec(), vec![7; 1000]]);
    assert_eq!(entries[3].kind, EntryKind::Directory);
    assert_eq!(entries[4].kind, EntryKind::HardLink((*b"a/b").into()));
    assert_eq!(entries[5].kind, EntryKind::Symlink((*b"../../x").into()));
}

#[test]
fn paths_out_of_the_root_are_refused() {
    refuses!([member("../a", b'0', b"")], EntryError::Escapes);
    refuses!([member("a/../../b", b'0', b"")], EntryError::Escapes);
    refuses!([member("/..", b'5', b"")], EntryError::Escapes);
    refuses!(
        [pax(&[("path", "x/../../y")]), member("a", b'0', b"")],
        EntryError::Escapes
    );
    refuses!(
        [linked("a", b'1', "../etc/passwd")],
        EntryError::LinkEscapes(_)
    );
    refuses!([linked("a", b'1', "./a")], EntryError::SelfLink);
    refuses!([linked("a", b'1', "")], EntryError::EmptyLink);
    refuses!([linked("a", b'2', "")], EntryError::EmptyLink);
    refuses!([member("", b'0', b"")], EntryError::EmptyPath);
    refuses!([member("./", b'0', b"x")], EntryError::UnexpectedSize(1));
    refuses!([linked("/", b'2', "x")], EntryError::RootNotDirectory);
    let (at, _) = refusal(
        &archive(&[member("../\x1b[31m", b'0', b"")]),
        &Limits::default(),
    );
    assert_eq!(at, "entry ../\\u{1b}[31m");
}

#[test]
fn content_is_never_taken_for_headers() {
    // The entry's PAX size covers a whole hidden archive; the main header's says 0.
    let hidden = member("hidden", b'0', b"evil");
    let size = hidden.len().to_string();
    let smuggled = [
        pax(&[("size", &size)]),
        Block::new("outer", b'0', 0).bytes(),
        hidden.clone(),
    ];
    let (entries, store) = read(&smuggled).unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(store.0.lock().unwrap()[0], hidden);
    // Two sizes that both say something.
    refuses!(
        [pax(&[("size", "512")]), member("a", b'0', &[0; 1024])],
        EntryError::SizeMismatch {
            header: 1024,
            pax: 512
        }
    );
    // The size belongs to the entry, not to the long name in between.
    let long = [
        pax(&[("size", "5")]),
        member("././@LongLink", b'L', b"name\0"),
        Block::new("short", b'0', 0).bytes(),
        padded(b"hello"),
    ];
    let entry = one(&long);
    assert_eq!((*entry.path).to_vec(), b"name");
    for flag in *b"123456" {
        let block = Block::new("a", flag, 512).with(157, b"t").bytes();
        refuses!(
            [block, member("hidden", b'0', b"")],
            EntryError::UnexpectedSize(512)
        );
    }
}

#[test]
fn broken_headers_are_refused() {
    let mut wrong = member("a", b'0', b"");
    wrong[0] = b'b';
    refuses!([wrong], EntryError::BadChecksum);
    refuses!(
        [Block::new("a", b'0', 0).with(124, b"+0000000000\0").bytes()],
        EntryError::BadNumber("size")
    );
    refuses!(
        [Block::new("a", b'0', 0).with(124, &[0xff; 12]).bytes()],
        EntryError::BadNumber("size")
    );
    refuses!(
        [Block::new("a", b'0', 0)
            .with(108, b"-1\0\0\0\0\0\0")
            .bytes()],
        EntryError::BadNumber("uid")
    );
    refuses!(
        [Block::new("a", b'0', 0).with(108, &[0xff; 8]).bytes()],
        EntryError::OwnerOutOfRange(-1)
    );
    refuses!(
        [pax(&[("gid", "4294967295")]), member("a", b'0', b"")],
        EntryError::OwnerOutOfRange(_)
    );
    refuses!(
        [Block::new("a", b'3', 0).with(329, b"0010000\0").bytes()],
        EntryError::DeviceOutOfRange { .. }
    );
    for flag in *b"MVDXAz\xff" {
        refuses!([member("a", flag, b"")], EntryError::UnknownType(_));
    }
    refuses!(
        [vec![0; 512], member("a", b'0', b"")],
        EntryError::LoneZeroBlock
    );
}

#[test]
fn extension_headers_are_strict() {
    let file = || member("a", b'0', b"");
    refuses!(
        [pax(&[("path", "a"), ("path", "b")]), file()],
        EntryError::ConflictingPax(_)
    );
    refuses!(
        [pax(&[("path", "b")]), pax(&[("mtime", "1")]), file()],
        EntryError::DuplicateExtension("PAX")
    );
    let long = || member("L", b'L', b"x\0");
    refuses!([long(), long(), file()], EntryError::DuplicateExtension(_));
    refuses!([file(), long()], EntryError::DanglingExtension);
    refuses!(
        [file(), pax(&[("path", "b")])],
        EntryError::DanglingExtension
    );
    refuses!([member("L", b'L', b"a\0b\0"), file()], EntryError::BadName);
    refuses!(
        [member("x", b'x', b"5 path=a\n"), file()],
        EntryError::MalformedPax(_)
    );
    refuses!(
        [member("g", b'g', &pax_records(&[("path", "b")])), file()],
        EntryError::GlobalPax(_)
    );
    refuses!(
        [Block::new("x", b'x', 1 << 30).bytes()],
        EntryError::ExtensionTooLarge { .. }
    );
    refuses!(
        [pax(&[("mtime", "1e9")]), file()],
        EntryError::BadPaxValue(_)
    );
}

#[test]
fn extension_headers_apply_to_one_entry_and_globals_to_all() {
    let (entries, _) = read(&[
        member("g", b'g', &pax_records(&[("uid", "5"), ("comment", "abc")])),
        pax(&[
            ("mtime", "-0.5"),
            ("path", "long"),
            ("SCHILY.xattr.user.a", "b"),
            ("uid", "70000"),
        ]),
        member("a", b'0', b""),
        member("b", b'0', b""),
    ])
    .unwrap();
    assert_eq!((*entries[0].path).to_vec(), b"long");
    assert_eq!((entries[0].meta.mtime, entries[0].meta.uid), (-1, 70000));
    assert_eq!(*entries[0].meta.xattrs[&b"user.a"[..]], *b"b");
    assert_eq!((entries[1].meta.mtime, entries[1].meta.uid), (0, 5));
    assert!(entries[1].meta.xattrs.is_empty());
}

#[test]
fn whiteouts_are_told_apart() {
    let (entries, _) = read(&[
        member("a/.wh.b", b'0', b""),
        member("a/.wh..wh..opq", b'0', b""),
        member(".wh..wh.plnk", b'5', b""),
        member(".wh..wh.plnk/1", b'0', b""),
        member(".wh.c", b'0', b""),
    ])
    .unwrap();
    let seen: Vec<_> = entries
        .iter()
        .map(|e| {
            (
                String::from_utf8_lossy(&e.path).into_owned(),
                e.kind.clone(),
            )
        })
        .collect();
    let expected = [
        ("a/b".to_owned(), EntryKind::Whiteout),
        ("a".to_owned(), EntryKind::Opaque),
        ("c".to_owned(), EntryKind::Whiteout),
    ];
    assert_eq!(seen, expected);
    for bad in [".wh.", "a/.wh.", ".wh..", ".wh..."] {
        refuses!([member(bad, b'0', b"")], EntryError::EmptyWhiteout);
    }
    refuses!([member(".wh.a/b", b'0', b"")], EntryError::InsideWhiteout);
}

#[test]
fn truncation_is_noticed() {
    let whole = [member("a", b'0', &[1; 700]), member("b", b'0', b"x")].concat();
    let limits = Limits::default();
    for cut in 1..whole.len() {
        let second = 512 + 1024;
        // Padding may be missing at the very end, content may not.
        let clean = (512 + 700..=second).contains(&cut) || cut > second + 512;
        match read_with(&whole[..cut], &limits) {
            Ok((entries, _)) => {
                assert!(
                    clean && entries.len() == 1 + usize::from(cut > second),
                    "{cut}"
                );
            }
            Err(ImageError::Entry {
                source: EntryError::Truncated,
                ..
            }) => assert!(!clean, "{cut}"),
            Err(other) => panic!("{cut}: {other:?}"),
        }
    }
    // No end marker, one block of it, or nothing at all: as other tools, fine.
    assert_eq!(read_with(&whole, &limits).unwrap().0.len(), 2);
    let mut one_block = whole.clone();
    one_block.extend([0; 512]);
    assert_eq!(read_with(&one_block, &limits).unwrap().0.len(), 2);
    assert!(read_with(&[], &limits).unwrap().0.is_empty());
}

#[test]
fn limits_are_kept() {
    let limits = Limits {
        entries: 2,
        file_size: 1000,
        total_size: 6000,
        path_length: 20,
        depth: 3,
        xattrs: 1,
        ..Limits::default()
    };
    let problem = |parts: &[Vec<u8>]| refusal(&archive(parts), &limits).1;
    let empty = |name| member(name, b'0', b"");
    assert!(matches!(
        problem(&[empty("a"), empty("b"), empty("c")]),
        EntryError::Exhausted { limit: 2, .. }
    ));
    assert!(matches!(
        problem(&[member("a", b'0', &[0; 1001])]),
        EntryError::FileTooLarge { .. }
    ));
    assert!(matches!(
        problem(&[empty("a/b/c/d")]),
        EntryError::PathTooLong { .. }
    ));
    assert!(matches!(
        problem(&[empty("aaaaaaaaaaaaaaaaaaaaa")]),
        EntryError::PathTooLong { .. }
    ));
    assert!(matches!(
        problem(&[linked("a", b'2', "aaaaaaaaaaaaaaaaaaaa")]),
        EntryError::BadLink
    ));
    let two = pax(&[("SCHILY.xattr.user.a", ""), ("SCHILY.xattr.user.b", "")]);
    assert!(matches!(problem(&[two, empty("a")]), EntryError::Xattrs(_)));
    // A bomb: the stream itself is over the limit, whatever its headers say.
    let mut bomb = archive(&[empty("a")]);
    bomb.extend(vec![0; 1 << 20]);
    assert!(matches!(
        refusal(&bomb, &limits).1,
        EntryError::Exhausted { .. }
    ));
    // A sparse file of one hole is as large as it says.
    let sparse = pax(&[
        ("GNU.sparse.map", "0,0"),
        ("GNU.sparse.size", "9999"),
        ("GNU.sparse.numblocks", "1"),
    ]);
    assert!(matches!(
        problem(&[sparse, empty("a")]),
        EntryError::FileTooLarge { size: 9999, .. }
    ));
}

#[test]
fn sparse_files_are_checked() {
    let sparse =
        |records: &[(&str, &str)], content: &[u8]| [pax(records), member("a", b'0', content)];
    let (_, store) = read(&sparse(
        &[
            ("GNU.sparse.size", "10"),
            ("GNU.sparse.map", "2,3,7,1"),
            ("GNU.sparse.name", "real"),
        ],
        b"abcd",
    ))
    .unwrap();
    assert_eq!(store.0.lock().unwrap()[0], b"\0\0abc\0\0d\0\0");
    for bad in [
        &[("GNU.sparse.size", "10"), ("GNU.sparse.map", "2,3,4,1")][..],
        &[("GNU.sparse.size", "10"), ("GNU.sparse.map", "2,3,9,2")],
        &[("GNU.sparse.size", "10"), ("GNU.sparse.map", "2,3")],
        &[("GNU.sparse.map", "2,4")],
        &[("GNU.sparse.size", "10"), ("GNU.sparse.offset", "2")],
        &[("GNU.sparse.size", "10"), ("GNU.sparse.future", "2")],
        &[("GNU.sparse.major", "2"), ("GNU.sparse.realsize", "10")],
        &[
            ("GNU.sparse.major", "1"),
            ("GNU.sparse.minor", "0"),
            ("GNU.sparse.realsize", "10"),
        ],
    ] {
        refuses!(sparse(bad, b"abcd"), EntryError::Sparse(_));
    }
    let gnu = Block::new("a", b'S', 4)
        .with(257, b"ustar  \0")
        .with(386, b"00000000002\x0000000000004\0");
    let gnu = gnu.with(483, b"00000000010\0").bytes();
    let (_, store) = read(&[gnu, padded(b"abcd")]).unwrap();
    assert_eq!(store.0.lock().unwrap()[0], b"\0\0abcd\0\0");
    refuses!([Block::new("a", b'S', 0).bytes()], EntryError::Sparse(_));
}

#[test]
fn wrong_digests_and_sizes_fail_the_layer() {
    let tar = archive(&[member("a", b'0', b"hello")]);
    let good = Layer {
        blob: Some((Digest::sha256(&tar), tar.len() as u64)),
        compression: None,
        diff_id: Digest::sha256(&tar),
    };
    let limits = Limits::default();
    let read = |layer: &Layer| read_layer(layer, &tar, &limits).map(|(entries, _)| entries.len());
    assert_eq!(read(&good).unwrap(), 1);
    let other = Digest::sha256(b"other");
    let blob = Layer {
        blob: Some((other.clone(), tar.len() as u64)),
        ..good.clone()
    };
    assert!(matches!(read(&blob), Err(ImageError::WrongDigest { what, .. }) if what == "blob"));
    let diff = Layer {
        diff_id: other,
        ..good.clone()
    };
    assert!(
        matches!(read(&diff), Err(ImageError::WrongDigest { what, .. }) if what.starts_with("tar"))
    );
    for size in [tar.len() as u64 - 1, tar.len() as u64 + 1] {
        let sized = Layer {
            blob: Some((Digest::sha256(&tar), size)),
            ..good.clone()
        };
        assert!(matches!(read(&sized), Err(ImageError::BlobSize { .. })));
    }
    let declared = Layer {
        compression: Some(Compression::Gzip),
        ..good
    };
    assert!(matches!(
        read(&declared),
        Err(ImageError::CompressionMismatch { .. })
    ));
}

#[test]
fn damaged_compression_is_an_error() {
    let tar = archive(&[member("a", b'0', &vec![3; 100_000])]);
    let limits = Limits::default();
    let mut gzip = Vec::new();
    let mut encoder = flate2::read::GzEncoder::new(&tar[..], flate2::Compression::fast());
    encoder.read_to_end(&mut gzip).unwrap();
    for mut blob in [gzip, zstd::encode_all(&tar[..], 1).unwrap()] {
        let layer = |blob: &[u8]| Layer {
            blob: Some((Digest::sha256(blob), blob.len() as u64)),
            compression: None,
            diff_id: Digest::sha256(&tar),
        };
        assert!(read_layer(&layer(&blob), &blob, &limits).is_ok());
        let short = &blob[..blob.len() - 9];
        assert!(matches!(
            read_layer(&layer(short), short, &limits),
            Err(ImageError::Decompress { .. })
        ));
        let middle = blob.len() / 2;
        blob[middle] ^= 0xff;
        assert!(read_layer(&layer(&blob), &blob, &limits).is_err());
    }
    for magic in [&b"BZh91AY"[..], b"\xfd7zXZ\0"] {
        let layer = Layer {
            blob: None,
            compression: None,
            diff_id: Digest::sha256(magic),
        };
        let result = read_layer(&layer, magic, &limits);
        assert!(matches!(
            result,
            Err(ImageError::UnsupportedCompression { .. })
        ));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_damage_is_read_or_refused(
        at in 0_usize..2560, byte in any::<u8>(), cut in 0_usize..2560,
    ) {
        let mut tar = archive(&[
            pax(&[("path", "long"), ("mtime", "1.5")]),
            member("a", b'0', b"hello"),
        ]);
        let at = at % tar.len();
        tar[at] = byte;
        tar.truncate(tar.len().min(cut.max(512)));
        match read_with(&tar, &Limits::default()) {
            Ok((entries, _)) => prop_assert!(entries.len() <= 2),
            Err(error) => prop_assert!(matches!(error, ImageError::Entry { .. }), "{}", error),
        }
    }
}
