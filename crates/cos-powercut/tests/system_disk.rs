//! Cuts the power in every operation on a whole disk: a reduced form of `cargo xtask powercut`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_macros,
    clippy::print_stdout,
    reason = "a test fails by panicking, and these show what they found"
)]

use cos_ops::build::sizes::Role;
use cos_ops::machine::Mode;
use cos_ops::upgrade::{Extent, Target};
use cos_powercut::disk::{Histories, LoopDisk, Recorded, Running};
use cos_powercut::examine::Depth;
use cos_powercut::unavailable;

fn can_run(name: &str) -> bool {
    if let Some(reason) = unavailable() {
        cos_testkit::skip(name, &reason);
        return false;
    }
    cos_testkit::need_tools(&[
        "mke2fs",
        "debugfs",
        "e2fsck",
        "grub-fstest",
        "grub-emu",
        "losetup",
    ]);
    true
}

fn nothing_is_lost(histories: &Histories, mut recorded: Recorded, samples: usize) {
    let looks = recorded
        .examine(histories.images(), Depth::closer(samples))
        .unwrap();
    let report = &recorded.report;
    println!(
        "{report}\n{} brought up after the kernel's replay, {} after e2fsck's",
        looks.by_kernel, looks.by_fsck
    );
    for line in report.trouble.iter().chain(&looks.trouble) {
        println!("{line}");
    }
    assert_eq!(report.bad(), 0);
    assert_eq!(looks.trouble, Vec::<String>::new());
    assert!(looks.by_kernel + looks.by_fsck > 0);
}

/// Found here: the header of the new table was written before its entries. A disk that was cut between the
/// two booted nothing, and was taken for a deployed one.
#[test]
fn a_disk_is_unfinished_until_its_table_is_whole() {
    if can_run("a_disk_is_unfinished_until_its_table_is_whole") {
        let histories = Histories::new().unwrap();
        nothing_is_lost(&histories, histories.install().unwrap(), 1500);
        nothing_is_lost(&histories, histories.install_again().unwrap(), 300);
    }
}

#[test]
fn every_operation_on_an_installed_disk_leaves_the_old_or_the_new() {
    if can_run("every_operation_on_an_installed_disk_leaves_the_old_or_the_new") {
        let histories = Histories::new().unwrap();
        nothing_is_lost(&histories, histories.life().unwrap(), 400);
        nothing_is_lost(&histories, histories.reset().unwrap(), 300);
        nothing_is_lost(&histories, histories.reset_anew().unwrap(), 300);
    }
}

/// Found here: a table that was torn while it grew was one in which the kernel found no partitions.
#[test]
fn a_disk_that_is_cut_while_it_grows_boots() {
    if can_run("a_disk_that_is_cut_while_it_grows_boots") {
        let histories = Histories::new().unwrap();
        nothing_is_lost(&histories, histories.growth().unwrap(), 300);
    }
}

/// Two disks that are alike to the last identity: operations stay on the one that was booted from.
#[test]
fn of_two_disks_with_the_same_names_only_its_own_is_changed() {
    if !can_run("of_two_disks_with_the_same_names_only_its_own_is_changed") {
        return;
    }
    let histories = Histories::new().unwrap();
    let temp = cos_testkit::temp_dir().unwrap();
    let (first, second) = (temp.path().join("first"), temp.path().join("second"));
    fs_err::copy(histories.installed().unwrap(), &first).unwrap();
    fs_err::copy(&first, &second).unwrap();
    let before = fs_err::read(&first).unwrap();
    for (own, other) in [(&second, &first), (&first, &second)] {
        let untouched = fs_err::read(other).unwrap();
        let disks = [other, own].map(|image| LoopDisk::attach(image).unwrap());
        let running = Running::boot(&disks[1], histories.images(), Mode::Active).unwrap();
        running
            .upgrade("2", Target::Recovery, Extent::Whole)
            .unwrap();
        running.upgrade("2", Target::System, Extent::Whole).unwrap();
        running.shut_down().unwrap();
        for disk in disks {
            disk.detach().unwrap();
        }
        assert!(
            fs_err::read(other).unwrap() == untouched,
            "the other disk was changed"
        );
        assert!(
            fs_err::read(own).unwrap() != before,
            "its own disk was not changed"
        );
    }
}

#[test]
fn a_lost_boot_loader_is_told_while_the_machine_runs() {
    if !can_run("a_lost_boot_loader_is_told_while_the_machine_runs") {
        return;
    }
    let histories = Histories::new().unwrap();
    let temp = cos_testkit::temp_dir().unwrap();
    let image = temp.path().join("disk.img");
    fs_err::copy(histories.installed().unwrap(), &image).unwrap();
    let disk = LoopDisk::attach(&image).unwrap();
    let running = Running::boot(&disk, histories.images(), Mode::Active).unwrap();
    let told = || {
        let problems = running.problems().unwrap();
        problems.iter().any(|it| it.starts_with("boot loader: "))
    };
    assert!(!told());
    let node = disk.partition(Role::Efi.number());
    fs_err::OpenOptions::new()
        .write(true)
        .open(&node)
        .and_then(|mut file| {
            std::io::Write::write_all(&mut file, &[0; 8192])?;
            file.sync_all()
        })
        .unwrap();
    assert!(told());
    running.shut_down().unwrap();
    disk.detach().unwrap();
}
