//! What the kernel knows of the partitions.

use super::LayoutError;
use super::disk::{Disks, numbers};
use cos_sys::block::BlockDevice;
use cos_sys::gpt::{self, Table};
use fs_err::File;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long the node of a new partition is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Makes the kernel know what the table says, `None` being no table: partitions that it does not
/// know, as after an interruption, or knows as smaller. Says what was told.
///
/// Everything else that differs is an error, and nothing is told then: somebody changed the table
/// while partitions were in use.
pub(super) fn tell(
    file: &File,
    disk: &BlockDevice,
    table: Option<&Table>,
) -> Result<Vec<String>, LayoutError> {
    let disks = Disks::list()?;
    let mut known: Vec<_> = disks.partitions(disk).collect();
    let mut new = Vec::new();
    for entry in table.iter().flat_map(|table| table.entries()) {
        let block = u64::from(disk.block_size);
        let (start, size) = (entry.first * block, (entry.last + 1 - entry.first) * block);
        let place = known
            .iter()
            .position(|(number, ..)| *number == entry.number);
        let before = place.map(|place| known.swap_remove(place));
        match before {
            None => new.push((entry.number, start, size, true)),
            Some((_, at, now)) if at == start && now.size < size => {
                new.push((entry.number, start, size, false));
            }
            Some((_, at, now)) if at == start && now.size == size => {}
            Some(_) => return Err(disagrees(disk, entry.number)),
        }
    }
    if let Some((number, ..)) = known.first() {
        return Err(disagrees(disk, *number));
    }
    let mut told = Vec::new();
    for (number, start, size, is_new) in new {
        let done = if is_new {
            gpt::add_partition(file, number, start, size)
        } else {
            gpt::resize_partition(file, number, start, size)
        };
        done.map_err(|source| LayoutError::Table {
            disk: disk.node.clone(),
            source,
        })?;
        told.push(format!("tell the kernel of partition {number}"));
    }
    Ok(told)
}

fn disagrees(disk: &BlockDevice, number: u32) -> LayoutError {
    LayoutError::KernelDisagrees {
        disk: disk.node.clone(),
        number,
    }
}

/// The device of a partition, once its node is there.
pub(super) fn partition(disk: &BlockDevice, number: u32) -> Result<BlockDevice, LayoutError> {
    let begin = Instant::now();
    loop {
        let disks = Disks::list()?;
        let found = disks.partitions(disk).find(|(known, ..)| *known == number);
        if let Some((_, _, device)) = found.filter(|(_, _, device)| has_node(device)) {
            return Ok(device.clone());
        }
        if begin.elapsed() > PATIENCE {
            return Err(LayoutError::NoNode {
                disk: disk.node.clone(),
                number,
                seconds: PATIENCE.as_secs(),
            });
        }
        sleep(Duration::from_millis(50));
    }
}

/// Whether the node is there, and is that of this device and not of one that had its name before.
fn has_node(device: &BlockDevice) -> bool {
    let class = format!("/sys/class/block/{}/dev", device.name);
    let (Ok(meta), Ok(wanted)) = (
        fs_err::metadata(&device.node),
        fs_err::read_to_string(class),
    ) else {
        return false;
    };
    let (major, minor) = numbers(meta.rdev());
    meta.file_type().is_block_device() && wanted.trim() == format!("{major}:{minor}")
}
