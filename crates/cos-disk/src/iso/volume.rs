//! Volume descriptors, path tables and the room they share with the directories.

use super::boot::{self, BootImages};
use super::directory::{Directories, both16, both32};
use super::tree::{ROOT, Tree};
use super::{CENTURY, DATA_START, IsoOptions, SECTOR, UUID_EPOCH, date_of};
use crate::DiskError;
use crate::calendar::Calendar;
use std::collections::BTreeMap;

/// The sector of the first volume descriptor.
pub(super) const START: u64 = 16;

/// The sector of the boot catalog: after primary descriptor, boot record and terminator.
pub(super) const CATALOG: u64 = START + 3;

/// The sector of the first path table.
const PATH_TABLES: u64 = CATALOG + 1;

pub(super) fn check_label(label: &str) -> Result<(), DiskError> {
    let good = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    if label.is_empty() || label.len() > 32 || !label.chars().all(good) {
        let reason = "a volume label has up to 32 capital letters, digits and underscores";
        return Err(DiskError::IsoName {
            path: label.to_owned(),
            reason,
        });
    }
    Ok(())
}

/// Everything from sector 16 on that is not a file.
pub(super) fn metadata(
    tree: &Tree,
    options: &IsoOptions,
    sectors: u64,
    boot: &BootImages<'_>,
) -> Result<Vec<u8>, DiskError> {
    let directories = tree.directories();
    let mut writer = Directories {
        tree,
        places: vec![(0, 0); tree.nodes.len()],
        time: options.time,
    };
    let path_table_bytes: u64 = directories.iter().map(|(id, _)| path_entry_bytes(id)).sum();
    let path_table_sectors = path_table_bytes.div_ceil(SECTOR);

    // Lengths do not depend on places, so that the first pass gives the places of the second.
    let mut next = PATH_TABLES + 2 * path_table_sectors;
    for (_, index) in &directories {
        let length = writer.bytes(*index).len() as u64;
        writer.places[*index] = (next as u32, length as u32);
        next += length / SECTOR;
    }
    if next > DATA_START {
        let (needed, available) = (next * SECTOR, DATA_START * SECTOR);
        return Err(DiskError::IsoFull { needed, available });
    }
    let mut bytes = vec![0; ((next - START) * SECTOR) as usize];
    let mut put = |sector: u64, part: &[u8]| {
        let at = ((sector - START) * SECTOR) as usize;
        bytes[at..at + part.len()].copy_from_slice(part);
    };
    put(
        START,
        &primary(&writer, options, sectors as u32, path_table_bytes as u32),
    );
    if boot.is_empty() {
        put(START + 1, &terminator());
    } else {
        put(START + 1, &boot::record());
        put(START + 2, &terminator());
        put(CATALOG, &boot::catalog(tree, boot)?);
    }
    put(
        PATH_TABLES,
        &path_table(&directories, &writer, u32::to_le_bytes, u16::to_le_bytes),
    );
    let second = PATH_TABLES + path_table_sectors;
    put(
        second,
        &path_table(&directories, &writer, u32::to_be_bytes, u16::to_be_bytes),
    );
    for (_, index) in &directories {
        put(writer.places[*index].0.into(), &writer.bytes(*index));
    }
    Ok(bytes)
}

/// The primary volume descriptor.
fn primary(
    directories: &Directories<'_>,
    options: &IsoOptions,
    sectors: u32,
    path_table_bytes: u32,
) -> [u8; SECTOR as usize] {
    let mut descriptor = [0; SECTOR as usize];
    let mut put = |at: usize, part: &[u8]| descriptor[at..at + part.len()].copy_from_slice(part);
    let path_table_sectors = u64::from(path_table_bytes).div_ceil(SECTOR);
    put(0, b"\x01CD001\x01");
    put(8, &[b' '; 64]);
    put(40, options.volume_id.as_bytes());
    put(80, &both32(sectors));
    put(120, &both16(1));
    put(124, &both16(1));
    put(128, &both16(SECTOR as u16));
    put(132, &both32(path_table_bytes));
    put(140, &(PATH_TABLES as u32).to_le_bytes());
    put(
        148,
        &((PATH_TABLES + path_table_sectors) as u32).to_be_bytes(),
    );
    put(156, &directories.root_record());
    put(190, &[b' '; 623]); // volume set, publisher, preparer, application, three files: none
    put(813, &digits(date_of(options.time), 0));
    put(830, &uuid_digits(options.identity));
    put(847, b"0000000000000000\0"); // expires never
    put(864, b"0000000000000000\0"); // effective at once
    put(881, &[1]);
    descriptor
}

fn terminator() -> [u8; 7] {
    *b"\xffCD001\x01"
}

/// A date in 16 digits, to the hundredth of a second, and the offset from UTC.
fn digits(date: Calendar, hundredths: u64) -> [u8; 17] {
    let Calendar {
        year,
        month,
        day,
        hour,
        minute,
        second,
    } = date;
    let text = format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}{hundredths:02}");
    let mut digits = [0; 17];
    for (digit, byte) in digits.iter_mut().zip(text.bytes().take(16)) {
        *digit = byte;
    }
    digits
}

/// The modification time that serves as the volume's UUID: any moment of a hundred years.
pub(super) fn uuid_digits(identity: u64) -> [u8; 17] {
    let seconds = UUID_EPOCH.saturating_add_unsigned(identity % CENTURY);
    digits(date_of(seconds), identity / CENTURY % 100)
}

fn path_entry_bytes(identifier: &str) -> u64 {
    8 + (identifier.len() as u64).next_multiple_of(2)
}

/// A path table in one byte order.
fn path_table(
    directories: &[(String, usize)],
    writer: &Directories<'_>,
    u32_bytes: fn(u32) -> [u8; 4],
    u16_bytes: fn(u16) -> [u8; 2],
) -> Vec<u8> {
    let numbers: BTreeMap<usize, u16> = directories
        .iter()
        .map(|(_, index)| *index)
        .zip(1..)
        .collect();
    let mut table = Vec::new();
    for (identifier, index) in directories {
        let parent = writer.tree.nodes[*index].parent;
        let number = numbers
            .get(&parent)
            .or(numbers.get(&ROOT))
            .copied()
            .unwrap_or(1);
        table.extend([identifier.len() as u8, 0]);
        table.extend(u32_bytes(writer.places[*index].0));
        table.extend(u16_bytes(number));
        table.extend(identifier.bytes());
        table.resize(table.len().next_multiple_of(2), 0);
    }
    table
}
