//! The partition that keeps what is written grows into the rest of its disk, at any boot that finds
//! room: an image is as small as its content, a disk is not.

use crate::log::Log;
use cos_sys::block::BlockDevices;
use cos_sys::locate::Candidate;
use cos_sys::{ext4, gpt, probe};
use fs_err::File;
use std::path::Path;

/// Less than this is what mke2fs leaves unused by itself.
const WORTHWHILE: u64 = 1 << 20;

/// Grows the partition. To be called before it is mounted; failing is a warning.
pub(crate) fn partition(candidate: &Candidate, log: &mut Log) {
    let Some(partition) = &candidate.device.partition else {
        return;
    };
    let name = &candidate.device.name;
    let grown = BlockDevices::list()
        .map_err(|error| crate::error::chain(&error))
        .and_then(|devices| {
            let disk = devices
                .by_name(&partition.disk)
                .ok_or_else(|| format!("{} is gone", partition.disk))?;
            gpt::grow_partition(disk, partition).map_err(|error| crate::error::chain(&error))
        });
    match grown {
        Ok(None) => {}
        Ok(Some(size)) => log.info(&format!(
            "{name} has grown from {} MiB to {} MiB",
            candidate.device.size >> 20,
            size >> 20
        )),
        Err(why) => log.warn(format!("{name} could not grow: {why}")),
    }
}

/// Grows the ext4 mounted at `mount_point` to the size of its partition; failing is a warning.
pub(crate) fn filesystem(candidate: &Candidate, mount_point: &Path, log: &mut Log) {
    let name = &candidate.device.name;
    match grow_filesystem(candidate, mount_point) {
        Ok(None) => {}
        Ok(Some(size)) => log.info(&format!(
            "the file system on {name} now has {} MiB",
            size >> 20
        )),
        Err(error) => log.warn(format!("the file system on {name} could not grow: {error}")),
    }
}

fn grow_filesystem(candidate: &Candidate, mount_point: &Path) -> std::io::Result<Option<u64>> {
    let node = &candidate.device.node;
    let now = probe::probe(&File::open(node)?)?;
    let Some(size) = now
        .filter(|now| now.kind == "ext4")
        .and_then(|now| now.size)
    else {
        return Ok(None);
    };
    let devices = BlockDevices::list().map_err(std::io::Error::other)?;
    let Some(device) = devices.by_name(&candidate.device.name) else {
        return Ok(None);
    };
    if device.size < size.saturating_add(WORTHWHILE) {
        return Ok(None);
    }
    let directory = File::open(mount_point)?;
    let block = rustix::fs::statvfs(mount_point)?.f_bsize;
    ext4::grow_mounted(&directory, device.size / block.max(1024))?;
    Ok(Some(device.size))
}
