//! What is refused, and why.

use super::support::*;
use crate::Limits;
use crate::layer::problem::EntryError;

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
    refuses!([member("./", 0, b"x")], EntryError::Ambiguous(_));
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
        ("GNU.sparse.size", "9999"),
        ("GNU.sparse.numblocks", "1"),
        ("GNU.sparse.map", "0,0"),
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
    let content = [vec![7; 512], b"d".to_vec()].concat();
    let (_, store) = read(&sparse(
        &[
            ("GNU.sparse.size", "520"),
            ("GNU.sparse.numblocks", "2"),
            ("GNU.sparse.map", "2,512,516,1"),
            ("GNU.sparse.name", "real"),
        ],
        &content,
    ))
    .unwrap();
    let expected = [b"\0\0".to_vec(), vec![7; 512], b"\0\0d\0\0\0".to_vec()].concat();
    assert_eq!(store.0.lock().unwrap()[0], expected);
    let one = ("GNU.sparse.numblocks", "1");
    for bad in [
        &[("GNU.sparse.size", "10"), one, ("GNU.sparse.map", "8,4")][..],
        &[("GNU.sparse.size", "10"), one, ("GNU.sparse.map", "2,3")],
        &[
            ("GNU.sparse.size", "10"),
            one,
            ("GNU.sparse.map", "2,4,9,0"),
        ],
        &[one, ("GNU.sparse.map", "2,4")],
        &[("GNU.sparse.size", "10"), one],
        &[("GNU.sparse.size", "10"), one, ("GNU.sparse.offset", "2")],
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
