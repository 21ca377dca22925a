//! What a disk is like before anything is changed.

use super::Content;
use cos_sys::gpt::Table;
use std::path::PathBuf;

/// A disk as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskState {
    /// Its device node.
    pub node: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// Bytes of a logical block.
    pub block_size: u32,
    /// Its table.
    pub table: TableState,
    /// What its partitions hold, one for each partition of the table.
    pub occupants: Vec<Occupant>,
    /// Labels of file systems that are on the disk, but not on a partition itself: inside of
    /// encrypted partitions that are unlocked, or volume groups.
    pub mapped_labels: Vec<String>,
}

/// The table of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableState {
    /// A GPT.
    Present {
        /// The table.
        table: Table,
        /// Whether its backup is intact too.
        has_backup: bool,
    },
    /// A table of the old kind.
    Mbr,
    /// No table, but something else of this kind.
    Occupied(&'static str),
    /// Nothing known.
    Absent,
}

/// What a partition holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occupant {
    /// Number of the partition.
    pub number: u32,
    /// What was found there.
    pub content: Option<Content>,
    /// Whether its first MiB is all zero: nothing was ever written there since it was made.
    pub blank: bool,
}

impl DiskState {
    /// What the partition holds.
    pub(super) fn occupant(&self, number: u32) -> Option<&Occupant> {
        self.occupants
            .iter()
            .find(|occupant| occupant.number == number)
    }

    /// Whether a file system with this label is on the disk.
    pub(super) fn bears(&self, label: &str) -> bool {
        let of_content = |occupant: &Occupant| {
            let content = occupant.content.as_ref()?;
            content.label.as_deref().map(|found| found == label)
        };
        self.mapped_labels.iter().any(|found| found == label)
            || self.occupants.iter().any(|it| of_content(it) == Some(true))
    }
}
