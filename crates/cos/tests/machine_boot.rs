//! Built media boot: to a login, with a verified read-only root, forgetting and keeping what they should.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at the machine with plain std and stop at the first surprise"
)]

mod common;

use common::medium;
use cos_testkit::images::{Flavor, Suite};
use cos_testkit::machine::{Builder, Firmware, Machine};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Software emulation on a busy machine.
const BOOT: Duration = Duration::from_mins(7);

/// Whether the machine's programs are there; if not, the skip is recorded.
fn can_boot(test: &str, firmware: Firmware) -> bool {
    match Builder::missing(firmware) {
        None => true,
        Some(reason) => {
            cos_testkit::skip(test, &reason);
            false
        }
    }
}

/// The root is verified, read-only, and the one the kernel was told of.
fn check_root(machine: &mut Machine, mode: &str) {
    let root = machine
        .check("findmnt --noheadings --output SOURCE,FSTYPE,OPTIONS /")
        .unwrap();
    assert!(
        root.contains("/dev/mapper/cos-root") && root.contains("erofs"),
        "{root}"
    );
    assert!(root.contains("ro"), "{root}");
    assert_eq!(
        machine.check("cat /sys/block/dm-0/dm/name").unwrap().trim(),
        "cos-root"
    );
    let log = machine.check("dmesg | grep -i verity").unwrap();
    assert!(log.contains("verity"), "{log}");
    let command_line = machine.check("cat /proc/cmdline").unwrap();
    assert!(command_line.contains("cos.roothash="), "{command_line}");
    assert!(
        command_line.contains(&format!("cos.mode={mode}")),
        "{command_line}"
    );
    assert_ne!(
        machine.run("touch /usr/written").unwrap().code,
        0,
        "/usr can be written"
    );
    machine
        .check(&format!("test -e /run/cos/{mode}_mode"))
        .unwrap();
    let failed = machine
        .check("systemctl --failed --no-legend --plain")
        .unwrap();
    assert_eq!(failed.trim(), "", "units failed");
}

/// After a reboot, what was written to `/etc` is gone and what was written to `/usr/local` is there.
fn check_persistence(machine: &mut Machine) {
    let id = machine.check("cat /etc/machine-id").unwrap();
    machine
        .check("echo gone > /etc/written; echo kept > /usr/local/written; sync")
        .unwrap();
    machine.reboot().unwrap();
    machine.login(BOOT).unwrap();
    assert_ne!(
        machine.run("test -e /etc/written").unwrap().code,
        0,
        "/etc kept a file"
    );
    assert_eq!(
        machine.check("cat /usr/local/written").unwrap().trim(),
        "kept"
    );
    assert_eq!(
        machine.check("cat /etc/machine-id").unwrap(),
        id,
        "the machine id changed"
    );
}

fn boot_disk(test: &str, disk: &Path, firmware: Firmware, more: impl FnOnce(&mut Machine)) {
    let mut machine = Machine::builder(test)
        .disk(disk)
        .firmware(firmware)
        .boot()
        .unwrap();
    machine.login(BOOT).unwrap();
    check_root(&mut machine, "active");
    more(&mut machine);
    machine.power_off().unwrap();
}

#[test]
fn debian_13_disk_bios() {
    if can_boot("debian_13_disk_bios", Firmware::Bios) {
        boot_disk(
            "debian_13_disk_bios",
            &medium("disk", Suite::Trixie, Flavor::Minimal),
            Firmware::Bios,
            check_persistence,
        );
    }
}

#[test]
fn debian_13_disk_uefi() {
    if can_boot("debian_13_disk_uefi", Firmware::Uefi) {
        boot_disk(
            "debian_13_disk_uefi",
            &medium("disk", Suite::Trixie, Flavor::Minimal),
            Firmware::Uefi,
            |_| {},
        );
    }
}

#[test]
fn debian_12_disk_uefi() {
    if can_boot("debian_12_disk_uefi", Firmware::Uefi) {
        boot_disk(
            "debian_12_disk_uefi",
            &medium("disk", Suite::Bookworm, Flavor::Minimal),
            Firmware::Uefi,
            check_persistence,
        );
    }
}

fn boot_live(mut machine: Machine) {
    check_live(&mut machine);
    machine.power_off().unwrap();
}

fn check_live(machine: &mut Machine) {
    machine.login(BOOT).unwrap();
    check_root(machine, "live");
    machine
        .check("echo here > /etc/written && cat /etc/written")
        .unwrap();
}

