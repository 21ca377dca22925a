//! GUID partition tables of new disks: planning, writing, reading. Tables of live disks are changed
//! by [`live`](crate::live).
//!
//! Written for 512-byte sectors, as virtual disks and most devices present; tables of disks with
//! 4096-byte sectors can be read. Layout of the table: UEFI specification 2.10, chapter 5.

pub mod plan;
pub mod table;
pub mod types;

pub use plan::{Layout, PartitionRequest, Size, plan};
pub use table::{Partition, Table, read_table, write_table, write_table_with};

/// Bytes of a sector in the tables that are written.
pub const SECTOR: u64 = 512;

/// Where partitions start and how their sizes are rounded, in bytes.
pub const ALIGNMENT: u64 = 1 << 20;

/// Sectors of the partition entry array: 128 entries of 128 bytes.
const ENTRIES_SECTORS: u64 = 32;

/// Sectors at the end of a disk that hold the backup table.
const BACKUP_SECTORS: u64 = ENTRIES_SECTORS + 1;
