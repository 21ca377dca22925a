//! `cos-init`, the initrd's part of cOS: finds the disk, verifies the root image, mounts it
//! read-only at `/sysroot`, lays the writable paths over it and runs the stages of cloud-config that
//! come before the system starts.
//!
//! Started by `cos-init.service`; started again as `cos-init --failed` by `cos-failure.service` when
//! that ended badly, whatever the reason.

mod cmdline;
mod encryption;
mod error;
mod failure;
mod fstab;
mod grow;
mod identity;
mod layout;
mod log;
mod note;
mod plan;
mod report;
mod root;
mod sealed;
mod seed;
mod stages;
mod trial;
mod up_to_date;
mod volume;
mod writable;

use crate::cmdline::CommandLine;
use crate::error::{InitError, chain};
use crate::layout::Layout;
use crate::log::Log;
use crate::root::{Root, SYSROOT};
use crate::writable::Writable;
use std::io;
use std::path::Path;
use std::process::ExitCode;

/// The state of this boot, for the running system.
const RUN: &str = "/run/cos";
const LAYOUT: &str = "/run/cos/cos-layout.env";
/// The layout is a page of text; more is not read.
const MAX_LAYOUT: usize = 256 * 1024;

fn main() -> ExitCode {
    if std::env::args_os()
        .nth(1)
        .is_some_and(|word| word == "--failed")
    {
        return failure::handle();
    }
    match boot() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            encryption::close_after_failure();
            failure::record(&chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn boot() -> Result<(), InitError> {
    let text = read_command_line()?;
    if cmdline::is_disabled(&text) {
        return Ok(());
    }
    let cmdline = CommandLine::parse(&sealed::complete(text)?)?;
    let mut log = Log::default();
    for warning in &cmdline.warnings {
        log.warn(warning.clone());
    }
    let root = root::assemble(&cmdline, &mut log)?;
    let mode = format!("{}_mode", cmdline.mode);
    write(&Path::new(RUN).join(mode), "1\n")?;
    if cmdline.fallback {
        write(&Path::new(RUN).join("upgrade_failure"), "1\n")?;
    }
    if cmdline.trial
        && let Err(error) = trial::keep_journal()
    {
        log.warn(format!("a failed trial may leave no journal: {error}"));
    }
    let near = root.source.candidate.device.clone();
    encryption::unlock(&cmdline, &near, &mut log)?;
    let mut writable = Writable::new(&cmdline, near)?;
    let oem = writable.mount_oem(&mut log);
    stages::wait_for_devices(&mut log);
    stages::run(&["pre-rootfs", "rootfs"], &mut log);
    let layout = read_layout(&mut log)?;
    let plan = writable.make(&layout, &mut log)?;
    if plan.persistent {
        keep_identity(&layout, &mut log);
    }
    if let Err(error) = up_to_date::stamp(Path::new(SYSROOT)) {
        log.warn(format!(
            "systemd will generate anew what the image has: {error}"
        ));
    }
    write_fstab(&root, &writable, &mut log);
    stages::run(&["initramfs"], &mut log);
    let report = report::Report {
        cmdline: &cmdline,
        source: root.source.candidate.device.node.display().to_string(),
        root: root.device.display().to_string(),
        oem,
        persistent: plan.persistent,
        warnings: &log.warnings,
    };
    write(&Path::new(RUN).join("boot.json"), &report.to_json())?;
    log.info(&format!(
        "{} snapshot {} is ready, {} kept",
        cmdline.mode,
        cmdline.snapshot,
        if plan.persistent {
            "changes to persistent paths are"
        } else {
            "nothing is"
        }
    ));
    Ok(())
}

fn read_command_line() -> Result<String, InitError> {
    let bytes =
        fs_err::read("/proc/cmdline").map_err(|source| InitError::ReadCommandLine { source })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn read_layout(log: &mut Log) -> Result<Layout, InitError> {
    let text = match fs_err::read(LAYOUT) {
        Ok(bytes) => String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_LAYOUT)]).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Layout::default()),
        Err(source) => {
            return Err(InitError::Prepare {
                path: LAYOUT.into(),
                source,
            });
        }
    };
    let layout = Layout::parse(&text);
    for warning in &layout.warnings {
        log.warn(format!("{LAYOUT}: {warning}"));
    }
    Ok(layout)
}

fn keep_identity(layout: &Layout, log: &mut Log) {
    let inside = |path: &Path| Path::new(SYSROOT).join(path.strip_prefix("/").unwrap_or(path));
    let kept = inside(&layout.state_target).join("machine-id");
    let done = identity::load_or_create(&kept)
        .and_then(|id| fs_err::write(inside(Path::new("/etc/machine-id")), format!("{id}\n")));
    if let Err(error) = done {
        log.warn(format!("this machine's identity is not kept: {error}"));
    }
}

fn write_fstab(root: &Root, writable: &Writable, log: &mut Log) {
    let path = Path::new(SYSROOT).join("etc/fstab");
    let image = match fs_err::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => {
            log.warn(format!("the image's fstab is left out: {error}"));
            String::new()
        }
    };
    let mounts: Vec<_> = root
        .mounts
        .iter()
        .chain(&writable.mounts)
        .cloned()
        .collect();
    let text = fstab::render(&mounts, Path::new(SYSROOT), &image);
    if let Err(error) = fs_err::write(&path, text) {
        log.warn(format!(
            "the running system has no list of its mounts: {error}"
        ));
    }
}

fn write(path: &Path, text: &str) -> Result<(), InitError> {
    let failed = |source| InitError::Prepare {
        path: path.to_owned(),
        source,
    };
    if let Some(parent) = path.parent() {
        fs_err::create_dir_all(parent).map_err(failed)?;
    }
    fs_err::write(path, text).map_err(failed)
}