/// systemd stops giving signs of life, and nobody but the watchdog notices.
fn check_watchdog(mut machine: Machine) {
    const MANAGER: &str =
        "org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager";
    let watched = machine
        .check("cat /sys/class/watchdog/watchdog0/state; systemctl show -P RuntimeWatchdogUSec")
        .unwrap();
    assert_eq!(watched, "active\n3min");
    machine
        .check(&format!(
            "busctl set-property {MANAGER} RuntimeWatchdogUSec t 20000000"
        ))
        .unwrap();
    machine
        .send_line("echo 1 > /sys/fs/cgroup/init.scope/cgroup.freeze")
        .unwrap();
    machine.expect("Command line: ", BOOT).unwrap();
}

#[test]
fn debian_13_iso_as_cd_bios() {
    if can_boot("debian_13_iso_as_cd_bios", Firmware::Bios) {
        let iso = medium("iso", Suite::Trixie, Flavor::Example);
        let mut machine = Machine::builder("debian_13_iso_as_cd_bios")
            .cdrom(&iso)
            .watchdog()
            .boot()
            .unwrap();
        check_live(&mut machine);
        check_watchdog(machine);
    }
}

#[test]
fn debian_13_iso_as_usb_stick_secure_boot() {
    const TEST: &str = "debian_13_iso_as_usb_stick_secure_boot";
    if can_boot(TEST, Firmware::SecureBoot) {
        let iso = medium("iso", Suite::Trixie, Flavor::Example);
        let machine = Machine::builder(TEST).usb_disk(&iso);
        let mut machine = machine.firmware(Firmware::SecureBoot).boot().unwrap();
        check_live(&mut machine);
        let log = machine.check("dmesg | grep -i 'secure boot'").unwrap();
        assert!(log.contains("Secure boot enabled"), "{log}");
        machine.power_off().unwrap();
    }
}

/// Debian 12's cloud kernel has no AHCI: its CD is on a virtio bus.
#[test]
fn debian_12_iso_as_cd_uefi() {
    if can_boot("debian_12_iso_as_cd_uefi", Firmware::Uefi) {
        let iso = medium("iso", Suite::Bookworm, Flavor::Minimal);
        let machine = Machine::builder("debian_12_iso_as_cd_uefi").scsi_cdrom(&iso);
        boot_live(machine.firmware(Firmware::Uefi).boot().unwrap());
    }
}

/// Copies a disk and changes one byte of the active snapshot's root image.
fn with_flipped_byte(disk: &Path, directory: &Path) -> PathBuf {
    let damaged = directory.join("damaged.img");
    cos_testkit::process::run(
        std::process::Command::new("cp")
            .arg("--sparse=always")
            .arg(disk)
            .arg(&damaged),
    )
    .unwrap();
    let offset = last_root_image(disk);
    let file = File::options()
        .read(true)
        .write(true)
        .open(&damaged)
        .unwrap();
    let mut byte = [0];
    // A byte of the superblock's reserved space: nothing but the hash tree can tell.
    file.read_exact_at(&mut byte, offset + 100).unwrap();
    byte[0] ^= 1;
    file.write_all_at(&byte, offset + 100).unwrap();
    damaged
}

/// Where the last EROFS file system of a disk starts: the one on COS_STATE, behind COS_RECOVERY.
fn last_root_image(disk: &Path) -> u64 {
    const MAGIC: [u8; 4] = 0xe0f5_e1e2_u32.to_le_bytes();
    let file = File::open(disk).unwrap();
    let mut found = None;
    let mut position = 0;
    let mut block = [0; 4096];
    while file.read_exact_at(&mut block, position).is_ok() {
        if block[1024..1028] == MAGIC {
            found = Some(position);
        }
        position = next_data(&file, position + 4096);
    }
    found.unwrap()
}

/// The next position that is not in a hole, down to a block.
fn next_data(file: &File, position: u64) -> u64 {
    let next = rustix::fs::seek(file, rustix::fs::SeekFrom::Data(position));
    next.map_or(u64::MAX >> 1, |next| next / 4096 * 4096)
}

#[test]
fn one_flipped_byte_stops_the_boot() {
    if !can_boot("one_flipped_byte_stops_the_boot", Firmware::Bios) {
        return;
    }
    let directory = cos_testkit::temp_dir().unwrap();
    let damaged = with_flipped_byte(
        &medium("disk", Suite::Trixie, Flavor::Minimal),
        directory.path(),
    );
    let mut machine = Machine::builder("one_flipped_byte_stops_the_boot")
        .disk(&damaged)
        .boot()
        .unwrap();
    let said = machine
        .expect(
            "does not match its root hash|data block [0-9]+ is corrupted",
            BOOT,
        )
        .unwrap();
    assert!(!said.contains("login:"), "{said}");
}
