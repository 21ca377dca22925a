//! `cos/boot.env`: which snapshot boots.

use crate::{EnvironmentBlock, EnvironmentError};
use cos_store::{InvalidSnapshotId, SnapshotId};

/// Where the boot state lies, from the root of the partition.
pub const BOOT_ENVIRONMENT: &str = "cos/boot.env";

/// What boots from a partition or medium. The operating system writes it, the boot loader reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootState {
    /// Boots by default.
    pub active: SnapshotId,
    /// Kept to fall back to, newest first.
    pub passive: Vec<SnapshotId>,
}

/// Why a boot state could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The block itself is broken.
    #[error("{} is damaged", BOOT_ENVIRONMENT)]
    Block(#[source] EnvironmentError),
    /// A variable is missing.
    #[error("{} does not set {variable}", BOOT_ENVIRONMENT)]
    Missing {
        /// Its name.
        variable: &'static str,
    },
    /// A variable names no snapshot.
    #[error("{} names a snapshot that cannot be", BOOT_ENVIRONMENT)]
    Id(#[source] InvalidSnapshotId),
}

impl BootState {
    /// Reads the bytes of `boot.env`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StateError> {
        let block = EnvironmentBlock::from_bytes(bytes).map_err(StateError::Block)?;
        let active = block.get("cos_active").ok_or(StateError::Missing {
            variable: "cos_active",
        })?;
        let passive = block
            .get("cos_passive")
            .unwrap_or_default()
            .split_ascii_whitespace();
        Ok(Self {
            active: active.parse().map_err(StateError::Id)?,
            passive: passive
                .map(str::parse)
                .collect::<Result<_, _>>()
                .map_err(StateError::Id)?,
        })
    }

    /// The bytes of `boot.env`.
    pub fn to_bytes(&self) -> Result<Vec<u8>, EnvironmentError> {
        let mut block = EnvironmentBlock::default();
        block.set("cos_active", self.active.as_str())?;
        let passive: Vec<&str> = self.passive.iter().map(SnapshotId::as_str).collect();
        block.set("cos_passive", &passive.join(" "))?;
        block.to_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let id = |text: &str| text.parse().unwrap();
        let state = BootState {
            active: id("0123456789ab"),
            passive: vec![id("aaaaaaaaaaaa"), id("bbbbbbbbbbbb")],
        };
        assert_eq!(
            BootState::from_bytes(&state.to_bytes().unwrap()).unwrap(),
            state
        );
    }
}
