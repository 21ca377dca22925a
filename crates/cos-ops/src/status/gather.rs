//! Finding out.

use super::{
    Fallback, FloorPlace, FloorStatus, Health, Running, SnapshotStatus, StageStatus, Standing,
    Status, Usage, VERSION,
};
use crate::OpsError;
use crate::machine::{Access, LOADER_LABEL, Machine, MachineError, Mode};
use crate::trust::{FloorKeeper, Standing as FloorStanding};
use cos_boot::{Attempts, BootState, Choice, decide};
use cos_store::{SnapshotId, Store};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

/// What `cos boot assess` keeps.
const ASSESSMENT: &str = "assessment.json";
/// More stages than these are not looked at.
const MAX_STAGES: usize = 64;
/// A summary of a stage is smaller.
const MAX_SUMMARY: u64 = 4 << 20;
/// A file system with less than this part free, in percent, is a problem.
const LEAST_FREE: u64 = 3;
/// Mount points whose file systems are shown.
const MOUNTS: [&str; 2] = ["/oem", "/usr/local"];

/// Looks at the machine.
pub fn status(machine: &Machine) -> Result<Status, OpsError> {
    let mut problems = Vec::new();
    let mut disk = Vec::new();
    let state = match machine.boot.mode {
        Mode::Live => None,
        _ => Some(machine.state(Access::Read)),
    };
    let mut system = System::default();
    let mut version_floor = None;
    match &state {
        None => {}
        Some(Ok(mounted)) => {
            disk.extend(usage("COS_STATE", mounted.store().root()));
            version_floor = floor(machine, mounted.store(), &mut problems);
            match System::read(machine, mounted.store()) {
                Ok(read) => system = read,
                Err(error) => problems.push(crate::error::chain(&error)),
            }
        }
        Some(Err(error)) => problems.push(crate::error::chain(error)),
    }
    let recovery = recovery(machine, &mut disk, &mut problems);
    problems.extend(lost_loader(machine));
    disk.extend(
        MOUNTS
            .iter()
            .filter_map(|path| usage(path, Path::new(path))),
    );
    let fallback = system.fallback(machine);
    let running = running(machine, &system);
    let stages = stages(&machine.places.run.join("stages"));
    let health = health(&machine.places.run.join(ASSESSMENT));
    let mut status = Status {
        version: VERSION,
        well: false,
        problems,
        running,
        next_boot: system.next_boot(),
        snapshots: system.snapshots,
        staged: system.staged,
        recovery,
        fallback,
        version_floor,
        health,
        disk,
        stages,
    };
    judge(&mut status);
    Ok(status)
}

/// What COS_STATE says.
#[derive(Debug, Default)]
struct System {
    boot: Option<(BootState, Attempts)>,
    snapshots: Vec<SnapshotStatus>,
    staged: Option<SnapshotId>,
}

impl System {
    fn read(machine: &Machine, store: &Store) -> Result<Self, OpsError> {
        let record = machine.boot_record(Access::Read)?;
        let (state, attempts) = record.known_and_attempts(store)?;
        let snapshots = state
            .snapshots()
            .map(|id| snapshot(store, &state, &attempts, id))
            .collect();
        Ok(Self {
            boot: Some((state, attempts)),
            snapshots,
            staged: store.staged(),
        })
    }

    fn next_boot(&self) -> String {
        let Some((state, attempts)) = &self.boot else {
            return "unknown".to_owned();
        };
        let whole = |id: &SnapshotId| self.snapshots.iter().any(|it| it.id == *id && it.whole);
        match decide(state, attempts, whole).choice {
            Choice::Snapshot(id) => id.to_string(),
            Choice::Recovery => "recovery".to_owned(),
        }
    }

    /// The machine runs something else than its active snapshot because that failed.
    fn fallback(&self, machine: &Machine) -> Option<Fallback> {
        let (state, _) = self.boot.as_ref()?;
        if machine.boot.mode == Mode::Active {
            return None;
        }
        let active = self
            .snapshots
            .first()
            .filter(|it| it.standing == Standing::Failed)?;
        let failure = active.failure.clone();
        let journal = failure.as_ref().map(|it| it.journal.clone());
        let reason = failure.map_or_else(
            || {
                format!(
                    "none of its {} tries ended in a good boot, and no word of why is left: \
                     a kernel panic, a hang or a power cut",
                    state.limit(&active.id)
                )
            },
            |failure| failure.reason,
        );
        Some(Fallback {
            from: active.id.clone(),
            reason,
            journal: journal.unwrap_or_default(),
        })
    }
}

