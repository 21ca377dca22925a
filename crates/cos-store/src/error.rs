//! What can go wrong with a store.

use crate::{MetadataError, SnapshotId};
use cos_boot::{EnvironmentError, StateError};
use std::io;
use std::path::PathBuf;

/// Why something could not be done with the snapshots of a partition.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The boot state could not be read.
    #[error("cannot read the boot state {}", .path.display())]
    ReadState {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Neither the boot state nor the one before it can be understood.
    #[error("the boot state {} cannot be used", .path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// Why.
        source: StateError,
    },
    /// The boot state does not fit its block.
    #[error("cannot write the boot state")]
    EncodeState(#[source] EnvironmentError),
    /// Metadata could not be written.
    #[error("cannot describe the snapshot {id}")]
    Describe {
        /// Which one.
        id: SnapshotId,
        /// Why.
        source: MetadataError,
    },
    /// The directory could not be listed.
    #[error("cannot list the snapshots in {}", .path.display())]
    List {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file could not be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file or directory could not be written.
    #[error("cannot write {}", .path.display())]
    Write {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something could not be removed.
    #[error("cannot remove {}", .path.display())]
    Remove {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What was written is not on the disk.
    #[error("cannot bring the file system of {} to its disk", .path.display())]
    Checkpoint {
        /// Its mount point.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What was written is not what the disk has.
    #[error("{} does not read back as it was written", .path.display())]
    ReadBack {
        /// The file.
        path: PathBuf,
    },
    /// A state names a snapshot that is not there.
    #[error("snapshot {id} is not complete: it has no {missing}")]
    Incomplete {
        /// Which one.
        id: SnapshotId,
        /// The file.
        missing: &'static str,
    },
}
