//! From a Dockerfile to a booted, immutable machine.

use crate::steps::Steps;
use crate::{apt, dist};
use anyhow::{Context, bail};
use cos_testkit::dist::Binaries;
use cos_testkit::images::{self, Flavor, Suite};
use cos_testkit::machine::{self, Machine};
use cos_testkit::{paths, process};
use fs_err as fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Programs that the demo runs, beside its own.
const PROGRAMS: &[&str] = &[
    "buildah",
    "mmdebstrap",
    "skopeo",
    "mke2fs",
    "qemu-system-x86_64",
    "qemu-img",
];

/// What shows that the machine is what it should be: what to run on it, and what the output of it
/// must contain.
const EVIDENCE: &[(&str, &[&str])] = &[
    ("cat /proc/cmdline", &["cos."]),
    (
        "findmnt --noheadings --output SOURCE,FSTYPE,OPTIONS /",
        &["erofs", "ro"],
    ),
    (
        "dmesg | grep -E 'device-mapper: verity|erofs:'",
        &["verity"],
    ),
    ("ls /run/cos", &["active_mode"]),
    (
        "touch /usr/bin/written 2>&1; echo \"exit code $?\"",
        &["Read-only file system"],
    ),
];

/// `cargo xtask demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Log in by itself, print the evidence and power the machine off.
    #[arg(long)]
    check: bool,
}

/// Runs the demo.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut steps = Steps::default();
    let result = all(arguments, &mut steps);
    print!("\n{}", steps.table());
    result
}

fn all(arguments: &Arguments, steps: &mut Steps) -> anyhow::Result<()> {
    let mut binaries: Option<Binaries> = None;
    let mut archive = PathBuf::new();
    let disk = paths::workspace().join("out/cos.img");
    steps.step("packages", || apt::ensure_tools(PROGRAMS))?;
    steps.step("binaries", || {
        println!("     static cos and cos-init, for COPY in the Dockerfile");
        binaries = Some(dist::build()?);
        Ok(())
    })?;
    steps.step("image", || {
        let directory = Flavor::Example.directory();
        println!(
            "     buildah build --isolation chroot {}",
            directory.display()
        );
        archive = images::example(Suite::Trixie, Flavor::Example)?;
        println!("     {} ({} MB)", archive.display(), megabytes(&archive)?);
        Ok(())
    })?;
    steps.step("disk", || {
        let binaries = binaries.as_ref().context("the binaries were built")?;
        build_disk(&binaries.cos, &archive, &disk)
    })?;
    steps.step("boot", || {
        if arguments.check {
            check(&disk)
        } else {
            on_terminal(&disk)
        }
    })
}

fn build_disk(cos: &Path, archive: &Path, disk: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(disk.parent().context("the disk has a directory")?)?;
    if disk.exists() {
        fs::remove_file(disk)?;
    }
    let mut command = Command::new(cos);
    command
        .args(["build", "disk"])
        .arg(format!("oci-archive:{}", archive.display()))
        .arg("--overlay")
        .arg(images::console_overlay())
        .arg("--output")
        .arg(disk);
    println!("     {}", process::display(&command));
    process::run(&mut command)
}

fn on_terminal(disk: &Path) -> anyhow::Result<()> {
    println!("     QEMU, without KVM: a minute or two. The overlay logs root in on this terminal;");
    println!("     `poweroff`, or Ctrl-a and x, ends the machine.");
    Machine::builder("demo").disk(disk).boot_on_terminal()
}

fn check(disk: &Path) -> anyhow::Result<()> {
    let mut machine = Machine::builder("demo").disk(disk).boot()?;
    machine.login(machine::BOOT)?;
    println!(
        "     logged in as root; all the console said is in {}",
        machine.log().display()
    );
    for (command, wanted) in EVIDENCE {
        let output = machine.run(command)?.output;
        println!("     # {command}");
        for line in output.lines() {
            println!("     {line}");
        }
        if let Some(missing) = wanted.iter().find(|wanted| !output.contains(**wanted)) {
            bail!("`{command}` does not say {missing}");
        }
    }
    machine.power_off()?;
    println!("     powered off");
    Ok(())
}

fn megabytes(file: &Path) -> anyhow::Result<u64> {
    Ok(fs::metadata(file)?.len() / 1_000_000)
}
