//! No going back: a machine on which a version became good takes no lower one unasked.

use super::keeper::{FloorError, FloorKeeper, Standing};
use super::parse_version;
use crate::OpsError;
use crate::error::chain;
use cos_events::{Monitor, warn};
use cos_store::{SnapshotId, Store};
use semver::Version;
use std::path::Path;

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
    let is_due = match (keeper.standing(), version) {
        // A floor that cannot be read is replaced by one that can.
        (Err(_), version) => version.is_some() || keeper.is_armed(),
        (Ok(Standing::SetBack(_) | Standing::Unproven), _) => true,
        (Ok(Standing::Plain(floor) | Standing::Sealed { version: floor, .. }), version) => {
            let floor = floor.as_deref().and_then(parse_version);
            floor.zip(version).is_some_and(|(floor, it)| *it < floor)
        }
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

/// The floor of a store, where it can be believed.
pub(crate) fn believed(store: &Store, tpm: &Path) -> Option<String> {
    FloorKeeper::open(store, tpm).believed().ok().flatten()
}

/// After a store was made anew, its floor is `kept`, that of the store before; where there was none to be
/// believed and a TPM knows that there was one, it is `otherwise`.
pub(crate) fn renew(
    store: &Store,
    tpm: &Path,
    kept: Option<&str>,
    otherwise: Option<&str>,
) -> Result<(), OpsError> {
    Ok(renew_in(
        &mut FloorKeeper::open(store, tpm),
        kept,
        otherwise,
    )?)
}

pub(super) fn renew_in(
    keeper: &mut FloorKeeper<'_>,
    kept: Option<&str>,
    otherwise: Option<&str>,
) -> Result<(), FloorError> {
    match keeper.standing() {
        Ok(Standing::Sealed { .. } | Standing::Plain(Some(_))) => Ok(()),
        Ok(Standing::Plain(None)) if kept.is_none() => Ok(()),
        _ => keeper.renew(kept.or(otherwise)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cos_boot::COS_DIRECTORY;
    use cos_events::Silent;

    fn ask(store: &Store, version: Option<&str>, allow_downgrade: bool) -> Result<(), OpsError> {
        let version = version.map(|text| Version::parse(text).unwrap());
        let question = FloorQuestion {
            image: "r.example/os",
            version: version.as_ref(),
            allow_downgrade,
            tpm: Path::new("/dev/no-such-tpm"),
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
        }
        fs_err::write(temp.path().join("cos/version-floor"), "").unwrap();
        ask(&store, Some("1.0.0"), true).unwrap();
        assert_eq!(store.version_floor().unwrap().as_deref(), Some("1.0.0"));
    }
}
