//! The one raw `ioctl` call, over plain byte buffers.
//!
//! Kernel structures are laid out byte by byte by their callers, so that no `repr(C)` type has to
//! be trusted to match the kernel's.

#![expect(unsafe_code, reason = "ioctl has no safe form")]

use rustix::fd::AsFd;
use rustix::io;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode};
use std::ffi::c_void;

/// An `ioctl` whose argument is a pointer to bytes that the kernel reads and may write.
struct Bytes<'a> {
    opcode: Opcode,
    bytes: &'a mut [u8],
}

// SAFETY: the pointer is valid for reads and writes of the whole buffer for as long as the call
// lasts, and the output is the plain return value. `bytes` and `integer` below state what the
// caller promises about the opcode.
unsafe impl Ioctl for Bytes<'_> {
    type Output = IoctlOutput;
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        self.opcode
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.bytes.as_mut_ptr().cast()
    }

    unsafe fn output_from_ptr(output: IoctlOutput, _: *mut c_void) -> io::Result<IoctlOutput> {
        Ok(output)
    }
}

/// An `ioctl` whose argument is a number.
struct Integer {
    opcode: Opcode,
    value: usize,
}

// SAFETY: the argument is a number that the kernel does not follow as a pointer.
unsafe impl Ioctl for Integer {
    type Output = IoctlOutput;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        self.opcode
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::without_provenance_mut(self.value)
    }

    unsafe fn output_from_ptr(output: IoctlOutput, _: *mut c_void) -> io::Result<IoctlOutput> {
        Ok(output)
    }
}

/// Calls an `ioctl` on a buffer.
///
/// # Safety
/// For `opcode` on this kind of descriptor, the kernel must access no memory but the buffer's own
/// bytes, and whatever valid memory pointers inside it lead to.
pub(crate) unsafe fn bytes(fd: impl AsFd, opcode: Opcode, bytes: &mut [u8]) -> io::Result<i32> {
    // SAFETY: promised by the caller.
    unsafe { rustix::ioctl::ioctl(fd, Bytes { opcode, bytes }) }
}

/// Calls an `ioctl` that takes a number, or nothing.
///
/// # Safety
/// For `opcode` on this kind of descriptor, the kernel must not take the argument for a pointer.
pub(crate) unsafe fn integer(fd: impl AsFd, opcode: Opcode, value: usize) -> io::Result<i32> {
    // SAFETY: promised by the caller.
    unsafe { rustix::ioctl::ioctl(fd, Integer { opcode, value }) }
}

/// Writes `value` at `offset` of a structure under construction.
pub(crate) fn put(structure: &mut [u8], offset: usize, value: &[u8]) {
    structure[offset..offset + value.len()].copy_from_slice(value);
}
