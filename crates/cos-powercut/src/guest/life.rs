//! A machine's life, recorded.

use super::boot::READY;
use crate::disk::{DiskKnown, DiskView, LoopDisk, look_at, observe};
use crate::recorder::{Mark, Recording};
use crate::report::{Operation, Report};
use crate::working_copy::WorkingCopy;
use crate::{Log, View};
use anyhow::{Context, Result, ensure};
use cos_testkit::TempDir;
use cos_testkit::fleet::Fleet;
use cos_testkit::images::AddedFile;
use cos_testkit::machine::{BOOT, Machine};
use fs_err::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Reading, converting and checking an image under software emulation.
pub(super) const UPGRADE: Duration = Duration::from_mins(15);
/// What the disk has grown by before its first boot.
const GROWTH: u64 = 512 << 20;
/// What somebody writes on COS_PERSISTENT and COS_OEM.
pub(super) const DATA: [&str; 2] = ["/usr/local/mine", "/oem/mine"];
/// What is in it.
pub(super) const MINE: &str = "what nobody may lose";
/// How a boot becomes good without waiting for it.
const GOOD: &str = "systemctl start boot-complete.target cos-boot-good.service";
/// How often a machine tries to boot what is on trial: a cut takes one.
const TRIES: u32 = 3;

/// What happens in a part of the recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A boot: GRUB may note an attempt first.
    Boot,
    /// Something else.
    Change,
}

/// The parts, in the order of time.
const PHASES: [(&str, Kind); 7] = [
    ("first boot, growing, to the root", Kind::Boot),
    ("come up, write data, become good", Kind::Change),
    ("download an upgrade", Kind::Change),
    ("apply it", Kind::Change),
    ("reboot, on trial, to the root", Kind::Boot),
    ("come up, become good", Kind::Change),
    ("shut down", Kind::Change),
];
/// The first part in which data must be there.
const WITH_DATA: usize = 2;

/// A machine's life.
#[derive(Debug)]
pub(super) struct Life {
    /// Where machines get their upgrades.
    pub(super) fleet: Fleet,
    /// What was written.
    pub(super) recording: Recording,
    /// Everything that may be found.
    pub(super) known: DiskKnown,
    /// What was found.
    pub(super) report: Report<DiskView>,
    _directory: TempDir,
}

impl Life {
    /// Lets a machine live, from a disk larger than its image on.
    pub(super) fn record(say: &impl Fn(&str)) -> Result<Self> {
        let (directory, disks) = (TempDir::new()?, TempDir::new()?);
        say("a registry with three versions of the test image, and a disk with the first");
        let mut fleet = Fleet::start(directory.path())?;
        fleet.tries = TRIES;
        fleet.add("v3", &[AddedFile::text("etc/fleet-version", "3\n")])?;
        let built = fleet.build_disk(directory.path())?;
        let size = fs_err::metadata(&built)?.len() + GROWTH;
        OpenOptions::new().write(true).open(&built)?.set_len(size)?;
        WorkingCopy::new(&built, disks.path().join("base.img"))?;
        let disk = disks.path().join("disk.img");
        WorkingCopy::new(&built, disk.clone())?;
        say("a machine: first boot, growth, a signed upgrade, its trial");
        let marks = live(&disk, &disks.path().join("log"))?;
        let mut known = DiskKnown::default();
        known.remember_disk(&built)?;
        known.remember_disk(&disk)?;
        {
            let disk = LoopDisk::attach(&disk)?;
            observe(&disk, &mut known)?;
            disk.detach()?;
        }
        let recording = Recording::read(disks, marks)?;
        compare(&recording, &disk)?;
        let views = views(&recording, &known)?;
        let report = Report::new(&recording, operations(&views)?)?;
        Ok(Self {
            fleet,
            recording,
            known,
            report,
            _directory: directory,
        })
    }

    /// Whether anything was written where the boot loader is.
    pub(super) fn touches_loader(&self) -> bool {
        let mut writes = self.recording.log.entries().iter().filter(|it| it.writes());
        writes.any(|it| self.known.is_loader(&(it.at..it.at + it.length)))
    }

    /// Whether somebody's data must be on the disk, had the power been cut at a position of the log.
    pub(super) fn has_data(&self, position: usize) -> bool {
        let mut rows = self.report.rows.iter();
        let row = rows.position(|row| row.within.contains(&position));
        row.is_some_and(|row| row >= WITH_DATA)
    }
}

