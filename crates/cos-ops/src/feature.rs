//! Features: documents that the image brings in `/system/features`, and that count once they are linked
//! from `/oem/features`.

use cos_sys::root_path::{Root, RootPathError};
use serde::Serialize;
use std::fmt;
use std::path::{Path, PathBuf};

/// What the image brings.
const AVAILABLE: &str = "/system/features";
/// What is enabled: links into [`AVAILABLE`].
const ENABLED: &str = "/oem/features";

/// A feature of the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Feature {
    /// Its name: that of its file, without `.yaml`.
    pub name: String,
    /// Whether it counts.
    pub enabled: bool,
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.enabled { "enabled " } else { "disabled" };
        writeln!(f, "{state}  {}", self.name)
    }
}

/// Whether something was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was.
    Made,
    /// It was so already.
    None,
}

/// Why features could not be listed or switched.
#[derive(Debug, thiserror::Error)]
pub enum FeatureError {
    /// Looking.
    #[error("cannot list the features")]
    List {
        /// Why.
        source: RootPathError,
    },
    /// No such feature.
    #[error("this image has no feature {name}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// Switching.
    #[error("cannot switch the feature {name}")]
    Switch {
        /// The feature.
        name: String,
        /// Why.
        source: RootPathError,
    },
}

impl FeatureError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { known, .. } if !known.is_empty() => {
                Some(format!("there are {}", known.join(", ")))
            }
            Self::Unknown { .. } => Some(format!("the image brings none in {AVAILABLE}")),
            Self::List { .. } => None,
            Self::Switch { source, .. } => source.hint(),
        }
    }
}

fn link(name: &str) -> PathBuf {
    Path::new(ENABLED).join(format!("{name}.yaml"))
}

/// The features of the system in `root`, by name.
pub fn list(root: &Path) -> Result<Vec<Feature>, FeatureError> {
    let failed = |source| FeatureError::List { source };
    let root = Root::open(root).map_err(failed)?;
    let names = root
        .list(Path::new(AVAILABLE))
        .map_err(failed)?
        .unwrap_or_default();
    let mut features = Vec::new();
    for name in names {
        let Some(name) = name.to_str().and_then(|name| name.strip_suffix(".yaml")) else {
            continue;
        };
        let link = root.link_status(&link(name)).map_err(failed)?;
        features.push(Feature {
            name: name.to_owned(),
            enabled: link.is_some(),
        });
    }
    Ok(features)
}

/// Enables or disables a feature from the next boot on.
pub fn set(root: &Path, name: &str, enabled: bool) -> Result<Change, FeatureError> {
    let features = list(root)?;
    let Some(feature) = features.iter().find(|feature| feature.name == name) else {
        return Err(FeatureError::Unknown {
            name: name.to_owned(),
            known: features.into_iter().map(|feature| feature.name).collect(),
        });
    };
    if feature.enabled == enabled {
        return Ok(Change::None);
    }
    let failed = |source| FeatureError::Switch {
        name: name.to_owned(),
        source,
    };
    let root = Root::open(root).map_err(failed)?;
    if enabled {
        let target = Path::new(AVAILABLE).join(format!("{name}.yaml"));
        root.symlink(&target, &link(name)).map_err(failed)?;
    } else {
        root.remove(&link(name)).map_err(failed)?;
    }
    Ok(Change::Made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_switched_by_links() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        fs_err::create_dir_all(at("system/features")).unwrap();
        fs_err::create_dir_all(at("oem")).unwrap();
        fs_err::write(at("system/features/k3s.yaml"), "stages: {}\n").unwrap();
        assert_eq!(set(root.path(), "k3s", true).unwrap(), Change::Made);
        assert_eq!(set(root.path(), "k3s", true).unwrap(), Change::None);
        assert!(list(root.path()).unwrap()[0].enabled);
        let target = fs_err::read_link(at("oem/features/k3s.yaml")).unwrap();
        assert_eq!(target, Path::new("/system/features/k3s.yaml"));
        assert_eq!(set(root.path(), "k3s", false).unwrap(), Change::Made);
        assert!(!at("oem/features/k3s.yaml").exists());
        let error = set(root.path(), "k4s", true).unwrap_err();
        assert_eq!(error.hint().as_deref(), Some("there are k3s"));
    }
}
