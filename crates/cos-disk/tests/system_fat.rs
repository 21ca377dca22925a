//! FAT, checked by fsck.fat and read by mtools.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::{create, find, noise, run};
use cos_disk::Source;
use cos_disk::fat::{self, FatContent, FatEntry, FatOptions};
use std::path::Path;

const START: u64 = 1 << 20;

fn entries(host: &Path) -> Vec<FatEntry> {
    let file = |path: &str, source| FatEntry {
        path: path.into(),
        content: FatContent::File(source),
    };
    let mut entries = vec![
        file("EFI/BOOT/BOOTX64.EFI", Source::Bytes(noise(1_234_567, 1))),
        file("EFI/debian/grubx64.efi", Source::Host(host.into())),
        file(
            "EFI/debian/a rather long name, with commas.and.dots.cfg",
            Source::Bytes(b"long".to_vec()),
        ),
        file(
            "loader/entries/ünïcödé.conf",
            Source::Bytes(b"wide".to_vec()),
        ),
        file("empty", Source::Bytes(Vec::new())),
        FatEntry {
            path: "dir".into(),
            content: FatContent::Directory,
        },
    ];
    for number in 0..300 {
        let path = format!("many/configuration-number-{number:03}.conf");
        entries.push(file(&path, Source::Bytes(noise(number * 7, number as u64))));
    }
    entries
}

fn check(name: &str, size: u64) {
    let (Some(fsck), Some(mcopy), Some(mdir)) = (
        find(name, "fsck.fat", "dosfstools"),
        find(name, "mcopy", "mtools"),
        find(name, "mdir", "mtools"),
    ) else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let host = directory.path().join("host");
    fs_err::write(&host, noise(500_001, 9)).unwrap();
    let entries = entries(&host);
    let options = FatOptions {
        label: "COS_GRUB".into(),
        volume_id: 0xc05_1234,
        time: 1_795_454_399,
    };
    let paths = ["one", "two"].map(|name| directory.path().join(name));
    for path in &paths {
        fat::format(&create(path), START, size, &options, &entries).unwrap();
    }
    assert!(common::same(&paths[0], &paths[1]));

    // fsck.fat knows no offsets.
    let volume = directory.path().join("volume");
    let (disk, alone) = (fs_err::File::open(&paths[0]).unwrap(), create(&volume));
    alone.set_len(size).unwrap();
    cos_disk::sparse::copy_range(&disk, START, size, &alone, 0).unwrap();
    let verdict = run(&fsck, &["-n", "-v", volume.to_str().unwrap()]);
    assert!(!verdict.to_lowercase().contains("differences"), "{verdict}");
    // 305 files, seven directories and the label.
    assert!(verdict.contains("313 files"), "{verdict}");

    let image = format!("{}@@{START}", paths[0].display());
    let listing = run(&mdir, &["-i", &image, "::"]);
    assert!(
        listing.contains("is COS_GRUB") && listing.contains("0C05-1234"),
        "{listing}"
    );
    assert!(listing.contains("2026-11-23"), "{listing}");
    for entry in &entries {
        let FatContent::File(source) = &entry.content else {
            continue;
        };
        let out = directory.path().join("out");
        let from = format!("::{}", entry.path);
        run_utf8(
            &mcopy,
            &["-n", "-o", "-i", &image, &from, out.to_str().unwrap()],
        );
        let expected = match source {
            Source::Bytes(bytes) => bytes.clone(),
            Source::Host(path) => fs_err::read(path).unwrap(),
        };
        assert!(fs_err::read(&out).unwrap() == expected, "{}", entry.path);
    }
}

/// mtools takes names in the character set of the locale.
fn run_utf8(tool: &cos_sys::tool::Tool, args: &[&str]) {
    let mut command = tool.command();
    command.args(args).env("LC_ALL", "C.UTF-8");
    cos_sys::tool::run(command).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn fat32_is_clean_and_complete() {
    check("fat32_is_clean_and_complete", 256 << 20);
}

#[test]
fn small_fat32_is_clean_and_complete() {
    check("small_fat32_is_clean_and_complete", 40 << 20);
}

#[test]
fn fat16_is_clean_and_complete() {
    check("fat16_is_clean_and_complete", 8 << 20);
}