/// Lives. Each part's end is marked by what the log has by then.
fn live(disk: &Path, log: &PathBuf) -> Result<Vec<Mark>> {
    let mut marks = Vec::new();
    let mut mark = |phase: usize| -> Result<()> {
        marks.push(Mark::new(PHASES[phase].0, fs_err::metadata(log)?.len()));
        Ok(())
    };
    let mut machine = Machine::builder("powercut-life")
        .recorded_disk(disk, log)
        .network()
        .boot()?;
    machine.expect(READY, BOOT)?;
    mark(0)?;
    machine.login(BOOT)?;
    for path in DATA {
        machine.check(&format!("echo {MINE} > {path}"))?;
    }
    machine.check("sync")?;
    succeeds(&mut machine, GOOD)?;
    mark(1)?;
    succeeds(&mut machine, "cos upgrade --download-only")?;
    mark(2)?;
    succeeds(&mut machine, "cos upgrade --apply")?;
    mark(3)?;
    machine.reboot()?;
    machine.expect(READY, BOOT)?;
    mark(4)?;
    machine.login(BOOT)?;
    let version = machine.check("cat /etc/fleet-version")?;
    ensure!(version == "2", "version {version} boots after the upgrade");
    succeeds(&mut machine, GOOD)?;
    mark(5)?;
    machine.power_off()?;
    mark(6)?;
    Ok(marks)
}

/// Runs something on the machine that takes its time.
pub(super) fn succeeds(machine: &mut Machine, command: &str) -> Result<String> {
    let ran = machine.run_for(command, UPGRADE)?;
    ensure!(ran.code == 0, "`{command}`: {}", ran.output);
    Ok(ran.output)
}

/// The log must lead from the disk before to the disk after, or it says nothing.
fn compare(recording: &Recording, disk: &Path) -> Result<()> {
    use fs_err::os::unix::fs::FileExt as _;
    let copy = replay(recording, recording.log.entries().len())?;
    let (ours, theirs) = (copy.file(), File::open(disk)?);
    let size = theirs.metadata()?.len();
    let (mut one, mut other) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    for at in (0..size).step_by(1 << 20) {
        let length = usize::try_from((size - at).min(1 << 20))?;
        ours.read_exact_at(&mut one[..length], at)?;
        theirs.read_exact_at(&mut other[..length], at)?;
        ensure!(
            one[..length] == other[..length],
            "the log does not lead to the disk: another MiB at {at}"
        );
    }
    Ok(())
}

/// The disk with the first `count` entries of the log.
fn replay(recording: &Recording, count: usize) -> Result<WorkingCopy> {
    let copy = WorkingCopy::new(&recording.base(), recording.scratch().join("replayed.img"))?;
    apply(&recording.log, &copy, 0, count)?;
    Ok(copy)
}

fn apply(log: &Log, copy: &WorkingCopy, from: usize, to: usize) -> Result<()> {
    for entry in log.entries()[from..to].iter().filter(|it| it.writes()) {
        copy.write(entry.at, &log.data(entry)?)?;
    }
    Ok(())
}

/// What the boot loader sees before the first part and after each.
fn views(recording: &Recording, known: &DiskKnown) -> Result<Vec<DiskView>> {
    let copy = replay(recording, 0)?;
    let mut views = vec![look_at(&copy, known, true).context("the disk as it was built")?];
    let mut first = 0;
    for (mark, end) in &recording.marks {
        apply(&recording.log, &copy, first, *end)?;
        views.push(look_at(&copy, known, true).with_context(|| format!("after: {}", mark.name))?);
        first = *end;
    }
    Ok(views)
}

fn is_trial(view: &View) -> bool {
    view.state.trial.contains(&view.state.active)
}

/// What each part makes of what was before it.
fn operations(views: &[DiskView]) -> Result<Vec<Operation<DiskView>>> {
    let state = |index: usize| views[index].state().context("nothing on COS_STATE");
    let (first, applied, last) = (state(0)?, state(4)?, state(7)?);
    ensure!(
        applied.state.active != first.state.active && is_trial(applied),
        "what was applied is {applied}"
    );
    ensure!(
        last.state.active == applied.state.active && !is_trial(last),
        "what became good is {last}"
    );
    let operation = |((name, kind), views): (&(&'static str, Kind), &[DiskView])| {
        let (before, after) = (&views[0], &views[1]);
        let noted = before.with_view(|view| View {
            attempts: view.decision.attempts.clone(),
            ..View::of(&view.state, &view.decision.attempts)
        });
        let mut all = vec![before.clone()];
        if *kind == Kind::Boot && noted != *before {
            all.push(noted);
        }
        Operation {
            name,
            before: all,
            between: Vec::new(),
            after: vec![after.clone()],
        }
    };
    let phases = PHASES.iter().zip(views.windows(2));
    Ok(phases.map(operation).collect())
}
