//! A process that is killed, a disk that is full, a disk that fails: the old or the new boots, errors
//! say what happened, and the next run succeeds.

mod common;

use anyhow::{Context, Result, ensure};
use common::{MIB, first_state, id, make_disk};
use cos_boot::{Attempts, BootState, NEXT_BOOT_ENVIRONMENT, Once, Tries};
use cos_powercut::fixture::add;
use cos_powercut::{Known, Mounted, Part, View, WorkingCopy, look, unavailable};
use cos_store::{Store, StoreError};
use cos_sys::mount::{Mount, mount, unmount};
use cos_sys::tool::Tool;
use cos_testkit::{TempDir, find_tool};
use fs_err::File;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

const UPGRADE: &str = env!("CARGO_BIN_EXE_cos-powercut-upgrade");
const STATE_BYTES: u64 = 16 * MIB;
const SIGKILL: i32 = 9;

/// A disk to try things on, again and again from its beginning.
struct Rig {
    directory: TempDir,
    part: Part,
    known: Known,
}

impl Rig {
    fn new() -> Result<Self> {
        let directory = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new())?;
        let base = directory.path().join("base.img");
        let part = make_disk(&base, STATE_BYTES);
        fs_err::create_dir(directory.path().join("mnt"))?;
        let mut rig = Self {
            directory,
            part,
            known: Known::default(),
        };
        // What the snapshots are is read from a disk that is not used further.
        let (image, mounted) = rig.mount_copy(rig.directory.path())?;
        let store = rig.store();
        add(&store, &id('b'))?;
        for digit in ['a', 'b'] {
            rig.known.remember(&store, &id(digit))?;
        }
        mounted.end()?;
        fs_err::remove_file(image)?;
        Ok(rig)
    }

    fn store(&self) -> Store {
        Store::new(self.directory.path().join("mnt"))
    }

    fn mount_copy(&self, place: &Path) -> Result<(PathBuf, Mounted)> {
        let image = place.join("disk.img");
        WorkingCopy::new(&self.directory.path().join("base.img"), image.clone())?;
        let mounted = self.mount(&image)?;
        Ok((image, mounted))
    }

    fn mount(&self, image: &Path) -> Result<Mounted> {
        Mounted::new(image, self.store().root(), self.part)
    }

    /// What the boot loader sees now, while Linux is still running.
    fn boot_loader(&self, image: &Path) -> Result<View> {
        let copy = self.directory.path().join("seen.img");
        look(&WorkingCopy::new(image, copy)?, self.part, &self.known)
    }
}

/// The states that the upgrade goes through.
fn states() -> [BootState; 3] {
    let first = first_state();
    let second = first.deploy(&id('b'), Tries::default()).unwrap();
    let second = second.pruned(1, None);
    let third = second.prove(&id('b')).unwrap();
    [first, second, third]
}

/// That one of these is what Linux and the boot loader see, whole, and another upgrade succeeds.
fn converges(rig: &Rig, image: &Path) -> Result<BootState> {
    let seen = rig.boot_loader(image).context("the boot loader")?;
    ensure!(states().contains(&seen.state), "the boot loader: {seen}");
    let store = rig.store();
    let state = store.state()?;
    ensure!(states().contains(&state), "Linux: {state:?}");
    for id in state.snapshots() {
        store.is_whole(id)?;
    }
    upgrade_again(&store, &state).context("the next upgrade")?;
    Ok(state)
}

fn upgrade_again(store: &Store, state: &BootState) -> Result<()> {
    store.repair_attempts(state)?;
    store.collect(state, &[])?;
    add(store, &id('f'))?;
    let next = state.deploy(&id('f'), Tries::default())?;
    store.commit(&next)?;
    store.collect(&next, &[])?;
    ensure!(store.state()? == next, "another state than was committed");
    Ok(())
}

fn run(tool: &str, before: &[&str], rig: &Rig) -> Result<Output> {
    let tool = Tool::find(tool, "", None)?;
    let mut command = tool.command();
    command.args(before).arg(rig.store().root());
    Ok(command.output()?)
}

/// Every system call of an upgrade, from the first one that concerns the store on: its name, and how
/// often that was called before.
fn kill_points(rig: &Rig, strace: &str) -> Result<Vec<(String, usize)>> {
    let (_image, mounted) = rig.mount_copy(rig.directory.path())?;
    let trace = rig.directory.path().join("trace");
    let output = run(strace, &["-o", &trace.to_string_lossy(), UPGRADE], rig)?;
    ensure!(output.status.success(), "{output:?}");
    mounted.end()?;
    let text = fs_err::read_to_string(trace)?;
    let root = rig.store().root().to_string_lossy().into_owned();
    let mut counts = BTreeMap::<&str, usize>::new();
    let mut points = Vec::new();
    let mut begun = false;
    for line in text.lines() {
        let Some((name, rest)) = line.split_once('(') else {
            continue;
        };
        let count = counts.entry(name).or_default();
        *count += 1;
        begun |= name != "execve" && rest.contains(&root);
        if begun {
            points.push((name.to_owned(), *count));
        }
    }
    Ok(points)
}

fn can_run(name: &str, tools: &[&str]) -> bool {
    if let Some(reason) = unavailable() {
        cos_testkit::skip(name, &reason);
        return false;
    }
    cos_testkit::need_tools(tools);
    true
}

#[test]
fn killed_at_any_system_call_an_upgrade_leaves_the_old_or_the_new() {
    let name = "killed_at_any_system_call_an_upgrade_leaves_the_old_or_the_new";
    if !can_run(name, &["mke2fs", "debugfs", "strace"]) {
        return;
    }
    let strace = find_tool("strace").unwrap();
    let strace = strace.to_str().unwrap();
    let rig = Rig::new().unwrap();
    let points = kill_points(&rig, strace).unwrap();
    assert!(points.len() > 150, "{points:?}");
    let mut found = [0; 3];
    let mut killed = 0;
    for (name, count) in &points {
        let (image, mounted) = rig.mount_copy(rig.directory.path()).unwrap();
        let inject = format!("inject={name}:signal=KILL:when={count}");
        let trace = format!("trace={name}");
        let arguments = ["-o", "/dev/null", "-e", &trace, "-e", &inject, UPGRADE];
        let output = run(strace, &arguments, &rig).unwrap();
        if output.status.signal() == Some(SIGKILL) {
            killed += 1;
        }
        let state = converges(&rig, &image);
        let state = state.unwrap_or_else(|error| panic!("{name} {count}: {error:#}"));
        found[states().iter().position(|it| *it == state).unwrap()] += 1;
        mounted.end().unwrap();
    }
    println!("killed at {killed} system calls: {found:?} of the three states found");
    assert_eq!(killed, points.len());
    assert!(found.iter().all(|count| *count > 0));
}
