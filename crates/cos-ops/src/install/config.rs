//! `cos install --config FILE`: what could be said by flags, in a file.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Longest file, in bytes.
const MAX_CONFIG: u64 = 1 << 20;

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not there, not readable, too long.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not what such a file holds; says line and column.
    #[error("{} cannot be used: {message}", .path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        message: String,
    },
}

/// A partition of the user's own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExtraPartition {
    /// Name in the partition table.
    pub name: String,
    /// Its size, such as `10GiB`.
    pub size: String,
    /// ext4 when left out.
    pub filesystem: Option<String>,
    /// Label of the file system; the name when left out.
    pub label: Option<String>,
}

/// What such a file holds. Every key is the flag of that name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub struct InstallConfig {
    /// The disk.
    pub device: Option<PathBuf>,
    /// The image.
    pub image: Option<String>,
    /// Sizes of partitions by name.
    pub partitions: BTreeMap<String, String>,
    /// File systems of partitions by name.
    pub filesystems: BTreeMap<String, String>,
    /// Partitions in front of the last.
    pub extra_partitions: Vec<ExtraPartition>,
    /// auto, bios or efi.
    pub firmware: Option<String>,
    /// Files and URLs.
    pub cloud_configs: Vec<String>,
    /// Behind those of the image.
    pub kernel_arguments: Option<String>,
    /// Take the partitions that are there.
    pub no_format: bool,
    /// Overwrite what is there.
    pub force: bool,
    /// Restart when done.
    pub reboot: bool,
    /// Switch off when done.
    pub poweroff: bool,
}

impl InstallConfig {
    /// Reads a file. Unknown keys are errors.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let failed = |source| ConfigError::Read {
            path: path.to_owned(),
            source,
        };
        if fs_err::metadata(path).map_err(failed)?.len() > MAX_CONFIG {
            return Err(failed(io::Error::other("larger than 1 MiB")));
        }
        let text = fs_err::read_to_string(path).map_err(failed)?;
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        serde_saphyr::from_str(&text).map_err(|error| ConfigError::Parse {
            path: path.to_owned(),
            message: error.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<InstallConfig, ConfigError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("install.yaml");
        fs_err::write(&path, text).unwrap();
        InstallConfig::read(&path)
    }

    #[test]
    fn every_key_is_understood() {
        let config = read(
            "device: /dev/vda\nimage: oci:example.org/os:1\npartitions: {state: 4GiB}\n\
             filesystems: {persistent: xfs}\nextraPartitions:\n- {name: data, size: 1GiB, filesystem: xfs, label: DATA}\n\
             firmware: efi\ncloudConfigs: [a.yaml, 'https://h/b.yaml']\nkernelArguments: quiet\n\
             noFormat: false\nforce: true\nreboot: true\npoweroff: false\n",
        )
        .unwrap();
        assert_eq!(config.device.as_deref(), Some(Path::new("/dev/vda")));
        assert_eq!(config.extra_partitions[0].label.as_deref(), Some("DATA"));
        assert_eq!((config.force, config.cloud_configs.len()), (true, 2));
        assert_eq!(read("\n").unwrap(), InstallConfig::default());
    }

    #[test]
    fn the_file_in_the_book_can_be_used() {
        let page = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../docs/src/how-to/install.md"
        );
        let page = fs_err::read_to_string(page).unwrap();
        let (_, rest) = page.split_once("```text\n# install.yaml").unwrap();
        let config = read(rest.split_once("```").unwrap().0).unwrap();
        assert_eq!(config.extra_partitions.len(), 1);
        assert!(config.reboot);
    }

    #[test]
    fn a_mistake_has_a_place() {
        let error = read("device: /dev/vda\ndevise: /dev/vdb\n")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("devise") && error.contains("line 2"),
            "{error}"
        );
        let error = read("partitions:\n  state: [1]\n").unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
    }
}
