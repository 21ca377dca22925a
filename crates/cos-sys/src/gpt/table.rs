//! The table itself: read from either copy, checked, changed in memory, written as a whole.

use super::{ALIGNMENT, GptError, Refusal, u32_at, u64_at};
use crate::ioctl::put;
use fs_err::File;
use fs_err::os::unix::fs::FileExt;
use std::io;

const SIGNATURE: &[u8; 8] = b"EFI PART";
/// Size of a partition entry; the specification allows more, nobody writes them.
const ENTRY_SIZE: usize = 128;
/// Tables with more entries than this are not believed.
const MAX_ENTRIES: u32 = 1024;
/// Entries of a new table, as every tool makes them.
const NEW_ENTRIES: usize = 128;
/// Longest name of a partition, in UTF-16 units.
const NAME_UNITS: usize = 36;
/// Where the four entries of an MBR start, and the size of each.
const MBR_ENTRIES: usize = 446;
const MBR_ENTRY: usize = 16;

/// CRC-32 as the specification wants it (ISO 3309, polynomial 0xEDB88320 reflected).
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

/// What the first sector says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mbr {
    /// Nothing.
    None,
    /// That there is a GPT: an entry of type 0xEE, perhaps among others.
    Protective,
    /// Something else.
    Other,
}

impl Mbr {
    pub(super) fn of(sector: &[u8; 512]) -> Self {
        let mut entries = sector[MBR_ENTRIES..510].chunks(MBR_ENTRY);
        if sector[510..] != [0x55, 0xaa] {
            Self::None
        } else if entries.any(|entry| entry[4] == 0xee) {
            Self::Protective
        } else {
            Self::Other
        }
    }
}

/// One header and its entries, whose checksums match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TableCopy {
    pub(super) header: Vec<u8>,
    pub(super) entries: Vec<u8>,
}

impl TableCopy {
    /// Reads the copy whose header is at block `lba` of a disk of `blocks` blocks.
    fn read(disk: &File, block_size: u32, blocks: u64, lba: u64) -> Result<Self, Refusal> {
        let block = u64::from(block_size);
        let outside = Refusal::Reason("it reaches beyond the end of the disk");
        if lba >= blocks {
            return Err(outside);
        }
        let mut header = vec![0; block_size as usize];
        disk.read_exact_at(&mut header, lba * block)?;
        if &header[..8] != SIGNATURE {
            return Err(Refusal::Reason("no signature"));
        }
        let header_size = u32_at(&header, 12) as usize;
        if !(92..=header.len()).contains(&header_size) {
            return Err(Refusal::Reason("absurd header size"));
        }
        let mut zeroed = header[..header_size].to_vec();
        put(&mut zeroed, 16, &[0; 4]);
        if crc32(&zeroed) != u32_at(&header, 16) || u64_at(&header, 24) != lba {
            return Err(Refusal::Reason("header checksum does not match"));
        }
        let count = u32_at(&header, 80);
        if count == 0 || count > MAX_ENTRIES || u32_at(&header, 84) as usize != ENTRY_SIZE {
            return Err(Refusal::Reason("absurd partition entries"));
        }
        let mut entries = vec![0; count as usize * ENTRY_SIZE];
        let at = u64_at(&header, 72);
        let end = at.checked_add((entries.len() as u64).div_ceil(block));
        if end.is_none_or(|end| end > blocks) {
            return Err(outside);
        }
        disk.read_exact_at(&mut entries, at * block)?;
        if crc32(&entries) != u32_at(&header, 88) {
            return Err(Refusal::Reason("entries checksum does not match"));
        }
        Ok(Self { header, entries })
    }

    /// The primary copy, or the backup at the end of a disk of `size` bytes; and whether it is that.
    pub(super) fn either(disk: &File, block_size: u32, size: u64) -> Result<(Self, bool), Refusal> {
        if !(512..=65536).contains(&block_size) || !block_size.is_power_of_two() {
            return Err(Refusal::Reason("absurd block size"));
        }
        let blocks = size / u64::from(block_size);
        match Self::read(disk, block_size, blocks, 1) {
            Ok(primary) => Ok((primary, false)),
            Err(refusal) => Self::read(disk, block_size, blocks, blocks.saturating_sub(1))
                .map(|backup| (backup, true))
                .map_err(|_| refusal),
        }
    }

    /// The bytes of a partition's entry, if it is in use.
    pub(super) fn entry(&self, number: u32) -> Option<&[u8]> {
        let start = (number.checked_sub(1)? as usize).checked_mul(ENTRY_SIZE)?;
        let entry = self.entries.get(start..start + ENTRY_SIZE)?;
        entry[..16].iter().any(|&byte| byte != 0).then_some(entry)
    }

