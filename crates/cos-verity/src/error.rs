//! What can go wrong with a hash tree.

use std::io;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum VerityError {
    /// Reading the data or the hash area failed.
    #[error("cannot read {what} at byte {offset}")]
    Read {
        /// What was to be read there.
        what: &'static str,
        /// Where, from the start of the file or device.
        offset: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Writing the data or the hash area failed.
    #[error("cannot write {what}")]
    Write {
        /// What was to be written.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A thread that hashes could not be started, or is gone.
    #[error("cannot hash on another thread")]
    Thread(#[source] io::Error),
    /// No verity superblock where one was expected.
    #[error("no dm-verity superblock at byte {offset}")]
    NoSuperblock {
        /// Where it was looked for.
        offset: u64,
    },
    /// A superblock with a value that this format does not have.
    #[error("dm-verity superblock has {field} {value}, not {expected}")]
    Unsupported {
        /// Which field.
        field: &'static str,
        /// What it says.
        value: String,
        /// What it must say.
        expected: &'static str,
    },
    /// There is no data to protect.
    #[error("no data to protect with a hash tree")]
    Empty,
    /// A data block is not what was hashed.
    #[error("data block {block} does not match its hash")]
    DataMismatch {
        /// Number of the first wrong block, from zero.
        block: u64,
    },
    /// A block of the hash tree is not what was hashed.
    #[error("block {block} of hash level {level} does not match its hash")]
    HashMismatch {
        /// Level, zero at the data.
        level: usize,
        /// Number of the first wrong block in it, from zero.
        block: u64,
    },
    /// Text that is not a root hash.
    #[error("root hash {text:?} is not 64 hexadecimal digits")]
    BadRootHash {
        /// The text.
        text: String,
    },
}

impl VerityError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::DataMismatch { .. } | Self::HashMismatch { .. } => Some(
                "the image is damaged, was changed, or the root hash belongs to another image"
                    .to_owned(),
            ),
            Self::NoSuperblock { .. } => {
                Some("the image has no hash tree, or is cut short".to_owned())
            }
            _ => None,
        }
    }
}
