//! The power-cut rig over every operation: `crates/cos-powercut`.

use crate::{apt, cargo, dist};
use anyhow::bail;
use cos_testkit::registry::Registry;
use cos_testkit::{is_root, paths, process};
use std::num::NonZero;

/// Other people's programs that it needs.
const TOOLS: &[&str] = &[
    "qemu-storage-daemon",
    "mke2fs",
    "debugfs",
    "e2fsck",
    "grub-fstest",
    "grub-emu",
    "losetup",
    "strace",
];

/// And for a machine and the image that it runs, besides the registry's.
const MACHINE: &[&str] = &["buildah", "qemu-system-x86_64", "qemu-img", "umoci"];
/// UEFI for machines.
const FIRMWARE: &str = "ovmf";

/// `cargo xtask powercut`.
#[derive(Debug, clap::Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "flags of a command line, one independent of the other"
)]
pub(crate) struct Arguments {
    /// End with one line of JSON.
    #[arg(long)]
    json: bool,
    /// Only the histories in which an operation's name contains this.
    #[arg(long, value_name = "NAME")]
    operation: Option<String>,
    /// A tenth of the samples.
    #[arg(long)]
    quick: bool,
    /// Also kill upgrades at their system calls, and let each write of one fail.
    #[arg(long)]
    faults: bool,
    /// Instead of all that: record a machine under QEMU through first boot, growth, upgrade and trial, and boot so
    /// many states of its disk, by BIOS and UEFI; every sixth up to a login and another upgrade.
    #[arg(long, value_name = "STATES", conflicts_with_all = ["operation", "quick", "faults"])]
    boot: Option<NonZero<usize>>,
    /// Write the table into the book.
    #[arg(long)]
    write_docs: bool,
}

/// Runs the rig. Fails where something was lost or boots nothing.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if !is_root() {
        bail!("the power-cut rig attaches loop devices and mounts file systems: it needs root");
    }
    apt::ensure_tools(TOOLS)?;
    if arguments.boot.is_some() {
        let programs = Registry::PROGRAMS.iter().chain(MACHINE);
        apt::ensure_tools(&programs.copied().collect::<Vec<_>>())?;
        apt::ensure(&[FIRMWARE])?;
        dist::build()?;
    }
    let package = ["--quiet", "--locked", "--package", "cos-powercut"];
    process::run(cargo::command("build").args(package).arg("--bins"))?;
    let mut command = cargo::command("run");
    command.args(package).args(["--bin", "cos-powercut", "--"]);
    for (flag, given) in [
        ("--json", arguments.json),
        ("--quick", arguments.quick),
        ("--faults", arguments.faults),
        ("--write-docs", arguments.write_docs),
    ] {
        if given {
            command.arg(flag);
        }
    }
    if let Some(count) = arguments.boot {
        command.args(["--boot", &count.to_string()]);
        command.env(cos_testkit::dist::READY, paths::dist());
    }
    if let Some(name) = &arguments.operation {
        command.args(["--operation", name]);
    }
    if !command.status()?.success() {
        bail!("the rig found something");
    }
    Ok(())
}
