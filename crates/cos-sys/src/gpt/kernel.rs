//! Telling the kernel of one partition (`BLKPG` of linux/blkpg.h), which it takes also while others
//! of the disk are in use. Reading the whole table again (`BLKRRPART`) it refuses then.

#![expect(
    unsafe_code,
    reason = "the kernel is told of partitions by an ioctl with a pointer"
)]

use super::GptError;
use crate::ioctl;
use fs_err::File;
use rustix::ioctl::Opcode;
use std::io;

const BLKPG: Opcode = 0x1269;
const ADD_PARTITION: i32 = 1;
const DELETE_PARTITION: i32 = 2;
const RESIZE_PARTITION: i32 = 3;

/// Makes a partition known that is in the table already: at byte `start` of the open disk, `size`
/// bytes long.
pub fn add_partition(disk: &File, number: u32, start: u64, size: u64) -> Result<(), GptError> {
    tell(disk, ADD_PARTITION, number, start, size).map_err(|source| GptError::Add {
        disk: disk.path().to_owned(),
        number,
        source,
    })
}

/// Makes the new size of a known partition known, in bytes; its start cannot change.
pub fn resize_partition(disk: &File, number: u32, start: u64, size: u64) -> Result<(), GptError> {
    tell(disk, RESIZE_PARTITION, number, start, size).map_err(|source| GptError::Resize {
        disk: disk.path().to_owned(),
        number,
        source,
    })
}

/// Makes the kernel forget a partition, which it refuses while that is in use.
pub fn forget_partition(disk: &File, number: u32) -> Result<(), GptError> {
    tell(disk, DELETE_PARTITION, number, 0, 0).map_err(|source| GptError::Forget {
        disk: disk.path().to_owned(),
        number,
        source,
    })
}

fn tell(disk: &File, operation: i32, number: u32, start: u64, size: u64) -> io::Result<()> {
    // struct blkpg_partition: start, length, number, two names of 64 bytes.
    let mut description = [0u8; 152];
    ioctl::put(&mut description, 0, &start.to_ne_bytes());
    ioctl::put(&mut description, 8, &size.to_ne_bytes());
    ioctl::put(&mut description, 16, &number.to_ne_bytes());
    // struct blkpg_ioctl_arg: op, flags, length and, aligned, the pointer to the above.
    let mut argument = [0u8; 24];
    ioctl::put(&mut argument, 0, &operation.to_ne_bytes());
    ioctl::put(&mut argument, 8, &152i32.to_ne_bytes());
    let pointer = description.as_mut_ptr().expose_provenance();
    ioctl::put(&mut argument[16..], 0, &pointer.to_ne_bytes());
    // SAFETY: the kernel reads the argument and, through its pointer, `description`, both alive
    // until the call returns and of the stated lengths.
    unsafe { ioctl::bytes(disk, BLKPG, &mut argument) }?;
    Ok(())
}
