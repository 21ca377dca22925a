//! `cos reset`: COS_STATE back to one snapshot, that of the system that runs or of an image.
//!
//! The new snapshot is written beside the old ones, and boots from the moment of the one commit on;
//! until then the old system boots. Only where there is no room, or nothing that could be kept,
//! COS_STATE is made anew first, and the plan says so.

mod error;
mod execute;
mod partitions;

pub use error::ResetError;
pub use partitions::ResetPartitions;

use crate::build::payload::Payload;
use crate::build::sizes::Bytes;
use crate::deploy::{self, DeployError, SnapshotSource};
use crate::error::chain;
use crate::hooks::{Hooks, NoHooks};
use crate::machine::Mode;
use crate::trust::{self, Floor, FloorQuestion};
use cos_events::{Monitor, warn};
use cos_store::{Action, Snapshot, Store, VersionFloor};
use serde::Serialize;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

/// What to reset, and to what.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a choice of its own, or a fact of the machine"
)]
#[derive(Debug, Clone)]
pub struct ResetRequest {
    /// Which system runs.
    pub mode: Mode,
    /// Whether the machine boots sealed.
    pub is_sealed: bool,
    /// What COS_STATE is to hold.
    pub source: SnapshotSource,
    /// The partitions of the disk that is meant.
    pub partitions: ResetPartitions,
    /// Whether the image may be of a lower version than one that was good here.
    pub allow_downgrade: bool,
    /// Where the machine's TPM is, if it has one.
    pub tpm: PathBuf,
    /// Make COS_PERSISTENT anew.
    pub persistent: bool,
    /// Make COS_OEM anew.
    pub oem: bool,
    /// Where to keep temporary data.
    pub temp_dir: PathBuf,
    /// Where to look for programs; by default where root's login does.
    pub search_path: Option<OsString>,
    /// The time, seconds since 1970.
    pub now: i64,
}

/// What becomes of COS_STATE.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum Fate {
    /// The new snapshot goes beside the old ones, which boot until it is committed.
    Kept {
        /// The snapshots that are removed afterwards.
        removes: Vec<String>,
    },
    /// The file system is made anew; until the new snapshot is written, only recovery boots.
    Anew {
        /// Why.
        reason: String,
    },
}

/// A reset, planned or done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResetResult {
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// The partition with the snapshots.
    pub device: PathBuf,
    /// The snapshot that boots from now on.
    pub snapshot: Snapshot,
    /// What becomes of the old system.
    pub fate: Fate,
    /// Why the highest version that was good here is not known any more, where it is not: it is noted anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor: Option<String>,
    /// Labels of the partitions that are made anew besides.
    pub wipes: Vec<&'static str>,
}

impl fmt::Display for ResetResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (device, snapshot) = (self.device.display(), &self.snapshot);
        match &self.fate {
            Fate::Kept { removes } => {
                writeln!(
                    f,
                    "{device} (COS_STATE): the old system boots until the new one is whole"
                )?;
                if !removes.is_empty() {
                    writeln!(f, "  removed afterwards: {}", removes.join(", "))?;
                }
            }
            Fate::Anew { reason } => writeln!(
                f,
                "{device} (COS_STATE): made anew, as {reason}; until that is done, only recovery boots"
            )?,
        }
        if let Some(reason) = &self.floor {
            writeln!(f, "version floor: {}", anew(reason))?;
        }
        for label in &self.wipes {
            writeln!(f, "{label}: everything on it is lost")?;
        }
        writeln!(
            f,
            "snapshot {} of {}\nroot hash: {}",
            snapshot.id, snapshot.source, snapshot.root_hash
        )
    }
}

/// What is said of a floor that is lost.
fn anew(reason: &str) -> String {
    format!("made anew, as it cannot be believed ({reason})")
}

struct Prepared {
    payload: Payload,
    floor: Floor,
    fate: Fate,
}

impl Prepared {
    /// The version floor of the machine that was reset.
    fn new_floor(&self, tpm: &Path) -> VersionFloor {
        let version = self.payload.snapshot.image_version.as_deref();
        trust::floor_in_step(tpm, self.floor.after_reset(version).as_deref())
    }
}

/// Says what a reset would do; writes nothing but temporary data.
pub fn plan_reset(
    request: &ResetRequest,
    monitor: &dyn Monitor,
) -> Result<ResetResult, ResetError> {
    let prepared = prepare(request, &NoHooks, monitor)?;
    Ok(result(request, &prepared, true))
}

/// Resets.
pub fn reset(
    request: &ResetRequest,
    hooks: &dyn Hooks,
    monitor: &dyn Monitor,
) -> Result<ResetResult, ResetError> {
    let prepared = prepare(request, hooks, monitor)?;
    if let Fate::Anew { reason } = &prepared.fate {
        warn(
            monitor,
            format!("COS_STATE is made anew, as {reason}; until that is done, only recovery boots"),
        );
    }
    if let Some(reason) = prepared.floor.lost() {
        warn(monitor, format!("the version floor is {}", anew(reason)));
    }
    execute::run(request, &prepared, hooks, monitor)?;
    if let Err(source) = hooks.post() {
        warn(monitor, format!("hook post-reset failed: {source}"));
    }
    Ok(result(request, &prepared, false))
}

