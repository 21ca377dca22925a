//! The files.

use crate::{ConfigError, DIRECTORY, FILE};
use cos_sys::root_path::Root;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Longest file, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// Most files of the directory.
const MAX_FILES: usize = 256;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Document {
    pub(crate) strict: Option<bool>,
    pub(crate) upgrade: Upgrade,
    pub(crate) boot: Boot,
    pub(crate) registry: Registry,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Upgrade {
    pub(crate) source: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) keep: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Boot {
    pub(crate) tries: Option<u8>,
    pub(crate) good_tries: Option<u8>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Registry {
    pub(crate) insecure: Option<Vec<String>>,
    pub(crate) mirrors: Option<BTreeMap<String, Vec<String>>>,
    pub(crate) ca_certificates: Option<Vec<PathBuf>>,
    pub(crate) auth_file: Option<PathBuf>,
}

impl Document {
    /// Reads a file; one that is not there is empty.
    pub(crate) fn read(root: &Root, path: &Path) -> Result<Self, ConfigError> {
        let bytes = root
            .read(path, MAX_FILE)
            .map_err(|source| ConfigError::Read {
                path: path.to_owned(),
                source,
            })?;
        let wrong = |message: String| ConfigError::Document {
            path: path.to_owned(),
            message,
        };
        let text = String::from_utf8(bytes.unwrap_or_default())
            .map_err(|error| wrong(error.to_string()))?;
        let empty = text
            .lines()
            .all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
        if empty {
            return Ok(Self::default());
        }
        serde_saphyr::from_str(&text).map_err(|error| wrong(error.to_string()))
    }

    /// What a variable of the environment says.
    pub(crate) fn from_variable(name: &str, value: &str) -> Self {
        let mut document = Self::default();
        match name {
            "COS_UPGRADE_SOURCE" => document.upgrade.source = Some(value.to_owned()),
            _ => document.upgrade.version = Some(value.to_owned()),
        }
        document
    }
}

/// The files there are, in the order in which they count.
pub(crate) fn files(root: &Root) -> Result<Vec<PathBuf>, ConfigError> {
    let mut files = vec![PathBuf::from(FILE)];
    let directory = Path::new(DIRECTORY);
    let failed = |source| ConfigError::Read {
        path: directory.to_owned(),
        source,
    };
    let Some(real) = root.directory(directory).map_err(failed)? else {
        return Ok(files);
    };
    let entries = std::iter::once(real).flat_map(fs_err::read_dir).flatten();
    let mut names: Vec<_> = entries
        .flatten()
        .take(MAX_FILES)
        .map(|entry| PathBuf::from(entry.file_name()))
        .filter(|name| {
            name.extension()
                .is_some_and(|it| it == "yaml" || it == "yml")
        })
        .collect();
    names.sort();
    files.extend(names.into_iter().map(|name| directory.join(name)));
    Ok(files)
}
