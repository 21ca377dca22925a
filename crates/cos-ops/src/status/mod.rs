//! `cos status`: whether this machine is well, in one screen.

mod gather;
mod render;

pub use gather::status;

use crate::machine::Mode;
use cos_store::{Failure, SnapshotId, Verified};
use schemars::JsonSchema;
use serde::Serialize;

/// Version of the document that [`Status`] is.
pub const VERSION: u32 = 1;

/// The state of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Version of this document.
    pub version: u32,
    /// Whether somebody should look: a fallback, a failed stage or health check, a full disk.
    pub well: bool,
    /// What somebody should look at, one sentence each.
    pub problems: Vec<String>,
    /// What runs.
    pub running: Running,
    /// What boots next: a snapshot's id, or `recovery`.
    pub next_boot: String,
    /// The snapshots of COS_STATE, the first to boot first.
    pub snapshots: Vec<SnapshotStatus>,
    /// Id of a downloaded snapshot that waits for `cos upgrade --apply`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub staged: Option<SnapshotId>,
    /// The recovery system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery: Option<SnapshotStatus>,
    /// Why the machine does not run its active snapshot, when it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,
    /// The version below which nothing is deployed unasked, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_floor: Option<FloorStatus>,
    /// What the health checks of this boot said; absent until they have run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// The partitions and how full they are.
    pub disk: Vec<Usage>,
    /// What came of the stages of this boot.
    pub stages: Vec<StageStatus>,
}

/// What runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Running {
    /// Which system.
    #[schemars(with = "String")]
    pub mode: Mode,
    /// The snapshot.
    #[schemars(with = "String")]
    pub snapshot: SnapshotId,
    /// Whether this boot was found good: `null` while that is open, or where nobody judges it.
    pub good: Option<bool>,
    /// Whether changes to persistent paths are kept.
    pub persistent: bool,
    /// What went wrong in the initrd without stopping the boot.
    pub warnings: Vec<String>,
}

/// How a snapshot has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It has had a good boot.
    Good,
    /// It has not had one yet.
    Trial,
    /// It used up its tries.
    Failed,
}

/// A snapshot.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a field of the document"
)]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotStatus {
    /// Its name.
    #[schemars(with = "String")]
    pub id: SnapshotId,
    /// How it has done.
    pub standing: Standing,
    /// Whether it is active, and not passive.
    pub active: bool,
    /// Whether it is kept from being removed.
    pub pinned: bool,
    /// Whether every file of it is there.
    pub whole: bool,
    /// Whether hooks of this machine changed it.
    pub modified_locally: bool,
    /// The image it was made from.
    pub source: Option<String>,
    /// Digest of the image's manifest.
    pub digest: Option<String>,
    /// Version of the image, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What was known of the image's signatures: who signed, by which rule, or who accepted it unsigned.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub verified: Option<Verified>,
    /// When it was made, seconds since 1970.
    pub date: Option<i64>,
    /// Bytes on the disk.
    pub bytes: u64,
    /// Tries used up in a row, and how many there are.
    pub tries: [u8; 2],
    /// Why its last failed boot failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub failure: Option<Failure>,
}

/// A fallback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fallback {
    /// What should have run.
    #[schemars(with = "String")]
    pub from: SnapshotId,
    /// Why it did not, as far as is known.
    pub reason: String,
    /// The end of the journal of its last boot.
    pub journal: Vec<String>,
}

/// A version floor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FloorStatus {
    /// The version.
    pub version: String,
    /// Where it is kept.
    pub place: FloorPlace,
}

/// Where a version floor is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FloorPlace {
    /// In a file on COS_STATE.
    File,
    /// In that file, and the TPM vouches for it.
    Tpm,
}

/// What health checks said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// Whether every check passed.
    pub healthy: bool,
    /// How many there are.
    pub checks: usize,
    /// What the failed ones said, one line each.
    pub failures: Vec<String>,
}

/// How full a partition is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Where it is mounted, or what it is.
    pub name: String,
    /// Bytes in all.
    pub size: u64,
    /// Bytes that can be written.
    pub free: u64,
}

/// What came of a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StageStatus {
    /// The stage.
    pub stage: String,
    /// Steps that ran well.
    pub done: usize,
    /// Steps that failed.
    pub failed: usize,
    /// What failed, one line each.
    pub failures: Vec<String>,
}

/// The JSON Schema of `cos status --json`.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Status).to_value()
}
