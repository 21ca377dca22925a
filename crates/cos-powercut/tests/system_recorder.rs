//! The recorder: its log is what happened to the disk, and it leaves nothing behind.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::{MIB, make_disk};
use cos_powercut::{Recorder, Sampling, States, unavailable};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

fn can_run(name: &str) -> bool {
    if let Some(reason) = unavailable() {
        cos_testkit::skip(name, &reason);
        return false;
    }
    cos_testkit::need_tools(&["mke2fs", "debugfs"]);
    true
}

#[test]
fn the_log_over_the_disk_before_is_the_disk_after() {
    if !can_run("the_log_over_the_disk_before_is_the_disk_after") {
        return;
    }
    let temp = cos_testkit::temp_dir().unwrap();
    let image = temp.path().join("disk.img");
    let part = make_disk(&image, 24 * MIB);
    let before = fs_err::read(&image).unwrap();
    let mut recorder = Recorder::start(&image, part).unwrap();
    let file = recorder.mount_point().join("file");
    fs_err::write(&file, vec![0x5a; 3_000_000]).unwrap();
    fs_err::File::open(&file).unwrap().sync_all().unwrap();
    recorder.mark("written").unwrap();
    fs_err::remove_file(&file).unwrap();
    let recording = recorder.stop().unwrap();
    assert_eq!(fs_err::read(recording.base()).unwrap(), before);
    assert_eq!(
        fs_err::read(&image).unwrap(),
        before,
        "the original was changed"
    );

    let copy = recording.scratch().join("copy.img");
    let mut states = States::new(&recording.log, &recording.base(), copy).unwrap();
    let after = fs_err::read(recording.scratch().join("disk.img")).unwrap();
    let (_, marked) = recording.marks[0];
    let (mut last, mut count, mut at_mark) = (Vec::new(), 0, false);
    let sampling = Sampling { seed: 0, count: 0 };
    let ends = recording.log.entries().len();
    let look = |state: &cos_powercut::State<'_>| {
        count += 1;
        let written = |disk: &[u8]| {
            disk.windows(4096)
                .step_by(4096)
                .any(|it| it == [0x5a; 4096])
        };
        if state.position == marked {
            at_mark = written(&fs_err::read(state.disk.path())?);
        }
        if state.position == ends {
            last = fs_err::read(state.disk.path())?;
        }
        Ok(())
    };
    states.each(0..usize::MAX, sampling, look).unwrap();
    assert!(count > 20 && at_mark, "{count} states");
    assert!(last == after, "the log is not what happened to the disk");
}

#[test]
fn a_recording_that_panics_leaves_nothing() {
    if !can_run("a_recording_that_panics_leaves_nothing") {
        return;
    }
    let temp = cos_testkit::temp_dir().unwrap();
    let image = temp.path().join("disk.img");
    let part = make_disk(&image, 24 * MIB);
    let mut place = PathBuf::new();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let recorder = Recorder::start(&image, part).unwrap();
        place = recorder.mount_point();
        let _still_open = fs_err::File::open(place.join("cos/boot.env")).unwrap();
        panic!("as a test that fails");
    }));
    outcome.unwrap_err();
    let directory = place.parent().unwrap();
    assert!(!directory.exists());
    let name = directory.to_str().unwrap();
    let mounts = fs_err::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(name), "{mounts}");
    for entry in fs_err::read_dir("/proc").unwrap().flatten() {
        let working_directory = fs_err::read_link(entry.path().join("cwd"));
        assert!(working_directory.is_err() || !working_directory.unwrap().starts_with(directory));
    }
    for entry in fs_err::read_dir("/sys/block").unwrap().flatten() {
        let backing = fs_err::read_to_string(entry.path().join("loop/backing_file"));
        assert!(!backing.unwrap_or_default().contains(name));
    }
}
