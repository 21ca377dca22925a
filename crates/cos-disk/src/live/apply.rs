//! Carrying out a plan.

use super::disk::Disks;
use super::grow::{Grower, Grown};
use super::make::{Maker, cannot_clear, claim, clear};
use super::request::MIB;
use super::{Change, LayoutError, LayoutPlan, LayoutRequest, TableState, inspect, kernel, plan};
use cos_events::{Monitor, Task};
use cos_sys::block::BlockDevice;
use cos_sys::tool::ToolError;
use fs_err::{File, OpenOptions};
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use std::ffi::OsStr;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How long another program may hold the lock: udev does while it looks at a device.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);

/// What of the machine matters for its disks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Machine<'m> {
    /// The device node that the system booted from: its disk is meant where several bear the same
    /// label.
    pub boot_device: Option<&'m Path>,
    /// Where programs are looked for; in the system's directories when `None`.
    pub search_path: Option<&'m OsStr>,
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LayoutOutcome {
    /// The changes, each in a line; none when the disk was as it is asked for.
    pub changes: Vec<String>,
    /// What was not done, and why.
    pub warnings: Vec<String>,
}

/// Makes a disk as it is asked for. Needs root. Stops when the monitor asks for it as long as nothing
/// is written.
///
/// The disk is locked meanwhile as [systemd](https://systemd.io/BLOCK_DEVICE_LOCKING/) wants it, so
/// that udev looks at new partitions only when they are finished.
pub fn apply(
    request: &LayoutRequest,
    machine: &Machine<'_>,
    monitor: &dyn Monitor,
) -> Result<LayoutOutcome, LayoutError> {
    request.check()?;
    let disks = Disks::list()?;
    let disk = disks.find(&request.device, machine.boot_device)?;
    let file = lock(&disk.node)?;
    let disks = Disks::list()?;
    let disk = disks.again(disk)?;

    let table = inspect::table(&file, disk)?;
    let known = match &table {
        TableState::Present { table, .. } => Some(table),
        _ => None,
    };
    let told = kernel::tell(&file, disk, known)?;
    let state = inspect::contents(&Disks::list()?, disk, table)?;
    let plan = plan(request, &state, random_guid()?)?;
    let work = Work::prepare(&file, disk, &plan, machine)?;
    monitor.checkpoint()?;
    let mut outcome = work.run(monitor)?;
    outcome.changes.splice(0..0, told);
    Ok(outcome)
}

fn lock(node: &Path) -> Result<File, LayoutError> {
    let open = OpenOptions::new().read(true).write(true).open(node);
    let file = open.map_err(|source| LayoutError::Open {
        path: node.to_owned(),
        source,
    })?;
    lock_open(&file)?;
    Ok(file)
}

/// Locks an open disk, patiently.
pub(super) fn lock_open(file: &File) -> Result<(), LayoutError> {
    let begin = Instant::now();
    loop {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::WOULDBLOCK | Errno::INTR) if begin.elapsed() < LOCK_PATIENCE => {
                sleep(Duration::from_millis(50));
            }
            Err(errno) => {
                return Err(LayoutError::Locked {
                    path: file.path().to_owned(),
                    source: errno.into(),
                });
            }
        }
    }
}

fn random_guid() -> Result<Uuid, LayoutError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| LayoutError::Random {
        reason: error.to_string(),
    })?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid())
}

/// A plan with everything that it needs, found before anything is written.
struct Work<'w> {
    file: &'w File,
    disk: &'w BlockDevice,
    plan: &'w LayoutPlan,
    /// One for each change of the plan.
    steps: Vec<Step>,
}

enum Step {
    /// Done when the table is written.
    Table,
    Make(u32, Maker),
    Grow(u32, Grower),
}

impl<'w> Work<'w> {
    fn prepare(
        file: &'w File,
        disk: &'w BlockDevice,
        plan: &'w LayoutPlan,
        machine: &Machine<'_>,
    ) -> Result<Self, LayoutError> {
        let step = |change: &Change| -> Result<Step, ToolError> {
            Ok(match change {
                Change::MakeFileSystem {
                    number,
                    filesystem,
                    label,
                } => Step::Make(
                    *number,
                    Maker::find(*filesystem, label, machine.search_path)?,
                ),
                Change::GrowFileSystem {
                    number,
                    content,
                    to,
                } => Step::Grow(*number, Grower::find(content, *to, machine.search_path)?),
                _ => Step::Table,
            })
        };
        let steps: Result<Vec<Step>, ToolError> = plan.changes.iter().map(step).collect();
        Ok(Self {
            file,
            disk,
            plan,
            steps: steps.map_err(|source| LayoutError::MissingTool {
                disk: disk.node.clone(),
                source,
            })?,
        })
    }

    fn run(&self, monitor: &dyn Monitor) -> Result<LayoutOutcome, LayoutError> {
        let mut outcome = LayoutOutcome {
            changes: Vec::new(),
            warnings: self.plan.warnings.clone(),
        };
        let total = self.steps.len() as u64;
        let name = format!("lay out {}", self.disk.node.display());
        let task = (total > 0).then(|| Task::items(monitor, name, Some(total)));
        self.write_table()?;
        for (step, change) in self.steps.iter().zip(&self.plan.changes) {
            let node = |number: &u32| kernel::partition(self.disk, *number).map(|it| it.node);
            let done = match step {
                Step::Table => Grown::Done,
                Step::Make(number, maker) => maker.run(&node(number)?).map(|()| Grown::Done)?,
                Step::Grow(number, grower) => grower.run(&node(number)?)?,
            };
            match done {
                Grown::Done => outcome.changes.push(change.to_string()),
                Grown::Before => {}
                Grown::Left(why) => outcome.warnings.push(why),
            }
            if let Some(task) = &task {
                task.advance(1);
            }
        }
        if let Some(task) = task {
            task.finish();
        }
        Ok(outcome)
    }

    fn write_table(&self) -> Result<(), LayoutError> {
        let Some(table) = &self.plan.table else {
            return Ok(());
        };
        let node = &self.disk.node;
        let is_new = |change: &Change| matches!(change, Change::NewTable { .. });
        let claimed = self.plan.changes.iter().any(is_new).then(|| claim(node));
        let claimed = claimed.transpose().map_err(|source| LayoutError::Busy {
            disk: node.clone(),
            source,
        })?;
        for change in &self.plan.changes {
            if let Change::AddPartition { start, size, .. } = change {
                // Superblocks are at the beginning, but for those of some arrays.
                let ends = [
                    (*start, MIB.min(*size)),
                    (start + size - MIB.min(*size), MIB.min(*size)),
                ];
                for (start, size) in ends {
                    clear(self.file, start, size).map_err(|source| cannot_clear(node, source))?;
                }
            }
        }
        table
            .write(self.file)
            .map_err(|source| LayoutError::Table {
                disk: node.clone(),
                source,
            })?;
        // Its tools could not claim a partition of a disk that is claimed.
        drop(claimed);
        kernel::tell(self.file, self.disk, Some(table)).map(drop)
    }
}
