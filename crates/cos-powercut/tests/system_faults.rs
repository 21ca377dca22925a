//! A process that is killed, a disk that is full, a disk that fails: the old or the new boots, errors
//! say what happened, and the next run succeeds.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_macros,
    clippy::print_stdout,
    reason = "a test fails by panicking, and these show what they found"
)]

mod common;

use anyhow::{Context, Result, ensure};
use common::{MIB, first_state, id, make_disk};
use cos_boot::{Attempts, BootState, NEXT_BOOT_ENVIRONMENT, Once, Tries};
use cos_powercut::fixture::add;
use cos_powercut::{Known, Mounted, Part, View, WorkingCopy, look, unavailable};
use cos_store::Store;
use cos_sys::mount::{Mount, mount, unmount};
use cos_sys::tool::Tool;
use cos_testkit::{TempDir, find_tool};
use fs_err::File;
use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Write as _};
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
        add(&store, &id('f'))?;
        for digit in ['a', 'b', 'f'] {
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
    let next = upgrade_again(&store, &state).context("the next upgrade")?;
    let seen = rig.boot_loader(image).context("after the next upgrade")?;
    ensure!(seen.state == next, "after the next upgrade: {seen}");
    Ok(state)
}

fn upgrade_again(store: &Store, state: &BootState) -> Result<BootState> {
    store.repair_attempts(state)?;
    store.collect(state, &[])?;
    add(store, &id('f'))?;
    let next = state.deploy(&id('f'), Tries::default())?;
    store.commit(&next)?;
    store.collect(&next, &[])?;
    ensure!(store.state()? == next, "another state than was committed");
    Ok(next)
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

/// Fills the file system to its last block.
fn fill(store: &Store) -> Result<()> {
    let mut file = File::create(store.root().join("filler"))?;
    for size in [64 << 10, 4 << 10] {
        while file.write_all(&vec![0x55; size]).is_ok() {}
        // Blocks are reserved before they are written, and more than needed.
        drop(file.sync_all());
    }
    Ok(())
}

/// Whether an error says that there is no space.
fn is_full(error: &(dyn Error + 'static)) -> bool {
    let here = error.downcast_ref::<io::Error>();
    here.is_some_and(|error| error.kind() == io::ErrorKind::StorageFull)
        || error.source().is_some_and(is_full)
}

#[test]
fn on_a_full_disk_the_old_boots_and_what_needs_no_space_succeeds() {
    let name = "on_a_full_disk_the_old_boots_and_what_needs_no_space_succeeds";
    if !can_run(name, &["mke2fs", "debugfs"]) {
        return;
    }
    let rig = Rig::new().unwrap();
    let (image, mounted) = rig.mount_copy(rig.directory.path()).unwrap();
    let store = rig.store();
    let names = |store: &Store| {
        let snapshots = fs_err::read_dir(store.root().join("cos/snapshots")).unwrap();
        let names = snapshots.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect::<Vec<_>>()
    };
    let first = View::of(&first_state(), &Attempts::default());
    for free in [0, 1, 2, 10, 40, 45, 60, 65, 66, 67] {
        fill(&store).unwrap();
        let filler = store.root().join("filler");
        let filler = fs_err::OpenOptions::new().write(true).open(filler).unwrap();
        let length = filler.metadata().unwrap().len();
        filler.set_len(length - free * 4096).unwrap();
        let error = add(&store, &id('b')).unwrap_err();
        println!("{free} blocks: {error:#}");
        assert!(is_full(error.as_ref()), "{error:?}");
        assert_eq!(
            names(&store),
            [id('a').as_str()],
            "the draft was not removed"
        );
        assert_eq!(rig.boot_loader(&image).unwrap(), first);
    }

    // The space of the draft is free again; it must be filled once more.
    fill(&store).unwrap();
    let once = first_state().boot_once(Some(Once::Recovery)).unwrap();
    store.commit(&once).unwrap();
    assert_eq!(store.state().unwrap(), once);
    store.commit(&once.boot_once(None).unwrap()).unwrap();

    // Where the next state's file must be made anew, there is no space for it.
    let before = store.state().unwrap();
    fs_err::remove_file(store.root().join(NEXT_BOOT_ENVIRONMENT)).unwrap();
    fill(&store).unwrap();
    let error = store.commit(&once).unwrap_err();
    assert!(error.to_string().starts_with("cannot write "), "{error}");
    assert!(is_full(&error), "{error:?}");
    assert_eq!(store.state().unwrap(), before);
    assert_eq!(rig.boot_loader(&image).unwrap().state, before);

    fs_err::remove_file(store.root().join("filler")).unwrap();
    upgrade_again(&store, &before).unwrap();
    mounted.end().unwrap();
}

/// A disk of which so much can still be written to for the first time, and no more.
struct Failing {
    directory: TempDir,
}

impl Failing {
    fn new() -> Result<Self> {
        let failing = Self {
            directory: cos_testkit::temp_dir()?,
        };
        failing.mount("size=1g")?;
        Ok(failing)
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn mount(&self, options: &str) -> Result<()> {
        Ok(mount(&Mount {
            source: "tmpfs".into(),
            target: self.path().into(),
            fstype: "tmpfs".into(),
            options: options.into(),
        })?)
    }

    /// Leaves `blocks` of 4 KiB.
    fn leave(&self, blocks: u64) -> Result<()> {
        let space = rustix::fs::statvfs(self.path())?;
        let used = space.f_blocks - space.f_bfree;
        let size = (used + blocks) * space.f_frsize;
        self.resize(&format!("size={size}"))
    }

    fn resize(&self, size: &str) -> Result<()> {
        let tool = Tool::find("mount", "mount", None)?;
        let options = format!("remount,{size}");
        tool.run(["-o".as_ref(), options.as_ref(), self.path().as_os_str()])?;
        Ok(())
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        unmount(self.path(), true).unwrap();
    }
}

/// The disk fails from the Nth new block on, for every N: journal, data, or metadata. Once it works
/// again and is mounted again, the old or the new is there; the new one if the upgrade said so.
#[test]
fn a_disk_that_fails_leaves_the_old_or_the_new() {
    let name = "a_disk_that_fails_leaves_the_old_or_the_new";
    if !can_run(name, &["mke2fs", "debugfs"]) {
        return;
    }
    let rig = Rig::new().unwrap();
    let failing = Failing::new().unwrap();
    let mut errors = BTreeMap::<String, usize>::new();
    let (mut found, mut blocks) = ([0; 3], 0);
    loop {
        let (image, mounted) = rig.mount_copy(failing.path()).unwrap();
        failing.leave(blocks).unwrap();
        let output = run(UPGRADE, &[], &rig).unwrap();
        // What the boot loader would see now.
        failing.resize("size=1g").unwrap();
        let seen = rig.boot_loader(&image);
        drop(mounted.end());
        let seen = seen.unwrap_or_else(|error| panic!("{blocks} blocks: {error:#}"));
        assert!(states().contains(&seen.state), "{blocks} blocks: {seen}");

        let mounted = rig.mount(&image).unwrap();
        let state = converges(&rig, &image);
        let state = state.unwrap_or_else(|error| panic!("{blocks} blocks: {error:#}"));
        mounted.end().unwrap();
        fs_err::remove_file(&image).unwrap();
        found[states().iter().position(|it| *it == state).unwrap()] += 1;
        if output.status.success() {
            assert_eq!(state, states()[2], "{blocks} blocks");
            break;
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let line = said.lines().next().unwrap_or_default();
        let root = rig.store().root().to_string_lossy().into_owned();
        let line = line
            .replace(&root, "")
            .replace(|c: char| c.is_ascii_digit(), "");
        *errors.entry(line).or_default() += 1;
        blocks += 1;
    }
    println!(
        "failed after 0 to {} new blocks: {found:?} of the three states found",
        blocks - 1
    );
    for (error, count) in &errors {
        println!("{count:4} {error}");
        assert!(error.starts_with("Error: cannot "), "{error}");
    }
    assert!(found.iter().all(|count| *count > 0));
}
