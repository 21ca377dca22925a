//! A machine's life: upgraded from a registry, judged, rolled back; and what it says of itself at each
//! step.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at the machine with plain std and stop at the first surprise"
)]

mod common;

use common::cos;
use common::lifecycle::{Fleet, status};
use cos_testkit::images::AddedFile;
use cos_testkit::machine::{BOOT, Builder, Firmware, Machine};
use cos_testkit::{process, skip, temp_dir};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Reading, converting and checking an image under software emulation.
const UPGRADE: Duration = Duration::from_mins(8);

fn disk(directory: &Path, fleet: &Fleet) -> PathBuf {
    let disk = directory.join("disk.img");
    let oem = directory.join("fleet.yaml");
    std::fs::write(&oem, fleet.cloud_config()).unwrap();
    process::run(
        cos()
            .args(["build", "disk", &fleet.versions.source("v1"), "--output"])
            .arg(&disk)
            .arg("--cloud-config")
            .arg(&oem),
    )
    .unwrap();
    disk
}

#[test]
fn an_upgrade_from_a_registry_and_back() {
    const TEST: &str = "an_upgrade_from_a_registry_and_back";
    if let Some(reason) = Builder::missing(Firmware::Bios) {
        skip(TEST, &reason);
        return;
    }
    let directory = temp_dir().unwrap();
    let fleet = Fleet::start(directory.path()).unwrap();
    let mut machine = Machine::builder(TEST)
        .larger_disk(&disk(directory.path(), &fleet), 1 << 30)
        .network()
        .boot()
        .unwrap();
    machine.login(BOOT).unwrap();
    let machine_id = machine.check("cat /etc/machine-id").unwrap();
    machine
        .check("echo kept > /usr/local/data; echo mine > /home/file")
        .unwrap();
    let first = status(&mut machine);
    assert_eq!(first["running"]["mode"], "active");

    let ran = machine.run_for("cos upgrade", UPGRADE).unwrap();
    assert_eq!(ran.code, 0, "{}", ran.output);
    let after = status(&mut machine);
    assert_eq!(after["snapshots"].as_array().unwrap().len(), 2, "{after}");
    assert_ne!(after["nextBoot"], first["nextBoot"]);
    assert_eq!(after["snapshots"][0]["standing"], "trial");
    assert_eq!(after["snapshots"][0]["digest"], fleet.digest("v2").unwrap());

    machine.reboot().unwrap();
    machine.login(BOOT).unwrap();
    assert_eq!(machine.check("cat /etc/fleet-version").unwrap(), "2");
    assert_eq!(machine.check("cat /etc/machine-id").unwrap(), machine_id);
    assert_eq!(
        machine.check("cat /usr/local/data /home/file").unwrap(),
        "kept\nmine"
    );
    let again = machine.run_for("cos upgrade", UPGRADE).unwrap();
    assert_eq!(again.code, 0, "{}", again.output);
    assert!(again.output.contains("already"), "{}", again.output);

    machine.check("cos rollback").unwrap();
    machine.reboot().unwrap();
    machine.login(BOOT).unwrap();
    assert_eq!(machine.check("cat /etc/fleet-version").unwrap(), "1");
    let back = status(&mut machine);
    assert_eq!(back["running"]["snapshot"], first["running"]["snapshot"]);
    machine.power_off().unwrap();
}

