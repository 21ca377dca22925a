//! What `cos init` prepared inside an image for the builder of media.

use serde::{Deserialize, Serialize};

/// Where `cos init` leaves boot loader images, from the root of the image.
pub const LOADER_DIRECTORY: &str = "usr/lib/cos/boot";
/// Where the manifest is, from the root of the image.
pub const MANIFEST_PATH: &str = "usr/lib/cos/boot/manifest.json";

/// Boot loader images for a BIOS, as paths from the root of the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BiosLoader {
    /// First sector of a disk.
    pub boot_sector: String,
    /// First sector of an ISO used as a disk.
    pub hybrid_boot_sector: String,
    /// GRUB core for the BIOS boot partition.
    pub core: String,
    /// GRUB core with the El Torito loader in front.
    pub eltorito: String,
}

/// One file of the EFI loader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EfiFile {
    /// Path from the root of the image.
    pub from: String,
    /// Path on the EFI system partition: `EFI/BOOT/BOOTX64.EFI`.
    pub to: String,
}

/// Boot loader images for UEFI.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EfiLoader {
    /// Programs, with the names firmware looks for.
    pub files: Vec<EfiFile>,
    /// Directory on the EFI system partition where a signed GRUB looks for its configuration:
    /// `EFI/debian`. Absent when GRUB was built by `cos init`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor_directory: Option<String>,
}

/// What in an image boots it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoaderManifest {
    /// Version of this document.
    pub version: u32,
    /// Architecture as OCI names it: `amd64`, `arm64`.
    pub architecture: String,
    /// Release of the kernel: `6.12.48+deb13-cloud-amd64`.
    pub kernel_release: String,
    /// The kernel, from the root of the image.
    pub kernel: String,
    /// The initrd, from the root of the image.
    pub initrd: String,
    /// For machines with a BIOS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bios: Option<BiosLoader>,
    /// For machines with UEFI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub efi: Option<EfiLoader>,
}

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not the JSON that `cos init` writes.
    #[error("/{} cannot be understood", MANIFEST_PATH)]
    Parse(#[source] serde_json::Error),
    /// Written by another version of cOS.
    #[error(
        "/{} has version {found}, this cOS reads version {}",
        MANIFEST_PATH,
        LoaderManifest::VERSION
    )]
    Version {
        /// The version it says it has.
        found: u32,
    },
    /// Could not be put into JSON.
    #[error("cannot write /{}", MANIFEST_PATH)]
    Serialize(#[source] serde_json::Error),
}

impl LoaderManifest {
    /// The version of the document this code writes.
    pub const VERSION: u32 = 1;

    /// Parses a manifest and checks its version.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ManifestError> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let Versioned { version: found } =
            serde_json::from_slice(bytes).map_err(ManifestError::Parse)?;
        if found != Self::VERSION {
            return Err(ManifestError::Version { found });
        }
        serde_json::from_slice(bytes).map_err(ManifestError::Parse)
    }

    /// The manifest as JSON text.
    pub fn to_json(&self) -> Result<String, ManifestError> {
        let text = serde_json::to_string_pretty(self).map_err(ManifestError::Serialize)?;
        Ok(text + "\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_manifest_is_refused_before_its_fields_are_read() {
        let error = LoaderManifest::from_json(br#"{"version": 2, "new": true}"#).unwrap_err();
        assert!(matches!(error, ManifestError::Version { found: 2 }));
    }

    #[test]
    fn what_is_written_reads_back() {
        let manifest = LoaderManifest {
            version: LoaderManifest::VERSION,
            architecture: "amd64".into(),
            kernel_release: "6.12.0".into(),
            kernel: "boot/vmlinuz".into(),
            initrd: "boot/initrd.img".into(),
            bios: None,
            efi: Some(EfiLoader {
                files: vec![EfiFile {
                    from: "a".into(),
                    to: "EFI/BOOT/BOOTX64.EFI".into(),
                }],
                vendor_directory: None,
            }),
        };
        let text = manifest.to_json().unwrap();
        assert_eq!(
            LoaderManifest::from_json(text.as_bytes()).unwrap(),
            manifest
        );
    }
}
