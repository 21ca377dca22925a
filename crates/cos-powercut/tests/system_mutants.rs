//! The rig itself: operations that are wrong on purpose, each of which it must find out.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_macros,
    clippy::print_stdout,
    reason = "a test fails by panicking, and these show what they found"
)]

mod common;

use anyhow::{Context, Result, ensure};
use common::{first_state, id, make_disk};
use cos_boot::{
    ATTEMPT_ENVIRONMENT, Attempts, BOOT_ENVIRONMENT, BootState, COS_DIRECTORY,
    NEXT_BOOT_ENVIRONMENT, ROOT_IMAGE, Tries,
};
use cos_ops::build::sizes::Role;
use cos_powercut::disk::{Data, DiskHistory, DiskView, Histories, LoopDisk};
use cos_powercut::examine::{Depth, store as examine};
use cos_powercut::fixture::{self, files};
use cos_powercut::scenario::{STATE_BYTES, Scenario};
use cos_powercut::{Ext4, Part, View, unavailable};
use cos_store::{Store, StoreError};
use cos_sys::checkpoint::checkpoint;
use cos_sys::mount::{Mount, mount, unmount};
use fs_err::os::unix::fs::FileExt as _;
use fs_err::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

const SAMPLES: usize = 600;

fn can_run(name: &str) -> bool {
    if let Some(reason) = unavailable() {
        cos_testkit::skip(name, &reason);
        return false;
    }
    cos_testkit::need_tools(&["mke2fs", "debugfs", "losetup"]);
    true
}

fn deployed() -> BootState {
    first_state().deploy(&id('b'), Tries::default()).unwrap()
}

/// Records a store, and requires that the rig finds something.
fn is_found_out(
    what: &str,
    mut scenario: Scenario,
    wrong: impl FnOnce(&mut Scenario) -> Result<()>,
) {
    wrong(&mut scenario).unwrap();
    let mut recorded = scenario.stop().unwrap();
    examine(&mut recorded, Depth::samples(SAMPLES)).unwrap();
    println!("Wrong on purpose: {what}\n\n{}", recorded.report);
    assert_ne!(recorded.report.bad(), 0, "{what} was not found out");
}

fn new_scenario() -> Scenario {
    Scenario::start(false, checkpoint).unwrap()
}

#[test]
fn notes_that_are_replaced_and_not_written_in_place_are_found_out() {
    if !can_run("notes_that_are_replaced_and_not_written_in_place_are_found_out") {
        return;
    }
    is_found_out("notes by rename", new_scenario(), |scenario| {
        let state = first_state();
        let attempts = Attempts {
            generation: state.generation,
            snapshot: Some(id('a')),
            count: 1,
            ..Attempts::default()
        };
        let after = View::of(&state, &attempts);
        let replace = |store: &Store| {
            let new = store.root().join("cos/attempt.env.new");
            let mut file = File::create(&new)?;
            file.write_all(&attempts.to_bytes()?)?;
            file.sync_all()?;
            fs_err::rename(new, store.root().join(ATTEMPT_ENVIRONMENT))?;
            Ok(File::open(store.root().join(COS_DIRECTORY))?.sync_all()?)
        };
        scenario.run("replace the notes", replace, Some(vec![after]))?;
        scenario.write_back()
    });
}

/// Brings names to the journal, and nothing else.
fn journal_only(root: &Path) -> std::io::Result<()> {
    File::open(root.join(COS_DIRECTORY))?.sync_all()
}

#[test]
fn files_that_are_not_synced_are_found_out() {
    if !can_run("files_that_are_not_synced_are_found_out") {
        return;
    }
    let scenario = Scenario::start(false, journal_only).unwrap();
    is_found_out("no fsync of the files", scenario, |scenario| {
        let add = |store: &Store| {
            let new = id('b');
            let directory = store.directory(&new);
            fs_err::create_dir_all(&directory)?;
            for (name, bytes) in files(&new) {
                fs_err::write(directory.join(name), bytes)?;
            }
            let yaml = fixture::snapshot(&new).to_yaml()?;
            fs_err::write(directory.join("snapshot.yaml"), yaml)?;
            Ok(fs_err::write(
                directory.join("boot.cfg"),
                fixture::fragment(&new),
            )?)
        };
        scenario.run("write the second snapshot", add, None)?;
        scenario.remember('b')?;
        scenario.commit("commit it", &deployed())?;
        scenario.write_back()
    });
}

/// The disk that writes something else than it was told: where, and what of.
static BAD_WRITE: Mutex<Option<(PathBuf, Part, String)>> = Mutex::new(None);
/// One test at a time may have it.
static ALONE: Mutex<()> = Mutex::new(());

/// Checkpoints, and then lets the disk have written something else into the file.
fn checkpoint_badly(root: &Path) -> std::io::Result<()> {
    checkpoint(root)?;
    let bad = BAD_WRITE.lock().unwrap();
    let Some((disk, part, path)) = bad.as_ref() else {
        return Ok(());
    };
    let file = OpenOptions::new().read(true).write(true).open(disk)?;
    let damaged = Ext4::open(&file, *part).and_then(|ext4| ext4.overwrite(path, &[0x5a; 512]));
    damaged.map_err(std::io::Error::other)?;
    file.sync_all()
}

