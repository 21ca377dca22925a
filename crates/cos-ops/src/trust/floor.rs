//! No going back: a machine on which a version became good takes no lower one unasked.

use super::parse_version;
use crate::OpsError;
use crate::error::chain;
use cos_store::{SnapshotId, Store, StoreError};
use semver::Version;
use std::io;

/// The floor of a store that is to be reset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Floor {
    /// It is known; `None` where no version was good yet.
    Known(Option<String>),
    /// What is noted is no version: why.
    Damaged(String),
    /// The file system does not give it away: why.
    Unreadable(String),
}

impl Floor {
    /// Looks for the floor of a store.
    pub(crate) fn of(store: &Store) -> Self {
        match store.version_floor() {
            Ok(Some(text)) if parse_version(&text).is_none() => {
                Self::Damaged(format!("{text:?} is no version"))
            }
            Ok(floor) => Self::Known(floor),
            Err(error) => match &error {
                StoreError::Read { source, .. } if source.kind() == io::ErrorKind::InvalidData => {
                    Self::Damaged(chain(&error))
                }
                _ => Self::Unreadable(chain(&error)),
            },
        }
    }

    /// Why it is made anew, if it must be.
    pub(crate) fn lost(&self) -> Option<&str> {
        match self {
            Self::Known(_) => None,
            Self::Damaged(why) | Self::Unreadable(why) => Some(why),
        }
    }

    /// What the floor of a store that is reset to this version is. One that is known stays.
    pub(crate) fn after_reset(&self, version: Option<&str>) -> Option<String> {
        match self {
            Self::Known(floor) => floor.clone(),
            Self::Damaged(_) | Self::Unreadable(_) => {
                let version = version.and_then(parse_version);
                version.map(|version| version.to_string())
            }
        }
    }
}

/// What is to be deployed, and whether it may be older than what was.
pub(crate) struct FloorQuestion<'q> {
    /// The image, as the user named it.
    pub(crate) image: &'q str,
    /// Its version.
    pub(crate) version: Option<&'q Version>,
    /// Whether it may be a lower one.
    pub(crate) allow_downgrade: bool,
}

impl FloorQuestion<'_> {
    /// Refuses what is below the floor of a store, and what does not say whether it is.
    pub(crate) fn ask(&self, store: &Store) -> Result<(), OpsError> {
        if self.allow_downgrade {
            return Ok(());
        }
        let Some(text) = store.version_floor()? else {
            return Ok(());
        };
        let floor = parse_version(&text);
        match (self.version, floor) {
            (Some(version), Some(floor)) if *version >= floor => Ok(()),
            (version, _) => Err(OpsError::Downgrade {
                image: self.image.to_owned(),
                version: version.map(ToString::to_string),
                floor: text,
            }),
        }
    }

    /// After a lower version was deployed because somebody asked for it, that is where the floor is.
    pub(crate) fn lower(&self, store: &Store) -> Result<(), OpsError> {
        let Some(version) = self.version.filter(|_| self.allow_downgrade) else {
            return Ok(());
        };
        // A floor that cannot be read is replaced by one that can.
        let lower = match Floor::of(store) {
            Floor::Known(floor) => floor
                .as_deref()
                .and_then(parse_version)
                .is_some_and(|floor| *version <= floor),
            Floor::Damaged(_) | Floor::Unreadable(_) => true,
        };
        if lower {
            store.set_version_floor(&version.to_string())?;
        }
        Ok(())
    }
}

/// Raises the floor to the version of a snapshot that had a good boot.
pub(crate) fn raise(store: &Store, id: &SnapshotId) -> Result<(), OpsError> {
    let snapshot = store.metadata(id)?;
    let Some(version) = snapshot.image_version.as_deref().and_then(parse_version) else {
        return Ok(());
    };
    // One that cannot be read is no reason to have none.
    let floor = store.version_floor().ok().flatten();
    let floor = floor.as_deref().and_then(parse_version);
    if floor.is_none_or(|floor| floor < version) {
        store.set_version_floor(&version.to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cos_boot::COS_DIRECTORY;

    fn ask(store: &Store, version: Option<&str>, allow_downgrade: bool) -> Result<(), OpsError> {
        let version = version.map(|text| Version::parse(text).unwrap());
        let question = FloorQuestion {
            image: "r.example/os",
            version: version.as_ref(),
            allow_downgrade,
        };
        question.ask(store)?;
        question.lower(store)
    }

    #[test]
    fn below_the_floor_nothing_is_deployed_unasked() {
        let temp = tempfile::tempdir().unwrap();
        let store = Store::with_checkpoint(temp.path(), |_| Ok(()));
        fs_err::create_dir(temp.path().join(COS_DIRECTORY)).unwrap();
        // No floor: anything goes, with and without a version.
        ask(&store, None, false).unwrap();
        ask(&store, Some("1.0.0"), false).unwrap();
        assert_eq!(store.version_floor().unwrap(), None);
        store.set_version_floor("2.0.0").unwrap();
        ask(&store, Some("2.0.0"), false).unwrap();
        ask(&store, Some("2.0.1"), false).unwrap();
        for below in [Some("1.9.9"), Some("2.0.0-rc.1"), None] {
            let error = ask(&store, below, false).unwrap_err();
            assert!(matches!(error, OpsError::Downgrade { .. }), "{below:?}");
            assert!(error.to_string().contains("2.0.0"), "{error}");
            assert!(error.hint().unwrap().contains("--allow-downgrade"));
        }
        // Where somebody asks for it, the floor goes down with it, and never up.
        ask(&store, None, true).unwrap();
        ask(&store, Some("3.0.0"), true).unwrap();
        assert_eq!(store.version_floor().unwrap().as_deref(), Some("2.0.0"));
        ask(&store, Some("1.5.0"), true).unwrap();
        ask(&store, Some("1.6.0"), false).unwrap();
        assert!(ask(&store, Some("1.4.0"), false).is_err());
    }

    #[test]
    fn a_damaged_floor_is_not_as_if_there_were_none() {
        let temp = tempfile::tempdir().unwrap();
        let store = Store::with_checkpoint(temp.path(), |_| Ok(()));
        fs_err::create_dir(temp.path().join(COS_DIRECTORY)).unwrap();
        for damaged in ["", "not a version"] {
            fs_err::write(temp.path().join("cos/version-floor"), damaged).unwrap();
            assert!(ask(&store, Some("9.0.0"), false).is_err(), "{damaged:?}");
            assert!(matches!(Floor::of(&store), Floor::Damaged(_)));
            ask(&store, Some("1.0.0"), true).unwrap();
            assert_eq!(store.version_floor().unwrap().as_deref(), Some("1.0.0"));
        }
        fs_err::remove_file(temp.path().join("cos/version-floor")).unwrap();
        fs_err::create_dir(temp.path().join("cos/version-floor")).unwrap();
        assert!(matches!(Floor::of(&store), Floor::Unreadable(_)));
    }

    #[test]
    fn a_reset_keeps_a_floor_that_is_known() {
        let known = Floor::Known(Some("2.0.0".to_owned()));
        assert_eq!(known.after_reset(Some("1.0.0")).as_deref(), Some("2.0.0"));
        assert_eq!(Floor::Known(None).after_reset(Some("1.0.0")), None);
        let damaged = Floor::Damaged(String::new());
        assert_eq!(
            damaged.after_reset(Some("v1.0.0")).as_deref(),
            Some("1.0.0")
        );
        assert_eq!(damaged.after_reset(Some("x")), None);
        assert_eq!(damaged.after_reset(None), None);
    }
}
