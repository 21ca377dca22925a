use super::*;

const MIB: u64 = 1 << 20;

/// A disk of `size` bytes with two partitions, written by hand from the specification.
fn disk(size: u64) -> (tempfile::NamedTempFile, File) {
    let temp = tempfile::NamedTempFile::new().unwrap();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(temp.path())
        .unwrap();
    file.set_len(size).unwrap();
    let mut entries = vec![0; 128 * ENTRY_SIZE];
    for (index, (first, last)) in [(2048u64, 4095u64), (4096, 8191)].into_iter().enumerate() {
        let entry = &mut entries[index * ENTRY_SIZE..][..ENTRY_SIZE];
        entry[..16].fill(0xaf);
        for (at, byte) in entry[16..32].iter_mut().enumerate() {
            *byte = at as u8 + index as u8;
        }
        ioctl::put(entry, 32, &first.to_le_bytes());
        ioctl::put(entry, 40, &last.to_le_bytes());
    }
    let mut header = vec![0; 512];
    ioctl::put(&mut header, 0, SIGNATURE);
    ioctl::put(&mut header, 8, &0x1_0000u32.to_le_bytes());
    ioctl::put(&mut header, 12, &92u32.to_le_bytes());
    ioctl::put(&mut header, 40, &34u64.to_le_bytes());
    ioctl::put(&mut header, 80, &128u32.to_le_bytes());
    ioctl::put(&mut header, 84, &128u32.to_le_bytes());
    let mut table = Table { header, entries };
    let last = size / 512 - 1;
    table.seal(last, 1, last - 32, last - 33);
    table.write(&file, 512).unwrap();
    table.seal(1, last, 2, last - 33);
    table.write(&file, 512).unwrap();
    (temp, file)
}

#[test]
fn the_checksum_is_the_standard_one() {
    assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
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
    let temp = tempfile::NamedTempFile::new().unwrap();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(temp.path())
        .unwrap();
    file.set_len(MIB).unwrap();
    file.write_all_at(&0xdead_beefu32.to_le_bytes(), 440)
        .unwrap();
    file.write_all_at(&[0x55, 0xaa], 510).unwrap();
    let uuid = partition_uuid(&file, MIB, 512, 10).unwrap();
    assert_eq!(uuid.as_deref(), Some("deadbeef-0a"));
}

#[test]
fn the_last_partition_grows_to_the_new_end_once() {
    let (_temp, file) = disk(16 * MIB);
    file.set_len(64 * MIB).unwrap();
    // 62 MiB of partition: from 2 MiB to the last whole MiB before the backup table.
    assert_eq!(
        grow_in_table(&file, 64 * MIB, 512, 2).unwrap(),
        Some(61 * MIB)
    );
    assert_eq!(grow_in_table(&file, 64 * MIB, 512, 2).unwrap(), None);
    for lba in [1, 64 * MIB / 512 - 1] {
        let Ok(table) = Table::read(&file, 512, lba) else {
            panic!("the table at {lba} is not intact");
        };
        assert_eq!(u64_at(table.entry(2).unwrap(), 40), 63 * MIB / 512 - 1);
    }
}

#[test]
fn a_partition_with_another_behind_it_stays() {
    let (_temp, file) = disk(16 * MIB);
    file.set_len(64 * MIB).unwrap();
    assert_eq!(grow_in_table(&file, 64 * MIB, 512, 1).unwrap(), None);
}
