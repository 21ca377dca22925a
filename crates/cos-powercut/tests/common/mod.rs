//! What the tests share.
#![allow(dead_code, reason = "every test binary uses its own part")]

use cos_boot::{BootState, SnapshotId};
use cos_powercut::{Part, fixture};
use std::path::Path;

pub(crate) const MIB: u64 = 1 << 20;

pub(crate) fn id(digit: char) -> SnapshotId {
    fixture::id(digit).unwrap()
}

pub(crate) fn first_state() -> BootState {
    fixture::first_state(&id('a'))
}

/// Makes the disk: a partition table, and in it COS_STATE with one snapshot.
pub(crate) fn make_disk(path: &Path, bytes: u64) -> Part {
    fixture::make_disk(path, bytes).unwrap()
}
