//! Growing a mounted ext4 file system to the size of its device.

#![expect(unsafe_code, reason = "online resize is an ioctl")]

use crate::ioctl;
use fs_err::File;
use rustix::ioctl::{Opcode, opcode};
use std::io;

/// `EXT4_IOC_RESIZE_FS` of linux/fs/ext4/ext4.h: the argument is the new size in blocks.
const RESIZE_FS: Opcode = opcode::write::<u64>(b'f', 16);

/// Grows the file system mounted (writable) at the open directory to `blocks` of its own blocks.
pub fn grow_mounted(mount_point: &File, blocks: u64) -> io::Result<()> {
    let mut argument = blocks.to_ne_bytes();
    // SAFETY: EXT4_IOC_RESIZE_FS reads a 64-bit number; other file systems do not know the opcode.
    unsafe { ioctl::bytes(mount_point, RESIZE_FS, &mut argument) }?;
    Ok(())
}