/// What a commit does, but for reading back what was written.
fn commit_unread(store: &Store, state: &BootState) -> Result<()> {
    let root = store.root();
    let next = root.join(NEXT_BOOT_ENVIRONMENT);
    let mut file = OpenOptions::new().write(true).open(&next)?;
    file.write_all(&state.to_bytes()?)?;
    file.sync_all()?;
    checkpoint_badly(root)?;
    let now = root.join(BOOT_ENVIRONMENT);
    rustix::fs::renameat_with(
        rustix::fs::CWD,
        &next,
        rustix::fs::CWD,
        &now,
        rustix::fs::RenameFlags::EXCHANGE,
    )?;
    File::open(root.join(COS_DIRECTORY))?.sync_all()?;
    Ok(checkpoint(root)?)
}

fn scenario_with_bad_disk() -> (Scenario, PathBuf, Part) {
    let temp = cos_testkit::temp_dir().unwrap();
    let image = temp.path().join("disk.img");
    let part = make_disk(&image, STATE_BYTES);
    let scenario = Scenario::start_on(&image, part, false, checkpoint_badly).unwrap();
    let disk = scenario.disk();
    (scenario, disk, part)
}

#[test]
fn a_state_that_is_not_read_back_is_found_out() {
    if !can_run("a_state_that_is_not_read_back_is_found_out") {
        return;
    }
    let _alone = ALONE.lock();
    // The real commit sees that the disk does not hold what was written.
    let (mut scenario, disk, part) = scenario_with_bad_disk();
    scenario.add("write the second snapshot", 'b').unwrap();
    let refused = |store: &Store| {
        *BAD_WRITE.lock().unwrap() = Some((disk, part, NEXT_BOOT_ENVIRONMENT.to_owned()));
        let outcome = store.commit(&deployed());
        *BAD_WRITE.lock().unwrap() = None;
        ensure!(
            matches!(outcome, Err(StoreError::ReadBack { .. })),
            "{outcome:?}"
        );
        Ok(())
    };
    scenario.run("commit to a bad disk", refused, None).unwrap();
    let mut recorded = scenario.stop().unwrap();
    examine(&mut recorded, Depth::samples(SAMPLES)).unwrap();
    assert_eq!(recorded.report.bad(), 0, "{:?}", recorded.report.trouble);

    let (scenario, disk, part) = scenario_with_bad_disk();
    is_found_out("no read-back of the state", scenario, |scenario| {
        scenario.add("write the second snapshot", 'b')?;
        let state = deployed();
        let commit = |store: &Store| {
            *BAD_WRITE.lock().unwrap() = Some((disk, part, NEXT_BOOT_ENVIRONMENT.to_owned()));
            let outcome = commit_unread(store, &state);
            *BAD_WRITE.lock().unwrap() = None;
            outcome
        };
        let after = View::of(&state, &Attempts::default());
        scenario.run("commit to a bad disk", commit, Some(vec![after]))
    });
}

#[test]
fn a_snapshot_that_is_not_read_back_is_found_out() {
    if !can_run("a_snapshot_that_is_not_read_back_is_found_out") {
        return;
    }
    let _alone = ALONE.lock();
    let (scenario, disk, part) = scenario_with_bad_disk();
    is_found_out("no read-back of the snapshot", scenario, |scenario| {
        scenario.add("write the second snapshot", 'b')?;
        let path = format!("{}/{ROOT_IMAGE}", id('b').directory());
        let damage = |store: &Store| {
            checkpoint(store.root())?;
            *BAD_WRITE.lock().unwrap() = Some((disk, part, path));
            let outcome = checkpoint_badly(store.root());
            *BAD_WRITE.lock().unwrap() = None;
            Ok(outcome?)
        };
        scenario.run("the disk writes badly", damage, None)?;
        scenario.commit("commit it", &deployed())
    });
}

/// Records one wrong operation on a whole disk, and requires that the rig finds something.
fn disk_is_found_out(
    what: &'static str,
    histories: &Histories,
    image: &Path,
    between: fn(&DiskView, &DiskView) -> Vec<DiskView>,
    wrong: impl FnOnce(&LoopDisk) -> Result<()>,
) {
    let mut history = DiskHistory::start(histories.images(), image).unwrap();
    history
        .run(what, Data::Lost, between, |disk, _| wrong(disk))
        .unwrap();
    let mut recorded = history.stop().unwrap();
    recorded
        .examine(histories.images(), Depth::samples(SAMPLES))
        .unwrap();
    println!("Wrong on purpose: {what}\n\n{}", recorded.report);
    assert_ne!(recorded.report.bad(), 0, "{what} was not found out");
}

fn nothing(_: &DiskView, _: &DiskView) -> Vec<DiskView> {
    Vec::new()
}

