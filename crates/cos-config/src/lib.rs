//! Configuration of the `cos` command on a machine.
//!
//! It is read from `/etc/cos/config.yaml`, then from the files of `/etc/cos/config.d` in order of
//! their names, then from the environment; flags of the command line are the caller's. What is said
//! later wins, key by key, and every value knows where it was said. Unknown keys are errors: a typing
//! error must not quietly leave a machine on its defaults.

mod document;
mod error;
mod setting;

pub use error::ConfigError;
pub use setting::{Origin, Setting};

use cos_sys::root_path::Root;
use document::Document;
pub use semver::VersionReq;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The main file.
pub const FILE: &str = "/etc/cos/config.yaml";
/// Files beside it.
pub const DIRECTORY: &str = "/etc/cos/config.d";

/// Snapshots that are kept when nobody says how many: the active one and one to fall back to.
const KEEP: usize = 2;
/// The range of snapshots that can be kept.
const KEEP_RANGE: std::ops::RangeInclusive<usize> = 2..=10;
/// The range of tries.
const TRIES_RANGE: std::ops::RangeInclusive<u8> = 1..=20;

/// The configuration, with a value for every key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `strict`: whether unknown keys of cloud-config documents are errors.
    pub strict: Setting<bool>,
    /// `upgrade.source`: what `cos upgrade` follows.
    pub upgrade_source: Setting<Option<String>>,
    /// `upgrade.version`: which of the versions that the repository has as tags.
    pub upgrade_version: Setting<Option<VersionReq>>,
    /// `upgrade.keep`: how many snapshots are kept in all.
    pub keep: Setting<usize>,
    /// `boot.tries`: how often a snapshot on trial is tried.
    pub tries: Setting<u8>,
    /// `boot.goodTries`: how often a good one is.
    pub good_tries: Setting<u8>,
    /// `registry.insecure`: hosts spoken to in plain HTTP.
    pub insecure: Setting<Vec<String>>,
    /// `registry.mirrors`: what is asked before a host.
    pub mirrors: Setting<BTreeMap<String, Vec<String>>>,
    /// `registry.caCertificates`: PEM files to trust beside the system's.
    pub ca_certificates: Setting<Vec<PathBuf>>,
    /// `registry.authFile`: credentials.
    pub auth_file: Setting<Option<PathBuf>>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            strict: Setting::by_default(false),
            upgrade_source: Setting::by_default(None),
            upgrade_version: Setting::by_default(None),
            keep: Setting::by_default(KEEP),
            tries: Setting::by_default(3),
            good_tries: Setting::by_default(8),
            insecure: Setting::by_default(Vec::new()),
            mirrors: Setting::by_default(BTreeMap::new()),
            ca_certificates: Setting::by_default(Vec::new()),
            auth_file: Setting::by_default(None),
        }
    }
}

/// Names of the environment's variables, for documentation and errors.
const VARIABLES: [&str; 2] = ["COS_UPGRADE_SOURCE", "COS_UPGRADE_VERSION"];

impl Config {
    /// Reads the files below `root` and the variables of `environment`. Files that are not there say
    /// nothing.
    pub fn load(root: &Root, environment: &[(String, String)]) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        for file in document::files(root)? {
            let document = Document::read(root, &file)?;
            config.lay_over(document, &Origin::File(file))?;
        }
        for name in VARIABLES {
            let said = environment.iter().find(|(key, _)| key == name);
            if let Some((_, value)) = said.filter(|(_, value)| !value.is_empty()) {
                let origin = Origin::Environment(name);
                config.lay_over(Document::from_variable(name, value), &origin)?;
            }
        }
        Ok(config)
    }

    fn lay_over(&mut self, document: Document, origin: &Origin) -> Result<(), ConfigError> {
        let Document {
            strict,
            upgrade,
            boot,
            registry,
        } = document;
        self.strict.set(strict, origin);
        self.upgrade_source.set(upgrade.source.map(Some), origin);
        let version = upgrade.version.map(|text| version_rule(&text, origin));
        self.upgrade_version
            .set(version.transpose()?.map(Some), origin);
        let keep = upgrade
            .keep
            .map(|keep| in_range("upgrade.keep", keep, &KEEP_RANGE, origin));
        self.keep.set(keep.transpose()?, origin);
        let tries = |key, tries: Option<u8>| {
            tries
                .map(|tries| in_range(key, tries, &TRIES_RANGE, origin))
                .transpose()
        };
        self.tries.set(tries("boot.tries", boot.tries)?, origin);
        self.good_tries
            .set(tries("boot.goodTries", boot.good_tries)?, origin);
        self.insecure.set(registry.insecure, origin);
        self.mirrors.set(registry.mirrors, origin);
        self.ca_certificates.set(registry.ca_certificates, origin);
        self.auth_file.set(registry.auth_file.map(Some), origin);
        Ok(())
    }
}

/// Reads a rule for versions, as `semver` has them: `>=1.2, <2`.
pub fn version_rule(text: &str, origin: &Origin) -> Result<VersionReq, ConfigError> {
    VersionReq::parse(text).map_err(|source| ConfigError::Version {
        origin: origin.to_string(),
        text: text.to_owned(),
        source,
    })
}

fn in_range<T: PartialOrd + std::fmt::Display>(
    key: &'static str,
    value: T,
    range: &std::ops::RangeInclusive<T>,
    origin: &Origin,
) -> Result<T, ConfigError> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(ConfigError::Range {
        origin: origin.to_string(),
        key,
        value: value.to_string(),
        range: format!("{} to {}", range.start(), range.end()),
    })
}

/// Opens the root whose configuration is meant.
pub fn open_root(path: &Path) -> Result<Root, ConfigError> {
    Root::open(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests;
