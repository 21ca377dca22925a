use super::*;
use std::os::unix::fs::MetadataExt;

fn options() -> FatOptions {
    FatOptions {
        label: "COS_GRUB".into(),
        volume_id: 0x1234_abcd,
        time: 1_700_000_000,
    }
}

fn entry(path: &str, content: FatContent) -> FatEntry {
    FatEntry {
        path: path.into(),
        content,
    }
}

fn bytes(path: &str, content: &[u8]) -> FatEntry {
    entry(path, FatContent::File(content.into()))
}

fn scratch() -> File {
    File::from_parts(tempfile::tempfile().unwrap(), "scratch")
}

#[test]
fn a_default_esp_takes_no_space_for_what_is_free() {
    let file = scratch();
    format(
        &file,
        1 << 20,
        256 << 20,
        &options(),
        &[bytes("EFI/BOOT/BOOTX64.EFI", &[1; 9000])],
    )
    .unwrap();
    let meta = file.metadata().unwrap();
    assert_eq!(meta.len(), 257 << 20);
    assert!(
        meta.blocks() * 512 < 64 << 10,
        "{} bytes used",
        meta.blocks() * 512
    );
}

#[test]
fn what_was_there_before_does_not_show() {
    let entries = [
        bytes("a-long-name.txt", b"x"),
        entry("dir", FatContent::Directory),
    ];
    let (clean, used) = (scratch(), scratch());
    used.file().write_all_at(&vec![0xee; 4 << 20], 0).unwrap();
    clean.set_len(4 << 20).unwrap();
    let mut images = Vec::new();
    for file in [clean, used] {
        format(&file, 0, 4 << 20, &options(), &entries).unwrap();
        let mut image = vec![0; 4 << 20];
        file.file().read_exact_at(&mut image, 0).unwrap();
        images.push(image);
    }
    assert!(images[0] == images[1]);
}

#[test]
fn the_order_of_the_input_does_not_matter() {
    let mut entries = [bytes("b", b"1"), bytes("a/c", b"2"), bytes("a/b", b"3")];
    let mut images = Vec::new();
    for _ in 0..2 {
        let file = scratch();
        format(&file, 0, 4 << 20, &options(), &entries).unwrap();
        let mut image = vec![0; 4 << 20];
        file.file().read_exact_at(&mut image, 0).unwrap();
        images.push(image);
        entries.reverse();
    }
    assert!(images[0] == images[1]);
}

#[test]
fn refusals_are_typed() {
    let file = scratch();
    let attempt = |entries: &[FatEntry]| format(&file, 0, 4 << 20, &options(), entries);
    let error = attempt(&[bytes("a", &vec![1; 5 << 20])]).unwrap_err();
    assert!(matches!(error, DiskError::FatFull { needed, .. } if needed >= 5 << 20));
    let error = attempt(&[bytes("a", b""), bytes("A", b"")]).unwrap_err();
    assert!(matches!(error, DiskError::DuplicatePath { .. }));
    let error = attempt(&[bytes("a", b""), bytes("a/b", b"")]).unwrap_err();
    assert!(matches!(error, DiskError::DuplicatePath { .. }));
    let error = attempt(&[bytes("../a", b"")]).unwrap_err();
    assert!(matches!(error, DiskError::FatName { .. }));
    let missing = FatContent::File(Source::Host("/nonexistent".into()));
    let error = attempt(&[entry("a", missing)]).unwrap_err();
    assert!(matches!(error, DiskError::ReadContent { .. }));
}
