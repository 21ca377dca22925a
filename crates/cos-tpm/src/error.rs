//! What can go wrong with a TPM.

use crate::{NvIndex, ResponseCode};
use std::io;
use std::path::PathBuf;

/// Why a TPM did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum TpmError {
    /// The device cannot be opened.
    #[error("cannot open the TPM {}", .path.display())]
    Open {
        /// The device.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A command cannot be sent.
    #[error("cannot send {command} to the TPM")]
    Send {
        /// The command.
        command: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A response cannot be read.
    #[error("cannot read the TPM's answer to {command}")]
    Receive {
        /// The command.
        command: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A response is none.
    #[error("the TPM's answer to {command} makes no sense: {reason}")]
    Malformed {
        /// The command.
        command: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The TPM does not want to.
    #[error("the TPM refuses {command}: {code}")]
    Refused {
        /// The command.
        command: &'static str,
        /// What it says.
        code: ResponseCode,
    },
    /// An index is there, and is another's.
    #[error("index {index} of the TPM is used for something else")]
    Taken {
        /// The index.
        index: NvIndex,
    },
}

impl TpmError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Refused { code, .. } if code.is_authorization() => Some(
                "the TPM's owner has set a password for it; clearing the TPM in the firmware's settings takes it away, \
                 with everything else that the TPM holds"
                    .to_owned(),
            ),
            Self::Taken { index } => Some(format!(
                "`tpm2_nvreadpublic {index}` shows it; `tpm2_nvundefine {index}` removes it"
            )),
            _ => None,
        }
    }
}
