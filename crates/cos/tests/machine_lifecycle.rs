//! A machine's life: upgraded from a registry, judged, rolled back; and what it says of itself at each
//! step.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at the machine with plain std and stop at the first surprise"
)]

mod common;

use common::cos;
use common::lifecycle::status;
use cos_testkit::fleet::Fleet;
use cos_testkit::images::AddedFile;
use cos_testkit::machine::{BOOT, Builder, Firmware, Machine};
use cos_testkit::tools::need_tools;
use cos_testkit::{process, skip, temp_dir};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Reading, converting and checking an image under software emulation.
const UPGRADE: Duration = Duration::from_mins(8);

/// An empty disk.
fn blank(directory: &Path) -> PathBuf {
    let disk = directory.join("blank.img");
    let file = std::fs::File::create(&disk).unwrap();
    file.set_len(3 << 30).unwrap();
    disk
}

fn iso(directory: &Path, fleet: &Fleet) -> PathBuf {
    let iso = directory.join("live.iso");
    process::run(
        cos()
            .args(["build", "iso", &fleet.versions.source("v1"), "--output"])
            .arg(&iso),
    )
    .unwrap();
    iso
}

fn succeeds(machine: &mut Machine, command: &str) -> String {
    let ran = machine.run_for(command, UPGRADE).unwrap();
    assert_eq!(ran.code, 0, "{command}: {}", ran.output);
    ran.output
}

/// Installs the live system onto the empty disk, and once more onto the partitions that are there then.
fn install(machine: &mut Machine, fleet: &Fleet) {
    machine.login(BOOT).unwrap();
    let live = status(machine);
    assert_eq!(live["running"]["mode"], "live", "{live}");
    for line in fleet.cloud_config().unwrap().lines() {
        let quoted = line.replace('\'', "'\\''");
        machine
            .check(&format!("echo '{quoted}' >> /tmp/fleet.yaml"))
            .unwrap();
    }
    let nowhere = machine.run("cos install").unwrap();
    assert_eq!(nowhere.code, 2, "{}", nowhere.output);
    assert!(nowhere.output.contains("vda"), "{}", nowhere.output);
    let plan = succeeds(
        machine,
        "cos install /dev/vda --cloud-config /tmp/fleet.yaml --dry-run",
    );
    assert!(plan.contains("COS_STATE"), "{plan}");
    succeeds(
        machine,
        "cos install /dev/vda --cloud-config /tmp/fleet.yaml",
    );
    let again = machine.run_for("cos install /dev/vda", UPGRADE).unwrap();
    assert_eq!(again.code, 2, "{}", again.output);
    succeeds(machine, "cos install /dev/vda --no-format --force");
}

fn upgrade_to_v2(machine: &mut Machine, fleet: &Fleet, before: &Value) {
    // One that nobody signed is refused, and nothing of it is there afterwards.
    fleet
        .add_unsigned("unsigned", &[AddedFile::text("etc/fleet-version", "3\n")])
        .unwrap();
    let refused = machine.run(&format!("cos upgrade {}", fleet.reference("unsigned")));
    let refused = refused.unwrap();
    assert_eq!(refused.code, 10, "{}", refused.output);
    assert!(
        refused.output.contains("is not signed"),
        "{}",
        refused.output
    );
    let checked = succeeds(machine, "cos upgrade --check");
    assert!(checked.contains("new image"), "{checked}");
    succeeds(machine, "cos upgrade");
    let after = status(machine);
    assert_eq!(after["snapshots"].as_array().unwrap().len(), 2, "{after}");
    assert_ne!(after["nextBoot"], before["nextBoot"]);
    assert_eq!(after["snapshots"][0]["standing"], "trial");
    assert_eq!(after["snapshots"][0]["digest"], fleet.digest("v2").unwrap());
    assert_eq!(after["snapshots"][0]["verified"]["accepted"], "signed");
}