/// Versions that do not come up, each in its own way.
fn add_bad_versions(fleet: &Fleet) {
    let quick = AddedFile::text(
        "usr/lib/systemd/system/cos-assess.service.d/quick.conf",
        "[Service]\nExecStart=\nExecStart=/usr/bin/cos boot assess --tries 1\n",
    );
    let check = AddedFile::program(
        "usr/lib/cos/health.d/10-sensor",
        "#!/bin/sh\necho the sensor does not answer\nexit 1\n",
    );
    fleet.add("unwell", &[quick, check]).unwrap();
    let panic = AddedFile::text(
        "usr/lib/systemd/system/systemd-user-sessions.service.d/panic.conf",
        "[Service]\nExecStartPre=/bin/sh -c 'sleep 3; echo 1 > /proc/sys/kernel/panic; echo c > /proc/sysrq-trigger'\n",
    );
    fleet.add("panics", &[panic]).unwrap();
    let hang = AddedFile::text(
        "etc/systemd/system/hang.service",
        "[Unit]\nDescription=Something that never starts\n\
         [Service]\nType=oneshot\nExecStart=/bin/sleep infinity\nTimeoutStartSec=infinity\n",
    );
    let wants = AddedFile::text(
        "etc/systemd/system/boot-complete.target.d/hang.conf",
        "[Unit]\nRequires=hang.service\nAfter=hang.service\n",
    );
    let deadline = AddedFile::text(
        "etc/systemd/system/cos-boot-deadline.timer.d/short.conf",
        "[Timer]\nOnBootSec=\nOnBootSec=100s\n",
    );
    fleet.add("hangs", &[hang, wants, deadline]).unwrap();
}

/// Upgrades to a version that does not come up, and waits until the machine is back where it was.
fn falls_back(machine: &mut Machine, fleet: &Fleet, tag: &str, spoil: &str, cause: &str) {
    let before = status(machine);
    let ran = machine
        .run_for(&format!("cos upgrade {}", fleet.reference(tag)), UPGRADE)
        .unwrap();
    assert_eq!(ran.code, 0, "{}", ran.output);
    let next = status(machine)["nextBoot"].as_str().unwrap().to_owned();
    machine.check(&spoil.replace("NEXT", &next)).unwrap();
    machine.reboot().unwrap();
    machine.login(BOOT * 2).unwrap();
    machine.run("systemctl is-system-running --wait").unwrap();
    machine.run("systemctl start cos-diagnose.service").unwrap();
    let after = status(machine);
    assert_eq!(
        after["running"]["snapshot"], before["running"]["snapshot"],
        "{after}"
    );
    assert_eq!(after["running"]["mode"], "passive", "{after}");
    assert_eq!(after["fallback"]["from"], next.as_str(), "{after}");
    let reason = after["fallback"]["reason"].as_str().unwrap();
    assert!(reason.contains(cause), "{tag}: {reason}");
    assert_eq!(
        after["nextBoot"], before["running"]["snapshot"],
        "it is not sticky: {after}"
    );
    let again = machine
        .run_for(&format!("cos upgrade {}", fleet.reference(tag)), UPGRADE)
        .unwrap();
    assert_eq!(again.code, 8, "{}", again.output);
}

#[test]
fn four_bad_upgrades_end_where_they_began() {
    const TEST: &str = "four_bad_upgrades_end_where_they_began";
    if let Some(reason) = Builder::missing(Firmware::Uefi) {
        skip(TEST, &reason);
        return;
    }
    let directory = temp_dir().unwrap();
    let fleet = Fleet::start(directory.path()).unwrap();
    add_bad_versions(&fleet);
    let mut machine = Machine::builder(TEST)
        .larger_disk(&disk(directory.path(), &fleet), 1 << 30)
        .firmware(Firmware::Uefi)
        .network()
        .boot()
        .unwrap();
    machine.login(BOOT).unwrap();
    machine.run("systemctl is-system-running --wait").unwrap();
    let nothing = "true";
    falls_back(
        &mut machine,
        &fleet,
        "unwell",
        nothing,
        "the sensor does not answer",
    );
    // Still there after one more reboot.
    let here = status(&mut machine)["running"]["snapshot"].clone();
    machine.reboot().unwrap();
    machine.login(BOOT).unwrap();
    assert_eq!(status(&mut machine)["running"]["snapshot"], here);

    falls_back(&mut machine, &fleet, "panics", nothing, "kernel panic");
    falls_back(&mut machine, &fleet, "hangs", nothing, "hang.service");
    let spoil = "mount -o remount,rw /run/cos/source && \
        dd if=/dev/urandom of=/run/cos/source/cos/snapshots/NEXT/root.img bs=4096 count=1 seek=0 \
        conv=notrunc,fsync && mount -o remount,ro /run/cos/source";
    falls_back(&mut machine, &fleet, "v2", spoil, "root image");
    machine.power_off().unwrap();
}
