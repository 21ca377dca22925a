//! What stops a boot.

use cos_sys::block::BlockError;
use cos_sys::device_mapper::DeviceMapperError;
use cos_sys::loop_device::LoopError;
use cos_sys::mount::MountError;
use cos_sys::root_path::RootPathError;
use std::error::Error;
use std::io;
use std::path::PathBuf;

/// Why the root could not be put together.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InitError {
    #[error("cannot read the kernel command line")]
    ReadCommandLine { source: io::Error },
    #[error(transparent)]
    CommandLine(#[from] crate::cmdline::CommandLineError),
    #[error(transparent)]
    Block(#[from] BlockError),
    #[error(
        "waited {seconds} s for {wanted}, which holds the snapshots; block devices present: {present}"
    )]
    NoSource {
        seconds: u64,
        wanted: String,
        present: String,
    },
    #[error("{device} has no file system that can hold snapshots")]
    ForeignSource { device: String },
    #[error("no root image {} on {device}; snapshots there: {present}", .path.display())]
    NoImage {
        path: PathBuf,
        device: String,
        present: String,
    },
    #[error("cannot read the root image {}", .path.display())]
    ReadImage { path: PathBuf, source: io::Error },
    #[error("{} is no root image: {reason}", .path.display())]
    NotAnImage { path: PathBuf, reason: String },
    #[error("root image {} does not match its root hash {root_hash}: it was changed, or another one was put in its place", .path.display())]
    Corrupt {
        path: PathBuf,
        root_hash: String,
        source: io::Error,
    },
    #[error("cannot prepare {}", .path.display())]
    Prepare { path: PathBuf, source: io::Error },
    #[error("the boot loader left no variable {name}, which a sealed boot needs")]
    LoaderVariable {
        name: &'static str,
        source: io::Error,
    },
    #[error("the boot loader started {name:?}, which is not named like a sealed system")]
    NotAnEntry { name: String },
    #[error(transparent)]
    Loop(#[from] LoopError),
    #[error(transparent)]
    DeviceMapper(#[from] DeviceMapperError),
    #[error(transparent)]
    Mount(#[from] MountError),
    #[error(transparent)]
    RootPath(#[from] RootPathError),
    #[error(transparent)]
    Encryption(#[from] crate::encryption::EncryptionError),
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
