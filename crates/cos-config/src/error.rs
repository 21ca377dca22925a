//! What can be wrong with a configuration.

use cos_sys::root_path::RootPathError;
use std::path::PathBuf;

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file or directory could not be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: RootPathError,
    },
    /// A file is not a configuration.
    #[error("{}: {message}", .path.display())]
    Document {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        message: String,
    },
    /// A rule for versions cannot be read.
    #[error("{origin}: upgrade.version: {text:?} is no rule for versions")]
    Version {
        /// Where it was said.
        origin: String,
        /// The rule.
        text: String,
        /// Why.
        source: semver::Error,
    },
    /// A number that cannot be.
    #[error("{origin}: {key} is {value}; it can be {range}")]
    Range {
        /// Where it was said.
        origin: String,
        /// The key.
        key: &'static str,
        /// The number.
        value: String,
        /// What it can be.
        range: String,
    },
}

impl ConfigError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Version { .. } => Some("write it as in \">=1.2, <2\"".to_owned()),
            _ => None,
        }
    }
}
