//! Images made by hand and broken in every way; what xorriso makes is in `tests/system_media.rs`.

use super::*;
use proptest::prelude::*;

/// A directory record with the given system use area.
fn record(name: &[u8], block: u32, size: u32, flags: u8, system_use: &[u8]) -> Vec<u8> {
    let mut record = vec![0; 33];
    record[2..6].copy_from_slice(&block.to_le_bytes());
    record[10..14].copy_from_slice(&size.to_le_bytes());
    record[25] = flags;
    record[32] = name.len() as u8;
    record.extend_from_slice(name);
    if name.len().is_multiple_of(2) {
        record.push(0);
    }
    record.extend_from_slice(system_use);
    if record.len() % 2 == 1 {
        record.push(0);
    }
    record[0] = record.len() as u8;
    record
}

fn nm(flags: u8, text: &[u8]) -> Vec<u8> {
    let mut entry = vec![b'N', b'M', text.len() as u8 + 5, 1, flags];
    entry.extend_from_slice(text);
    entry
}

fn ce(block: u32, offset: u32, length: u32) -> Vec<u8> {
    let mut entry = b"CE\x1c\x01".to_vec();
    for number in [block, offset, length] {
        entry.extend_from_slice(&number.to_le_bytes());
        entry.extend_from_slice(&number.to_be_bytes());
    }
    entry
}

/// An image: root directory in block 20, its contents as given, files in blocks from 21 on.
fn image(records: &[Vec<u8>]) -> Vec<u8> {
    let mut image = vec![0; 24 * SECTOR];
    let descriptor = &mut image[16 * SECTOR..17 * SECTOR];
    descriptor[..6].copy_from_slice(b"\x01CD001");
    descriptor[128..130].copy_from_slice(&2048u16.to_le_bytes());
    descriptor[156..190].copy_from_slice(&record(&[0], 20, 2048, DIRECTORY, b""));
    image[17 * SECTOR..17 * SECTOR + 6].copy_from_slice(b"\xffCD001");
    let directory: Vec<u8> = records.concat();
    image[20 * SECTOR..20 * SECTOR + directory.len()].copy_from_slice(&directory);
    image[21 * SECTOR..21 * SECTOR + 5].copy_from_slice(b"hello");
    image
}

fn read(image: &[u8], path: &str) -> Result<Option<Vec<u8>>, IsoError> {
    Iso::open(image)?.read(path, 100)
}

#[test]
fn names_are_plain_or_rock_ridge() {
    let image = image(&[
        record(&[0], 20, 2048, DIRECTORY, b"SP\x07\x01\xbe\xef\x00"),
        record(&[1], 20, 2048, DIRECTORY, b""),
        record(b"CONFIG.;1", 21, 5, 0, b""),
        record(b"DIR", 20, 2048, DIRECTORY, b""),
        record(
            b"USER_DAT.;1",
            21,
            4,
            0,
            &[nm(1, b"user"), nm(0, b"-data")].concat(),
        ),
    ]);
    for (path, expected) in [
        ("config", Some(&b"hello"[..])),
        ("/config", Some(b"hello")),
        ("dir/config", Some(b"hello")),
        ("user-data", Some(b"hell")),
        ("User-data", None),
        ("user_dat", None),
        ("dir", None),
        ("config/x", None),
        ("nothing", None),
        ("", None),
    ] {
        assert_eq!(read(&image, path).unwrap().as_deref(), expected, "{path}");
    }
    let deep = "dir/".repeat(20) + "config";
    assert_eq!(read(&image, &deep).unwrap(), None);
}