fn inside<T>(node: &Path, act: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let directory = cos_testkit::temp_dir()?;
    mount(&Mount {
        source: node.display().to_string(),
        target: directory.path().to_owned(),
        fstype: "ext4".into(),
        options: String::new(),
    })?;
    let outcome = act(directory.path());
    unmount(directory.path(), false)?;
    outcome
}

#[test]
fn a_recovery_that_is_replaced_in_place_is_found_out() {
    if !can_run("a_recovery_that_is_replaced_in_place_is_found_out") {
        return;
    }
    let histories = Histories::new().unwrap();
    let image = histories.installed().unwrap();
    let what = "recovery removed, then written";
    disk_is_found_out(what, &histories, &image, nothing, |disk| {
        inside(&disk.partition(Role::Recovery.number()), |root| {
            let store = Store::new(root);
            let directory = store.directory(&store.state()?.active);
            let mut files = Vec::new();
            for entry in fs_err::read_dir(&directory)? {
                let path = entry?.path();
                files.push((path.clone(), fs_err::read(path)?));
            }
            fs_err::remove_dir_all(&directory)?;
            File::open(root.join("cos/snapshots"))?.sync_all()?;
            fs_err::create_dir(&directory)?;
            for (path, bytes) in files {
                fs_err::write(&path, bytes)?;
                File::open(path)?.sync_all()?;
            }
            Ok(checkpoint(root)?)
        })
    });
}

#[test]
fn a_table_that_is_written_in_one_go_is_found_out() {
    if !can_run("a_table_that_is_written_in_one_go_is_found_out") {
        return;
    }
    let histories = Histories::new().unwrap();
    let finished = histories.installed().unwrap();
    let table = {
        let mut bytes = vec![0; 33 * 512];
        let file = File::open(&finished).unwrap();
        file.read_exact_at(&mut bytes, 512).unwrap();
        bytes
    };
    let temp = cos_testkit::temp_dir().unwrap();
    let image = temp.path().join("unfinished.img");
    fs_err::copy(&finished, &image).unwrap();
    let disk = LoopDisk::attach(&image).unwrap();
    cos_disk::live::ClaimedDisk::take(disk.node())
        .unwrap()
        .begin()
        .unwrap();
    // All but the primary table is there already.
    let (mbr, backup) = ends(&finished).unwrap();
    let file = OpenOptions::new().write(true).open(disk.node()).unwrap();
    file.write_all_at(&mbr, 0).unwrap();
    let size = fs_err::metadata(&finished).unwrap().len();
    file.write_all_at(&backup, size - backup.len() as u64)
        .unwrap();
    file.sync_all().unwrap();
    drop(file);
    disk.detach().unwrap();

    let mut history = DiskHistory::start(histories.images(), &image).unwrap();
    history.start_unfinished();
    let unfinished: fn(&DiskView, &DiskView) -> Vec<DiskView> = |_, _| vec![DiskView::Unfinished];
    let what = "a table in one write";
    history
        .run(what, Data::Lost, unfinished, |disk, _| {
            let file = OpenOptions::new().write(true).open(disk.node())?;
            file.write_all_at(&table, 512)?;
            file.sync_all()?;
            drop(file);
            disk.tell()
        })
        .unwrap();
    let mut recorded = history.stop().unwrap();
    recorded
        .examine(histories.images(), Depth::samples(SAMPLES))
        .unwrap();
    println!("Wrong on purpose: {what}\n\n{}", recorded.report);
    assert_ne!(recorded.report.bad(), 0, "{what} was not found out");
}

/// The first sector of a disk, and its last MiB.
fn ends(image: &Path) -> Result<(Vec<u8>, Vec<u8>)> {
    let file = File::open(image)?;
    let size = file.metadata()?.len();
    let (mut first, mut last) = (vec![0; 512], vec![0; 1 << 20]);
    file.read_exact_at(&mut first, 0)?;
    let at = size.checked_sub(last.len() as u64).context("too small")?;
    file.read_exact_at(&mut last, at)?;
    Ok((first, last))
}

#[test]
fn an_installation_that_leaves_the_old_table_is_found_out() {
    if !can_run("an_installation_that_leaves_the_old_table_is_found_out") {
        return;
    }
    let histories = Histories::new().unwrap();
    let image = histories.installed().unwrap();
    let what = "writing over the partitions of a system";
    let between: fn(&DiskView, &DiskView) -> Vec<DiskView> = |_, _| vec![DiskView::Unfinished];
    disk_is_found_out(what, &histories, &image, between, |disk| {
        for role in [Role::Recovery, Role::State] {
            let node = disk.partition(role.number());
            let bytes = {
                let mut bytes = vec![0; 4 << 20];
                File::open(&node)?.read_exact_at(&mut bytes, 0)?;
                bytes
            };
            let file = OpenOptions::new().write(true).open(&node)?;
            file.write_all_at(&vec![0; bytes.len()], 0)?;
            file.sync_all()?;
            file.write_all_at(&bytes, 0)?;
            file.sync_all()?;
        }
        Ok(())
    });
}
