//! Sealed machines: the firmware takes their keys, runs what these signed, and nothing else; and they are
//! upgraded, rolled back and reset as others are.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at the machine with plain std and stop at the first surprise"
)]

mod common;
#[path = "common/docker.rs"]
mod docker;

use common::cos;
use common::lifecycle::status;
use cos_efi::Image;
use cos_testkit::fleet::Fleet;
use cos_testkit::images::{self, AddedFile, Flavor, Suite};
use cos_testkit::machine::{BOOT, Builder, Firmware, Machine};
use cos_testkit::tools::need_tool;
use cos_testkit::{dist, process, skip, temp_dir};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Reading, converting and checking an image under software emulation.
const UPGRADE: Duration = Duration::from_mins(8);
/// The page that tells how a disk is sealed.
const PAGE: &str = include_str!("../../../docs/src/how-to/seal.md");

/// A sealed disk.
struct Sealed {
    disk: PathBuf,
    certificate: PathBuf,
    /// Its EFI system partition, as mtools name it.
    efi: String,
    /// Path of its program there.
    program: String,
}

/// Runs the page's commands in `directory`.
fn build(directory: &Path) -> Sealed {
    let image = images::debian(Suite::Trixie, Flavor::Minimal).unwrap();
    docker::install(directory, &image);
    let blocks = PAGE.split("```sh\n").skip(1);
    let commands: String = blocks
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(commands.contains("cos keys generate"), "{commands}");
    let tool = dist::binaries().unwrap().cos;
    let path = format!(
        "{}:{}:{}",
        directory.display(),
        tool.parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    process::run(
        Command::new("bash")
            .args(["-euxo", "pipefail", "-c", &commands])
            .current_dir(directory)
            .env("PATH", path),
    )
    .unwrap();
    let disk = directory.join("sealed.img");
    // The EFI system partition lies behind the first MiB and that of a BIOS.
    let efi = format!("{}@@2M", disk.display());
    let names = process::text(Command::new(need_tool("mdir").unwrap()).args([
        "-b",
        "-i",
        &efi,
        "::/EFI/cos",
    ]))
    .unwrap();
    Sealed {
        certificate: directory.join("keys/db.pem"),
        efi,
        program: names.trim().to_owned(),
        disk,
    }
}

impl Sealed {
    /// The signed program of the system, as mtools reads it.
    fn program(&self, directory: &Path) -> Vec<u8> {
        let copy = directory.join("system.efi");
        process::run(
            Command::new(need_tool("mcopy").unwrap())
                .args(["-i", &self.efi, &self.program])
                .arg(&copy),
        )
        .unwrap();
        std::fs::read(copy).unwrap()
    }

    fn is_signed(&self, directory: &Path, program: &[u8]) -> bool {
        let path = directory.join("program.efi");
        std::fs::write(&path, program).unwrap();
        let mut command = Command::new(need_tool("sbverify").unwrap());
        process::succeeds(command.arg("--cert").arg(&self.certificate).arg(path))
    }
}

/// Every changed bit of the program changes what was signed; a sample is shown to another verifier too.
fn check_flips(sealed: &Sealed, directory: &Path) {
    const FLIPS: usize = 200;
    let program = sealed.program(directory);
    assert!(sealed.is_signed(directory, &program));
    let image = Image::parse(program.clone()).unwrap();
    let digest = image.digest();
    // Kernel, initrd and command line, and whatever else is loaded.
    for (index, section) in image.sections().iter().cycle().take(FLIPS).enumerate() {
        let within = (index * 0x9e37_79b9) % section.contents.len().max(1);
        let position = section.contents.start + within;
        let mut changed = program.clone();
        changed[position] ^= 1 << (index % 8);
        let parsed = Image::parse(changed.clone()).unwrap();
        assert_ne!(parsed.digest(), digest, "{} at {position}", section.name);
        if index % 10 == 0 {
            assert!(!sealed.is_signed(directory, &changed), "{}", section.name);
        }
    }
}

/// Changes one letter of the signed command line, as whoever can write the disk can.
fn change_command_line(machine: &mut Machine) {
    machine
        .check(
            "mkdir -p /run/esp && mount LABEL=COS_GRUB /run/esp && cd /run/esp/EFI/cos && \
             at=$(grep -abo cos.sealed *.efi | head -n 1 | cut -d: -f1) && \
             printf X | dd of=$(echo *.efi) bs=1 seek=$at conv=notrunc && \
             cd / && umount /run/esp",
        )
        .unwrap();
}

#[test]
fn a_sealed_disk_boots_by_its_own_keys() {
    const TEST: &str = "a_sealed_disk_boots_by_its_own_keys";
    if let Some(reason) = Builder::missing(Firmware::SetupMode) {
        skip(TEST, &reason);
        return;
    }
    let directory = temp_dir().unwrap();
    let sealed = build(directory.path());
    check_flips(&sealed, directory.path());
    let mut machine = Machine::builder(TEST)
        .disk(&sealed.disk)
        .firmware(Firmware::SetupMode)
        .boot()
        .unwrap();
    machine.login(BOOT).unwrap();
    let log = machine.check("dmesg | grep -i 'secure boot'").unwrap();
    assert!(log.contains("Secure boot enabled"), "{log}");
    let line = machine.check("cat /proc/cmdline").unwrap();
    assert!(line.starts_with("cos.sealed cos.roothash="), "{line}");
    let root = machine.check("findmnt -no SOURCE,FSTYPE /").unwrap();
    assert!(root.starts_with("/dev/mapper/cos-root erofs"), "{root}");
    let boot = machine.check("cat /run/cos/boot.json").unwrap();
    assert!(
        boot.contains("\"sealed\": true") && boot.contains("\"mode\": \"active\""),
        "{boot}"
    );
    machine
        .check("test -e /run/cos/active_mode && test -b /dev/disk/by-label/COS_STATE")
        .unwrap();
    let failed = machine
        .check("systemctl --failed --no-legend --plain")
        .unwrap();
    assert_eq!(failed.trim(), "", "units failed");

    change_command_line(&mut machine);
    machine.reboot().unwrap();
    let said = machine
        .expect("(?i)security violation|access denied", BOOT)
        .unwrap();
    assert!(!said.contains("login:"), "{said}");
}

/// A registry with versions of an image, most of them sealed, and the keys of the machine that runs them.
struct SealedFleet {
    fleet: Fleet,
    keys: PathBuf,
}

impl SealedFleet {
    fn start(directory: &Path) -> Self {
        let fleet = Fleet::start(directory).unwrap();
        let (keys, foreign) = (directory.join("keys"), directory.join("foreign"));
        for keys in [&keys, &foreign] {
            let mut command = cos();
            process::run(command.args(["keys", "generate"]).arg(keys)).unwrap();
        }
        let text = |version| [AddedFile::text("etc/fleet-version", version)];
        fleet.add("plain", &text("3\n")).unwrap();
        fleet.add("foreign", &text("4\n")).unwrap();
        let quick = AddedFile::text(
            "usr/lib/systemd/system/cos-assess.service.d/quick.conf",
            "[Service]\nExecStart=\nExecStart=/usr/bin/cos boot assess --tries 1\n",
        );
        let check = AddedFile::program(
            "usr/lib/cos/health.d/10-sensor",
            "#!/bin/sh\necho the sensor does not answer\nexit 1\n",
        );
        fleet.add("unwell", &[quick, check]).unwrap();
        fleet.seal("foreign", &foreign, &[]).unwrap();
        fleet.seal("unwell", &keys, &[]).unwrap();
        fleet.seal("v2", &keys, &["--with-root"]).unwrap();
        Self { fleet, keys }
    }

    /// A sealed disk of the first version, with room for the root image of a hook.
    fn disk(&self, directory: &Path) -> PathBuf {
        let (disk, oem) = (directory.join("disk.img"), directory.join("fleet.yaml"));
        std::fs::write(&oem, self.fleet.cloud_config().unwrap()).unwrap();
        let source = self.fleet.versions.source("v1");
        process::run(
            cos()
                .args(["build", "disk", &source, "--partition", "state=1536MiB"])
                .arg("--sealed")
                .arg(&self.keys)
                .arg("--cloud-config")
                .arg(&oem)
                .arg("--output")
                .arg(&disk),
        )
        .unwrap();
        disk
    }
}

fn succeeds(machine: &mut Machine, command: &str) -> String {
    let ran = machine.run_for(command, UPGRADE).unwrap();
    assert_eq!(ran.code, 0, "{command}: {}", ran.output);
    ran.output
}

fn refused(machine: &mut Machine, command: &str, code: i32, why: &str) {
    let ran = machine.run_for(command, UPGRADE).unwrap();
    assert_eq!(ran.code, code, "{command}: {}", ran.output);
    assert!(ran.output.contains(why), "{command}: {}", ran.output);
}

/// Names of the entries and of the programs on the EFI system partition.
fn entries(machine: &mut Machine) -> String {
    succeeds(
        machine,
        "mkdir -p /run/esp && mount -o ro LABEL=COS_GRUB /run/esp && \
         ls /run/esp/loader/entries /run/esp/EFI/cos && umount /run/esp",
    )
}

fn comes_up(machine: &mut Machine, version: &str, mode: &str) -> serde_json::Value {
    machine.login(BOOT).unwrap();
    succeeds(
        machine,
        "systemctl start boot-complete.target cos-boot-good.service",
    );
    assert_eq!(machine.check("cat /etc/fleet-version").unwrap(), version);
    let status = status(machine);
    assert_eq!(status["running"]["mode"], mode, "{status}");
    status
}

/// What is not sealed for this machine changes nothing on it.
fn refuses_what_is_foreign(machine: &mut Machine, fleet: &Fleet) {
    let before = (status(machine), entries(machine));
    for (tag, code, why) in [("plain", 3, "is not sealed"), ("foreign", 3, "db")] {
        let command = format!("cos upgrade {}", fleet.reference(tag));
        refused(machine, &command, code, why);
    }
    let after = (status(machine), entries(machine));
    assert_eq!(before.0["snapshots"], after.0["snapshots"]);
    assert_eq!(before.0["nextBoot"], after.0["nextBoot"]);
    assert_eq!(before.1, after.1);
}

/// Upgrades with a hook that changes the root image: the sealed one takes its place.
fn upgrade_in_spite_of_a_hook(machine: &mut Machine) {
    machine
        .check(
            "printf 'stages:\\n  after-upgrade-chroot:\\n    - commands: [touch /etc/mine]\\n' \
             > /oem/hook.yaml",
        )
        .unwrap();
    let said = succeeds(machine, "cos upgrade");
    assert!(said.contains("is not the sealed one"), "{said}");
    machine.check("rm /oem/hook.yaml").unwrap();
    let upgraded = status(machine);
    assert_eq!(upgraded["snapshots"][0]["standing"], "trial", "{upgraded}");
    assert!(entries(machine).contains("+1-0.conf"));
}

fn falls_back(machine: &mut Machine, fleet: &Fleet) {
    let command = format!("cos upgrade {}", fleet.reference("unwell"));
    succeeds(machine, &command);
    let next = status(machine)["nextBoot"].clone();
    machine.reboot().unwrap();
    machine
        .expect("passive snapshot [0-9a-f]+ is ready", BOOT * 2)
        .unwrap();
    machine.login(BOOT).unwrap();
    machine.run("systemctl is-system-running --wait").unwrap();
    let after = status(machine);
    assert_eq!(after["running"]["mode"], "passive", "{after}");
    assert_eq!(after["fallback"]["from"], next, "{after}");
    let reason = after["fallback"]["reason"].as_str().unwrap();
    assert!(reason.contains("the sensor does not answer"), "{reason}");
    assert!(entries(machine).contains("+0-1.conf"));
    refused(machine, &command, 8, "failed");
}

#[test]
fn a_sealed_machine_lives_as_others_do() {
    const TEST: &str = "a_sealed_machine_lives_as_others_do";
    if let Some(reason) = Builder::missing(Firmware::SetupMode) {
        skip(TEST, &reason);
        return;
    }
    let directory = temp_dir().unwrap();
    let sealed = SealedFleet::start(directory.path());
    let mut machine = Machine::builder(TEST)
        .disk(&sealed.disk(directory.path()))
        .firmware(Firmware::SetupMode)
        .network()
        .boot()
        .unwrap();
    let first = comes_up(&mut machine, "1", "active");
    machine.check("echo kept > /usr/local/data").unwrap();
    refuses_what_is_foreign(&mut machine, &sealed.fleet);
    upgrade_in_spite_of_a_hook(&mut machine);

    machine.reboot().unwrap();
    let second = comes_up(&mut machine, "2", "active");
    assert_eq!(second["snapshots"][0]["standing"], "good", "{second}");
    assert!(!entries(&mut machine).contains('+'), "a counter is left");
    assert_ne!(machine.run("test -e /etc/mine").unwrap().code, 0);
    succeeds(&mut machine, "cos rollback");

    machine.reboot().unwrap();
    let back = comes_up(&mut machine, "1", "active");
    assert_eq!(back["running"]["snapshot"], first["running"]["snapshot"]);
    falls_back(&mut machine, &sealed.fleet);

    succeeds(&mut machine, "cos boot once recovery");
    machine.reboot().unwrap();
    machine.login(BOOT).unwrap();
    assert_eq!(status(&mut machine)["running"]["mode"], "recovery");
    succeeds(&mut machine, "cos reset --force");

    machine.reboot().unwrap();
    let reset = comes_up(&mut machine, "1", "active");
    assert_eq!(reset["snapshots"].as_array().unwrap().len(), 1, "{reset}");
    assert_eq!(machine.check("cat /usr/local/data").unwrap(), "kept");
    machine.power_off().unwrap();
}
