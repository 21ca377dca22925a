//! `statement.json`: what an image becomes, said by whoever seals it.

use crate::root::convert::CompressionChoice;
use cos_boot::KernelArguments;
use cos_image::Digest;
use cos_store::FileDigest;
use cos_verity::RootHash;
use serde::{Deserialize, Serialize};

/// No statement is longer.
const MAX_SIZE: usize = 64 << 10;
/// Sizes of root images and their parts are multiples of this.
const BLOCK: u64 = cos_erofs::BLOCK_SIZE as u64;
/// Longest name of a format or an architecture.
const MAX_WORD: usize = 40;

/// What an image becomes: everything that a machine needs to make the same of it, and to know that it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Statement {
    /// Version of this document.
    pub version: u32,
    /// Digest of the image's manifest, that of one architecture.
    pub image: Digest,
    /// What the image is for, as OCI names it.
    pub architecture: String,
    /// Format of the root image: `cos-root-v1`.
    pub format: String,
    /// How it is compressed: `none`, `lz4` or `zstd:LEVEL`.
    pub compression: String,
    /// Its root hash, hexadecimal.
    pub root_hash: String,
    /// Its size with its verity tree, bytes.
    pub size: u64,
    /// Where in it the verity tree's superblock is, bytes.
    pub hash_offset: u64,
    /// SHA-256 of the kernel.
    pub kernel: FileDigest,
    /// SHA-256 of the initrd.
    pub initrd: FileDigest,
    /// Kernel arguments on the signed command line, without those cOS adds.
    pub kernel_arguments: String,
    /// Whether its data are encrypted: a word of the signed command line.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub encrypted: bool,
    /// When it was said, seconds since 1970. Of several statements about one image the latest counts.
    pub date: i64,
    /// The signed program.
    pub program: StatementFile,
    /// The root image itself, where it is published too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<StatementFile>,
}

/// A file that is published with a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StatementFile {
    /// Its SHA-256.
    pub digest: FileDigest,
    /// How many bytes it has.
    pub size: u64,
}

