//! Cuts the power at every write of a deployment, and looks at what boots.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_macros,
    clippy::print_stdout,
    reason = "a test fails by panicking, and these show what they found"
)]

mod common;

use anyhow::Result;
use common::{first_state, id, make_disk};
use cos_boot::{Attempts, BOOT_ENVIRONMENT, BootState, COS_DIRECTORY, Tries};
use cos_powercut::examine::{Closer, Depth, store as examine};
use cos_powercut::fixture::add;
use cos_powercut::scenario::{STATE_BYTES, Scenario, lifecycle};
use cos_powercut::{Report, View, unavailable};
use cos_store::Store;
use cos_sys::checkpoint::checkpoint;
use cos_sys::tool::Tool;
use fs_err::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// States drawn besides the enumerated ones, in each scenario.
const SAMPLES: usize = 4000;

/// Records a reason to skip `name` when there is one.
fn can_run(name: &str) -> bool {
    if let Some(reason) = unavailable() {
        cos_testkit::skip(name, &reason);
        return false;
    }
    cos_testkit::need_tools(&["mke2fs", "debugfs", "e2fsck", "grub-fstest"]);
    true
}

fn show(name: &str, report: &Report<View>, looks: &Closer) {
    println!("{name}\n\n{report}");
    println!(
        "{} states; read by grub-fstest too: {}; brought up and upgraded by Linux: {} after the \
         kernel's replay, {} after e2fsck's\n",
        report.states(),
        looks.by_grub,
        looks.by_kernel,
        looks.by_fsck,
    );
    for line in report.trouble.iter().chain(&looks.trouble) {
        println!("{line}");
    }
}

/// What [`checkpoint`] does where the kernel has no call for it, done by util-linux.
fn freeze_and_thaw(root: &Path) -> std::io::Result<()> {
    let fsfreeze = cos_testkit::find_tool("fsfreeze").ok_or(std::io::ErrorKind::NotFound)?;
    let fsfreeze = Tool::find(&fsfreeze.to_string_lossy(), "util-linux", None);
    let fsfreeze = fsfreeze.map_err(std::io::Error::other)?;
    for how in ["--freeze", "--unfreeze"] {
        let done = fsfreeze.run([how.as_ref(), root.as_os_str()]);
        done.map_err(std::io::Error::other)?;
    }
    Ok(())
}

#[test]
fn the_old_or_the_new_boots_wherever_the_power_is_cut() {
    if !can_run("the_old_or_the_new_boots_wherever_the_power_is_cut") {
        return;
    }
    let scenarios: [(&str, bool, cos_store::Checkpoint); 3] = [
        ("An idle disk", false, checkpoint),
        (
            "A kernel that writes back between the operations",
            true,
            checkpoint,
        ),
        (
            "A kernel before 5.14, which freezes and thaws",
            false,
            freeze_and_thaw,
        ),
    ];
    for (name, busy, checkpoint) in scenarios {
        let mut scenario = Scenario::start(busy, checkpoint).unwrap();
        lifecycle(&mut scenario).unwrap();
        let mut recorded = scenario.stop().unwrap();
        let looks = examine(&mut recorded, Depth::closer(SAMPLES)).unwrap();
        show(name, &recorded.report, &looks);
        assert_eq!(recorded.report.bad(), 0);
        assert_eq!(looks.trouble.len(), 0);
        let seen = |row: &cos_powercut::Row<View>| row.old > 0 && row.new > 0;
        assert_eq!(
            recorded.report.rows.iter().filter(|row| seen(row)).count(),
            4
        );
    }
}

/// What others do: write the new file, rename it over the old one.
fn commit_by_rename(store: &Store, state: &BootState) -> Result<()> {
    let new = store.root().join("cos/boot.env.new");
    let mut file = File::create(&new)?;
    file.write_all(&state.to_bytes()?)?;
    file.sync_all()?;
    fs_err::rename(new, store.root().join(BOOT_ENVIRONMENT))?;
    Ok(File::open(store.root().join(COS_DIRECTORY))?.sync_all()?)
}

