//! A sealed disk: the firmware takes its keys, runs what they signed, and nothing else.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at the machine with plain std and stop at the first surprise"
)]

#[path = "common/docker.rs"]
mod docker;

use cos_efi::Image;
use cos_testkit::images::{self, Flavor, Suite};
use cos_testkit::machine::{BOOT, Builder, Firmware, Machine};
use cos_testkit::tools::need_tool;
use cos_testkit::{dist, process, skip, temp_dir};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The page that tells how a disk is sealed.
const PAGE: &str = include_str!("../../../docs/src/how-to/seal.md");

/// A sealed disk.
struct Sealed {
    disk: PathBuf,
    certificate: PathBuf,
    /// Its EFI system partition, as mtools name it.
    efi: String,
    snapshot: String,
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
        "::/EFI/Linux",
    ]))
    .unwrap();
    let snapshot = names
        .split("cos-1-")
        .nth(1)
        .unwrap()
        .split(".efi")
        .next()
        .unwrap();
    Sealed {
        certificate: directory.join("keys/db.pem"),
        efi,
        snapshot: snapshot.to_owned(),
        disk,
    }
}

impl Sealed {
    /// The signed program of the system, as mtools reads it.
    fn program(&self, directory: &Path) -> Vec<u8> {
        let copy = directory.join("system.efi");
        let entry = format!("::/EFI/Linux/cos-1-{}.efi", self.snapshot);
        process::run(
            Command::new(need_tool("mcopy").unwrap())
                .args(["-i", &self.efi, &entry])
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
fn change_command_line(machine: &mut Machine, snapshot: &str) {
    machine
        .check(&format!(
            "mkdir -p /run/esp && mount LABEL=COS_GRUB /run/esp && cd /run/esp/EFI/Linux && \
             at=$(grep -abo cos.sealed cos-1-{snapshot}.efi | head -n 1 | cut -d: -f1) && \
             printf X | dd of=cos-1-{snapshot}.efi bs=1 seek=$at conv=notrunc && \
             cd / && umount /run/esp"
        ))
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
    let refused = machine.run("cos rollback").unwrap();
    assert_eq!(refused.code, 2, "{}", refused.output);
    assert!(
        refused.output.contains("boots sealed"),
        "{}",
        refused.output
    );

    change_command_line(&mut machine, &sealed.snapshot);
    machine.reboot().unwrap();
    let said = machine
        .expect("(?i)security violation|access denied", BOOT)
        .unwrap();
    assert!(!said.contains("login:"), "{said}");
}
