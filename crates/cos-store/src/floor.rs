//! The highest version that ever became good on this machine: below it nothing is deployed unasked.
//!
//! ```text
//! 2.1.0                    a semantic version; with a seal also `-`, for none
//! counter 7                on machines with a TPM: what its counter says once this floor counts
//! seal 5f0c…               and that somebody wrote it who knows the TPM's key
//! ```

use crate::draft::{remove, sync_directory};
use crate::store::{read_bounded, write_file};
use crate::{Store, StoreError};
use cos_boot::COS_DIRECTORY;
use std::io;

/// The note, from the root of the partition.
pub const VERSION_FLOOR: &str = "cos/version-floor";
/// No version is longer.
const MAX_VERSION: usize = 256;
/// In the place of a version where there is none.
const NONE: &str = "-";

/// A version floor as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionFloor {
    /// The version, as it was written.
    pub version: Option<String>,
    /// What a TPM vouches for it with.
    pub seal: Option<FloorSeal>,
}

/// What binds a version floor to a TPM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FloorSeal {
    /// What the TPM's counter says once the floor counts.
    pub count: u64,
    /// A code over version and count, by the TPM's key.
    pub code: [u8; 32],
}

impl VersionFloor {
    /// One that nobody vouches for.
    pub fn plain(version: Option<&str>) -> Self {
        Self {
            version: version.map(str::to_owned),
            seal: None,
        }
    }

    /// What its file says; `None` where there is none, as there is nothing to say.
    pub fn to_text(&self) -> Option<String> {
        let version = self.version.as_deref();
        match &self.seal {
            None => version.map(|version| format!("{version}\n")),
            Some(FloorSeal { count, code }) => {
                let (version, seal) = (version.unwrap_or(NONE), hex::encode(code));
                Some(format!("{version}\ncounter {count}\nseal {seal}\n"))
            }
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.trim().lines().map(str::trim);
        let version = lines.next().filter(|version| {
            !version.is_empty() && version.len() <= MAX_VERSION && !version.contains('\0')
        })?;
        let seal = match lines.next() {
            None => None,
            Some(counter) => {
                let count = counter.strip_prefix("counter ")?.parse().ok()?;
                let mut code = [0; 32];
                hex::decode_to_slice(lines.next()?.strip_prefix("seal ")?, &mut code).ok()?;
                Some(FloorSeal { count, code })
            }
        };
        let version = (version != NONE).then(|| version.to_owned());
        let says_something = version.is_some() || seal.is_some();
        (says_something && lines.next().is_none()).then_some(Self { version, seal })
    }
}

impl Store {
    /// The floor, as it was written; `None` where there is none yet.
    pub fn floor(&self) -> Result<Option<VersionFloor>, StoreError> {
        let path = self.root().join(VERSION_FLOOR);
        let failed = |source| StoreError::Read {
            path: path.clone(),
            source,
        };
        let bytes = match read_bounded(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let floor = std::str::from_utf8(&bytes)
            .ok()
            .and_then(VersionFloor::parse);
        match floor {
            Some(floor) => Ok(Some(floor)),
            None => Err(failed(io::ErrorKind::InvalidData.into())),
        }
    }

    /// Sets it, in one step: after a power cut there is the old one or the new one.
    pub fn set_floor(&self, floor: &VersionFloor) -> Result<(), StoreError> {
        let path = self.root().join(VERSION_FLOOR);
        if let Some(text) = floor.to_text() {
            let new = path.with_extension("new");
            write_file(&new, text.as_bytes())?;
            fs_err::rename(&new, &path).map_err(|source| StoreError::Write { path, source })?;
        } else if fs_err::symlink_metadata(&path).is_ok() {
            remove(&path)?;
        }
        sync_directory(&self.root().join(COS_DIRECTORY))
    }

    /// The version below which nothing is deployed unasked, whoever vouches for it.
    pub fn version_floor(&self) -> Result<Option<String>, StoreError> {
        Ok(self.floor()?.and_then(|floor| floor.version))
    }

    /// Sets a version that nobody vouches for.
    pub fn set_version_floor(&self, version: &str) -> Result<(), StoreError> {
        self.set_floor(&VersionFloor::plain(Some(version)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_is_kept_and_a_damaged_one_is_no_floor_at_all() {
        let temp = tempfile::tempdir().unwrap();
        let store = Store::with_checkpoint(temp.path(), |_| Ok(()));
        fs_err::create_dir(temp.path().join(COS_DIRECTORY)).unwrap();
        assert_eq!(store.version_floor().unwrap(), None);
        for version in ["1.2.3", "1.10.0-rc.1+build"] {
            store.set_version_floor(version).unwrap();
            assert_eq!(store.version_floor().unwrap().as_deref(), Some(version));
        }
        for damaged in [
            &b""[..],
            b"\xff\xfe",
            &[b'1'; 1000],
            b"-\n",
            b"1.0.0\ncounter",
            b"1.0.0\ncounter 1",
            b"1.0.0\ncounter 1\nseal 00",
            b"1.0.0\ncounter -1\nseal 0000000000000000000000000000000000000000000000000000000000000000",
            b"1.0.0\ncounter 1\nseal 0000000000000000000000000000000000000000000000000000000000000000\n-",
        ] {
            fs_err::write(temp.path().join(VERSION_FLOOR), damaged).unwrap();
            assert!(store.version_floor().is_err());
        }
        // What a power cut left of another write does not matter.
        fs_err::write(temp.path().join("cos/version-floor.new"), "9.9").unwrap();
        store.set_version_floor("2.0.0").unwrap();
        assert_eq!(store.version_floor().unwrap().as_deref(), Some("2.0.0"));
        for _ in 0..2 {
            store.set_floor(&VersionFloor::plain(None)).unwrap();
            assert_eq!(store.floor().unwrap(), None);
        }
    }

    #[test]
    fn what_a_tpm_vouches_for_says_so() {
        let temp = tempfile::tempdir().unwrap();
        let store = Store::with_checkpoint(temp.path(), |_| Ok(()));
        fs_err::create_dir(temp.path().join(COS_DIRECTORY)).unwrap();
        for version in [Some("1.2.3".to_owned()), None] {
            let floor = VersionFloor {
                version,
                seal: Some(FloorSeal {
                    count: u64::MAX,
                    code: std::array::from_fn(|at| at as u8 * 7),
                }),
            };
            store.set_floor(&floor).unwrap();
            assert_eq!(store.floor().unwrap(), Some(floor.clone()));
            assert_eq!(store.version_floor().unwrap(), floor.version);
        }
    }
}
