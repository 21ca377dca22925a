//! Encrypted data: what unlocks them, through another kernel, initrd and command line, and what does not.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at the machine with plain std and stop at the first surprise"
)]

#[path = "common/docker.rs"]
mod docker;

use cos_efi::Image;
use cos_testkit::images::{self, Flavor, Suite};
use cos_testkit::machine::{BOOT, Builder, COMMAND, Firmware, Machine};
use cos_testkit::tools::{find_tool, missing, need_tool};
use cos_testkit::{dist, process, skip, temp_dir};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The page that tells how data are encrypted.
const PAGE: &str = include_str!("../../../docs/src/how-to/encrypt.md");
/// A cloud-config with a word that must be on no disk in plain.
const USER_DATA: &str = "name: user-data\nstages:\n  boot:\n    - name: zanzibar-in-user-data\n      \
                         files:\n        - path: /run/from-user-data\n          content: here\n";
/// What a passphrase or recovery key is asked with.
const QUESTION: &str = "Passphrase or recovery key of COS_PERSISTENT";
/// A recovery key of systemd: eight groups of letters that are on the same keys of every keyboard.
const RECOVERY_KEY: &str = "(?:[cbdefghijklnrtuv]{8}-){7}[cbdefghijklnrtuv]{8}";

/// Reads back what was written in the first boot.
const READ_FILE: &str = "sync; grep -q zanzibar-in-a-file /usr/local/secret";

/// A built disk: its file, its EFI system partition as mtools name it, and its snapshot.
struct Disk {
    file: PathBuf,
    efi: String,
    snapshot: String,
}

impl Disk {
    fn new(file: PathBuf) -> Self {
        // The EFI system partition lies behind the first MiB and that of a BIOS.
        let efi = format!("{}@@2M", file.display());
        let mut mdir = Command::new(need_tool("mdir").unwrap());
        let names = process::text(mdir.args(["-b", "-i", &efi, "::/EFI/Linux"])).unwrap();
        let name = names.split("cos-1-").nth(1).unwrap();
        let snapshot = name.split(".efi").next().unwrap().to_owned();
        Self {
            file,
            efi,
            snapshot,
        }
    }

    /// The signed program of its system.
    fn program(&self, directory: &Path) -> Image {
        let copy = directory.join("system.efi");
        let entry = format!("::/EFI/Linux/cos-1-{}.efi", self.snapshot);
        let mut mcopy = Command::new(need_tool("mcopy").unwrap());
        process::run(mcopy.args(["-n", "-o", "-i", &self.efi, &entry]).arg(&copy)).unwrap();
        Image::parse(std::fs::read(copy).unwrap()).unwrap()
    }
}

fn path_with(directory: &Path) -> String {
    let tool = dist::binaries().unwrap().cos;
    format!(
        "{}:{}:{}",
        directory.display(),
        tool.parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    )
}

/// Runs the page's commands in `directory`.
fn build(directory: &Path, archive: &Path) -> Disk {
    docker::install(directory, archive);
    std::fs::write(directory.join("user-data.yaml"), USER_DATA).unwrap();
    let blocks = PAGE.split("```sh\n").skip(1);
    let commands: String = blocks
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(commands.contains("--encrypt"), "{commands}");
    process::run(
        Command::new("bash")
            .args(["-euxo", "pipefail", "-c", &commands])
            .current_dir(directory)
            .env("PATH", path_with(directory)),
    )
    .unwrap();
    Disk::new(directory.join("encrypted.img"))
}

/// A newc archive with one empty file of this name: what makes an initrd another one that boots the same.
fn archive_with(name: &str) -> Vec<u8> {
    let mut archive = Vec::new();
    for (mode, name) in [(0o100_644, name), (0, "TRAILER!!!")] {
        let fields = [1, mode, 0, 0, 1, 0, 0, 0, 0, 0, 0, name.len() + 1, 0];
        write!(archive, "070701").unwrap();
        for field in fields {
            write!(archive, "{field:08x}").unwrap();
        }
        write!(archive, "{name}\0").unwrap();
        archive.resize(archive.len().next_multiple_of(4), 0);
    }
    archive
}

/// The next version of the system: another kernel, another initrd, another command line, the same keys.
fn build_next(directory: &Path, archive: &Path, first: &Image) -> Disk {
    let overlay = directory.join("overlay");
    std::fs::create_dir_all(overlay.join("boot")).unwrap();
    let section = |name| first.section(name).unwrap().to_vec();
    let release = String::from_utf8(section(".uname")).unwrap();
    // Behind what a kernel says it is long, nobody looks.
    let kernel = [section(".linux"), b"another kernel".to_vec()].concat();
    // An initrd is archives one behind the other; the first ones may be plain.
    let initrd = [archive_with("another-initrd"), section(".initrd")].concat();
    std::fs::write(overlay.join(format!("boot/vmlinuz-{release}")), kernel).unwrap();
    std::fs::write(overlay.join(format!("boot/initrd.img-{release}")), initrd).unwrap();
    let file = directory.join("next.img");
    process::run(
        Command::new("cos")
            .args(["build", "disk"])
            .arg(format!("oci-archive:{}", archive.display()))
            .args(["--sealed", "keys", "--encrypt", "--overlay", "overlay"])
            .args(["--kernel-arguments", "cos.test=next", "-o"])
            .arg(&file)
            .current_dir(directory)
            .env("PATH", path_with(directory)),
    )
    .unwrap();
    Disk::new(file)
}

