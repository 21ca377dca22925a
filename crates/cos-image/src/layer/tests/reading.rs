//! What becomes of archives as they should be, and of nearly such.

use super::support::*;
use crate::ImageError;
use crate::Limits;
use crate::layer::entry::EntryKind;
use crate::layer::problem::EntryError;
use proptest::prelude::*;

#[test]
fn plain_files_are_read() {
    let (entries, store) = read(&[
        member("./a/b", b'0', b"hello"),
        member("/c", 0, &[7; 1000]),
        member("d/", b'5', b""),
        member("e/", 0, b""),
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
fn extension_headers_apply_to_one_entry() {
    let (entries, _) = read(&[
        member("g", b'g', &pax_records(&[("comment", "abc")])),
        pax(&[
            ("mtime", "7.5"),
            ("path", "long"),
            ("SCHILY.xattr.user.a", "b"),
            ("uid", "70000"),
        ]),
        member("a", b'0', b""),
        member("b", b'0', b""),
    ])
    .unwrap();
    assert_eq!((*entries[0].path).to_vec(), b"long");
    assert_eq!((entries[0].meta.mtime, entries[0].meta.uid), (7, 70000));
    assert_eq!(*entries[0].meta.xattrs[&b"user.a"[..]], *b"b");
    assert_eq!((entries[1].meta.mtime, entries[1].meta.uid), (0, 0));
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
    // No end marker, or one block of it: as other tools, fine.
    assert_eq!(read_with(&whole, &limits).unwrap().0.len(), 2);
    let mut one_block = whole.clone();
    one_block.extend([0; 512]);
    assert_eq!(read_with(&one_block, &limits).unwrap().0.len(), 2);
    assert!(read_with(&[0; 1024], &limits).unwrap().0.is_empty());
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