    /// Puts new places into the header and renews both checksums.
    fn seal(&mut self, own: u64, other: u64, entries_at: u64, last_usable: u64) {
        let header = &mut self.header;
        put(header, 24, &own.to_le_bytes());
        put(header, 32, &other.to_le_bytes());
        put(header, 48, &last_usable.to_le_bytes());
        put(header, 72, &entries_at.to_le_bytes());
        put(header, 88, &crc32(&self.entries).to_le_bytes());
        put(header, 16, &[0; 4]);
        let header_size = u32_at(header, 12) as usize;
        let checksum = crc32(&header[..header_size]);
        put(header, 16, &checksum.to_le_bytes());
    }

    /// Entries first: until the header is there too, this copy does not count.
    fn write(&self, disk: &File, block: u64) -> io::Result<()> {
        disk.write_all_at(&self.entries, u64_at(&self.header, 72) * block)?;
        disk.write_all_at(&self.header, u64_at(&self.header, 24) * block)?;
        disk.sync_all()
    }
}

/// A partition as the table has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number, from 1.
    pub number: u32,
    /// What it is for, as bytes of the disk (its first three fields little-endian).
    pub type_guid: [u8; 16],
    /// Its identity, as bytes of the disk.
    pub unique_guid: [u8; 16],
    /// The first block.
    pub first: u64,
    /// The last block, which is part of it.
    pub last: u64,
    /// Attribute bits.
    pub attributes: u64,
    /// Its name. What is no UTF-16 reads as U+FFFD.
    pub name: String,
}

/// The table of a disk. Everything in it was checked: partitions lie inside the usable blocks of
/// the disk as large as it is now, do not overlap, and leave both copies of the table alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    copy: TableCopy,
    block_size: u32,
    /// Blocks of the disk as it is now, which may be more than when the table was written.
    blocks: u64,
    from_backup: bool,
    /// Not on the disk yet, nor is a protective MBR.
    new: bool,
}

impl Table {
    /// Reads the table of a disk of `size` bytes: the primary copy, or the backup where that is
    /// damaged.
    ///
    /// As in the kernel, there is no GPT where the MBR does not announce one: behind an MBR that
    /// was written later, an old GPT is a leftover.
    pub fn read(disk: &File, size: u64, block_size: u32) -> Result<Self, GptError> {
        Self::read_either(disk, size, block_size).and_then(|table| {
            table
                .check()
                .map(|()| table)
                .map_err(|reason| Refusal::Reason(reason).on(disk))
        })
    }

    fn read_either(disk: &File, size: u64, block_size: u32) -> Result<Self, GptError> {
        let mut sector = [0; 512];
        if size >= 512 {
            disk.read_exact_at(&mut sector, 0)
                .map_err(|error| Refusal::Io(error).on(disk))?;
        }
        let found = TableCopy::either(disk, block_size, size);
        let path = || disk.path().to_owned();
        match (Mbr::of(&sector), found) {
            (Mbr::Other, _) => Err(GptError::Mbr { disk: path() }),
            (_, Err(refusal @ Refusal::Io(_))) | (Mbr::Protective, Err(refusal)) => {
                Err(refusal.on(disk))
            }
            (Mbr::None, Ok(_)) => Err(Refusal::Reason("no protective MBR in front of it").on(disk)),
            // Something is left of a table, but nothing that can be used.
            (Mbr::None, Err(refusal)) if has_signature(disk, block_size, size) => {
                Err(refusal.on(disk))
            }
            (Mbr::None, Err(_)) => Err(GptError::Absent { disk: path() }),
            (Mbr::Protective, Ok((copy, from_backup))) => Ok(Self {
                copy,
                block_size,
                blocks: size / u64::from(block_size),
                from_backup,
                new: false,
            }),
        }
    }

    /// A table without partitions for a disk of `size` bytes. `None` when the disk is too small for
    /// one, or its block size is none that disks have.
    pub fn blank(size: u64, block_size: u32, disk_guid: [u8; 16]) -> Option<Self> {
        if !matches!(block_size, 512 | 1024 | 2048 | 4096) {
            return None;
        }
        let block = u64::from(block_size);
        let entries = vec![0; NEW_ENTRIES * ENTRY_SIZE];
        let mut header = vec![0; block_size as usize];
        put(&mut header, 0, SIGNATURE);
        put(&mut header, 8, &0x1_0000u32.to_le_bytes());
        put(&mut header, 12, &92u32.to_le_bytes());
        let first_usable = 2 + (entries.len() as u64).div_ceil(block);
        put(&mut header, 24, &1u64.to_le_bytes());
        put(&mut header, 40, &first_usable.to_le_bytes());
        put(&mut header, 56, &disk_guid);
        put(&mut header, 72, &2u64.to_le_bytes());
        put(&mut header, 80, &(NEW_ENTRIES as u32).to_le_bytes());
        put(&mut header, 84, &(ENTRY_SIZE as u32).to_le_bytes());
        let table = Self {
            copy: TableCopy { header, entries },
            block_size,
            blocks: size / block,
            from_backup: false,
            new: true,
        };
        table.check().is_ok().then_some(table)
    }

