use super::*;
use table::crc32;

const MIB: u64 = 1 << 20;

fn entry(number: u32, first: u64, last: u64) -> Entry {
    Entry {
        number,
        type_guid: [0xaf; 16],
        unique_guid: std::array::from_fn(|at| (at as u8 + number as u8).wrapping_sub(1)),
        first,
        last,
        attributes: 4,
        name: format!("größe {number}"),
    }
}

/// A file of `size` bytes.
fn empty(size: u64) -> (tempfile::NamedTempFile, File) {
    let temp = tempfile::NamedTempFile::new().unwrap();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(temp.path())
        .unwrap();
    file.set_len(size).unwrap();
    (temp, file)
}

/// A disk of `size` bytes with two partitions.
fn disk(size: u64) -> (tempfile::NamedTempFile, File) {
    let (temp, file) = empty(size);
    let mut table = Table::blank(size, 512, [7; 16]).unwrap();
    assert!(table.add(&entry(1, 2048, 4095)));
    assert!(table.add(&entry(2, 4096, 8191)));
    table.write(&file).unwrap();
    (temp, file)
}

fn reason(result: Result<Table, GptError>) -> &'static str {
    match result {
        Err(GptError::Damaged { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_checksum_is_the_standard_one() {
    assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
}

#[test]
fn a_table_comes_back_as_it_was_written() {
    let (_temp, file) = disk(16 * MIB);
    let table = Table::read(&file, 16 * MIB, 512).unwrap();
    let entries: Vec<_> = table.entries().collect();
    assert_eq!(entries, [entry(1, 2048, 4095), entry(2, 4096, 8191)]);
    assert_eq!(table.disk_guid(), [7; 16]);
    assert_eq!((table.first_usable(), table.usable_end()), (34, 32768 - 33));
    assert_eq!(table.free_number(), Some(3));
    assert!(!table.is_from_backup() && table.has_backup(&file));
    file.write_all_at(b"x", 16 * MIB - 512 + 60).unwrap();
    assert!(!table.has_backup(&file));
}

#[test]
fn impossible_partitions_are_not_added() {
    let mut table = Table::blank(16 * MIB, 512, [7; 16]).unwrap();
    assert!(table.add(&entry(1, 2048, 4095)));
    let before = table.clone();
    for (number, first, last) in [
        (1, 8192, 8193),
        (0, 8192, 8193),
        (129, 8192, 8193),
        (2, 4095, 8191),
        (2, 8192, 8191),
        (2, 33, 100),
        (2, 8192, 32768 - 33),
        (2, 8192, u64::MAX),
    ] {
        assert!(!table.add(&entry(number, first, last)), "{number} {first}");
    }
    let mut named = entry(2, 8192, 8193);
    named.name = "n".repeat(37);
    assert!(!table.add(&named));
    assert!(!table.set_last(1, 32768) && !table.set_last(2, 9000) && !table.set_last(1, 5));
    assert_eq!(table, before);
    assert_eq!(Table::blank(32 * 1024, 512, [7; 16]), None);
    assert_eq!(Table::blank(16 * MIB, 500, [7; 16]), None);
}

#[test]
fn a_partition_is_known_by_its_guid() {
    let (_temp, file) = disk(16 * MIB);
    let uuid = partition_uuid(&file, 16 * MIB, 512, 1).unwrap();
    assert_eq!(
        uuid.as_deref(),
        Some("03020100-0504-0706-0809-0a0b0c0d0e0f")
    );
    assert_eq!(partition_uuid(&file, 16 * MIB, 512, 3).unwrap(), None);
    assert_eq!(partition_uuid(&file, 16 * MIB, 512, 0).unwrap(), None);
}

#[test]
fn the_backup_is_used_when_the_primary_is_damaged() {
    let (_temp, file) = disk(16 * MIB);
    file.write_all_at(b"x", 512 + 60).unwrap();
    assert!(partition_uuid(&file, 16 * MIB, 512, 2).unwrap().is_some());
    file.write_all_at(b"x", 16 * MIB - 512 + 60).unwrap();
    let error = partition_uuid(&file, 16 * MIB, 512, 2).unwrap_err();
    assert!(error.to_string().contains("checksum"), "{error}");
}

#[test]
fn an_mbr_partition_is_known_by_signature_and_number() {
    let (_temp, file) = empty(MIB);
    file.write_all_at(&0xdead_beefu32.to_le_bytes(), 440)
        .unwrap();
    file.write_all_at(&[0x55, 0xaa], 510).unwrap();
    let uuid = partition_uuid(&file, MIB, 512, 10).unwrap();
    assert_eq!(uuid.as_deref(), Some("deadbeef-0a"));
}

#[test]
fn what_is_no_gpt_is_told_apart() {
    let (_temp, file) = empty(16 * MIB);
    let read = || Table::read(&file, 16 * MIB, 512);
    assert!(matches!(read(), Err(GptError::Absent { .. })));
    file.write_all_at(&[0x55, 0xaa], 510).unwrap();
    assert!(matches!(read(), Err(GptError::Mbr { .. })));

    let (_temp, file) = disk(16 * MIB);
    let read = || Table::read(&file, 16 * MIB, 512);
    // An MBR with a Linux partition, written over the protective one.
    file.write_all_at(&[0x83], 450).unwrap();
    assert!(matches!(read(), Err(GptError::Mbr { .. })));
    file.write_all_at(&[0; 512], 0).unwrap();
    assert_eq!(reason(read()), "no protective MBR in front of it");
    for at in [512 + 60, 16 * MIB - 512 + 60] {
        file.write_all_at(b"x", at).unwrap();
    }
    assert_eq!(reason(read()), "header checksum does not match");
    assert!(matches!(
        Table::read(&file, 0, 512),
        Err(GptError::Absent { .. })
    ));
}

#[test]
fn absurd_numbers_with_right_checksums_are_refused() {
    let (_temp, file) = disk(16 * MIB);
    file.write_all_at(&[0; 512], 16 * MIB - 512).unwrap();
    let mut good = [0; 512];
    file.read_exact_at(&mut good, 512).unwrap();
    for (at, value) in [
        (12, 4096),
        (12, 0),
        (80, u32::MAX),
        (80, 0),
        (84, 0),
        (84, 1 << 30),
        // Entries beyond the disk, over the MBR, among the partitions.
        (76, u32::MAX),
        (72, 0),
        (72, 3000),
        // The first usable block beyond the partitions, beyond the disk.
        (40, 2049),
        (44, 1),
    ] {
        let mut hostile = good;
        hostile[at..at + 4].copy_from_slice(&value.to_le_bytes());
        hostile[16..20].fill(0);
        let checksum = crc32(&hostile[..92]);
        hostile[16..20].copy_from_slice(&checksum.to_le_bytes());
        file.write_all_at(&hostile, 512).unwrap();
        reason(Table::read(&file, 16 * MIB, 512));
    }
    file.write_all_at(&good, 512).unwrap();
    Table::read(&file, 16 * MIB, 512).unwrap();
    for block_size in [0, 1, 511, 513, 1 << 20, u32::MAX] {
        assert!(Table::read(&file, 16 * MIB, block_size).is_err());
    }
}

#[test]
fn a_shrunken_disk_is_refused() {
    let (_temp, file) = disk(16 * MIB);
    file.set_len(4 * MIB).unwrap();
    let why = reason(Table::read(&file, 4 * MIB, 512));
    assert_eq!(why, "a partition lies outside of the usable blocks");
}

#[test]
fn the_last_partition_grows_to_the_new_end_once() {
    let (_temp, file) = disk(16 * MIB);
    assert_eq!(
        grow_in_table(&file, 16 * MIB, 512, 2).unwrap(),
        Some(13 * MIB)
    );
    // 4 KiB more are not worth it.
    file.set_len(16 * MIB + 4096).unwrap();
    assert_eq!(grow_in_table(&file, 16 * MIB + 4096, 512, 2).unwrap(), None);
    file.set_len(64 * MIB).unwrap();
    // 61 MiB of partition: from 2 MiB to the last whole MiB before the backup table.
    assert_eq!(
        grow_in_table(&file, 64 * MIB, 512, 2).unwrap(),
        Some(61 * MIB)
    );
    assert_eq!(grow_in_table(&file, 64 * MIB, 512, 2).unwrap(), None);
    let mut table = Table::read(&file, 64 * MIB, 512).unwrap();
    assert!(table.has_backup(&file));
    assert_eq!(table.entry(2).unwrap().last, 63 * MIB / 512 - 1);
    file.write_all_at(&[0xff; 700], 512).unwrap();
    table = Table::read(&file, 64 * MIB, 512).unwrap();
    assert!(table.is_from_backup());
    assert_eq!(table.entry(2).unwrap().last, 63 * MIB / 512 - 1);
    let mut protected = [0; 4];
    file.read_exact_at(&mut protected, 458).unwrap();
    assert_eq!(u64::from(u32::from_le_bytes(protected)), 64 * MIB / 512 - 1);
}

#[test]
fn a_torn_primary_is_restored_even_with_nothing_to_grow() {
    let (_temp, file) = disk(16 * MIB);
    file.write_all_at(&[0xff; 700], 512).unwrap();
    assert_eq!(grow_in_table(&file, 16 * MIB, 512, 1).unwrap(), None);
    let table = Table::read(&file, 16 * MIB, 512).unwrap();
    assert!(!table.is_from_backup() && table.has_backup(&file));
    assert_eq!(table.entries().count(), 2);
}

#[test]
fn a_partition_with_another_behind_it_stays() {
    let (_temp, file) = disk(16 * MIB);
    file.set_len(64 * MIB).unwrap();
    assert_eq!(grow_in_table(&file, 64 * MIB, 512, 1).unwrap(), None);
    let error = grow_in_table(&file, 64 * MIB, 512, 9).unwrap_err();
    assert!(error.to_string().contains("not in it"), "{error}");
}

#[test]
fn a_hybrid_mbr_is_left_as_it_is() {
    let (_temp, file) = disk(16 * MIB);
    file.write_all_at(&[0x0c], 466).unwrap();
    file.write_all_at(&[1, 2, 3, 4], 458).unwrap();
    grow_in_table(&file, 16 * MIB, 512, 2).unwrap();
    let mut protected = [0; 4];
    file.read_exact_at(&mut protected, 458).unwrap();
    assert_eq!(protected, [1, 2, 3, 4]);
}
