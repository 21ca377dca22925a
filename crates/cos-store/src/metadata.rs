//! `snapshot.yaml`: what a snapshot is and where it came from.

use crate::{FileDigest, SnapshotId, Verified};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What put a snapshot where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// `cos build disk`.
    BuildDisk,
    /// `cos build iso`.
    BuildIso,
    /// `cos install`.
    Install,
    /// `cos upgrade`.
    Upgrade,
    /// `cos reset`.
    Reset,
}

/// One installed version, self-describing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Version of this document.
    pub version: u32,
    /// Name of the snapshot and of its directory.
    pub id: SnapshotId,
    /// The image, as the user named it.
    pub source: String,
    /// What later upgrades follow when they are not told otherwise: set by `cos switch`, and handed
    /// on from snapshot to snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows: Option<String>,
    /// Digest of the image's manifest; absent for a plain directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Format of the root image: `cos-root-v1`.
    pub format: String,
    /// Root hash of the root image, hexadecimal.
    pub root_hash: String,
    /// Size of the root image with its verity tree, bytes.
    pub size: u64,
    /// Where in it the verity tree's superblock is, bytes.
    pub hash_offset: u64,
    /// SHA-256 of the kernel.
    pub kernel: FileDigest,
    /// SHA-256 of the initrd.
    pub initrd: FileDigest,
    /// SHA-256 of the signed program, of a sealed snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<FileDigest>,
    /// Whether hooks of this machine changed the root before it was made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub modified_locally: bool,
    /// When it was made, seconds since 1970.
    pub date: i64,
    /// What made it.
    pub action: Action,
    /// Kernel arguments, without those cOS adds at boot.
    pub kernel_arguments: String,
    /// Those among them that are this machine's and not the image's; handed on from snapshot to
    /// snapshot.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub machine_arguments: String,
    /// Version of the image (`dev.cos.version`), where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_version: Option<String>,
    /// What was known of its signatures; absent where nobody was asked to look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<Verified>,
    /// Labels of the image.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// Why a `snapshot.yaml` could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// The file could not be read.
    #[error("cannot read snapshot metadata")]
    Read(#[source] std::io::Error),
    /// Not the YAML we write.
    #[error("snapshot metadata is not as cOS writes it")]
    Parse(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Written by a newer cOS.
    #[error(
        "snapshot metadata has version {found}, this cOS reads version {}",
        Snapshot::VERSION
    )]
    Version {
        /// The version it says it has.
        found: u32,
    },
    /// Could not be put into YAML.
    #[error("cannot write snapshot metadata")]
    Serialize(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Snapshot {
    /// The version of the document this code writes.
    pub const VERSION: u32 = 1;

    /// Parses a document and checks its version and id.
    pub fn from_yaml(text: &str) -> Result<Self, MetadataError> {
        let snapshot: Self =
            serde_saphyr::from_str(text).map_err(|error| MetadataError::Parse(error.into()))?;
        if snapshot.version != Self::VERSION {
            return Err(MetadataError::Version {
                found: snapshot.version,
            });
        }
        Ok(snapshot)
    }

    /// The document as YAML.
    pub fn to_yaml(&self) -> Result<String, MetadataError> {
        serde_saphyr::to_string(self).map_err(|error| MetadataError::Serialize(error.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Accepted, SignedBy};

    fn snapshot() -> Snapshot {
        Snapshot {
            version: 1,
            id: "0123456789ab".parse().unwrap(),
            source: "oci:example.org/os:1".into(),
            follows: None,
            digest: Some(format!("sha256:{}", "0".repeat(64))),
            format: "cos-root-v1".into(),
            root_hash: "1".repeat(64),
            size: 4096,
            hash_offset: 2048,
            kernel: FileDigest([2; 32]),
            initrd: FileDigest([3; 32]),
            program: None,
            modified_locally: false,
            date: 1_700_000_000,
            action: Action::BuildDisk,
            kernel_arguments: "console=ttyS0 # not a comment".into(),
            machine_arguments: String::new(),
            image_version: Some("1.2.3".into()),
            verified: Some(Verified {
                accepted: Accepted::Signed,
                rule: Some("example.org/**".into()),
                signers: vec![SignedBy::Key {
                    key: "sha256:00".into(),
                }],
                expires: None,
            }),
            labels: BTreeMap::from([("a".into(), "yes".into())]),
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let yaml = snapshot().to_yaml().unwrap();
        insta::assert_snapshot!(yaml, @r#"
        version: 1
        id: 0123456789ab
        source: oci:example.org/os:1
        digest: sha256:0000000000000000000000000000000000000000000000000000000000000000
        format: cos-root-v1
        rootHash: "1111111111111111111111111111111111111111111111111111111111111111"
        size: 4096
        hashOffset: 2048
        kernel: "0202020202020202020202020202020202020202020202020202020202020202"
        initrd: "0303030303030303030303030303030303030303030303030303030303030303"
        date: 1700000000
        action: build-disk
        kernelArguments: "console=ttyS0 # not a comment"
        imageVersion: "1.2.3"
        verified:
          accepted: signed
          rule: example.org/**
          signers:
          - key: sha256:00
        labels:
          a: "yes"
        "#);
        assert_eq!(Snapshot::from_yaml(&yaml).unwrap(), snapshot());
    }

    #[test]
    fn a_newer_version_is_refused() {
        let mut newer = snapshot();
        newer.version = 2;
        let error = Snapshot::from_yaml(&newer.to_yaml().unwrap()).unwrap_err();
        assert!(matches!(error, MetadataError::Version { found: 2 }));
    }
}