    /// What must hold before the numbers of a table decide where anything is written.
    fn check(&self) -> Result<(), &'static str> {
        let first_usable = self.first_usable();
        let primary_end = self.primary_entries().checked_add(self.entry_blocks());
        if self.primary_entries() < 2 || primary_end.is_none_or(|end| end > first_usable) {
            return Err("its entries lie where partitions may be");
        }
        if first_usable >= self.usable_end() {
            return Err("the disk is too small for it");
        }
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for entry in self.entries() {
            if entry.first > entry.last
                || entry.first < first_usable
                || entry.last >= self.usable_end()
            {
                return Err("a partition lies outside of the usable blocks");
            }
            ranges.push((entry.first, entry.last));
        }
        ranges.sort_unstable();
        if ranges.windows(2).any(|pair| pair[0].1 >= pair[1].0) {
            return Err("partitions overlap");
        }
        Ok(())
    }

    /// The identity of the disk, as bytes of the disk.
    pub fn disk_guid(&self) -> [u8; 16] {
        let mut guid = [0; 16];
        guid.copy_from_slice(&self.copy.header[56..72]);
        guid
    }

    /// Bytes of a block.
    pub fn block_size(&self) -> u32 {
        self.block_size
    }

    /// The blocks that partitions are aligned to: those of a MiB.
    pub fn alignment(&self) -> u64 {
        (ALIGNMENT / u64::from(self.block_size)).max(1)
    }

    /// The first block that partitions may have.
    pub fn first_usable(&self) -> u64 {
        u64_at(&self.copy.header, 40)
    }

    /// The block behind the last that partitions may have, on the disk as large as it is now.
    pub fn usable_end(&self) -> u64 {
        self.blocks.saturating_sub(1 + self.entry_blocks())
    }

    /// Whether the primary copy was damaged, so that writing the table repairs it.
    pub fn is_from_backup(&self) -> bool {
        self.from_backup
    }

    /// Whether the backup is where the primary copy says, intact and the same.
    pub fn has_backup(&self, disk: &File) -> bool {
        let place = u64_at(&self.copy.header, 32);
        self.from_backup
            || TableCopy::read(disk, self.block_size, self.blocks, place)
                .is_ok_and(|backup| backup.entries == self.copy.entries)
    }

    /// The partitions in the order of their numbers.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        let count = (self.copy.entries.len() / ENTRY_SIZE) as u32;
        (1..=count).filter_map(|number| self.entry(number))
    }

    /// The partition with this number.
    pub fn entry(&self, number: u32) -> Option<Entry> {
        let bytes = self.copy.entry(number)?;
        let mut type_guid = [0; 16];
        type_guid.copy_from_slice(&bytes[..16]);
        let mut unique_guid = [0; 16];
        unique_guid.copy_from_slice(&bytes[16..32]);
        let units = bytes[56..]
            .chunks(2)
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
        let units: Vec<u16> = units.take_while(|&unit| unit != 0).collect();
        Some(Entry {
            number,
            type_guid,
            unique_guid,
            first: u64_at(bytes, 32),
            last: u64_at(bytes, 40),
            attributes: u64_at(bytes, 48),
            name: String::from_utf16_lossy(&units),
        })
    }

    /// The lowest number that no partition has.
    pub fn free_number(&self) -> Option<u32> {
        let count = (self.copy.entries.len() / ENTRY_SIZE) as u32;
        (1..=count).find(|&number| self.copy.entry(number).is_none())
    }

    /// Adds a partition; the table as it was when that is not possible: the number is taken or
    /// beyond the table, the place is not free, the name is longer than 36 UTF-16 units.
    #[must_use = "the partition may not have been added"]
    pub fn add(&mut self, entry: &Entry) -> bool {
        let name: Vec<u16> = entry.name.encode_utf16().collect();
        let count = (self.copy.entries.len() / ENTRY_SIZE) as u32;
        if name.len() > NAME_UNITS
            || !(1..=count).contains(&entry.number)
            || self.copy.entry(entry.number).is_some()
            || entry.type_guid == [0; 16]
        {
            return false;
        }
        let before = self.copy.entries.clone();
        let start = (entry.number as usize - 1) * ENTRY_SIZE;
        let bytes = &mut self.copy.entries[start..start + ENTRY_SIZE];
        bytes.fill(0);
        put(bytes, 0, &entry.type_guid);
        put(bytes, 16, &entry.unique_guid);
        put(bytes, 32, &entry.first.to_le_bytes());
        put(bytes, 40, &entry.last.to_le_bytes());
        put(bytes, 48, &entry.attributes.to_le_bytes());
        for (unit, place) in name.iter().zip(bytes[56..].chunks_mut(2)) {
            place.copy_from_slice(&unit.to_le_bytes());
        }
        self.keep_if_valid(before)
    }

    /// Lets a partition end at another block; the table as it was when the place is not free.
    pub fn set_last(&mut self, number: u32, last: u64) -> bool {
        if self.copy.entry(number).is_none() {
            return false;
        }
        let before = self.copy.entries.clone();
        let start = (number as usize - 1) * ENTRY_SIZE;
        put(&mut self.copy.entries[start..], 40, &last.to_le_bytes());
        self.keep_if_valid(before)
    }

    fn keep_if_valid(&mut self, before: Vec<u8>) -> bool {
        let valid = self.check().is_ok();
        if !valid {
            self.copy.entries = before;
        }
        valid
    }

    /// Writes both copies, the backup at the end of the disk as large as it is now, and fits the
    /// protective MBR. The good copy is written last, so that one of them is whole after a power
    /// cut at any moment.
    pub fn write(&self, disk: &File) -> Result<(), GptError> {
        self.write_copies(disk).map_err(|source| GptError::Io {
            action: "write",
            disk: disk.path().to_owned(),
            source,
        })
    }

    fn write_copies(&self, disk: &File) -> io::Result<()> {
        let block = u64::from(self.block_size);
        let (end, last) = (self.usable_end(), self.blocks - 1);
        let mut primary = self.copy.clone();
        primary.seal(1, last, self.primary_entries(), end - 1);
        let mut backup = self.copy.clone();
        backup.seal(last, 1, end, end - 1);
        let order = if self.from_backup {
            [primary, backup]
        } else {
            [backup, primary]
        };
        for copy in order {
            copy.write(disk, block)?;
        }
        if self.new {
            write_protective_mbr(disk, self.blocks)?;
        } else {
            resize_protective_mbr(disk, self.blocks)?;
        }
        disk.sync_all()
    }

    /// Where the entries of the primary copy are; those of a backup are elsewhere.
    fn primary_entries(&self) -> u64 {
        if self.from_backup {
            2
        } else {
            u64_at(&self.copy.header, 72)
        }
    }

    fn entry_blocks(&self) -> u64 {
        (self.copy.entries.len() as u64).div_ceil(u64::from(self.block_size))
    }
}

