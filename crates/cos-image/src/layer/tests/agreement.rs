//! What GNU tar, Python's `tarfile` and libarchive do not understand alike: found by the differential test
//! (`cargo xtask differential`), and refused since.

use super::support::*;
use crate::Limits;
use crate::layer::problem::EntryError;

fn file() -> Vec<u8> {
    member("a", b'0', b"")
}

fn ustar(at: usize, bytes: &[u8]) -> Vec<u8> {
    Block::new("a", b'0', 0).with(at, bytes).bytes()
}

/// To `tarfile` it is a file with a slash in its name.
#[test]
fn a_file_whose_name_ends_in_a_slash_is_refused() {
    for flag in *b"07" {
        refuses!([member("a/", flag, b"")], EntryError::Ambiguous(_));
    }
    refuses!([member("a/", 0, b"x")], EntryError::Ambiguous(_));
    // To GNU tar it is not the root.
    refuses!([member("/", 0, b"")], EntryError::Ambiguous(_));
    // Whose name counts?
    let long = member("././@LongLink", b'L', b"name\0");
    refuses!([long, member("a/", 0, b"")], EntryError::Ambiguous(_));
    let named = pax(&[("path", "name/")]);
    refuses!([named, member("a", 0, b"")], EntryError::Ambiguous(_));
    assert_eq!(*one(&[member("a/", 0, b"")]).path, *b"a");
}

/// Whether it is taken back or leads where a link comes from is for each unpacker to say; GNU tar and
/// bsdtar refuse it.
#[test]
fn two_dots_in_a_path_are_refused() {
    refuses!([member("a/../b", b'0', b"")], EntryError::Escapes);
    refuses!([linked("a", b'1', "b/../c")], EntryError::LinkEscapes(_));
}

/// `tarfile` puts the prefix in front whatever the format, the others where the format has it.
#[test]
fn a_name_prefix_outside_of_ustar_is_refused() {
    for mark in [&b"ustar  \0"[..], &[0; 8]] {
        let block = Block::new("a", b'0', 0).with(257, mark);
        refuses!([block.with(345, b"etc").bytes()], EntryError::Ambiguous(_));
    }
    assert_eq!(*one(&[ustar(345, b"etc")]).path, *b"etc/a");
}

/// libarchive reads the sparse map of GNU's header whatever the entry's type.
#[test]
fn a_sparse_map_in_the_header_of_another_type_is_refused() {
    let block = Block::new("a", b'0', 0).with(257, b"ustar  \0");
    refuses!(
        [block.with(386, b"00000001000\x0000000000000\0").bytes()],
        EntryError::Ambiguous(_)
    );
}

/// Some compare five bytes, some six, some eight.
#[test]
fn nearly_known_format_marks_are_refused() {
    for mark in [b"ustar 00", b"ustar\x20\x20\x20", b"ustarxyz"] {
        refuses!([ustar(257, mark)], EntryError::Ambiguous(_));
    }
    assert_eq!(*one(&[ustar(257, b"ustar\0\0\0")]).path, *b"a");
}

/// A PAX path counts to GNU tar, the later of both to the others.
#[test]
fn a_pax_path_and_a_gnu_name_are_refused() {
    let long = |flag, name: &[u8]| member("././@LongLink", flag, name);
    let path = || pax(&[("path", "pax")]);
    refuses!(
        [path(), long(b'L', b"gnu\0"), file()],
        EntryError::Ambiguous(_)
    );
    refuses!(
        [long(b'L', b"gnu\0"), path(), file()],
        EntryError::Ambiguous(_)
    );
    let target = pax(&[("linkpath", "pax")]);
    refuses!(
        [target, long(b'K', b"gnu\0"), linked("a", b'2', "t")],
        EntryError::Ambiguous(_)
    );
    assert_eq!(*one(&[path(), long(b'L', b"pax\0"), file()]).path, *b"pax");
}

/// libarchive forgets the target.
#[test]
fn a_long_link_target_in_front_of_none_is_refused() {
    let long = member("././@LongLink", b'K', b"target\0");
    refuses!([long, linked("a", b'2', "")], EntryError::Ambiguous(_));
}

/// `tarfile` takes a header with a wrong number for the end of the archive; a NUL ends a number to some.
#[test]
fn numbers_that_nobody_needs_are_checked_too() {
    for (at, text) in [
        (108, &b"\x000644\0"[..]),
        (108, b"        "),
        (116, b"\t000000\0"),
        (116, b"\x81\0\0\0\0\0\0\0"),
        (329, b"0x10\0\0\0\0"),
        (337, b"3 1\0\0\0\0\0"),
    ] {
        refuses!([ustar(at, text)], EntryError::BadNumber(_));
    }
    let records = pax_records(&[("mtime", "1")]);
    let header = Block::new("x", b'x', records.len() as u64).with(116, b"00\"0000\0");
    refuses!(
        [header.bytes(), padded(&records), file()],
        EntryError::BadNumber("gid")
    );
}

/// GNU tar refuses an entry whose times it cannot read, those of access and change included.
#[test]
fn times_that_nobody_needs_are_checked_too() {
    for key in ["atime", "ctime"] {
        for value in [" 1", "+1", "1e9", "18446744073709551616"] {
            refuses!([pax(&[(key, value)]), file()], EntryError::BadPaxValue(_));
        }
    }
}

