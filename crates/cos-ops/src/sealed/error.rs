//! What can go wrong with keys and sealed systems.

use crate::ErrorKind;
use cos_efi::{EfiError, KeyError, PeError};
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
}

impl SealedError {
    /// Whose fault it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Exists { .. }
            | Self::Read { .. }
            | Self::Key { .. }
            | Self::NoPolicyKey { .. } => ErrorKind::Request,
            Self::Program { .. }
            | Self::Unified(_)
            | Self::Architecture(_)
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
            _ => None,
        }
    }
}
