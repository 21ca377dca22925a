//! No going back: a machine on which a version became good takes no lower one unasked.

use super::keeper::{FloorError, FloorKeeper, Standing};
use super::parse_version;
use crate::OpsError;
use crate::error::chain;
use cos_events::{Monitor, warn};
use cos_store::{SnapshotId, Store, StoreError};
use semver::Version;
use std::io;
use std::path::Path;

/// The floor of a store, as far as it can be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Floor {
    /// It is known; `None` where no version was good yet.
    Known(Option<String>),
    /// It was set back, or nobody is there who could vouch for it: why.
    Doubted(String),
    /// What is noted is no version: why.
    Damaged(String),
    /// The file system does not give it away: why.
    Unreadable(String),
}

impl Floor {
    /// The floor of a store, on a machine whose TPM is at `tpm` if it has one.
    pub(crate) fn of(store: &Store, tpm: &Path) -> Self {
        Self::in_keeper(&FloorKeeper::open(store, tpm))
    }

    fn in_keeper(keeper: &FloorKeeper<'_>) -> Self {
        match keeper.standing() {
            Ok(Standing::Plain(floor) | Standing::Sealed { version: floor, .. }) => match floor {
                Some(text) if parse_version(&text).is_none() => {
                    Self::Damaged(format!("{text:?} is no version"))
                }
                floor => Self::Known(floor),
            },
            Ok(Standing::SetBack(how)) => Self::Doubted(how.to_string()),
            Ok(Standing::Unproven) => Self::Doubted(FloorError::Unproven(None).to_string()),
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
            Self::Doubted(why) | Self::Damaged(why) | Self::Unreadable(why) => Some(why),
        }
    }

    /// What the floor of a store that is reset to this version is. One that is known stays.
    pub(crate) fn after_reset(&self, version: Option<&str>) -> Option<String> {
        match self {
            Self::Known(floor) => floor.clone(),
            Self::Doubted(_) | Self::Damaged(_) | Self::Unreadable(_) => {
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
    /// Where the machine's TPM is, if it has one.
    pub(crate) tpm: &'q Path,
}

impl FloorQuestion<'_> {
    /// Refuses what is below the floor of a store, and what does not say whether it is.
    pub(crate) fn ask(&self, store: &Store, monitor: &dyn Monitor) -> Result<(), OpsError> {
        if self.allow_downgrade {
            return Ok(());
        }
        let mut keeper = FloorKeeper::open(store, self.tpm);
        let believed = keeper.believed()?;
        if let Some(trouble) = keeper.trouble() {
            let trouble = chain(trouble);
            warn(
                monitor,
                format!("the version floor is taken from its file alone: {trouble}"),
            );
        }
        let Some(text) = believed else {
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

    /// After a lower version was deployed because somebody asked for it, that is where the floor is; also
    /// where the old one could not be believed.
    pub(crate) fn lower(&self, store: &Store) -> Result<(), OpsError> {
        if self.allow_downgrade {
            lower_to(&mut FloorKeeper::open(store, self.tpm), self.version)?;
        }
        Ok(())
    }
}

/// Lowers the floor where it is higher, or not to be believed.
pub(super) fn lower_to(
    keeper: &mut FloorKeeper<'_>,
    version: Option<&Version>,
) -> Result<(), FloorError> {
    let is_due = match Floor::in_keeper(keeper) {
        Floor::Known(floor) => {
            let floor = floor.as_deref().and_then(parse_version);
            floor.zip(version).is_some_and(|(floor, it)| *it < floor)
        }
        Floor::Doubted(_) => true,
        // A floor that cannot be read is replaced by one that can.
        Floor::Damaged(_) | Floor::Unreadable(_) => version.is_some() || keeper.is_armed(),
    };
    if is_due {
        let version = version.map(ToString::to_string);
        keeper.set(version.as_deref())?;
    }
    Ok(())
}

/// Raises the floor to the version of a snapshot that had a good boot.
pub(crate) fn raise(store: &Store, id: &SnapshotId, tpm: &Path) -> Result<(), OpsError> {
    let snapshot = store.metadata(id)?;
    let Some(version) = snapshot.image_version.as_deref().and_then(parse_version) else {
        return Ok(());
    };
    raise_to(&mut FloorKeeper::open(store, tpm), &version)?;
    Ok(())
}

pub(super) fn raise_to(keeper: &mut FloorKeeper<'_>, version: &Version) -> Result<(), FloorError> {
    let floor = match keeper.believed() {
        Ok(floor) => floor,
        // One that cannot be read is no reason to have none; but where a TPM would know better, a good boot
        // of an older system must not make it the floor.
        Err(FloorError::Store(_)) if !keeper.is_armed() => None,
        Err(error) => return Err(error),
    };
    let floor = floor.as_deref().and_then(parse_version);
    if floor.is_none_or(|floor| floor < *version) {
        keeper.set(Some(&version.to_string()))
    } else {
        keeper.settle()
    }
}

/// After a store was made anew, a TPM that knows of a floor finds one that is in step.
pub(crate) fn renew(store: &Store, tpm: &Path) -> Result<(), OpsError> {
    Ok(renew_in(&mut FloorKeeper::open(store, tpm))?)
}

pub(super) fn renew_in(keeper: &mut FloorKeeper<'_>) -> Result<(), FloorError> {
    match Floor::in_keeper(keeper) {
        Floor::Known(_) => Ok(()),
        _ => keeper.renew(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cos_boot::COS_DIRECTORY;
    use cos_events::Silent;

    const NO_TPM: &str = "/dev/no-such-tpm";

    fn ask(store: &Store, version: Option<&str>, allow_downgrade: bool) -> Result<(), OpsError> {
        let version = version.map(|text| Version::parse(text).unwrap());
        let question = FloorQuestion {
            image: "r.example/os",
            version: version.as_ref(),
            allow_downgrade,
            tpm: NO_TPM.as_ref(),
        };
        question.ask(store, &Silent)?;
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
            assert!(matches!(
                Floor::of(&store, NO_TPM.as_ref()),
                Floor::Damaged(_)
            ));
            ask(&store, Some("1.0.0"), true).unwrap();
            assert_eq!(store.version_floor().unwrap().as_deref(), Some("1.0.0"));
        }
        fs_err::remove_file(temp.path().join("cos/version-floor")).unwrap();
        fs_err::create_dir(temp.path().join("cos/version-floor")).unwrap();
        assert!(matches!(
            Floor::of(&store, NO_TPM.as_ref()),
            Floor::Unreadable(_)
        ));
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
