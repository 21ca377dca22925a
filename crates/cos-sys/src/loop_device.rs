//! Loop devices: a file as a block device (linux/loop.h).

#![expect(unsafe_code, reason = "loop devices are set up by ioctl")]

use crate::ioctl;
use fs_err::{File, OpenOptions};
use rustix::fd::AsRawFd;
use rustix::io::Errno;
use rustix::ioctl::Opcode;
use std::io;
use std::path::{Path, PathBuf};

const LOOP_SET_FD: Opcode = 0x4C00;
const LOOP_CLR_FD: Opcode = 0x4C01;
const LOOP_SET_STATUS64: Opcode = 0x4C04;
const LOOP_SET_DIRECT_IO: Opcode = 0x4C08;
const LOOP_CONFIGURE: Opcode = 0x4C0A;
const LOOP_CTL_GET_FREE: Opcode = 0x4C82;

/// Sizes of `struct loop_config` and of the `struct loop_info64` inside it, which begins at byte 8.
const CONFIG_SIZE: usize = 304;
const INFO_AT: usize = 8;
const INFO_SIZE: usize = 232;
/// Offsets inside `struct loop_info64`.
const INFO_OFFSET: usize = 24;
const INFO_SIZE_LIMIT: usize = 32;
const INFO_FLAGS: usize = 52;
const INFO_FILE_NAME: usize = 56;
const FILE_NAME_SIZE: usize = 64;

const FLAG_READ_ONLY: u32 = 1;
const FLAG_AUTOCLEAR: u32 = 4;

/// Another process may take the free device we were told of; this often is enough.
const ATTEMPTS: u32 = 64;

