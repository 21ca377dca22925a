//! Faults beyond power: an upgrade that is killed at any of its system calls, a disk that cannot write a
//! sector. What boots then is the old or the new, and the next run succeeds.

use crate::disk::{Histories, LoopDisk, Running};
use crate::fixture::{self, id, make_disk};
use crate::loader::{Known, View, look};
use crate::replay::e2fsck;
use crate::scenario::upgrade;
use crate::{Mounted, Part, Recorder, WorkingCopy};
use anyhow::{Context, Result, ensure};
use cos_boot::{Attempts, BootState};
use cos_ops::build::sizes::Role;
use cos_ops::machine::Mode;
use cos_ops::upgrade::{Extent, Target};
use cos_store::{Store, verify_snapshot};
use cos_testkit::{TempDir, find_tool, tools};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const SIGKILL: i32 = 9;
/// Small files of the image that is upgraded to.
const FILES: usize = 520;
/// The last system calls of an upgrade, when the image is read: these are killed denser.
const LAST: usize = 400;
/// What is upgraded to after that.
const NEXT: &str = "next";
/// Mounting and unmounting is mostly waiting: so many are killed at once.
const LANES: usize = 4;
/// By how much.
const DENSER: usize = 10;
const STATE_BYTES: u64 = 16 << 20;

/// What came of the faults of one kind.
#[derive(Debug, Default, Clone)]
pub struct Outcome {
    /// Faults that came to pass.
    pub faults: usize,
    /// How often the old system was there afterwards.
    pub old: usize,
    /// How often the new one was.
    pub new: usize,
    /// What the operation said.
    pub said: BTreeSet<String>,
    /// What was wrong.
    pub trouble: Vec<String>,
}

/// Kills `cos upgrade` at every `every`th system call of its main thread, and at more of the last ones, among
/// which the commit is. `program` is what does the upgrade.
pub fn kill_upgrades(histories: &Histories, program: &Path, every: usize) -> Result<Outcome> {
    let upgrade = Upgrade {
        strace: find_tool("strace").with_context(|| tools::missing("strace"))?,
        program: program.to_owned(),
        base: histories.installed()?,
        tree: histories.images().tree_of_many("many", FILES)?,
    };
    let calls = upgrade.calls()?;
    let rest = calls.len().saturating_sub(LAST);
    let points = (0..rest).step_by(every);
    let points = points.chain((rest..calls.len()).step_by(every.div_ceil(DENSER)));
    let points: Vec<&(String, usize)> = points.map(|point| &calls[point]).collect();
    // What follows a death, made before there are several who want it.
    histories.images().tree(NEXT)?;
    let (points, upgrade) = (&points, &upgrade);
    let mut outcome = Outcome::default();
    std::thread::scope(|scope| {
        let lane = |lane| {
            let share = points.iter().skip(lane).step_by(LANES);
            scope.spawn(move || upgrade.kill_at(share.copied(), histories))
        };
        let lanes: Vec<_> = (0..LANES).map(lane).collect();
        for lane in lanes {
            match lane.join() {
                Ok(found) => outcome.add(found),
                Err(_) => outcome.trouble.push("a lane panicked".to_owned()),
            }
        }
    });
    Ok(outcome)
}

impl Outcome {
    fn add(&mut self, other: Self) {
        self.faults += other.faults;
        self.old += other.old;
        self.new += other.new;
        self.said.extend(other.said);
        self.trouble.extend(other.trouble);
    }
}

/// An upgrade to be killed.
struct Upgrade {
    strace: PathBuf,
    program: PathBuf,
    base: PathBuf,
    tree: PathBuf,
}

/// COS_STATE of an installed disk, mounted where the initrd does.
struct State {
    directory: TempDir,
    disk: WorkingCopy,
    part: Part,
    mounted: Mounted,
    store: Store,
}