/// Puts the next version, which is on the second disk, onto the first one, as an upgrade does.
fn upgrade_by_hand(machine: &mut Machine, next: &Disk) {
    let id = &next.snapshot;
    machine
        .check(&format!(
            "set -e; mkdir -p /run/a /run/b; mount /dev/vda2 /run/a; mount -o ro /dev/vdb2 /run/b; \
             cp /run/b/EFI/Linux/cos-1-{id}.efi /run/a/EFI/Linux/cos-2-{id}.efi; umount /run/a /run/b; \
             mount -o remount,rw /run/cos/source; mount -o ro /dev/vdb5 /run/b; \
             cp -r /run/b/cos/snapshots/{id} /run/cos/source/cos/snapshots/; umount /run/b; \
             mount -o remount,ro /run/cos/source; sync"
        ))
        .unwrap();
}

/// Nothing of what is in the data is found on the partitions; that they are read shows by what their headers say.
fn check_that_nothing_is_readable(machine: &mut Machine) {
    machine
        .check("sync; echo 3 > /proc/sys/vm/drop_caches")
        .unwrap();
    for (partition, header) in [
        ("/dev/vda3", "COS_OEM_ENCRYPTED"),
        ("/dev/vda6", "COS_PERSISTENT_ENCRYPTED"),
    ] {
        machine
            .check(&format!("grep -qa {header} {partition}"))
            .unwrap();
        let found = machine
            .run(&format!(
                "grep -qaE 'zan[z]ibar|from-user-dat[a]' {partition}"
            ))
            .unwrap();
        assert_eq!(found.code, 1, "{partition}: {}", found.output);
    }
}

/// With the signatures that unlocked the data before, root of the running system asks the TPM once more.
fn check_that_the_tpm_is_closed(machine: &mut Machine, disk: &Disk, program: &Image) {
    let signatures = program.sections().iter().find(|it| it.name == ".pcrsig");
    let place = &signatures.unwrap().contents;
    let length = program.section(".pcrsig").unwrap().len();
    machine
        .check(&format!(
            "mkdir -p /run/a && mount -o ro /dev/vda2 /run/a && \
             tail -c +{} /run/a/EFI/Linux/cos-1-{}.efi | head -c {length} > /run/systemd/tpm2-pcr-signature.json; \
             umount /run/a; grep -q pkfp /run/systemd/tpm2-pcr-signature.json",
            place.start + 1,
            disk.snapshot
        ))
        .unwrap();
    let asked = machine
        .run(
            "cryptsetup open --verbose --test-passphrase --token-only --token-type systemd-tpm2 /dev/vda6",
        )
        .unwrap();
    assert_ne!(asked.code, 0, "{}", asked.output);
    assert!(
        asked.output.contains("policy") || asked.output.contains("PCR"),
        "{}",
        asked.output
    );
}

fn check_that_data_are_there(machine: &mut Machine) {
    for (place, device) in [("/oem", "cos-oem"), ("/usr/local", "cos-persistent")] {
        let source = machine
            .check(&format!("findmnt -no SOURCE {place}"))
            .unwrap();
        assert_eq!(source.trim(), format!("/dev/mapper/{device}"));
    }
    let boot = machine.check("cat /run/cos/boot.json").unwrap();
    assert!(boot.contains("\"encrypted\": true"), "{boot}");
    let failed = machine
        .check("systemctl --failed --no-legend --plain")
        .unwrap();
    assert_eq!(failed.trim(), "", "units failed");
    machine
        .check("test -e /run/from-user-data && grep -q zan[z]ibar /oem/90_user-data.yaml")
        .unwrap();
}

/// The first boot encrypts, and shows the recovery key.
fn first_boot(machine: &mut Machine, disk: &Disk, program: &Image) -> String {
    let said = machine.expect(RECOVERY_KEY, BOOT).unwrap();
    let key = said.split_whitespace().last().unwrap().to_owned();
    machine.login(BOOT).unwrap();
    check_that_data_are_there(machine);
    machine
        .check("printf '%s%s\\n' zanzi bar-in-a-file > /usr/local/secret; sync")
        .unwrap();
    let log = machine
        .run(&format!("grep -r {} /run/log /var/log /run/cos", &key[..8]))
        .unwrap();
    assert_ne!(log.code, 0, "the key is in a log: {}", log.output);
    check_that_nothing_is_readable(machine);
    check_that_the_tpm_is_closed(machine, disk, program);
    key
}