fn snapshot(
    store: &Store,
    state: &BootState,
    attempts: &Attempts,
    id: &SnapshotId,
) -> SnapshotStatus {
    let metadata = store.metadata(id).ok();
    let standing = if state.failed.contains(id) {
        Standing::Failed
    } else if state.trial.contains(id) {
        Standing::Trial
    } else {
        Standing::Good
    };
    let used = match &attempts.snapshot {
        Some(tried) if tried == id => attempts.count,
        _ => 0,
    };
    SnapshotStatus {
        id: id.clone(),
        standing,
        active: state.active == *id,
        pinned: state.pinned.contains(id),
        whole: store.is_whole(id).is_ok(),
        modified_locally: metadata.as_ref().is_some_and(|it| it.modified_locally),
        source: metadata.as_ref().map(|it| it.source.clone()),
        digest: metadata.as_ref().and_then(|it| it.digest.clone()),
        version: metadata.as_ref().and_then(|it| it.image_version.clone()),
        verified: metadata.as_ref().and_then(|it| it.verified.clone()),
        date: metadata.as_ref().map(|it| it.date),
        bytes: store.bytes(id),
        tries: [used, state.limit(id)],
        failure: store.failure(id),
    }
}

fn recovery(
    machine: &Machine,
    disk: &mut Vec<Usage>,
    problems: &mut Vec<String>,
) -> Option<SnapshotStatus> {
    if machine.boot.mode == Mode::Live {
        return None;
    }
    let read = machine.recovery(Access::Read).map_err(OpsError::from);
    let read = read.and_then(|mounted| {
        let store = mounted.store();
        disk.extend(usage("COS_RECOVERY", store.root()));
        let state = store.state()?;
        Ok(snapshot(store, &state, &Attempts::default(), &state.active))
    });
    match read {
        // Nobody judges the recovery system's boots.
        Ok(found) => Some(SnapshotStatus {
            standing: Standing::Good,
            ..found
        }),
        Err(error) => {
            problems.push(format!("recovery: {}", crate::error::chain(&error)));
            None
        }
    }
}

/// Whether the partition that a machine is started from by UEFI is gone, with GRUB's configuration.
fn lost_loader(machine: &Machine) -> Option<String> {
    if machine.boot.mode == Mode::Live {
        return None;
    }
    match machine.partition(LOADER_LABEL) {
        Err(error @ MachineError::NoPartition { .. }) => Some(format!(
            "boot loader: {error}; this machine does not start again: install it anew \
             (COS_PERSISTENT can be copied before)"
        )),
        _ => None,
    }
}

/// The version floor, and who vouches for it.
fn floor(machine: &Machine, store: &Store, problems: &mut Vec<String>) -> Option<FloorStatus> {
    let mut keeper = FloorKeeper::open(store, &machine.places.tpm);
    let place = match keeper.standing() {
        Ok(FloorStanding::Sealed { .. }) => FloorPlace::Tpm,
        _ => FloorPlace::File,
    };
    match keeper.believed() {
        Ok(version) => version.map(|version| FloorStatus { version, place }),
        Err(error) => {
            problems.push(crate::error::chain(&error));
            None
        }
    }
}

fn running(machine: &Machine, system: &System) -> Running {
    let boot = &machine.boot;
    let good = system.boot.as_ref().and_then(|(state, attempts)| {
        let judged = matches!(boot.mode, Mode::Active | Mode::Passive);
        let open = attempts.snapshot.as_ref() == Some(&boot.snapshot);
        judged.then_some(!open && !state.trial.contains(&boot.snapshot))
    });
    Running {
        mode: boot.mode,
        snapshot: boot.snapshot.clone(),
        good: good.filter(|good| *good),
        persistent: boot.persistent,
        warnings: boot.warnings.clone(),
    }
}

