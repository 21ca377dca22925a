//! Why a boot of a snapshot failed, noted by who noticed it.

use crate::store::{read_bounded, write_file};
use crate::{SnapshotId, Store, StoreError};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Directory of the notes, from the root of the partition.
const FAILURES: &str = "cos/failures";
/// Most lines of a journal that are kept.
const MAX_LINES: usize = 60;

/// How far a boot came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureStage {
    /// The root could not be made in the initrd.
    Initrd,
    /// The system asked for an emergency shell.
    Emergency,
    /// A health check failed.
    Health,
    /// The boot was not complete in time.
    Deadline,
    /// Found out afterwards: its files are not what was written.
    Damaged,
    /// Found out afterwards: it ended without a word.
    Silent,
}

/// Why a boot of a snapshot failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// How far the boot came.
    pub stage: FailureStage,
    /// What went wrong, for people.
    pub reason: String,
    /// When, seconds since 1970.
    pub time: i64,
    /// The end of that boot's journal, oldest line first.
    #[serde(default)]
    pub journal: Vec<String>,
}

impl Store {
    fn failure_path(&self, id: &SnapshotId) -> PathBuf {
        self.root().join(FAILURES).join(format!("{id}.json"))
    }

    /// Why the last failed boot of a snapshot failed, if anybody could tell.
    pub fn failure(&self, id: &SnapshotId) -> Option<Failure> {
        let bytes = read_bounded(&self.failure_path(id)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Notes why a boot of a snapshot failed.
    pub fn note_failure(&self, id: &SnapshotId, failure: &Failure) -> Result<(), StoreError> {
        let path = self.failure_path(id);
        let mut failure = failure.clone();
        let excess = failure.journal.len().saturating_sub(MAX_LINES);
        failure.journal.drain(..excess);
        let directory = self.root().join(FAILURES);
        fs_err::create_dir_all(&directory).map_err(|source| StoreError::Write {
            path: directory,
            source,
        })?;
        let bytes = serde_json::to_vec_pretty(&failure).map_err(|error| StoreError::Write {
            path: path.clone(),
            source: error.into(),
        })?;
        write_file(&path, &bytes)
    }

    /// Forgets why a snapshot failed.
    pub fn forget_failure(&self, id: &SnapshotId) -> Result<(), StoreError> {
        let path = self.failure_path(id);
        match fs_err::symlink_metadata(&path) {
            Ok(_) => crate::draft::remove(&path),
            Err(_) => Ok(()),
        }
    }

    /// Forgets why snapshots failed, but for those that `keep` names.
    pub fn forget_failures(&self, keep: &[SnapshotId]) -> Result<(), StoreError> {
        let Ok(entries) = fs_err::read_dir(self.root().join(FAILURES)) else {
            return Ok(());
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let kept = keep.iter().any(|id| name == *format!("{id}.json"));
            if !kept {
                crate::draft::remove(&entry.path())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_initrds_note_is_understood() {
        let note = include_str!("../../cos-init/tests/note.json");
        let temp = tempfile::tempdir().unwrap();
        let store = Store::new(temp.path());
        let id: SnapshotId = "0123456789ab".parse().unwrap();
        fs_err::create_dir_all(temp.path().join(FAILURES)).unwrap();
        fs_err::write(store.failure_path(&id), note).unwrap();
        assert_eq!(
            store.failure(&id),
            Some(Failure {
                stage: FailureStage::Initrd,
                reason: "no root image: it is gone".into(),
                time: 1_700_000_000,
                journal: vec!["first \"line\"".into(), "second\tline".into()],
            })
        );
    }
}