/// Whether either end of the disk bears the signature of a header, intact or not.
fn has_signature(disk: &File, block_size: u32, size: u64) -> bool {
    let block = u64::from(block_size);
    let last = (size / block.max(1))
        .saturating_sub(1)
        .saturating_mul(block);
    [block, last]
        .into_iter()
        .filter(|at| at.saturating_add(8) <= size)
        .any(|at| {
            let mut bytes = [0; 8];
            disk.read_exact_at(&mut bytes, at).is_ok() && &bytes == SIGNATURE
        })
}

/// How many blocks a protective MBR covers: all but its own, as far as its field goes.
fn protected(blocks: u64) -> [u8; 4] {
    u32::try_from(blocks - 1).unwrap_or(u32::MAX).to_le_bytes()
}

/// The MBR that tells tools without knowledge of GPT that the disk is full.
fn write_protective_mbr(disk: &File, blocks: u64) -> io::Result<()> {
    let mut mbr = [0; 512];
    put(
        &mut mbr,
        MBR_ENTRIES,
        &[0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0],
    );
    put(&mut mbr, MBR_ENTRIES + 12, &protected(blocks));
    put(&mut mbr, 510, &[0x55, 0xaa]);
    disk.write_all_at(&mbr, 0)
}

/// Adapts the size in a protective MBR and nothing else of the sector. A hybrid one, with more
/// entries, says what somebody chose.
fn resize_protective_mbr(disk: &File, blocks: u64) -> io::Result<()> {
    let mut entries = [0; 4 * MBR_ENTRY];
    disk.read_exact_at(&mut entries, MBR_ENTRIES as u64)?;
    if entries[4] == 0xee && entries[MBR_ENTRY..].iter().all(|&byte| byte == 0) {
        disk.write_all_at(&protected(blocks), MBR_ENTRIES as u64 + 12)?;
    }
    Ok(())
}