fn usage(name: &str, path: &Path) -> Option<Usage> {
    let stat = rustix::fs::statvfs(path).ok()?;
    Some(Usage {
        name: name.to_owned(),
        size: stat.f_blocks.saturating_mul(stat.f_frsize),
        free: stat.f_bavail.saturating_mul(stat.f_frsize),
    })
}

/// What `cos boot assess` keeps, as much of it as is shown here.
#[derive(Deserialize)]
struct Assessment {
    healthy: bool,
    checks: Vec<Check>,
}

#[derive(Deserialize)]
struct Check {
    name: String,
    passed: bool,
    reason: Option<String>,
}

fn health(path: &Path) -> Option<Health> {
    let assessment: Assessment = read_summary(path)?;
    let failed = assessment.checks.iter().filter(|check| !check.passed);
    let failures = failed
        .map(|it| format!("{}: {}", it.name, it.reason.as_deref().unwrap_or("failed")))
        .collect();
    Some(Health {
        healthy: assessment.healthy,
        checks: assessment.checks.len(),
        failures,
    })
}

/// Reads a small JSON document; `None` for one that is not there or not as expected.
fn read_summary<T: DeserializeOwned>(path: &Path) -> Option<T> {
    if fs_err::metadata(path).ok()?.len() > MAX_SUMMARY {
        return None;
    }
    serde_json::from_slice(&fs_err::read(path).ok()?).ok()
}

/// What `cos stage` keeps, as much of it as is shown here.
#[derive(Deserialize)]
struct Summary {
    stage: String,
    #[serde(default)]
    errors: Vec<String>,
    #[serde(default)]
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    #[serde(rename = "step")]
    name: String,
    result: String,
    #[serde(default)]
    failures: Vec<StepFailure>,
}

#[derive(Deserialize)]
struct StepFailure {
    key: String,
    message: String,
}

fn stages(directory: &Path) -> Vec<StageStatus> {
    let Ok(entries) = fs_err::read_dir(directory) else {
        return Vec::new();
    };
    let paths = entries.flatten().take(MAX_STAGES).map(|entry| entry.path());
    let mut files: Vec<PathBuf> = paths.collect();
    files.sort_by_key(|path| fs_err::metadata(path).and_then(|meta| meta.modified()).ok());
    files.iter().filter_map(|path| stage(path)).collect()
}

fn stage(path: &Path) -> Option<StageStatus> {
    let summary: Summary = read_summary(path)?;
    let count = |result: &str| {
        summary
            .steps
            .iter()
            .filter(|it| it.result == result)
            .count()
    };
    let failures = summary.steps.iter().flat_map(|step| {
        let each = step.failures.iter();
        each.map(move |it| format!("{}: {}: {}", step.name, it.key, it.message))
    });
    Some(StageStatus {
        done: count("done"),
        failed: count("failed"),
        failures: summary.errors.iter().cloned().chain(failures).collect(),
        stage: summary.stage,
    })
}

/// Says whether somebody should look.
fn judge(status: &mut Status) {
    let problems = &mut status.problems;
    if let Some(fallback) = &status.fallback {
        problems.push(format!(
            "snapshot {} failed: {}",
            fallback.from, fallback.reason
        ));
    }
    for snapshot in status.snapshots.iter().chain(&status.recovery) {
        if !snapshot.whole {
            problems.push(format!("snapshot {} is not complete", snapshot.id));
        }
    }
    if status.running.mode == Mode::Recovery && status.fallback.is_none() {
        problems.push("the recovery system runs".to_owned());
    }
    for usage in &status.disk {
        // COS_OEM and the others that are as large as their content are never as full as that.
        if usage.size > 0
            && usage.free * 100 / usage.size < LEAST_FREE
            && usage.name == "/usr/local"
        {
            problems.push(format!("{} is full", usage.name));
        }
    }
    for stage in status
        .stages
        .iter()
        .filter(|it| it.failed > 0 || !it.failures.is_empty())
    {
        problems.push(format!(
            "stage {}: {}",
            stage.stage,
            stage.failures.join("; ")
        ));
    }
    for failure in status.health.iter().flat_map(|it| &it.failures) {
        problems.push(format!("health check {failure}"));
    }
    problems.extend(status.running.warnings.iter().cloned());
    status.well = problems.is_empty();
}

#[cfg(test)]
mod tests;
