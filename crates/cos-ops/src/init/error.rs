//! Why an image could not be prepared.

use cos_boot::ManifestError;
use cos_sys::tool::ToolError;
use std::io;
use std::path::PathBuf;

/// Why an image could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The user asked to stop.
    #[error(transparent)]
    Cancelled(#[from] cos_events::Cancelled),
    /// A file or directory of the image could not be read.
    #[error("cannot read the image")]
    Read {
        /// Why; names the path.
        source: io::Error,
    },
    /// A file, directory or link could not be put into the image.
    #[error("cannot write {}", .path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// cos-init is not in the image.
    #[error("the image has no cos-init in /usr/bin, /usr/local/bin or /usr/sbin")]
    NoCosInit,
    /// cos is not in the image where it is looked for.
    #[error("the image has no /usr/bin/cos")]
    NoCos,
    /// No kernel with its modules.
    #[error("the image has no kernel")]
    NoKernel {
        /// The package that brings one.
        package: &'static str,
    },
    /// The kernel asked for is not there.
    #[error("the image has no kernel {release}; it has {present}")]
    UnknownKernel {
        /// The release asked for.
        release: String,
        /// Those that are there.
        present: String,
    },
    /// Neither BIOS nor UEFI could start this image.
    #[error("the image has no boot loader: neither GRUB's modules nor a signed GRUB")]
    NoLoader {
        /// For a BIOS.
        bios: &'static str,
        /// For UEFI.
        efi: &'static str,
    },
    /// An architecture that cOS has no boot loader for.
    #[error("there is no boot loader for {0} machines")]
    Architecture(String),
    /// A program is missing or failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The image made for a BIOS does not fit where it has to go.
    #[error("GRUB's core image is {size} bytes long, {limit} fit into the BIOS boot partition")]
    CoreTooLarge {
        /// Its size.
        size: u64,
        /// What fits.
        limit: u64,
    },
    /// The manifest could not be written as text.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

impl InitError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoCosInit | Self::NoCos => {
                Some("in the Dockerfile: COPY cos cos-init /usr/bin/".to_owned())
            }
            Self::NoKernel { package } => Some(format!("install the package {package}")),
            Self::UnknownKernel { .. } => Some("leave --kernel away to take the newest".to_owned()),
            Self::NoLoader { bios, efi } => {
                Some(format!("install the package {bios} (BIOS) or {efi} (UEFI)"))
            }
            Self::Tool(error) => error.hint(),
            _ => None,
        }
    }
}
