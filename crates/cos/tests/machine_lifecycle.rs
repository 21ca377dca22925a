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