impl State {
    fn mount(base: &Path) -> Result<Self> {
        let directory = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new())?;
        let disk = WorkingCopy::new(base, directory.path().join("disk.img"))?;
        let part = part_of(base, Role::State)?;
        let source = directory.path().join("run/source");
        fs_err::create_dir_all(&source)?;
        Ok(Self {
            mounted: Mounted::new(disk.path(), &source, part)?,
            store: Store::new(source),
            directory,
            disk,
            part,
        })
    }
}

impl Upgrade {
    #[expect(clippy::disallowed_methods, reason = "it is traced, and killed")]
    fn run(&self, state: &State, strace: &[&str]) -> Result<Output> {
        let mut command = Command::new(&self.strace);
        command.arg("-qq").args(strace).arg(&self.program);
        command
            .arg(state.directory.path().join("run"))
            .arg(&self.tree);
        Ok(command.stdin(Stdio::null()).output()?)
    }

    /// The system calls of the main thread: the name of each, and how often it was called by then.
    fn calls(&self) -> Result<Vec<(String, usize)>> {
        let state = State::mount(&self.base)?;
        let trace = state.directory.path().join("trace");
        let output = self.run(&state, &["-o", &trace.to_string_lossy()])?;
        ensure!(output.status.success(), "{output:?}");
        let text = fs_err::read_to_string(trace)?;
        let mut counts = BTreeMap::<&str, usize>::new();
        let names = text
            .lines()
            .filter_map(|line| Some(line.split_once('(')?.0));
        let calls = names.map(|name| {
            let count = counts.entry(name).or_default();
            *count += 1;
            (name.to_owned(), *count)
        });
        let calls = calls.filter(|(name, _)| name != "execve").collect();
        state.mounted.end()?;
        Ok(calls)
    }

    /// Kills it at some of them, one after the other.
    fn kill_at<'c>(
        &self,
        calls: impl Iterator<Item = &'c (String, usize)>,
        histories: &Histories,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        for (name, count) in calls {
            let killed = self.kill(name, *count, histories);
            match killed.with_context(|| format!("killed at {name} {count}")) {
                // It may find its directories in another order than before.
                Ok(None) => {}
                Ok(Some(is_new)) => {
                    outcome.faults += 1;
                    outcome.new += usize::from(is_new);
                    outcome.old += usize::from(!is_new);
                }
                Err(error) => {
                    outcome.faults += 1;
                    outcome.trouble.push(format!("{error:#}"));
                }
            }
        }
        outcome
    }

    /// Kills it at one of them. Whether the new system is there then; nothing when it came to its end before.
    fn kill(&self, name: &str, count: usize, histories: &Histories) -> Result<Option<bool>> {
        let state = State::mount(&self.base)?;
        let old = state.store.state()?;
        let inject = format!("inject={name}:signal=KILL:when={count}");
        let trace = format!("trace={name}");
        let strace = ["-o", "/dev/null", "-e", &trace, "-e", &inject];
        let output = self.run(&state, &strace)?;
        if output.status.signal() != Some(SIGKILL) {
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "{said}");
            state.mounted.end()?;
            return Ok(None);
        }
        let is_new = after_death(&state, &old)?;
        state.mounted.end()?;
        next_upgrade(state.disk.path(), histories)?;
        Ok(Some(is_new))
    }
}

/// What is there while the machine still runs. Whether the boot loader sees the new system.
fn after_death(state: &State, old: &BootState) -> Result<bool> {
    let State {
        disk, part, store, ..
    } = state;
    let mut known = Known::default();
    known.remember(store, &old.active)?;
    disk.file().sync_all()?;
    let seen = look(disk, *part, &known.any()).context("the boot loader")?;
    for id in store.state()?.snapshots() {
        verify_snapshot(store, id).with_context(|| format!("snapshot {id}"))?;
    }
    Ok(seen.state != *old)
}

fn next_upgrade(image: &Path, histories: &Histories) -> Result<()> {
    let disk = LoopDisk::attach(image)?;
    let running = Running::boot(&disk, histories.images(), Mode::Active)?;
    let before = running.store().state()?;
    running
        .upgrade(NEXT, Target::System, Extent::Whole)
        .context("the next upgrade")?;
    let next = running.store().state()?;
    verify_snapshot(&running.store(), &next.active)?;
    ensure!(next.active != before.active, "nothing was upgraded");
    running.shut_down()?;
    disk.detach()
}