#[test]
fn a_name_may_go_on_elsewhere_but_not_for_ever() {
    let first = [nm(1, b"us"), ce(22, 8, 200)].concat();
    let mut disc = image(&[record(b"U.;1", 21, 5, 0, &first)]);
    let rest = nm(0, b"er-data");
    disc[22 * SECTOR + 8..22 * SECTOR + 8 + rest.len()].copy_from_slice(&rest);
    assert!(read(&disc, "user-data").unwrap().is_some());

    let circle = ce(22, 0, 28);
    let mut disc = image(&[record(b"U.;1", 21, 5, 0, &circle)]);
    disc[22 * SECTOR..22 * SECTOR + 28].copy_from_slice(&circle);
    assert_eq!(read(&disc, "x").unwrap(), None);
    let nowhere = ce(u32::MAX, u32::MAX, u32::MAX);
    let disc = image(&[record(b"U.;1", 21, 5, 0, &nowhere)]);
    assert!(read(&disc, "u").unwrap().is_some());
}

#[test]
fn sizes_are_not_believed() {
    let disc = image(&[
        record(b"BIG.;1", 21, u32::MAX, 0, b""),
        record(b"PARTS.;1", 21, 5, MULTI_EXTENT, b""),
        record(b"OUT.;1", u32::MAX, 5, 0, b""),
        record(b"BIGDIR", 20, u32::MAX, DIRECTORY, b""),
        record(b"OUTDIR", u32::MAX, 2048, DIRECTORY, b""),
        record(b"HIDDEN.;1", 21, 5, ASSOCIATED, b""),
    ]);
    assert!(matches!(read(&disc, "big"), Err(IsoError::TooLarge { .. })));
    assert!(matches!(
        read(&disc, "parts"),
        Err(IsoError::TooLarge { .. })
    ));
    assert!(matches!(read(&disc, "out"), Err(IsoError::Damaged(_))));
    assert!(matches!(read(&disc, "bigdir/x"), Err(IsoError::Damaged(_))));
    assert_eq!(read(&disc, "outdir/x").unwrap(), None);
    assert_eq!(read(&disc, "hidden").unwrap(), None);
}

#[test]
fn what_is_no_file_system_is_refused() {
    let none: &[u8] = b"";
    assert!(Iso::open(none).is_err());
    assert!(Iso::open(&vec![0xff; 40 * SECTOR][..]).is_err());
    let mut disc = image(&[]);
    assert!(Iso::open(&disc[..16 * SECTOR + 100]).is_err());
    disc[16 * SECTOR + 128] = 1;
    assert!(Iso::open(&disc[..]).is_err());
}

/// An image with everything in it, to be broken.
fn rich() -> Vec<u8> {
    let name = [nm(1, b"us"), ce(22, 0, 64)].concat();
    let mut disc = image(&[
        record(&[0], 20, 2048, DIRECTORY, b"SP\x07\x01\xbe\xef\x00"),
        record(b"DIR", 20, 2048, DIRECTORY, b""),
        record(b"U.;1", 21, 5, 0, &name),
    ]);
    disc[22 * SECTOR..22 * SECTOR + 12].copy_from_slice(&nm(0, b"er-data"));
    let joliet = disc[16 * SECTOR..17 * SECTOR].to_vec();
    disc[17 * SECTOR..18 * SECTOR].copy_from_slice(&joliet);
    disc[17 * SECTOR] = 2;
    disc[17 * SECTOR + 88..17 * SECTOR + 91].copy_from_slice(b"%/E");
    disc
}

proptest! {
    #[test]
    fn no_input_panics(changes in prop::collection::vec((0usize..8 * SECTOR, any::<u8>()), 0..64)) {
        let mut disc = rich();
        for (at, byte) in changes {
            disc[16 * SECTOR + at] = byte;
        }
        for path in ["user-data", "dir/user-data", "dir/dir/x"] {
            if let Ok(Some(bytes)) = read(&disc, path) {
                prop_assert!(bytes.len() <= 100);
            }
        }
    }

    #[test]
    fn no_short_input_panics(length in 0usize..24 * SECTOR, changes in prop::collection::vec((0usize..300, any::<u8>()), 0..16)) {
        let mut disc = rich();
        for (at, byte) in changes {
            disc[20 * SECTOR + at] = byte;
        }
        disc.truncate(length);
        drop(read(&disc, "dir/user-data"));
    }
}
