//! Partition tables, file systems, ISO and disk formats, written to a file or a device.
//!
//! Nothing here but [`live`] needs root, a loop device or a mount: every writer works at an offset
//! inside a file, takes its times and identities from the caller, and so gives the same bytes for the
//! same input. Places that hold nothing stay holes, so that a disk of many gigabytes is written in the
//! time its content takes.
//!
//! A disk file is a [`fs_err::File`], open for reading and writing. Sectors are 512 bytes.

pub mod content;
pub mod error;
pub mod ext4;
pub mod fat;
pub mod format;
pub mod gpt;
pub mod grub_bios;
pub mod iso;
pub mod live;
pub mod place;
pub mod sparse;

mod calendar;

pub use content::Source;
pub use error::DiskError;
