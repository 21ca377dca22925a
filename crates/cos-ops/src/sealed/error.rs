//! What can go wrong with keys and sealed systems.

use super::statement::StatementError;
use crate::ErrorKind;
use crate::build::sizes::Bytes;
use cos_efi::{EfiError, KeyError, PeError, VerifyError};
use cos_store::SnapshotId;
use std::io;
use std::path::PathBuf;

/// Why a system could not be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealedError {
    /// Keys are never written over.
    #[error("{} is there already", .path.display())]
    Exists {
        /// What is there.
        path: PathBuf,
    },
    /// A key's file cannot be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A key's file cannot be written.
    #[error("cannot write {}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A key that cannot be used.
    #[error("cannot use the key {}", .path.display())]
    Key {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: KeyError,
    },
    /// A key cannot be made.
    #[error("cannot make a key")]
    Generate(#[source] KeyError),
    /// The clock of this machine stands where no calendar reaches.
    #[error("the clock of this machine is wrong: {0} s since 1970")]
    Clock(i64),
    /// A program of the image is none that UEFI runs.
    #[error("/{path} of the image is no UEFI program")]
    Program {
        /// Where it is in the image.
        path: String,
        /// Why.
        source: PeError,
    },
    /// The programs could not be put together.
    #[error("cannot make a unified kernel image")]
    Unified(#[source] EfiError),
    /// Keys that were made before data could be encrypted, or not by this program.
    #[error("cannot read {}, without which no data are encrypted", .path.display())]
    NoPolicyKey {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The initrd could not be looked into.
    #[error("cannot look into the initrd of the image")]
    Initrd(#[source] io::Error),
    /// An initrd that lacks what data are encrypted with.
    #[error("the initrd of the image cannot encrypt data")]
    CannotEncrypt,
    /// Signing failed.
    #[error("cannot sign {what}")]
    Sign {
        /// What was to be signed.
        what: String,
        /// Why.
        source: EfiError,
    },
    /// Sealed systems boot by UEFI, for which there is no name of this architecture.
    #[error("{0} has no UEFI that sealed systems could boot by")]
    Architecture(String),
    /// A file of the EFI system partition cannot be read, made or removed.
    #[error("cannot get at {}", .path.display())]
    Loader {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The program of a snapshot is not there.
    #[error("snapshot {0} has no signed program")]
    NoProgram(SnapshotId),
    /// The EFI system partition has too little room.
    #[error("the EFI system partition has {} free, and the signed program needs {}", Bytes(*.free), Bytes(*.needed))]
    NoRoom {
        /// Bytes that the program has.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// What was written to the EFI system partition is not what is read.
    #[error("{} does not read back as it was written", .path.display())]
    ReadBack {
        /// The file.
        path: PathBuf,
    },
    /// A variable of the firmware.
    #[error("cannot use the firmware's variable {}", .path.display())]
    Variable {
        /// Where the kernel shows it.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The boot loader has no entry for what is to boot once.
    #[error("the boot loader has no entry for {0}")]
    NoEntry(String),
    /// This machine's firmware does not run the published program.
    #[error("the sealed system's program would not run here")]
    Refused(#[source] VerifyError),
    /// Data are not made encrypted, or plain, by an upgrade.
    #[error("the data of this machine are {}, those of the sealed system are {}", encryption(*.encrypted), encryption(!*.encrypted))]
    Encryption {
        /// Whether those of this machine are.
        encrypted: bool,
    },
    /// What this machine makes of the image is not what was sealed.
    #[error("the {what} is not the one that was sealed")]
    Differs {
        /// Which part.
        what: &'static str,
    },
    /// Only beside an image in a registry can something be published.
    #[error("{image} is not in a registry")]
    NotInRegistry {
        /// The image.
        image: String,
    },
    /// Nobody sealed the image.
    #[error("{image} is not sealed: nothing is published beside it")]
    NotSealed {
        /// The image.
        image: String,
    },
    /// No machine would look at one more.
    #[error("{image} has {limit} sealed systems published beside it, and more there may not be")]
    TooMany {
        /// The image.
        image: String,
        /// How many there may be.
        limit: usize,
    },
    /// A statement cannot be put into its form.
    #[error("cannot write the statement")]
    WriteStatement(#[source] StatementError),
    /// A published statement is none.
    #[error("the statement of sealed system {artifact} cannot be used")]
    Statement {
        /// Digest of what is published.
        artifact: String,
        /// Why.
        source: StatementError,
    },
    /// What is published is not what its statement says.
    #[error("sealed system {artifact} cannot be used: {reason}")]
    Contradiction {
        /// Digest of what is published.
        artifact: String,
        /// What does not fit.
        reason: &'static str,
    },
    /// The root image was not published.
    #[error("sealed system {artifact} was published without its root image")]
    NoRoot {
        /// Digest of what is published.
        artifact: String,
    },
    /// What was published is not there.
    #[error("the registry took sealed system {artifact} of {image}, and does not list it")]
    Gone {
        /// Digest of what was published.
        artifact: String,
        /// The image.
        image: String,
    },
}

fn encryption(encrypted: bool) -> &'static str {
    if encrypted {
        "encrypted"
    } else {
        "not encrypted"
    }
}

impl SealedError {
    /// Whose fault it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Exists { .. }
            | Self::Read { .. }
            | Self::Key { .. }
            | Self::NotInRegistry { .. }
            | Self::NoPolicyKey { .. } => ErrorKind::Request,
            Self::Program { .. }
            | Self::Unified(_)
            | Self::Architecture(_)
            | Self::NotSealed { .. }
            | Self::Refused(_)
            | Self::Encryption { .. }
            | Self::Differs { .. }
            | Self::Statement { .. }
            | Self::Contradiction { .. }
            | Self::NoRoot { .. }
            | Self::TooMany { .. }
            | Self::Gone { .. }
            | Self::Initrd(_)
            | Self::CannotEncrypt => ErrorKind::Image,
            _ => ErrorKind::Host,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Exists { .. } => {
                Some("name a directory that is not there yet, or an empty one".to_owned())
            }
            Self::NoRoom { .. } => Some(
                "keep fewer snapshots (upgrade.keep); for new disks: `cos build disk --partition efi=SIZE`"
                    .to_owned(),
            ),
            Self::NoPolicyKey { .. } => Some(
                "`cos keys generate` makes it beside the others; keys that are there already can be \
                 given one with `openssl genpkey -algorithm RSA -out pcr.key`"
                    .to_owned(),
            ),
            Self::CannotEncrypt => Some(
                "install these before `cos init` in the Dockerfile (Debian: cryptsetup-bin, \
                 systemd-cryptsetup, libtss2-esys-3.0.2-0t64, libtss2-rc0t64, libtss2-tcti-device0t64)"
                    .to_owned(),
            ),
            Self::Read { .. } => Some("make keys with `cos keys generate DIRECTORY`".to_owned()),
            Self::NotInRegistry { .. } => {
                Some("push it first: what seals an image is published beside it".to_owned())
            }
            Self::NotSealed { .. } => {
                Some("whoever releases it seals it with `cos seal`".to_owned())
            }
            Self::TooMany { .. } => {
                Some("delete those that no machine needs from the registry".to_owned())
            }
            Self::Refused(_) => Some(
                "seal the image with the keys whose db this machine's firmware has".to_owned(),
            ),
            Self::Encryption { encrypted: true } => {
                Some("seal the image with `cos seal --encrypt`".to_owned())
            }
            Self::Encryption { encrypted: false } => {
                Some("seal the image without --encrypt".to_owned())
            }
            Self::Differs { what: "root image" } => {
                Some("seal it with `cos seal --with-root`: machines then take the root image itself".to_owned())
            }
            Self::NoRoot { .. } => Some("seal it with `cos seal --with-root`".to_owned()),
            _ => None,
        }
    }
}
