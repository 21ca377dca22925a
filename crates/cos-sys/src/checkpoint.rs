//! Bringing a mounted file system to the disk so that one who does not replay its journal sees it:
//! a boot loader.

#![expect(
    unsafe_code,
    reason = "ext4's checkpoint and the freezing of file systems are ioctls"
)]

use crate::ioctl;
use fs_err::File;
use rustix::io::Errno;
use rustix::ioctl::{Opcode, opcode};
use std::io;
use std::path::Path;

/// `EXT4_IOC_CHECKPOINT` of linux/fs/ext4/ext4.h, since Linux 5.14; no flags.
const CHECKPOINT: Opcode = opcode::write::<u32>(b'f', 43);
/// `FIFREEZE` and `FITHAW` of linux/include/uapi/linux/fs.h.
const FREEZE: Opcode = opcode::read_write::<i32>(b'X', 119);
const THAW: Opcode = opcode::read_write::<i32>(b'X', 120);

/// Writes everything of the file system mounted at `mount_point` to its disk, what is in the journal
/// to its own place too.
///
/// Freezing and thawing does the same where ext4's own call is not known; should the process end
/// between the two, the file system stays frozen until [`thaw`]. A file system that can do neither is
/// only synced, which is all that one without a journal needs.
pub fn checkpoint(mount_point: &Path) -> io::Result<()> {
    let directory = File::open(mount_point)?;
    rustix::fs::syncfs(&directory)?;
    let mut flags = 0_u32.to_ne_bytes();
    // SAFETY: EXT4_IOC_CHECKPOINT reads a 32-bit number; other file systems do not know the opcode.
    match unsafe { ioctl::bytes(&directory, CHECKPOINT, &mut flags) } {
        Ok(_) => Ok(()),
        Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::INVAL) => freeze_and_thaw(&directory),
        Err(errno) => Err(errno.into()),
    }
}

fn freeze_and_thaw(directory: &File) -> io::Result<()> {
    // SAFETY: FIFREEZE takes no argument.
    match unsafe { ioctl::integer(directory, FREEZE, 0) } {
        Ok(_) => {
            // SAFETY: FITHAW takes no argument.
            unsafe { ioctl::integer(directory, THAW, 0) }?;
            Ok(())
        }
        Err(Errno::OPNOTSUPP | Errno::NOTTY) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Thaws a file system that somebody froze and did not thaw. Returns whether it was frozen.
pub fn thaw(mount_point: &Path) -> io::Result<bool> {
    let directory = File::open(mount_point)?;
    // SAFETY: FITHAW takes no argument.
    match unsafe { ioctl::integer(&directory, THAW, 0) } {
        Ok(_) => Ok(true),
        Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOTTY) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}
