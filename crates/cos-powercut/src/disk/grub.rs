//! GRUB itself, as a Linux program on a disk: it reads the configuration on the EFI system partition,
//! decides, and notes what it starts. What loads a kernel is replaced; starting it ends the program.

use super::LoopDisk;
use anyhow::{Context, Result, bail};
use cos_testkit::{TempDir, find_tool, tools};
use fs_err::File;
use std::process::{Command, Stdio};

/// Seconds after which it has certainly started nothing.
const PATIENCE: &str = "30";
/// What it reads before the configuration of the disk. Functions stand in for commands that it does not
/// have.
const PRELUDE: &str = "\
set root=hd0,gpt2
function linux {
  true
}
function initrd {
  exit
}
source (hd0,gpt2)/EFI/cos/grub.cfg
set default=default
set timeout=0
";

/// Starts the machine, up to the kernel.
#[expect(clippy::disallowed_methods, reason = "it runs other people's programs")]
pub(super) fn start(disk: &LoopDisk) -> Result<()> {
    let find = |name| find_tool(name).with_context(|| tools::missing(name));
    let directory = TempDir::new()?;
    let inside = |name| directory.path().join(name);
    fs_err::write(inside("grub.cfg"), PRELUDE)?;
    let map = format!("(hd0) {}\n", disk.file().display());
    fs_err::write(inside("device.map"), map)?;
    let mut command = Command::new(find("timeout")?);
    command.arg(PATIENCE).arg(find("grub-emu")?);
    command.arg("--directory").arg(directory.path());
    command.arg("--device-map").arg(inside("device.map"));
    command.env("TERM", "vt100").stdin(Stdio::null());
    let output = command.output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        bail!("GRUB started nothing ({}): {said}", output.status);
    }
    Ok(File::open(disk.file())?.sync_all()?)
}
