//! What keeps data from being encrypted or unlocked.

use cos_sys::block::BlockError;
use cos_sys::gpt::GptError;
use cos_sys::mount::MountError;
use cos_sys::tool::ToolError;
use std::io;
use std::path::PathBuf;

/// Why data are not unlocked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EncryptionError {
    #[error(transparent)]
    Tool(#[from] ToolError),
    #[error("program {name} is not in the initrd; install the package {package} before `cos init`")]
    NoTool { name: String, package: String },
    #[error(transparent)]
    Block(#[from] BlockError),
    #[error(transparent)]
    Table(#[from] GptError),
    #[error(transparent)]
    Mount(#[from] MountError),
    #[error("{disk} has no partition {name}, whose data are to be encrypted")]
    NoPartition { disk: String, name: &'static str },
    #[error(
        "partition {name} ({device}) holds data that are not encrypted, and this system runs with encrypted ones alone"
    )]
    PlainData { name: &'static str, device: String },
    #[error("partition {name} ({device}) is encrypted, but not by cOS")]
    Foreign { name: &'static str, device: String },
    #[error(
        "partition persistent ({persistent}) is not encrypted and partition oem ({oem}) is: another one was put in the place of what belongs together"
    )]
    PersistentReplaced { persistent: String, oem: String },
    #[error(
        "partition oem ({device}) is not the encrypted one that belongs to partition persistent: another one was put in its place"
    )]
    OemReplaced { device: String },
    #[error(
        "the header of partition {name} ({device}) wants the cipher {cipher}, which cOS does not use: it was changed"
    )]
    Cipher {
        name: &'static str,
        device: String,
        cipher: String,
    },
    #[error(
        "Secure Boot is off, and data are encrypted first on a machine that would not run anybody else's system: enrol the keys"
    )]
    SecureBootOff,
    #[error("the boot loader handed over no key of what may unlock data ({})", .path.display())]
    NoPolicyKey { path: PathBuf, source: io::Error },
    #[error("this machine has a TPM that the kernel does not show: is its driver in the initrd?")]
    NoTpmDriver,
    #[error("cannot keep the running system from the TPM's secrets")]
    Close { source: io::Error },
    #[error("nobody unlocked partition persistent ({device})")]
    NotUnlocked { device: String },
    #[error("cannot use {}", .path.display())]
    Files { path: PathBuf, source: io::Error },
}
