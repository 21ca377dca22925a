//! Partition tables, as both readers read them, and a table that is grown and written again.
#![no_main]

use cos_fuzz::MemoryFile;
use cos_sys::gpt::{Table, grow_in_table, partition_uuid};
use libfuzzer_sys::fuzz_target;

/// Blocks in the fuzzer's hands: the MBR, a header and the entries in front; at the end, the other way
/// round, entries and a header.
const HEAD: usize = 3;
const TAIL: usize = 2;

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

/// Makes the checksums of the header at byte `at` right, and of the entries where it says they are.
/// `bytes` are those of the disk from byte `start` on.
fn seal(bytes: &mut [u8], start: u64, at: usize, block: usize) {
    let field = |bytes: &[u8], offset: usize| {
        let field = bytes[at + offset..at + offset + 4].try_into();
        u32::from_le_bytes(field.unwrap())
    };
    bytes[at..at + 8].copy_from_slice(b"EFI PART");
    let entries = u64::from(field(bytes, 72)) * block as u64;
    let length = u64::from(field(bytes, 80)) * u64::from(field(bytes, 84));
    let inside = entries.checked_sub(start).and_then(|first| {
        let range =
            usize::try_from(first).ok()?..usize::try_from(first.checked_add(length)?).ok()?;
        bytes.get(range)
    });
    if let Some(sum) = inside.map(crc32) {
        bytes[at + 88..at + 92].copy_from_slice(&sum.to_le_bytes());
    }
    bytes[at + 16..at + 20].fill(0);
    let size = (field(bytes, 12) as usize).min(block);
    let sum = crc32(&bytes[at..at + size]);
    bytes[at + 16..at + 20].copy_from_slice(&sum.to_le_bytes());
}

fn both_readers(disk: &MemoryFile, size: u64, block: u32) {
    let (Ok(live), Ok(other)) = (
        Table::read(&disk.0, size, block),
        cos_disk::gpt::read_table(&disk.0),
    ) else {
        return;
    };
    if live.is_from_backup() || other.from_backup || other.sector_size != u64::from(block) {
        return;
    }
    assert_eq!(live.entries().count(), other.partitions.len());
    for (entry, (number, partition)) in live.entries().zip(&other.partitions) {
        assert_eq!(entry.number, *number);
        assert_eq!(entry.first, partition.start_lba);
        assert_eq!(entry.last - entry.first + 1, partition.sectors);
        assert_eq!(entry.unique_guid, partition.unique_guid.to_bytes_le());
    }
}

fn grow(disk: &MemoryFile, size: u64, block: u32, number: u32) {
    let before = Table::read(&disk.0, size, block);
    let Ok(grown) = grow_in_table(&disk.0, size, block, number) else {
        return;
    };
    let before = before.unwrap();
    let after = Table::read(&disk.0, size, block).unwrap();
    assert!(!after.is_from_backup());
    for (old, new) in before.entries().zip(after.entries()) {
        let mut expected = old.clone();
        if grown.is_some() && old.number == number {
            assert!(new.last > old.last);
            expected.last = new.last;
        }
        assert_eq!(new, expected);
    }
    if grown.is_some() {
        assert!(after.has_backup(&disk.0));
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&[form, number, spare], data)) = data.split_first_chunk() else {
        return;
    };
    let block: usize = if form & 1 == 0 { 512 } else { 4096 };
    let (head, tail) = data.split_at(data.len().min(HEAD * block));
    let (mut head, mut tail) = (head.to_vec(), tail.to_vec());
    head.resize(HEAD * block, 0);
    if form & 2 == 0 {
        head[510..512].copy_from_slice(&[0x55, 0xaa]);
        head[450] = 0xee;
    }
    if form & 4 == 0 {
        seal(&mut head, 0, block, block);
    }
    // Without a tail, the disk has grown since its table was made.
    tail.truncate(TAIL * block);
    let size = ((HEAD + TAIL) * block) as u64 + u64::from(spare) * 64 * 1024;
    let end = size - tail.len() as u64;
    if form & 8 == 0 && tail.len() == TAIL * block {
        seal(&mut tail, end, block, block);
    }
    let stretches = [(0, &head[..]), (end, &tail[..])];
    let block = block as u32;
    let disk = MemoryFile::new(size, &stretches);
    both_readers(&disk, size, block);
    if let Err(error) = partition_uuid(&disk.0, size, block, u32::from(number)) {
        assert!(!error.to_string().is_empty());
    }
    grow(&disk, size, block, u32::from(number));
});
