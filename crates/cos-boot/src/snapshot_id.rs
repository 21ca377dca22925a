//! Names of snapshots, and of the files in their directories.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;

/// Root of everything cOS keeps on a partition.
pub const COS_DIRECTORY: &str = "cos";
/// Every snapshot has a directory in this one, from the root of the partition.
pub const SNAPSHOTS_DIRECTORY: &str = "cos/snapshots";
/// File system and verity tree, in a snapshot's directory.
pub const ROOT_IMAGE: &str = "root.img";
/// Linux kernel, in a snapshot's directory.
pub const KERNEL: &str = "vmlinuz";
/// Initial RAM disk, in a snapshot's directory.
pub const INITRD: &str = "initrd";
/// Boot loader fragment, in a snapshot's directory.
pub const BOOT_CONFIG: &str = "boot.cfg";
/// Name of the signed program in the directory of a sealed snapshot.
pub const PROGRAM: &str = "system.efi";
/// Metadata, in a snapshot's directory.
pub const METADATA: &str = "snapshot.yaml";

/// Names a snapshot: twelve hexadecimal digits that follow from what would boot, so the same image
/// always gets the same id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SnapshotId(String);

impl SnapshotId {
    const DIGITS: usize = 12;

    /// The id of what these parts make: root image, kernel, initrd, kernel arguments.
    pub fn derive(
        root_hash: &cos_verity::RootHash,
        kernel: &[u8; 32],
        initrd: &[u8; 32],
        arguments: &str,
    ) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(b"cos-snapshot-v1\0");
        hasher.update(root_hash.to_string());
        hasher.update(kernel);
        hasher.update(initrd);
        hasher.update(arguments);
        Self(hex::encode(hasher.finalize())[..Self::DIGITS].to_owned())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Path of the snapshot's directory, from the root of its partition, without leading slash.
    pub fn directory(&self) -> String {
        format!("{SNAPSHOTS_DIRECTORY}/{}", self.0)
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Text that is no snapshot id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a snapshot id (12 lower-case hexadecimal digits)")]
pub struct InvalidSnapshotId(String);

impl FromStr for SnapshotId {
    type Err = InvalidSnapshotId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_digit = |b: &u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if text.len() == Self::DIGITS && text.as_bytes().iter().all(is_digit) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidSnapshotId(text.to_owned()))
        }
    }
}

impl TryFrom<String> for SnapshotId {
    type Error = InvalidSnapshotId;

    fn try_from(text: String) -> Result<Self, InvalidSnapshotId> {
        text.parse()
    }
}

impl From<SnapshotId> for String {
    fn from(id: SnapshotId) -> Self {
        id.0
    }
}