#[test]
fn from_a_live_medium_to_an_upgraded_machine_and_back() {
    const TEST: &str = "from_a_live_medium_to_an_upgraded_machine_and_back";
    if let Some(reason) = Builder::missing(Firmware::Bios) {
        skip(TEST, &reason);
        return;
    }
    let directory = temp_dir().unwrap();
    let fleet = Fleet::start(directory.path()).unwrap();
    let mut machine = Machine::builder(TEST)
        .disk(&blank(directory.path()))
        .scsi_cdrom(&iso(directory.path(), &fleet))
        .network()
        .boot()
        .unwrap();
    install(&mut machine, &fleet);
    machine.reboot().unwrap();
    machine.login(BOOT).unwrap();
    let said = machine.check("id ada; getent passwd ada").unwrap();
    assert!(said.contains("/home/ada"), "{said}");
    let machine_id = machine.check("cat /etc/machine-id").unwrap();
    machine
        .check("echo kept > /usr/local/data; echo mine > /home/file; echo log > /var/log/mine")
        .unwrap();
    succeeds(
        &mut machine,
        "systemctl start boot-complete.target cos-boot-good.service",
    );
    let first = status(&mut machine);
    assert_eq!(first["running"]["mode"], "active");
    assert_eq!(first["running"]["good"], true, "{first}");
    assert_eq!(first["well"], true, "{first}");

    upgrade_to_v2(&mut machine, &fleet, &first);

    machine.reboot().unwrap();
    machine.login(BOOT).unwrap();
    assert_eq!(machine.check("cat /etc/fleet-version").unwrap(), "2");
    assert_eq!(machine.check("cat /etc/machine-id").unwrap(), machine_id);
    assert_eq!(
        machine
            .check("cat /usr/local/data /home/file /var/log/mine")
            .unwrap(),
        "kept\nmine\nlog"
    );
    succeeds(
        &mut machine,
        "systemctl start boot-complete.target cos-boot-good.service",
    );
    let second = status(&mut machine);
    assert_eq!(second["snapshots"][0]["standing"], "good", "{second}");
    let again = succeeds(&mut machine, "cos upgrade");
    assert!(again.contains("already"), "{again}");

    succeeds(&mut machine, "cos rollback");
    machine.reboot().unwrap();
    machine.login(BOOT).unwrap();
    assert_eq!(machine.check("cat /etc/fleet-version").unwrap(), "1");
    let back = status(&mut machine);
    assert_eq!(back["running"]["snapshot"], first["running"]["snapshot"]);
    reset_everything(&mut machine);
    machine.power_off().unwrap();
}

/// Into recovery for one boot, and back with nothing kept but what is on COS_OEM.
fn reset_everything(machine: &mut Machine) {
    machine.check("echo mine > /oem/note").unwrap();
    succeeds(machine, "cos boot once recovery");
    machine.reboot().unwrap();
    machine.login(BOOT).unwrap();
    assert_eq!(status(machine)["running"]["mode"], "recovery");
    succeeds(machine, "cos reset --force --persistent");
    machine.reboot().unwrap();
    machine.login(BOOT).unwrap();
    let reset = status(machine);
    assert_eq!(reset["running"]["mode"], "active", "{reset}");
    assert_eq!(reset["snapshots"].as_array().unwrap().len(), 1, "{reset}");
    assert_eq!(machine.check("cat /oem/note").unwrap(), "mine");
    assert_ne!(machine.run("cat /usr/local/data").unwrap().code, 0);
}

/// A disk with a layout of its own, installed from the image on this host.
fn shaped_disk(directory: &Path, fleet: &Fleet) -> PathBuf {
    let disk = blank(directory);
    let oem = directory.join("fleet.yaml");
    std::fs::write(&oem, fleet.cloud_config().unwrap()).unwrap();
    process::run(
        cos()
            .arg("install")
            .arg(&disk)
            .args(["--force", "--allow-unsigned"])
            .args(["--image", &fleet.versions.source("v1")])
            .args(["--filesystem", "persistent=xfs"])
            .args(["--extra-partition", "data=64MiB:ext4:DATA"])
            .arg("--cloud-config")
            .arg(&oem),
    )
    .unwrap();
    disk
}