/// Counts the checkpoints of a commit, so that some can be left out.
static CHECKPOINTS: AtomicUsize = AtomicUsize::new(0);

/// Behind the switch, a commit checkpoints the third time.
fn checkpoint_if(root: &Path, wanted: impl Fn(usize) -> bool) -> std::io::Result<()> {
    let number = CHECKPOINTS.fetch_add(1, Ordering::SeqCst) % 3;
    if wanted(number) {
        checkpoint(root)
    } else {
        Ok(())
    }
}

/// Something done wrong.
type Wrong = fn(&mut Scenario) -> Result<()>;

/// The rig itself: it must find what is wrong with each of these, or it says nothing about the rest.
#[test]
fn wrong_commits_are_found_out() {
    if !can_run("wrong_commits_are_found_out") {
        return;
    }
    let rename: Wrong = |scenario| {
        scenario.add("write the second snapshot", 'b')?;
        let state = first_state().deploy(&id('b'), Tries::default())?;
        let after = vec![View::of(&state, &Attempts::default())];
        let commit = |store: &Store| commit_by_rename(store, &state);
        scenario.run("commit by rename", commit, Some(after))?;
        scenario.write_back()
    };
    let removes_first: Wrong = |scenario| {
        scenario.add("write the second snapshot", 'b')?;
        let state = first_state()
            .deploy(&id('b'), Tries::default())?
            .pruned(1, None);
        let remove = |store: &Store| Ok(fs_err::remove_dir_all(store.directory(&id('a')))?);
        scenario.run("remove the first snapshot", remove, None)?;
        scenario.write_back()?;
        scenario.commit("commit it", &state)
    };
    let deploys: Wrong = |scenario| {
        scenario.add("write the second snapshot", 'b')?;
        let state = first_state().deploy(&id('b'), Tries::default())?;
        scenario.commit("commit it", &state)?;
        scenario.write_back()
    };
    let all: Wrong = lifecycle;
    assert_eq!(checkpoints_of_a_commit().unwrap(), 3);
    let wrongs: [(&str, cos_store::Checkpoint, Wrong); 5] = [
        ("no checkpoint at all", |_| Ok(()), all),
        (
            "no checkpoint behind the switch",
            |root| checkpoint_if(root, |it| it < 2),
            deploys,
        ),
        (
            "no checkpoint before the switch",
            |root| checkpoint_if(root, |it| it == 2),
            deploys,
        ),
        ("a plain rename", checkpoint, rename),
        ("removing before the commit", checkpoint, removes_first),
    ];
    for (name, checkpoint, wrong) in wrongs {
        let mut scenario = Scenario::start(false, checkpoint).unwrap();
        wrong(&mut scenario).unwrap();
        let mut recorded = scenario.stop().unwrap();
        let looks = examine(&mut recorded, Depth::samples(SAMPLES / 4)).unwrap();
        show(
            &format!("Wrong on purpose: {name}"),
            &recorded.report,
            &looks,
        );
        assert_ne!(recorded.report.bad(), 0, "{name} was not found out");
    }
}

/// Why the file systems have no `metadata_csum`: with it, a superblock that was torn while it was
/// mounted is one that nobody mounts any more.
#[test]
fn a_torn_superblock_is_found_out() {
    if !can_run("a_torn_superblock_is_found_out") {
        return;
    }
    cos_testkit::need_tools(&["tune2fs"]);
    let tune2fs = cos_testkit::find_tool("tune2fs").unwrap();
    for (with_checksum, is_found) in [(false, false), (true, true)] {
        let temp = cos_testkit::temp_dir().unwrap();
        let image = temp.path().join("disk.img");
        let part = make_disk(&image, STATE_BYTES);
        if with_checksum {
            let target = format!("{}?offset={}", image.display(), part.offset);
            let tune2fs = Tool::find(tune2fs.to_str().unwrap(), "e2fsprogs", None).unwrap();
            tune2fs.run(["-O", "metadata_csum", &target]).unwrap();
        }
        let scenario = Scenario::start_on(&image, part, false, checkpoint).unwrap();
        let mut recorded = scenario.stop().unwrap();
        let looks = examine(&mut recorded, Depth::closer(SAMPLES / 40)).unwrap();
        let name = if with_checksum { "with" } else { "without" };
        show(
            &format!("Mounting, {name} metadata_csum"),
            &recorded.report,
            &looks,
        );
        assert_eq!(recorded.report.bad(), 0);
        assert_eq!(!looks.trouble.is_empty(), is_found);
    }
}

