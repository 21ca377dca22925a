//! `cos/boot.env`: which snapshots there are to boot, and in which order.
//!
//! The operating system writes it, always whole, and the boot loader reads it. Every change has a
//! number of its own, the *generation*, so that what the boot loader noted about an older state
//! ([`Attempts`]) does not count for a newer one.

use crate::{Attempts, EnvironmentBlock, EnvironmentError, InvalidSnapshotId, SnapshotId};
use std::fmt;
use std::str::FromStr;

/// Where the boot state lies, from the root of the partition.
pub const BOOT_ENVIRONMENT: &str = "cos/boot.env";
/// What takes the place of the boot state at the next change; until then, the one before it.
pub const NEXT_BOOT_ENVIRONMENT: &str = "cos/boot.env.next";

/// Most snapshots a state names; more do not fit into the block beside everything else.
pub const MAX_SNAPSHOTS: usize = 12;
/// Most tries that can be given.
pub const MAX_TRIES: u8 = 20;

/// How often a snapshot may be booted without its boot becoming good, before the next one boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tries {
    /// On trial: what has never had a good boot.
    pub trial: u8,
    /// Good before. More, as power cuts in a row use them up too.
    pub good: u8,
}

impl Default for Tries {
    fn default() -> Self {
        Self { trial: 3, good: 8 }
    }
}

/// What boots once, at the next boot, whatever the rule says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Once {
    /// The recovery system.
    Recovery,
    /// A snapshot.
    Snapshot(SnapshotId),
}

impl fmt::Display for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recovery => f.write_str("recovery"),
            Self::Snapshot(id) => write!(f, "{id}"),
        }
    }
}

impl FromStr for Once {
    type Err = InvalidSnapshotId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "recovery" => Ok(Self::Recovery),
            id => Ok(Self::Snapshot(id.parse()?)),
        }
    }
}

/// What boots from a partition or medium.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootState {
    /// Number of this state; each change counts it up.
    pub generation: u64,
    /// Boots by default.
    pub active: SnapshotId,
    /// Kept to fall back to, the first one first.
    pub passive: Vec<SnapshotId>,
    /// Those that have not had a good boot yet.
    pub trial: Vec<SnapshotId>,
    /// Those that used up their tries, and do not boot until somebody decides.
    pub failed: Vec<SnapshotId>,
    /// Those that are not removed to make room.
    pub pinned: Vec<SnapshotId>,
    /// What boots once.
    pub once: Option<Once>,
    /// How often is tried.
    pub tries: Tries,
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
    /// A variable has a value it cannot have.
    #[error("{} sets {variable} to {value:?}", BOOT_ENVIRONMENT)]
    Value {
        /// Its name.
        variable: &'static str,
        /// What it is set to.
        value: String,
    },
    /// A variable names no snapshot.
    #[error("{} names a snapshot that cannot be", BOOT_ENVIRONMENT)]
    Id(#[source] InvalidSnapshotId),
}

impl BootState {
    /// The state of a new disk or medium with one snapshot. There is nothing to fall back to but
    /// recovery, so its trial has as many tries as something good.
    pub fn first(active: SnapshotId) -> Self {
        let good = Tries::default().good;
        Self {
            generation: 1,
            trial: vec![active.clone()],
            active,
            passive: Vec::new(),
            failed: Vec::new(),
            pinned: Vec::new(),
            once: None,
            tries: Tries { trial: good, good },
        }
    }

