//! The partition table as those read it who boot from it.

use crate::Part;
use anyhow::{Context, Result, ensure};
use cos_sys::gpt::Table;
use fs_err::File;
use fs_err::os::unix::fs::FileExt;

const SECTOR: u64 = 512;
const ENTRY: usize = 128;
/// So many entries are looked at.
const ENTRIES: u64 = 128;

/// What GRUB makes of it: whatever the primary header points at, checksums or not
/// (grub-core/partmap/gpt.c).
pub(crate) fn by_grub(disk: &File) -> Result<Vec<Part>> {
    let mut mbr = [0; SECTOR as usize];
    disk.read_exact_at(&mut mbr, 0)?;
    let protects = mbr[446..510].chunks(16).any(|entry| entry[4] == 0xee);
    ensure!(
        protects && mbr[510..] == [0x55, 0xaa],
        "GRUB finds no protective MBR"
    );
    let mut header = [0; SECTOR as usize];
    disk.read_exact_at(&mut header, SECTOR)?;
    ensure!(&header[..8] == b"EFI PART", "GRUB finds no GPT");
    let first = number(&header, 72)?;
    let mut entries = vec![0; ENTRY * ENTRIES as usize];
    let at = first.checked_mul(SECTOR).context("entries")?;
    disk.read_exact_at(&mut entries, at)?;
    let mut parts = Vec::new();
    for (index, entry) in (1..).zip(entries.chunks(ENTRY)) {
        if entry[..16].iter().any(|&byte| byte != 0) {
            let (first, last) = (number(entry, 32)?, number(entry, 40)?);
            parts.push(part(index, first, last)?);
        }
    }
    Ok(parts)
}

/// What Linux makes of it: the primary copy and, `gpt` being on its command line, else the backup at the
/// end of the disk (block/partitions/efi.c).
pub(crate) fn by_linux(disk: &File, takes_backup: bool) -> Result<Vec<Part>> {
    let size = cos_disk::sparse::size_of(disk)?;
    let table = Table::read(disk, size, SECTOR as u32).context("Linux")?;
    ensure!(
        takes_backup || !table.is_from_backup(),
        "Linux finds a primary table that is damaged"
    );
    let entries = table.entries();
    entries
        .map(|entry| part(entry.number, entry.first, entry.last))
        .collect()
}

fn number(bytes: &[u8], at: usize) -> Result<u64> {
    let bytes = bytes.get(at..at + 8).context("cut short")?;
    Ok(u64::from_le_bytes(bytes.try_into()?))
}

fn part(number: u32, first: u64, last: u64) -> Result<Part> {
    let sectors = (last + 1).checked_sub(first).context("a partition's end")?;
    Ok(Part {
        offset: first.checked_mul(SECTOR).context("a partition's start")?,
        size: sectors.checked_mul(SECTOR).context("a partition's size")?,
        number,
    })
}