/// Why a loop device could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoopError {
    /// The control device or the device itself could not be opened; the cause names it.
    #[error("cannot open a loop device")]
    Open {
        /// Why.
        source: io::Error,
    },
    /// The file to attach could not be opened.
    #[error("cannot open the file to attach to a loop device")]
    Backing {
        /// Why.
        source: io::Error,
    },
    /// No free device.
    #[error("the kernel has no free loop device")]
    NoFreeDevice {
        /// Why.
        source: io::Error,
    },
    /// The kernel refused the file.
    #[error("cannot attach {} to {}", .file.display(), .device.display())]
    Attach {
        /// The file.
        file: PathBuf,
        /// The loop device.
        device: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel would not let the file go.
    #[error("cannot detach {}", .device.display())]
    Detach {
        /// The loop device.
        device: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What part of a file becomes a device, and how.
#[derive(Debug, Clone, Copy, Default)]
pub struct LoopOptions {
    /// First byte of the file that is part of the device.
    pub offset: u64,
    /// Length of the device in bytes; 0 is up to the end of the file.
    pub size_limit: u64,
    /// Refuse writes.
    pub read_only: bool,
    /// Detach when the last user closes the device.
    pub autoclear: bool,
    /// Ask for reads and writes past the page cache of the file's own file system, so that nothing
    /// is cached twice. Not every file system can; then the kernel stays with the cache.
    pub direct_io: bool,
}

/// An attached loop device. Dropping it closes the device and leaves the file attached (unless
/// [`LoopOptions::autoclear`] is set and nobody else uses it).
#[derive(Debug)]
pub struct LoopDevice {
    device: File,
    path: PathBuf,
}

impl LoopDevice {
    /// Attaches a file to a free loop device.
    pub fn attach(file: &Path, options: LoopOptions) -> Result<Self, LoopError> {
        let backing = OpenOptions::new()
            .read(true)
            .write(!options.read_only)
            .open(file)
            .map_err(|source| LoopError::Backing { source })?;
        let control = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/loop-control")
            .map_err(|source| LoopError::Open { source })?;
        for _ in 0..ATTEMPTS {
            // SAFETY: LOOP_CTL_GET_FREE takes no argument.
            let number =
                unsafe { ioctl::integer(&control, LOOP_CTL_GET_FREE, 0) }.map_err(|errno| {
                    LoopError::NoFreeDevice {
                        source: errno.into(),
                    }
                })?;
            let path = PathBuf::from(format!("/dev/loop{number}"));
            let device = OpenOptions::new()
                .read(true)
                .write(!options.read_only)
                .open(&path)
                .map_err(|source| LoopError::Open { source })?;
            match configure(&device, &backing, file, options) {
                Ok(()) => {
                    let attached = Self { device, path };
                    if options.direct_io {
                        attached.prefer_direct_io();
                    }
                    return Ok(attached);
                }
                Err(Errno::BUSY) => {}
                Err(errno) => {
                    return Err(LoopError::Attach {
                        file: file.to_owned(),
                        device: path,
                        source: errno.into(),
                    });
                }
            }
        }
        Err(LoopError::NoFreeDevice {
            source: Errno::BUSY.into(),
        })
    }

    /// Path of the device, `/dev/loopN`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open device.
    pub fn file(&self) -> &File {
        &self.device
    }

    /// Detaches the file now (or when the last other user closes the device).
    pub fn detach(self) -> Result<(), LoopError> {
        // SAFETY: LOOP_CLR_FD takes no argument.
        unsafe { ioctl::integer(&self.device, LOOP_CLR_FD, 0) }
            .map(|_| ())
            .map_err(|errno| LoopError::Detach {
                device: self.path.clone(),
                source: errno.into(),
            })
    }

    /// A wish, not a need: file systems without direct I/O (ISO 9660) and odd sector sizes refuse it.
    fn prefer_direct_io(&self) {
        // SAFETY: LOOP_SET_DIRECT_IO takes a number.
        let _refusal_is_harmless = unsafe { ioctl::integer(&self.device, LOOP_SET_DIRECT_IO, 1) };
    }
}

/// Attaches in one call where the kernel can (5.8), in two on older ones.
fn configure(
    device: &File,
    backing: &File,
    file: &Path,
    options: LoopOptions,
) -> Result<(), Errno> {
    let mut config = loop_config(backing.as_raw_fd(), file, options);
    // SAFETY: LOOP_CONFIGURE reads a loop_config, which holds no pointers.
    match unsafe { ioctl::bytes(device, LOOP_CONFIGURE, &mut config) } {
        Ok(_) => return Ok(()),
        Err(Errno::INVAL | Errno::NOTTY) => {}
        Err(errno) => return Err(errno),
    }
    let descriptor = usize::try_from(backing.as_raw_fd()).map_err(|_| Errno::BADF)?;
    // SAFETY: LOOP_SET_FD takes a file descriptor as a number.
    unsafe { ioctl::integer(device, LOOP_SET_FD, descriptor) }?;
    let info = &mut config[INFO_AT..INFO_AT + INFO_SIZE];
    // SAFETY: LOOP_SET_STATUS64 reads a loop_info64, which holds no pointers.
    let status = unsafe { ioctl::bytes(device, LOOP_SET_STATUS64, info) };
    if let Err(errno) = status {
        // SAFETY: LOOP_CLR_FD takes no argument.
        unsafe { ioctl::integer(device, LOOP_CLR_FD, 0) }?;
        return Err(errno);
    }
    Ok(())
}

fn loop_config(descriptor: i32, file: &Path, options: LoopOptions) -> [u8; CONFIG_SIZE] {
    let mut config = [0; CONFIG_SIZE];
    ioctl::put(&mut config, 0, &descriptor.to_ne_bytes());
    let mut flags = 0;
    if options.read_only {
        flags |= FLAG_READ_ONLY;
    }
    if options.autoclear {
        flags |= FLAG_AUTOCLEAR;
    }
    let info = &mut config[INFO_AT..INFO_AT + INFO_SIZE];
    ioctl::put(info, INFO_OFFSET, &options.offset.to_ne_bytes());
    ioctl::put(info, INFO_SIZE_LIMIT, &options.size_limit.to_ne_bytes());
    ioctl::put(info, INFO_FLAGS, &flags.to_ne_bytes());
    let name = file.as_os_str().as_encoded_bytes();
    // The name is what `losetup` shows; the last byte stays NUL.
    let length = name.len().min(FILE_NAME_SIZE - 1);
    ioctl::put(info, INFO_FILE_NAME, &name[..length]);
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structure_is_laid_out_as_in_the_kernel_header() {
        let options = LoopOptions {
            offset: 0x1122,
            size_limit: 0x3344,
            read_only: true,
            autoclear: true,
            direct_io: false,
        };
        let config = loop_config(7, Path::new("/x"), options);
        assert_eq!(config[0..4], 7i32.to_ne_bytes());
        assert_eq!(config[32..40], 0x1122u64.to_ne_bytes());
        assert_eq!(config[40..48], 0x3344u64.to_ne_bytes());
        assert_eq!(config[60..64], 5u32.to_ne_bytes());
        assert_eq!(&config[64..67], b"/x\0");
    }

    #[test]
    fn a_long_name_is_cut_and_still_ends() {
        let config = loop_config(0, Path::new(&"n".repeat(200)), LoopOptions::default());
        assert_eq!(config[64 + 62], b'n');
        assert_eq!(config[64 + 63], 0);
    }
}