fn part_of(disk: &Path, role: Role) -> Result<Part> {
    let parts = crate::disk::parts_of(disk)?;
    let found = parts.into_iter().find(|part| part.number == role.number());
    found.with_context(|| format!("no partition {}", role.name()))
}

/// Lets an upgrade of a store meet a sector that cannot be written, for each place it writes to, or each
/// `every`th of them.
pub fn fail_writes(every: usize) -> Result<Outcome> {
    let directory = TempDir::new()?;
    let image = directory.path().join("disk.img");
    let part = make_disk(&image, STATE_BYTES)?;
    let first = id('a')?;
    let old = fixture::first_state(&first);
    let mut known = Known::default();
    let mut recorder = Recorder::start(&image, part)?;
    let store = Store::new(recorder.mount_point());
    known.remember(&store, &first)?;
    upgrade(&store)?;
    let new = store.state()?;
    known.remember(&store, &new.active)?;
    recorder.mark("upgrade")?;
    let recording = recorder.stop()?;
    let entries = recording.log.entries().iter();
    let sectors: BTreeSet<u64> = entries
        .filter(|entry| entry.writes())
        .map(|entry| entry.at / 512)
        .collect();
    let mut outcome = Outcome::default();
    for sector in sectors.into_iter().step_by(every) {
        outcome.faults += 1;
        match fail(
            &image,
            part,
            sector,
            &known,
            [&old, &new],
            &mut outcome.said,
        ) {
            Ok(true) => outcome.new += 1,
            Ok(false) => outcome.old += 1,
            Err(error) => {
                let error = error.context(format!("sector {sector} cannot be written"));
                outcome.trouble.push(format!("{error:#}"));
            }
        }
    }
    Ok(outcome)
}

/// One bad sector. Whether the new state is there then.
fn fail(
    image: &Path,
    part: Part,
    sector: u64,
    known: &Known,
    states: [&BootState; 2],
    said: &mut BTreeSet<String>,
) -> Result<bool> {
    let recorder = match Recorder::start_faulty(image, part, sector) {
        Ok(recorder) => recorder,
        // Nothing was done yet: mounting writes too.
        Err(error) if format!("{error}").starts_with("cannot mount") => return Ok(false),
        Err(error) => return Err(error),
    };
    let store = Store::new(recorder.mount_point());
    let done = upgrade(&store);
    let failed = done.as_ref().err().map(|error| format!("{error:#}"));
    if let Some(error) = &failed {
        let root = recorder.mount_point().to_string_lossy().into_owned();
        said.insert(error.replace(&root, ""));
        ensure!(error.starts_with("cannot "), "the error says {error:?}");
    }
    let disk = recorder.stop_faulty()?;
    let copy = disk.path().with_extension("copy");
    let views = states.map(|state| View::of(state, &Attempts::default()));
    let seen = look(&WorkingCopy::new(disk.path(), copy)?, part, known)?;
    ensure!(views.contains(&seen), "the boot loader: {seen}");
    // What the kernel noted of errors is settled, as at boot.
    let mended = e2fsck(disk.path(), part, "-p")?;
    ensure!(mended <= 1, "e2fsck -p: exit status {mended}");
    let target = disk.path().with_extension("mnt");
    fs_err::create_dir(&target)?;
    let mounted = Mounted::new(disk.path(), &target, part)?;
    let store = Store::new(&target);
    let found = store.state()?;
    ensure!(states.contains(&&found), "Linux: {found:?}");
    for id in found.snapshots() {
        store.is_whole(id)?;
    }
    let is_new = found == *states[1];
    ensure!(
        failed.is_some() || is_new,
        "it had returned, and was undone"
    );
    if !is_new {
        upgrade(&store).context("the next upgrade")?;
    }
    mounted.end()?;
    Ok(is_new)
}