/// Checkpoints left until one fails, as if the process had been killed there.
static CHECKPOINTS_LEFT: AtomicUsize = AtomicUsize::new(usize::MAX);

fn dies_at_last(root: &Path) -> std::io::Result<()> {
    match CHECKPOINTS_LEFT.fetch_sub(1, Ordering::SeqCst) {
        1 => Err(std::io::Error::other("killed")),
        _ => checkpoint(root),
    }
}

/// How often a commit checkpoints: the last time is behind the switch.
fn checkpoints_of_a_commit() -> Result<usize> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock();
    let temp = cos_testkit::temp_dir()?;
    let store = Store::with_checkpoint(temp.path(), |_| {
        COUNT.fetch_add(1, Ordering::SeqCst);
        Ok(())
    });
    add(&store, &id('a'))?;
    COUNT.store(0, Ordering::SeqCst);
    store.commit(&first_state())?;
    Ok(COUNT.load(Ordering::SeqCst))
}

/// A commit of a second snapshot whose process is killed right after the switch: the boot loader sees
/// the old state, Linux the new one.
fn killed_commit(keep: usize, checkpoints: usize) -> Result<(Scenario, BootState)> {
    let mut scenario = Scenario::start(false, dies_at_last)?;
    scenario.add("write the second snapshot", 'b')?;
    let old = first_state();
    let new = old.deploy(&id('b'), Tries::default())?.pruned(keep, None);
    let views = [&old, &new].map(|state| View::of(state, &Attempts::default()));
    let killed = |store: &Store| {
        CHECKPOINTS_LEFT.store(checkpoints, Ordering::SeqCst);
        let outcome = store.commit(&new);
        CHECKPOINTS_LEFT.store(usize::MAX, Ordering::SeqCst);
        let killed = matches!(outcome, Err(cos_store::StoreError::Checkpoint { .. }));
        anyhow::ensure!(
            killed && store.state()? == new,
            "not killed behind the switch"
        );
        Ok(())
    };
    scenario.run("commit it, killed", killed, Some(views.to_vec()))?;
    Ok((scenario, new))
}

/// The next run acts on what Linux sees. It must not do so before the boot loader sees it too: what it
/// collects may be what still boots, and what it writes the next state over may be what the boot loader
/// takes for the present one.
#[test]
fn a_commit_that_was_killed_is_finished_by_the_next_run() {
    if !can_run("a_commit_that_was_killed_is_finished_by_the_next_run") {
        return;
    }
    let checkpoints = checkpoints_of_a_commit().unwrap();
    let (mut collects, new) = killed_commit(1, checkpoints).unwrap();
    collects.collect("remove the first snapshot", &new).unwrap();
    collects.write_back().unwrap();
    let (mut deploys, new) = killed_commit(2, checkpoints).unwrap();
    deploys.add("write the third snapshot", 'c').unwrap();
    let next = new.deploy(&id('c'), Tries::default()).unwrap();
    deploys.commit("commit it", &next).unwrap();
    for (name, scenario) in [("and collects", collects), ("and deploys", deploys)] {
        let mut recorded = scenario.stop().unwrap();
        let looks = examine(&mut recorded, Depth::closer(SAMPLES)).unwrap();
        let name = format!("A commit is killed, the next run comes {name}");
        show(&name, &recorded.report, &looks);
        assert_eq!(recorded.report.bad(), 0);
        assert_eq!(looks.trouble.len(), 0);
    }
}
