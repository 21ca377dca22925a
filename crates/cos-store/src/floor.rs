//! The highest version that ever became good on this machine: below it nothing is deployed unasked.

use crate::draft::{remove, sync_directory};
use crate::store::{read_bounded, write_file};
use crate::{Store, StoreError};
use cos_boot::COS_DIRECTORY;
use std::io;

/// The note, from the root of the partition.
pub const VERSION_FLOOR: &str = "cos/version-floor";
/// No version is longer.
const MAX_VERSION: usize = 256;

impl Store {
    /// The version below which nothing is deployed unasked, as it was written; `None` where there is
    /// none yet.
    pub fn version_floor(&self) -> Result<Option<String>, StoreError> {
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
        let text = String::from_utf8(bytes).ok();
        let text = text.map(|text| text.trim().to_owned());
        match text.filter(|text| !text.is_empty() && text.len() <= MAX_VERSION) {
            Some(version) => Ok(Some(version)),
            None => Err(failed(io::ErrorKind::InvalidData.into())),
        }
    }

    /// Sets it, in one step: after a power cut there is the old one or the new one.
    pub fn set_version_floor(&self, version: &str) -> Result<(), StoreError> {
        let path = self.root().join(VERSION_FLOOR);
        let new = path.with_extension("new");
        write_file(&new, format!("{version}\n").as_bytes())?;
        fs_err::rename(&new, &path).map_err(|source| StoreError::Write { path, source })?;
        sync_directory(&self.root().join(COS_DIRECTORY))
    }

    /// Forgets it: the next version that becomes good sets it.
    pub fn clear_version_floor(&self) -> Result<(), StoreError> {
        let path = self.root().join(VERSION_FLOOR);
        if fs_err::symlink_metadata(&path).is_ok() {
            remove(&path)?;
        }
        sync_directory(&self.root().join(COS_DIRECTORY))
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
        for damaged in [&b""[..], b"\xff\xfe", &[b'1'; 1000]] {
            fs_err::write(temp.path().join(VERSION_FLOOR), damaged).unwrap();
            assert!(store.version_floor().is_err());
        }
        // What a power cut left of another write does not matter.
        fs_err::write(temp.path().join("cos/version-floor.new"), "9.9").unwrap();
        store.set_version_floor("2.0.0").unwrap();
        assert_eq!(store.version_floor().unwrap().as_deref(), Some("2.0.0"));
        store.clear_version_floor().unwrap();
        assert_eq!(store.version_floor().unwrap(), None);
        store.clear_version_floor().unwrap();
    }
}