/// To POSIX they take a record back, to `tarfile` and GNU tar they are values, or errors.
#[test]
fn empty_pax_values_are_refused() {
    for key in ["path", "linkpath", "size", "uid", "gid", "mtime", "atime"] {
        refuses!([pax(&[(key, "")]), file()], EntryError::BadPaxValue(_));
    }
}

/// libarchive passes global headers over, GNU tar forgets the first when there is a second.
#[test]
fn global_headers_that_mean_something_are_refused() {
    let global = |key| member("g", b'g', &pax_records(&[(key, "1")]));
    for key in ["uid", "gid", "mtime", "uname", "hdrcharset", "SCHILY.ino"] {
        refuses!([global(key), file()], EntryError::GlobalPax(_));
    }
    // `tarfile` finds no member behind it.
    refuses!([file(), global("comment")], EntryError::DanglingExtension);
    assert_eq!(*one(&[global("comment"), file()]).path, *b"a");
}

/// `tarfile` parses the block to its end, and who reads a long name goes on to the first NUL.
#[test]
fn extension_headers_longer_than_they_say_are_refused() {
    for flag in *b"xgL" {
        let header = Block::new("x", flag, 10).bytes();
        refuses!(
            [header, padded(b"10 path=b\n10 path=c\n"), file()],
            EntryError::Ambiguous(_)
        );
    }
}

/// GNU tar ends a key at a NUL; libarchive asks only how it begins.
#[test]
fn odd_pax_keys_are_refused() {
    refuses!(
        [pax(&[("p\0th", "b")]), file()],
        EntryError::MalformedPax(_)
    );
    refuses!(
        [pax(&[("GNU.sparse:realsize", "5")]), file()],
        EntryError::Sparse(_)
    );
}

/// libarchive believes the record, the others the header.
#[test]
fn device_numbers_in_pax_must_be_those_of_the_header() {
    let device = || {
        let block = Block::new("a", b'3', 0).with(329, b"0000010\0");
        block.with(337, b"0000003\0")
    };
    let numbers = |major| pax(&[("SCHILY.devmajor", major), ("SCHILY.devminor", "3")]);
    refuses!([numbers("9"), device().bytes()], EntryError::Ambiguous(_));
    assert_eq!(*one(&[numbers("8"), device().bytes()]).path, *b"a");
    // v7 has none.
    refuses!(
        [device().with(257, &[0; 8]).bytes()],
        EntryError::Ambiguous(_)
    );
}

/// GNU tar begins each segment in a block of its own, the others where the one before ends.
#[test]
fn sparse_segments_must_fill_their_blocks() {
    let sparse = pax(&[
        ("GNU.sparse.size", "10"),
        ("GNU.sparse.numblocks", "2"),
        ("GNU.sparse.map", "2,3,7,1"),
    ]);
    refuses!([sparse, member("a", b'0', b"abcd")], EntryError::Sparse(_));
}

/// Each reader knows another part of the formats that are there.
#[test]
fn sparse_files_in_half_a_format_are_refused() {
    let size = ("GNU.sparse.size", "4");
    let count = ("GNU.sparse.numblocks", "1");
    let map = ("GNU.sparse.map", "0,4");
    for records in [
        &[("SCHILY.realsize", "9")][..],
        &[("SUN.holesdata", " 0 4")],
        &[("GNU.sparse.realsize", "9")],
        &[("GNU.sparse.name", "b")],
        &[("GNU.sparse.major", "1"), ("GNU.sparse.realsize", "9")],
        &[size, map],
        &[size, map, count],
    ] {
        let content = member("a", b'0', b"abcd");
        refuses!([pax(records), content], EntryError::Sparse(_));
    }
    let records = || pax(&[size, count, map]);
    for flag in [0, b'7', b'S'] {
        let content = member("a", flag, b"abcd");
        refuses!([records(), content], EntryError::Sparse(_));
    }
    let gnu = Block::new("a", b'0', 4).with(257, b"ustar  \0").bytes();
    refuses!([records(), gnu, padded(b"abcd")], EntryError::Sparse(_));
    let empty = Block::new("a", b'S', 0).with(257, b"ustar  \0").bytes();
    refuses!([empty], EntryError::Sparse(_));
    assert_eq!(*one(&[records(), member("a", b'0', b"abcd")]).path, *b"a");
}

/// The table ends at an empty offset to some, at an empty length to others.
#[test]
fn sparse_tables_have_one_end() {
    let table = |slots: &[u8]| {
        let block = Block::new("a", b'S', 4).with(257, b"ustar  \0");
        let block = block.with(386, b"00000000000\x0000000000004\0");
        let block = block.with(410, slots).with(483, b"00000000004\0");
        [block.bytes(), padded(b"abcd")]
    };
    refuses!(table(b"\x0000000000004"), EntryError::Sparse(_));
    refuses!(
        table(&[&[0; 24][..], b"00000000004\x0000000000000"].concat()),
        EntryError::Sparse(_)
    );
    refuses!(table(b"00000000004\0\0"), EntryError::Sparse(_));
    assert_eq!(*one(&table(b"00000000004\x0000000000000\0")).path, *b"a");
}

/// A whiteout may be any kind of entry, but not one that others refuse.
#[test]
fn whiteouts_that_are_links_to_nothing_are_refused() {
    for flag in *b"12" {
        refuses!([linked(".wh.a", flag, "")], EntryError::EmptyLink);
    }
}

/// Only libarchive takes nothing for an archive.
#[test]
fn an_archive_of_no_bytes_is_refused() {
    let (_, problem) = refusal(&[], &Limits::default());
    assert!(matches!(problem, EntryError::Truncated));
}
