//! What can go wrong while a root image is written or looked at.

use crate::{Compression, KernelVersion};
use cos_events::Cancelled;
use std::io;
use std::path::PathBuf;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum ErofsError {
    /// The temporary file could not be made.
    #[error("cannot make a temporary file in {}", dir.display())]
    SpoolCreate {
        /// Directory it was to be made in.
        dir: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Contents could not be put into the temporary file.
    #[error("cannot write to the temporary file in {}", dir.display())]
    SpoolWrite {
        /// Directory of the file.
        dir: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Contents could not be read back from the temporary file.
    #[error("cannot read back from the temporary file in {}", dir.display())]
    SpoolRead {
        /// Directory of the file.
        dir: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A worker thread could not be started, ended early, or failed in an earlier call.
    #[error("cannot run a compression thread")]
    Thread(#[source] io::Error),
    /// A compressor refused its input or settings, or a stored piece does not decompress.
    #[error("cannot {operation} with {algorithm}")]
    Codec {
        /// `compress` or `decompress`.
        operation: &'static str,
        /// Which.
        algorithm: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The tree names a content that the spool does not have in this size.
    #[error("file {path} refers to content that was never stored")]
    UnknownContent {
        /// The file.
        path: String,
    },
    /// A file that the format, or the writer's bound on memory, cannot take.
    #[error("file {path} has {size} bytes, more than a root image can hold ({limit})")]
    FileTooLarge {
        /// The file.
        path: String,
        /// Its size in bytes.
        size: u64,
        /// The greatest size in bytes.
        limit: u64,
    },
    /// A file whose content ends early, or goes on past its announced size.
    #[error("file {path} has {actual} bytes of content, not {announced}")]
    WrongSize {
        /// The file.
        path: String,
        /// Bytes announced.
        announced: u64,
        /// Bytes that came (when too many, those up to the first too many).
        actual: u64,
    },
    /// Something about one file that EROFS cannot express.
    #[error("file {path}: {what}")]
    Unrepresentable {
        /// The file.
        path: String,
        /// What, and how much is possible.
        what: String,
    },
    /// All blocks together do not fit 32 bits.
    #[error("root image would have {blocks} blocks, more than 2^32 - 2")]
    ImageTooLarge {
        /// Blocks of 4096 bytes.
        blocks: u64,
    },
    /// The kernel that must read the image does not know the compression.
    #[error("{compression} needs Linux {needed}, but the image is to be read by Linux {kernel}")]
    KernelTooOld {
        /// What was asked for.
        compression: Compression,
        /// The kernel that must read the image.
        kernel: KernelVersion,
        /// The first kernel that can.
        needed: KernelVersion,
    },
    /// An option with a value outside its range.
    #[error("option {option} is {value}, but must be {range}")]
    BadOption {
        /// Which.
        option: &'static str,
        /// Its value.
        value: String,
        /// What is allowed.
        range: &'static str,
    },
    /// The image could not be written.
    #[error("cannot write the root image")]
    Write(#[source] io::Error),
    /// A superblock could not be read.
    #[error("cannot read the EROFS superblock")]
    Read(#[source] io::Error),
    /// What was read is no EROFS superblock, or not one that the kernel would take.
    #[error("not an EROFS file system: {0}")]
    BadSuperblock(String),
    /// The operation was asked to stop.
    #[error("{0}")]
    Cancelled(Cancelled),
}

impl From<Cancelled> for ErofsError {
    fn from(cancelled: Cancelled) -> Self {
        Self::Cancelled(cancelled)
    }
}

impl From<ErofsError> for io::Error {
    /// Keeps the kind of the cause, so that a full disk is still told from a broken one.
    fn from(error: ErofsError) -> Self {
        let kind = match &error {
            ErofsError::SpoolCreate { source, .. }
            | ErofsError::SpoolWrite { source, .. }
            | ErofsError::SpoolRead { source, .. } => source.kind(),
            ErofsError::WrongSize { .. } => io::ErrorKind::InvalidData,
            ErofsError::FileTooLarge { .. } => io::ErrorKind::FileTooLarge,
            ErofsError::UnknownContent { .. } => io::ErrorKind::NotFound,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

impl ErofsError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::SpoolWrite { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("the temporary file takes about as much room as the root image: name a directory with more".to_owned())
            }
            Self::KernelTooOld { .. } => {
                Some("choose compression lz4 or none, or an image with a newer kernel".to_owned())
            }
            Self::BadSuperblock(_) => Some("the image is damaged or of another kind".to_owned()),
            _ => None,
        }
    }
}