fn result(request: &ResetRequest, prepared: &Prepared, dry_run: bool) -> ResetResult {
    let wipes = [
        ("COS_PERSISTENT", request.persistent),
        ("COS_OEM", request.oem),
    ];
    ResetResult {
        dry_run,
        device: request.partitions.state.clone(),
        snapshot: prepared.payload.snapshot.clone(),
        fate: prepared.fate.clone(),
        floor: prepared.floor.lost().map(str::to_owned),
        wipes: wipes
            .into_iter()
            .filter_map(|(label, wiped)| wiped.then_some(label))
            .collect(),
    }
}

fn prepare(
    request: &ResetRequest,
    hooks: &dyn Hooks,
    monitor: &dyn Monitor,
) -> Result<Prepared, ResetError> {
    if matches!(request.mode, Mode::Active | Mode::Passive) {
        return Err(ResetError::Installed);
    }
    let is_sealed = request.is_sealed;
    if is_sealed && matches!(request.source, SnapshotSource::Image(_)) {
        return Err(ResetError::SealedImage);
    }
    request
        .partitions
        .check(request.oem, request.persistent, is_sealed)?;
    hooks
        .before()
        .map_err(|source| deploy::hook("before", Action::Reset, "", source))?;
    let payload = deploy::payload(
        &request.source,
        "",
        Action::Reset,
        request.now,
        &request.temp_dir,
        hooks,
        monitor,
    )?;
    let (floor, fate) = fate(request, &payload, monitor)?;
    Ok(Prepared {
        payload,
        floor,
        fate,
    })
}

/// Looks at COS_STATE as it is.
fn fate(
    request: &ResetRequest,
    payload: &Payload,
    monitor: &dyn Monitor,
) -> Result<(Floor, Fate), ResetError> {
    let scratch = payload.directory.path();
    let mounted = match partitions::mount(&request.partitions.state, "ext4", "ro", scratch) {
        Ok(mounted) => mounted,
        Err(error) => {
            let reason = format!("it cannot be mounted ({})", chain(&error));
            let floor = Floor::Unreadable(format!("COS_STATE: {}", chain(&error)));
            return Ok((floor, Fate::Anew { reason }));
        }
    };
    let store = Store::new(mounted.path());
    let floor = Floor::of(&store, &request.tpm);
    // A floor that nobody knows must not keep the machine from being made whole. One that was set back is the
    // work of somebody, who may wait for an image.
    if let Floor::Known(_) | Floor::Doubted(_) = floor {
        refuse_downgrade(request, payload, &store, monitor)?;
    }
    let free = deploy::free_bytes(mounted.path()).unwrap_or(0);
    let fate = fate_of(&store, &floor, payload, free);
    Ok((floor, fate))
}

/// The system that runs may be older than what was good here: it is what a machine goes back to.
fn refuse_downgrade(
    request: &ResetRequest,
    payload: &Payload,
    store: &Store,
    monitor: &dyn Monitor,
) -> Result<(), ResetError> {
    let SnapshotSource::Image(_) = &request.source else {
        return Ok(());
    };
    let snapshot = &payload.snapshot;
    let version = snapshot.image_version.as_deref();
    let version = version.and_then(trust::parse_version);
    let question = FloorQuestion {
        image: &snapshot.source,
        version: version.as_ref(),
        allow_downgrade: request.allow_downgrade,
        tpm: &request.tpm,
    };
    let asked = question.ask(store, monitor);
    asked.map_err(|error| DeployError::from(error).into())
}

/// What becomes of a store with `free` bytes of room.
fn fate_of(store: &Store, floor: &Floor, payload: &Payload, free: u64) -> Fate {
    let id = payload.snapshot.id.as_str();
    let old = match store.state() {
        Ok(old) => old,
        Err(error) => {
            return Fate::Anew {
                reason: format!("its boot state cannot be read ({})", chain(&error)),
            };
        }
    };
    let Ok(present) = store.list() else {
        return Fate::Anew {
            reason: "its snapshots cannot be listed".to_owned(),
        };
    };
    if let Floor::Unreadable(why) = floor {
        return Fate::Anew {
            reason: format!("its version floor cannot be read ({why})"),
        };
    }
    // What no state names goes before the new one is written.
    let makes_way = |it: &&cos_store::Installed| !old.snapshots().any(|named| *named == it.id);
    let way: u64 = present.iter().filter(makes_way).map(|it| it.bytes).sum();
    let (needed, room) = (deploy::needed(payload), free.saturating_add(way));
    if room < needed && !deploy::is_there(store, payload) {
        return Fate::Anew {
            reason: format!(
                "a second snapshot needs {} and {} are free",
                Bytes(needed),
                Bytes(room)
            ),
        };
    }
    let removes = present.into_iter().map(|it| it.id.to_string());
    Fate::Kept {
        removes: removes.filter(|name| name != id).collect(),
    }
}