    /// Reads the bytes of `boot.env`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StateError> {
        let block = EnvironmentBlock::from_bytes(bytes).map_err(StateError::Block)?;
        let active = block.get("cos_active").filter(|text| !text.is_empty());
        let active = active.ok_or(StateError::Missing {
            variable: "cos_active",
        })?;
        let list = |name| id_list(&block, name).map_err(StateError::Id);
        let once = block.get("cos_once").filter(|text| !text.is_empty());
        Ok(Self {
            generation: generation(&block, "cos_generation")?,
            active: active.parse().map_err(StateError::Id)?,
            passive: list("cos_passive")?,
            trial: list("cos_trial")?,
            failed: list("cos_failed")?,
            pinned: list("cos_pinned")?,
            once: once.map(str::parse).transpose().map_err(StateError::Id)?,
            tries: Tries {
                trial: tries(&block, "cos_tries", Tries::default().trial)?,
                good: tries(&block, "cos_good_tries", Tries::default().good)?,
            },
        })
    }

    /// The bytes of `boot.env`.
    pub fn to_bytes(&self) -> Result<Vec<u8>, EnvironmentError> {
        let mut block = EnvironmentBlock::default();
        block.set("cos_generation", &self.generation.to_string())?;
        block.set("cos_active", self.active.as_str())?;
        block.set("cos_passive", &join(&self.passive))?;
        block.set("cos_trial", &join(&self.trial))?;
        block.set("cos_failed", &join(&self.failed))?;
        block.set("cos_pinned", &join(&self.pinned))?;
        let once = self.once.as_ref().map(ToString::to_string);
        block.set("cos_once", &once.unwrap_or_default())?;
        block.set("cos_tries", &unary(self.tries.trial))?;
        block.set("cos_good_tries", &unary(self.tries.good))?;
        block.to_bytes()
    }

    /// Every snapshot named, the first to boot first.
    pub fn snapshots(&self) -> impl Iterator<Item = &SnapshotId> {
        std::iter::once(&self.active).chain(&self.passive)
    }

    /// How often `id` may be tried.
    pub fn limit(&self, id: &SnapshotId) -> u8 {
        if self.trial.contains(id) {
            self.tries.trial
        } else {
            self.tries.good
        }
    }

    /// What is known once the boot loader's notes are taken into account: those that it gave up are
    /// failed, and what was to boot once has booted.
    #[must_use]
    pub fn with_attempts(mut self, attempts: &Attempts) -> Self {
        if attempts.generation != self.generation {
            return self;
        }
        for id in &attempts.failed {
            if !self.failed.contains(id) && self.snapshots().any(|known| known == id) {
                self.failed.push(id.clone());
            }
        }
        if attempts.once_done {
            self.once = None;
        }
        self
    }
}

/// GRUB cannot count, but it can put an `x` in front of others.
pub(crate) fn unary(count: u8) -> String {
    "x".repeat(usize::from(count))
}

pub(crate) fn from_unary(text: &str) -> Option<u8> {
    let count = u8::try_from(text.len()).ok()?;
    text.bytes().all(|byte| byte == b'x').then_some(count)
}

pub(crate) fn join(ids: &[SnapshotId]) -> String {
    let ids: Vec<&str> = ids.iter().map(SnapshotId::as_str).collect();
    ids.join(" ")
}

pub(crate) fn id_list(
    block: &EnvironmentBlock,
    name: &str,
) -> Result<Vec<SnapshotId>, InvalidSnapshotId> {
    let words = block.get(name).unwrap_or_default();
    words.split_ascii_whitespace().map(str::parse).collect()
}

pub(crate) fn generation(
    block: &EnvironmentBlock,
    variable: &'static str,
) -> Result<u64, StateError> {
    let text = block.get(variable).unwrap_or("0");
    text.parse().map_err(|_| StateError::Value {
        variable,
        value: text.to_owned(),
    })
}

fn tries(block: &EnvironmentBlock, variable: &'static str, default: u8) -> Result<u8, StateError> {
    let Some(text) = block.get(variable) else {
        return Ok(default);
    };
    let count = from_unary(text).filter(|count| (1..=MAX_TRIES).contains(count));
    count.ok_or_else(|| StateError::Value {
        variable,
        value: text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> SnapshotId {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_written_reads_back() {
        let state = BootState {
            generation: 7,
            active: id("0123456789ab"),
            passive: vec![id("aaaaaaaaaaaa"), id("bbbbbbbbbbbb")],
            trial: vec![id("0123456789ab")],
            failed: vec![id("bbbbbbbbbbbb")],
            pinned: vec![id("aaaaaaaaaaaa")],
            once: Some(Once::Recovery),
            tries: Tries { trial: 2, good: 9 },
        };
        let bytes = state.to_bytes().unwrap();
        assert_eq!(BootState::from_bytes(&bytes), Ok(state));
    }

    #[test]
    fn the_largest_state_fits() {
        let ids: Vec<SnapshotId> = (0..MAX_SNAPSHOTS)
            .map(|n| id(&format!("{n:012x}")))
            .collect();
        let state = BootState {
            generation: u64::MAX,
            active: ids[0].clone(),
            passive: ids[1..].to_vec(),
            trial: ids.clone(),
            failed: ids.clone(),
            pinned: ids.clone(),
            once: Some(Once::Snapshot(ids[0].clone())),
            tries: Tries {
                trial: MAX_TRIES,
                good: MAX_TRIES,
            },
        };
        let bytes = state.to_bytes().unwrap();
        assert_eq!(BootState::from_bytes(&bytes), Ok(state));
    }

    #[test]
    fn a_first_state_is_on_trial() {
        let state = BootState::first(id("0123456789ab"));
        assert_eq!(state.limit(&state.active), Tries::default().good);
        assert_eq!(state.trial, [id("0123456789ab")]);
    }
}