/// Why bytes are no statement.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// More than any statement has.
    #[error("it is over {MAX_SIZE} bytes")]
    TooLarge,
    /// Written by a newer cOS.
    #[error(
        "it has version {found}, this cOS reads version {}",
        Statement::VERSION
    )]
    Version {
        /// The version it says it has.
        found: u32,
    },
    /// Not the document that we write.
    #[error("it is not as cOS writes it")]
    Json(#[source] serde_json::Error),
    /// A value that no sealed system has.
    #[error("its {0} is impossible")]
    Value(&'static str),
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

impl Statement {
    /// The version of the document this code writes.
    pub const VERSION: u32 = 1;
    /// No signed program is larger: it has to fit into an EFI system partition, twice.
    pub const MAX_PROGRAM: u64 = 512 << 20;

    /// Reads a statement that came from anywhere.
    pub fn parse(bytes: &[u8]) -> Result<Self, StatementError> {
        if bytes.len() > MAX_SIZE {
            return Err(StatementError::TooLarge);
        }
        let Versioned { version } = serde_json::from_slice(bytes).map_err(StatementError::Json)?;
        if version != Self::VERSION {
            return Err(StatementError::Version { found: version });
        }
        let statement: Self = serde_json::from_slice(bytes).map_err(StatementError::Json)?;
        match statement.impossible() {
            Some(what) => Err(StatementError::Value(what)),
            None => Ok(statement),
        }
    }

    /// The document.
    pub fn to_json(&self) -> Result<Vec<u8>, StatementError> {
        let mut bytes = serde_json::to_vec_pretty(self).map_err(StatementError::Json)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// How the root image is compressed; with it a conversion makes the same bytes.
    pub fn compression(&self) -> Result<CompressionChoice, StatementError> {
        let choice = self.compression.parse();
        match choice.map_err(|_| StatementError::Value("compression"))? {
            // What that is differs between versions of cOS.
            CompressionChoice::Auto => Err(StatementError::Value("compression")),
            choice @ CompressionChoice::Fixed(_) => Ok(choice),
        }
    }

    fn impossible(&self) -> Option<&'static str> {
        let is_word = |text: &str| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
            (1..=MAX_WORD).contains(&text.len()) && text.bytes().all(plain)
        };
        let is_size = |size: u64| size > 0 && size.is_multiple_of(BLOCK);
        let checks = [
            (is_word(&self.architecture), "architecture"),
            (is_word(&self.format), "format"),
            (self.compression().is_ok(), "compression"),
            (self.root_hash.parse::<RootHash>().is_ok(), "root hash"),
            (is_size(self.size), "size"),
            (
                is_size(self.hash_offset) && self.hash_offset < self.size,
                "hash offset",
            ),
            (
                KernelArguments::new(&self.kernel_arguments).is_ok(),
                "kernel arguments",
            ),
            (self.date >= 0, "date"),
            (
                (1..=Self::MAX_PROGRAM).contains(&self.program.size),
                "program",
            ),
            (
                self.root.is_none_or(|root| root.size == self.size),
                "root image",
            ),
        ];
        checks.iter().find(|(holds, _)| !holds).map(|(_, it)| *it)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn statement() -> Statement {
        Statement {
            version: 1,
            image: Digest::sha256(b"image"),
            architecture: "amd64".into(),
            format: "cos-root-v1".into(),
            compression: "zstd:1".into(),
            root_hash: "1".repeat(64),
            size: 8192,
            hash_offset: 4096,
            kernel: FileDigest([2; 32]),
            initrd: FileDigest([3; 32]),
            kernel_arguments: "console=ttyS0".into(),
            encrypted: false,
            date: 1_700_000_000,
            program: StatementFile {
                digest: FileDigest([4; 32]),
                size: 70_000,
            },
            root: None,
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let bytes = statement().to_json().unwrap();
        insta::assert_snapshot!(String::from_utf8(bytes.clone()).unwrap(), @r#"
        {
          "version": 1,
          "image": "sha256:6105d6cc76af400325e94d588ce511be5bfdbb73b437dc51eca43917d7a43e3d",
          "architecture": "amd64",
          "format": "cos-root-v1",
          "compression": "zstd:1",
          "rootHash": "1111111111111111111111111111111111111111111111111111111111111111",
          "size": 8192,
          "hashOffset": 4096,
          "kernel": "0202020202020202020202020202020202020202020202020202020202020202",
          "initrd": "0303030303030303030303030303030303030303030303030303030303030303",
          "kernelArguments": "console=ttyS0",
          "date": 1700000000,
          "program": {
            "digest": "0404040404040404040404040404040404040404040404040404040404040404",
            "size": 70000
          }
        }
        "#);
        assert_eq!(Statement::parse(&bytes).unwrap(), statement());
    }

    #[test]
    fn what_no_sealed_system_has_is_refused() {
        let good = serde_json::to_value(statement()).unwrap();
        let with = |key: &str, value: Value| {
            let mut changed = good.clone();
            changed[key] = value;
            Statement::parse(changed.to_string().as_bytes())
        };
        assert!(with("date", json!(5)).is_ok());
        let newer = with("version", json!(2)).unwrap_err();
        assert!(
            matches!(newer, StatementError::Version { found: 2 }),
            "{newer}"
        );
        for (key, value) in [
            ("image", json!("sha256:00")),
            ("architecture", json!("a\u{1b}[2J")),
            ("format", json!("")),
            ("compression", json!("auto")),
            ("compression", json!("zstd:99")),
            ("rootHash", json!("11")),
            ("size", json!(4096)),
            ("size", json!(8193)),
            ("hashOffset", json!(0)),
            ("kernel", json!("02")),
            ("kernelArguments", json!("a\nb")),
            ("kernelArguments", json!("x".repeat(5000))),
            ("date", json!(-1)),
            (
                "program",
                json!({"digest": "04".repeat(32), "size": 1_u64 << 40}),
            ),
            (
                "program",
                json!({"digest": "04".repeat(32), "size": 1, "more": 1}),
            ),
            ("root", json!({"digest": "04".repeat(32), "size": 4096})),
            ("surplus", json!(1)),
        ] {
            assert!(with(key, value.clone()).is_err(), "{key}: {value}");
        }
        let huge = vec![b' '; MAX_SIZE + 1];
        let error = Statement::parse(&huge).unwrap_err();
        assert!(matches!(error, StatementError::TooLarge), "{error}");
    }
}
