//! Partition tables, read and written by sgdisk.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::{create, find, run};
use cos_disk::DiskError;
use cos_disk::gpt::{self, Partition, PartitionRequest, Size, types};
use cos_sys::gpt as live;
use std::os::unix::fs::FileExt;
use std::path::Path;
use uuid::{Uuid, uuid};

const DISK: Uuid = uuid!("00112233-4455-6677-8899-aabbccddeeff");

fn request(name: &str, type_guid: Uuid, size: Size) -> PartitionRequest {
    let unique_guid = Uuid::from_u128(0xc05 + name.len() as u128);
    PartitionRequest {
        name: name.into(),
        type_guid,
        unique_guid,
        size,
        attributes: 0,
    }
}

fn write(path: &Path) -> Vec<Partition> {
    let layout = gpt::plan(
        &[
            request("bios", types::BIOS_BOOT, Size::Fixed(1 << 20)),
            request("efi", types::EFI_SYSTEM, Size::Fixed(16 << 20)),
            request(
                "persistent",
                types::LINUX_DATA,
                Size::Rest { minimum: 8 << 20 },
            ),
        ],
        None,
    )
    .unwrap();
    let file = create(path);
    gpt::write_table(&file, layout.total_bytes, DISK, &layout.partitions).unwrap();
    layout.partitions
}

#[test]
fn sgdisk_finds_no_problem_and_the_same_partitions() {
    let Some(sgdisk) = find(
        "sgdisk_finds_no_problem_and_the_same_partitions",
        "sgdisk",
        "gdisk",
    ) else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk");
    let partitions = write(&path);
    let disk = path.to_str().unwrap();
    let verdict = run(&sgdisk, &["-v", disk]);
    assert!(verdict.contains("No problems found"), "{verdict}");
    let info = run(&sgdisk, &["-i", "2", disk]);
    assert!(
        info.contains("C12A7328-F81F-11D2-BA4B-00A0C93EC93B"),
        "{info}"
    );
    assert!(info.contains("Partition name: 'efi'"), "{info}");
    let print = run(&sgdisk, &["-p", disk]);
    assert!(
        print.contains("00112233-4455-6677-8899-AABBCCDDEEFF"),
        "{print}"
    );

    let table = gpt::read_table(&open(&path)).unwrap();
    assert_eq!(table.disk_guid, DISK);
    assert!(!table.from_backup);
    let read: Vec<_> = table
        .partitions
        .into_iter()
        .map(|(_, partition)| partition)
        .collect();
    assert_eq!(read, partitions);

    let again = directory.path().join("again");
    write(&again);
    assert!(common::same(&path, &again));
}

fn open(path: &Path) -> fs_err::File {
    fs_err::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap()
}

/// The tables written here are grown by the code of the initrd.
#[test]
fn a_larger_disk_is_filled_once() {
    let Some(sgdisk) = find("a_larger_disk_is_filled_once", "sgdisk", "gdisk") else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk");
    let partitions = write(&path);
    let file = open(&path);
    let before = file.metadata().unwrap().len();
    let grow = |size| live::grow_in_table(&file, size, 512, 3).unwrap();
    assert_eq!(grow(before), None);
    file.set_len(before + 8192).unwrap();
    assert_eq!(grow(before + 8192), None);

    let larger = 100 << 20;
    file.set_len(larger).unwrap();
    let size = (99 << 20) - partitions[2].offset();
    assert_eq!(grow(larger), Some(size));
    assert_eq!(grow(larger), None);
    let verdict = run(&sgdisk, &["-v", path.to_str().unwrap()]);
    assert!(verdict.contains("No problems found"), "{verdict}");
    let table = gpt::read_table(&file).unwrap();
    assert_eq!(table.partitions[2].1.offset(), partitions[2].offset());
    assert_eq!(table.partitions[2].1.bytes(), size);

    // A primary table torn by a power cut is restored from the backup.
    file.file().write_all_at(&[0xff; 700], 512).unwrap();
    assert!(gpt::read_table(&file).unwrap().from_backup);
    assert_eq!(grow(larger), None);
    assert_eq!(gpt::read_table(&file).unwrap(), table);
    assert!(!table.from_backup);
    let verdict = run(&sgdisk, &["-v", path.to_str().unwrap()]);
    assert!(verdict.contains("No problems found"), "{verdict}");
}

#[test]
fn a_table_of_sgdisk_is_read() {
    let Some(sgdisk) = find("a_table_of_sgdisk_is_read", "sgdisk", "gdisk") else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk");
    let file = create(&path);
    file.set_len(64 << 20).unwrap();
    let disk = path.to_str().unwrap();
    run(
        &sgdisk,
        &[
            "-n",
            "5:4096:8191",
            "-c",
            "5:größe",
            "-t",
            "5:ef02",
            "-A",
            "5:set:2",
            disk,
        ],
    );
    let table = gpt::read_table(&file).unwrap();
    let (number, partition) = &table.partitions[0];
    assert_eq!(
        (*number, partition.start_lba, partition.sectors),
        (5, 4096, 4096)
    );
    assert_eq!(
        (partition.name.as_str(), partition.attributes),
        ("größe", 4)
    );
    assert_eq!(partition.type_guid, types::BIOS_BOOT);
}

#[test]
fn hostile_tables_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk");
    write(&path);
    let file = open(&path);
    let size = file.metadata().unwrap().len();
    let mut header = [0; 92];
    file.file().read_exact_at(&mut header, 512).unwrap();
    file.file().write_all_at(&[0; 512], size - 512).unwrap();
    // Entry counts, entry sizes, entry places and ends that no disk has, with right checksums.
    for (at, value) in [
        (80, u32::MAX),
        (80, 0),
        (84, 0),
        (84, 1 << 30),
        (76, u32::MAX),
        (52, 0xf000_0000),
    ] {
        let mut hostile = header;
        hostile[at..at + 4].copy_from_slice(&value.to_le_bytes());
        hostile[16..20].fill(0);
        let checksum = crc32(&hostile);
        hostile[16..20].copy_from_slice(&checksum.to_le_bytes());
        file.file().write_all_at(&hostile, 512).unwrap();
        let error = gpt::read_table(&file).unwrap_err();
        assert!(
            matches!(error, DiskError::InvalidTable { .. }),
            "{at}: {error}"
        );
    }
    file.file().write_all_at(&header, 512).unwrap();
    gpt::read_table(&file).unwrap();
    file.set_len(1000).unwrap();
    gpt::read_table(&file).unwrap_err();
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |mut crc: u32, byte| {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 * (crc & 1));
        }
        crc
    })
}