/// Takes the recovery system to version 2; what the machine says of itself then.
fn upgrade_recovery(machine: &mut Machine, fleet: &Fleet) -> Value {
    let before = status(machine)["recovery"]["id"].clone();
    succeeds(machine, "cos upgrade --recovery");
    let upgraded = status(machine);
    assert_ne!(upgraded["recovery"]["id"], before, "{upgraded}");
    assert_eq!(upgraded["recovery"]["digest"], fleet.digest("v2").unwrap());
    upgraded
}

/// No snapshot on COS_STATE can be loaded any more.
fn damage_kernels(machine: &mut Machine) {
    machine
        .check(
            "mount -o remount,rw /run/cos/source && cd /run/cos/source/cos/snapshots && \
             for it in *; do dd if=/dev/zero of=$it/vmlinuz bs=1M count=1 conv=notrunc,fsync; done; \
             cd /; mount -o remount,ro /run/cos/source",
        )
        .unwrap();
}

#[test]
fn a_damaged_machine_recovers_and_is_reset() {
    const TEST: &str = "a_damaged_machine_recovers_and_is_reset";
    if let Some(reason) = Builder::missing(Firmware::Uefi) {
        skip(TEST, &reason);
        return;
    }
    need_tools(&["mkfs.xfs"]);
    let directory = temp_dir().unwrap();
    let fleet = Fleet::start(directory.path()).unwrap();
    let mut machine = Machine::builder(TEST)
        .disk(&shaped_disk(directory.path(), &fleet))
        .firmware(Firmware::Uefi)
        .network()
        .boot()
        .unwrap();
    machine.login(BOOT).unwrap();
    let mounts = machine
        .check("findmnt -no FSTYPE /usr/local; blkid -L DATA")
        .unwrap();
    assert!(mounts.starts_with("xfs\n/dev/vda"), "{mounts}");
    machine
        .check("echo data > /usr/local/data; echo mine > /oem/note; sync")
        .unwrap();
    let upgraded = upgrade_recovery(&mut machine, &fleet);
    succeeds(&mut machine, "cos upgrade");
    damage_kernels(&mut machine);

    machine.reboot().unwrap();
    machine.login(BOOT).unwrap();
    let recovery = status(&mut machine);
    assert_eq!(recovery["running"]["mode"], "recovery", "{recovery}");
    assert_eq!(recovery["well"], false, "{recovery}");
    let plan = succeeds(&mut machine, "cos reset --dry-run --persistent");
    assert!(
        plan.contains("COS_PERSISTENT: everything on it is lost"),
        "{plan}"
    );
    // What makes an XFS is not in this image: that is known before anything is changed.
    let refused = machine
        .run_for("cos reset --force --persistent", UPGRADE)
        .unwrap();
    assert_eq!(refused.code, 4, "{}", refused.output);
    assert!(refused.output.contains("xfsprogs"), "{}", refused.output);
    succeeds(&mut machine, "cos reset --force");

    machine.reboot().unwrap();
    machine.login(BOOT).unwrap();
    succeeds(
        &mut machine,
        "systemctl start boot-complete.target cos-boot-good.service",
    );
    let reset = status(&mut machine);
    assert_eq!(reset["running"]["mode"], "active", "{reset}");
    assert_eq!(
        reset["running"]["snapshot"], upgraded["recovery"]["id"],
        "{reset}"
    );
    assert_eq!(reset["well"], true, "{reset}");
    assert_eq!(machine.check("cat /oem/note").unwrap(), "mine");
    assert_eq!(machine.check("cat /usr/local/data").unwrap(), "data");
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
    // Some come as far as a login before they fail.
    machine
        .expect("Command line: .*cos.mode=passive", BOOT * 2)
        .unwrap();
    machine.login(BOOT).unwrap();
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
        .larger_disk(&fleet.build_disk(directory.path()).unwrap(), 1 << 30)
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
        dd if=/dev/urandom of=/run/cos/source/cos/snapshots/NEXT/root.img bs=512 count=1 \
        conv=notrunc,fsync && mount -o remount,ro /run/cos/source";
    falls_back(
        &mut machine,
        &fleet,
        "v2",
        spoil,
        "does not match its root hash",
    );
    machine.power_off().unwrap();
}
