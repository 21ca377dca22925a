//! `cos/attempt.env`: what the boot loader tried.
//!
//! The boot loader notes here, before it starts a snapshot, that it does; the operating system
//! takes the note back once the boot is good. The file has its blocks from the day it was made and
//! is only ever written in place: a boot loader can do no more. All that counts lies in its first
//! 512 bytes, which disks write whole.

use crate::state::{from_unary, generation, id_list, join, unary};
use crate::{EnvironmentBlock, EnvironmentError, SnapshotId, StateError};

/// Where the notes lie, from the root of the partition.
pub const ATTEMPT_ENVIRONMENT: &str = "cos/attempt.env";

/// The boot loader's notes about one generation of the boot state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attempts {
    /// Which state they are about; of another one they say nothing.
    pub generation: u64,
    /// The snapshot last started, unless its boot became good.
    pub snapshot: Option<SnapshotId>,
    /// How often it was started in a row.
    pub count: u8,
    /// Those that were given up.
    pub failed: Vec<SnapshotId>,
    /// Whether what was to boot once has been started.
    pub once_done: bool,
}

impl Attempts {
    /// Reads the bytes of `attempt.env`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StateError> {
        let block = EnvironmentBlock::from_bytes(bytes).map_err(StateError::Block)?;
        let snapshot = block
            .get("attempt_snapshot")
            .filter(|text| !text.is_empty());
        let count = block.get("attempt_count").unwrap_or_default();
        Ok(Self {
            generation: generation(&block, "attempt_generation")?,
            snapshot: snapshot
                .map(str::parse)
                .transpose()
                .map_err(StateError::Id)?,
            count: from_unary(count).ok_or_else(|| StateError::Value {
                variable: "attempt_count",
                value: count.to_owned(),
            })?,
            failed: id_list(&block, "attempt_failed").map_err(StateError::Id)?,
            once_done: block
                .get("attempt_once")
                .is_some_and(|text| !text.is_empty()),
        })
    }

    /// The bytes of `attempt.env`.
    pub fn to_bytes(&self) -> Result<Vec<u8>, EnvironmentError> {
        let mut block = EnvironmentBlock::default();
        block.set("attempt_generation", &self.generation.to_string())?;
        let snapshot = self.snapshot.as_ref().map(SnapshotId::as_str);
        block.set("attempt_snapshot", snapshot.unwrap_or_default())?;
        block.set("attempt_count", &unary(self.count))?;
        block.set("attempt_failed", &join(&self.failed))?;
        block.set("attempt_once", if self.once_done { "done" } else { "" })?;
        block.to_bytes()
    }

    /// The notes as they apply to a state: none when they are about another one.
    #[must_use]
    pub fn about(self, generation: u64) -> Self {
        if self.generation == generation {
            self
        } else {
            Self {
                generation,
                ..Self::default()
            }
        }
    }

    /// The notes once the boot in progress is good. What was given up stays given up.
    #[must_use]
    pub fn after_good_boot(mut self) -> Self {
        self.snapshot = None;
        self.count = 0;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_and_lies_in_the_first_sector() {
        let attempts = Attempts {
            generation: u64::MAX,
            snapshot: Some("0123456789ab".parse().unwrap()),
            count: crate::MAX_TRIES,
            failed: (0..crate::MAX_SNAPSHOTS)
                .map(|n| format!("{n:012x}").parse().unwrap())
                .collect(),
            once_done: true,
        };
        let bytes = attempts.to_bytes().unwrap();
        assert_eq!(Attempts::from_bytes(&bytes), Ok(attempts));
        assert!(bytes[512..].iter().all(|&byte| byte == b'#'));
    }

    #[test]
    fn notes_about_another_state_say_nothing() {
        let attempts = Attempts {
            generation: 3,
            count: 2,
            ..Attempts::default()
        };
        assert_eq!(attempts.clone().about(3), attempts);
        assert_eq!(attempts.about(4).count, 0);
    }
}