/// Another kernel, initrd and command line: the TPM unlocks without a question.
fn next_version(machine: &mut Machine) {
    machine.reboot().unwrap();
    let said = machine.login(BOOT).unwrap();
    assert!(!said.contains(QUESTION), "{said}");
    let line = machine.check("cat /proc/cmdline").unwrap();
    assert!(
        line.contains("cos.encrypt") && line.contains("cos.test=next"),
        "{line}"
    );
    machine.check("dmesg | grep 'the TPM unlocked'").unwrap();
    check_that_data_are_there(machine);
    machine.check(READ_FILE).unwrap();
}

/// Another machine asks, until it is given the recovery key.
fn another_machine(machine: &mut Machine, key: &str) {
    let said = machine.expect(QUESTION, BOOT).unwrap();
    assert!(said.contains("the TPM does not unlock"), "{said}");
    machine.send_line("not the key of anything").unwrap();
    machine.expect("That does not unlock it", COMMAND).unwrap();
    machine.expect(QUESTION, COMMAND).unwrap();
    machine.send_line(key).unwrap();
    machine.login(BOOT).unwrap();
    check_that_data_are_there(machine);
    machine.check(READ_FILE).unwrap();
}

/// Puts a plain COS_OEM in the place of the encrypted one.
fn replace_oem(machine: &mut Machine) {
    machine
        .check(
            "set -e; truncate -s 60M /run/plain; mke2fs -q -t ext4 -L COS_OEM /run/plain; \
             dd if=/run/plain of=/dev/vda3 bs=1M conv=fsync",
        )
        .unwrap();
}

#[test]
fn a_machine_unlocks_its_data_and_no_other_does() {
    const TEST: &str = "a_machine_unlocks_its_data_and_no_other_does";
    if let Some(reason) = Builder::missing(Firmware::SetupMode) {
        skip(TEST, &reason);
        return;
    }
    if find_tool("swtpm").is_none() {
        skip(TEST, &missing("swtpm"));
        return;
    }
    let directory = temp_dir().unwrap();
    let directory = directory.path();
    let archive = images::debian(Suite::Trixie, Flavor::Encrypted).unwrap();
    let disk = build(directory, &archive);
    let program = disk.program(directory);
    let next = build_next(directory, &archive, &program);
    let next_program = next.program(directory);
    for section in [".linux", ".initrd", ".cmdline"] {
        assert_ne!(program.section(section), next_program.section(section));
    }
    let (own, another) = (directory.join("tpm"), directory.join("another-tpm"));
    let mut machine = Machine::builder(TEST)
        .disk(&disk.file)
        .disk(&next.file)
        .firmware(Firmware::SetupMode)
        .tpm(&own)
        .boot()
        .unwrap();
    let key = first_boot(&mut machine, &disk, &program);
    upgrade_by_hand(&mut machine, &next);
    next_version(&mut machine);
    machine.power_cycle_with_tpm(&another).unwrap();
    another_machine(&mut machine, &key);
    replace_oem(&mut machine);
    machine.power_cycle_with_tpm(&own).unwrap();
    let said = machine
        .expect("another one was put in its place", BOOT)
        .unwrap();
    assert!(!said.contains("login:"), "{said}");
}

#[test]
fn a_machine_without_a_tpm_asks_for_its_passphrase() {
    const TEST: &str = "a_machine_without_a_tpm_asks_for_its_passphrase";
    const PASSPHRASE: &str = "correct horse battery staple";
    if let Some(reason) = Builder::missing(Firmware::SetupMode) {
        skip(TEST, &reason);
        return;
    }
    let directory = temp_dir().unwrap();
    let archive = images::debian(Suite::Trixie, Flavor::Encrypted).unwrap();
    let disk = build(directory.path(), &archive);
    let mut machine = Machine::builder(TEST)
        .disk(&disk.file)
        .firmware(Firmware::SetupMode)
        .boot()
        .unwrap();
    for (question, answer) in [
        ("New passphrase", "short"),
        ("at least 8 characters[^?]*New passphrase", PASSPHRASE),
        ("same passphrase again", "something else"),
        ("not the same[^?]*New passphrase", PASSPHRASE),
        ("same passphrase again", PASSPHRASE),
    ] {
        machine.expect(question, BOOT).unwrap();
        machine.send_line(answer).unwrap();
    }
    machine.expect(RECOVERY_KEY, BOOT).unwrap();
    machine.login(BOOT).unwrap();
    check_that_data_are_there(&mut machine);
    machine.check("echo here > /usr/local/file").unwrap();
    machine.reboot().unwrap();
    machine.expect(QUESTION, BOOT).unwrap();
    machine.send_line(PASSPHRASE).unwrap();
    machine.login(BOOT).unwrap();
    check_that_data_are_there(&mut machine);
    machine.check("grep here /usr/local/file").unwrap();
}
