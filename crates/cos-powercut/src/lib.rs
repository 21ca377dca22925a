//! The power-cut rig: what would boot, had the power been cut at any moment of an operation?
//!
//! ```text
//! Recorder   a disk whose every write and flush is logged while the kernel's ext4 is mounted on it
//!    │
//!   Log      those writes and flushes, read back
//!    │
//!  States    the disk as it would lie after a cut: at every flush, at every write, and with any part
//!    │       of what was not flushed lost, reordered or torn
//!    │
//!  Loader    what the boot loader finds then, without replaying the journal (microseconds)
//!  replay    what Linux finds, which replays it, and whether the next operation succeeds (a sample)
//!  guest     what a machine under QEMU finds, from the firmware to the login (a few)
//!    │
//!  Report    operation | writes | flushes | states | old | new | lost | nothing
//! ```
//!
//! Development only, like `cos-testkit`. What is not modelled: a disk that lies about a flush, and
//! bits that change by themselves.

mod book;
pub mod disk;
pub mod examine;
mod ext4;
pub mod faults;
pub mod fixture;
pub mod guest;
mod loader;
mod log;
mod recorder;
pub mod replay;
mod report;
pub mod scenario;
mod states;
pub mod survey;
mod table;
mod working_copy;

pub use disk::{DiskView, LoopDisk};
pub use ext4::Ext4;
pub use loader::{Known, View, grub_reads, look};
pub use log::{Entry, Flags, Log};
pub use recorder::{FaultyDisk, Mark, Mounted, Recorder, Recording, unavailable};
pub use report::{HEAD, Operation, Report, Row, Verdict};
pub use states::{Cut, Sampling, State, States};
pub use working_copy::WorkingCopy;

/// Where a partition lies on its disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Where it begins.
    pub offset: u64,
    /// How large it is.
    pub size: u64,
    /// Its number in the GUID partition table.
    pub number: u32,
}
