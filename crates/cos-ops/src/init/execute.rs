//! Carrying out the plan for an image.

use super::{InitError, Plan, Step};
use cos_events::{Monitor, Task};
use cos_sys::tool::Tool;
use fs_err::os::unix::fs::symlink;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// What fits into the 1 MiB of the BIOS boot partition; GRUB itself takes less at most.
const CORE_LIMIT: u64 = 1 << 20;

/// Carries out a plan. Doing it twice gives the same image.
pub fn execute(plan: &Plan, monitor: &dyn Monitor) -> Result<(), InitError> {
    for warning in &plan.warnings {
        cos_events::warn(monitor, warning);
    }
    for step in &plan.steps {
        monitor.checkpoint()?;
        let task = Task::items(monitor, step_label(step), None);
        carry_out(plan, step, monitor)?;
        task.finish();
    }
    Ok(())
}

/// The step's line without the list of modules, which is for `--dry-run`.
fn step_label(step: &Step) -> String {
    match step {
        Step::GrubImage { format, output, .. } => format!("build GRUB for {format} as /{output}"),
        other => other.to_string(),
    }
}

fn carry_out(plan: &Plan, step: &Step, monitor: &dyn Monitor) -> Result<(), InitError> {
    let inside = |path: &str| plan.root.join(path);
    match step {
        Step::Directory { path } => make_directory(&inside(path)),
        Step::Write { path, mode, text } => write(&inside(path), *mode, text.as_bytes()),
        Step::Link { path, target } => link(&inside(path), target),
        Step::ForgetIdentity => write(&inside("etc/machine-id"), 0o444, b""),
        Step::Copy { from, to } => {
            let bytes = fs_err::read(inside(from)).map_err(|source| InitError::Read { source })?;
            write(&inside(to), 0o644, &bytes)
        }
        Step::Initrd { release, output } => build_initrd(plan, release, output, monitor),
        Step::GrubImage {
            format,
            prefix,
            output,
            modules,
        } => {
            make_directory(parent(&inside(output)))?;
            let (program, package) = plan.grub_mkimage;
            let mut args = vec!["-O", format, "-p", prefix, "-o"];
            let target = format!("/{output}");
            args.push(&target);
            args.extend(modules);
            run(plan, program, package, &args)?;
            check_size(format, &inside(output))
        }
    }
}

fn build_initrd(
    plan: &Plan,
    release: &str,
    output: &str,
    monitor: &dyn Monitor,
) -> Result<(), InitError> {
    let target = format!("/{output}");
    make_directory(parent(&plan.root.join(output)))?;
    let args = ["--force", "--reproducible", "--kver", release, &target];
    let done = run(plan, "dracut", plan.dracut_package, &args)?;
    for line in complaints(&done.stdout).chain(complaints(&done.stderr)) {
        cos_events::warn(monitor, format!("dracut: {line}"));
    }
    // dracut keeps initrds from other users since some hold keys; this one is part of a public image.
    set_mode(&plan.root.join(output), 0o644)
}

/// dracut goes on after most of its errors and says so in a line.
fn complaints(output: &[u8]) -> impl Iterator<Item = String> {
    let text = String::from_utf8_lossy(output).into_owned();
    let complaints: Vec<String> = text
        .lines()
        .filter_map(|line| {
            [
                "dracut[E]: ",
                "dracut[F]: ",
                "dracut: FAILED: ",
                "dracut-install: ERROR: ",
            ]
            .iter()
            .find_map(|mark| line.strip_prefix(mark))
        })
        .map(str::to_owned)
        .collect();
    complaints.into_iter()
}

/// Runs a program of the image, inside the image.
fn run(
    plan: &Plan,
    program: &str,
    package: &str,
    args: &[&str],
) -> Result<std::process::Output, InitError> {
    let mut command = if plan.root == Path::new("/") {
        Tool::find(program, package, None)?.command()
    } else {
        let mut command = Tool::find("chroot", "coreutils", None)?.command();
        command.arg(&plan.root).arg(program);
        command
    };
    command.args(args);
    Ok(cos_sys::tool::run(command)?)
}

fn check_size(format: &str, core: &Path) -> Result<(), InitError> {
    let size = fs_err::metadata(core)
        .map_err(|source| InitError::Read { source })?
        .len();
    if format == "i386-pc" && size > CORE_LIMIT {
        return Err(InitError::CoreTooLarge {
            size,
            limit: CORE_LIMIT,
        });
    }
    Ok(())
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

fn failed(path: &Path) -> impl Fn(io::Error) -> InitError {
    let path: PathBuf = path.to_owned();
    move |source| InitError::Write {
        path: path.clone(),
        source,
    }
}

fn make_directory(path: &Path) -> Result<(), InitError> {
    fs_err::create_dir_all(path).map_err(failed(path))
}

fn set_mode(path: &Path, mode: u32) -> Result<(), InitError> {
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(failed(path))
}

/// Writes a file unless it is as it should be, so that a second run adds nothing to a layer.
fn write(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), InitError> {
    make_directory(parent(path))?;
    let as_it_should_be = fs_err::symlink_metadata(path).is_ok_and(|meta| {
        meta.is_file()
            && meta.len() == bytes.len() as u64
            && meta.permissions().mode() & 0o7777 == mode
    }) && fs_err::read(path).is_ok_and(|now| now == bytes);
    if as_it_should_be {
        return Ok(());
    }
    // A link is replaced, not written through: it may lead out of the image.
    if fs_err::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink()) {
        fs_err::remove_file(path).map_err(failed(path))?;
    }
    fs_err::write(path, bytes).map_err(failed(path))?;
    set_mode(path, mode)
}

fn link(path: &Path, target: &str) -> Result<(), InitError> {
    make_directory(parent(path))?;
    match fs_err::read_link(path) {
        Ok(now) if now == Path::new(target) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        _ => fs_err::remove_file(path).map_err(failed(path))?,
    }
    symlink(target, path).map_err(failed(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_replaced_and_never_written_through() {
        let temp = tempfile::tempdir().unwrap();
        let (outside, file) = (temp.path().join("outside"), temp.path().join("a/file"));
        fs_err::write(&outside, "precious").unwrap();
        link(&file, outside.to_str().unwrap()).unwrap();
        write(&file, 0o600, b"new").unwrap();
        assert_eq!(fs_err::read(&outside).unwrap(), b"precious");
        assert_eq!(fs_err::read(&file).unwrap(), b"new");
        assert_eq!(
            fs_err::metadata(&file).unwrap().permissions().mode() & 0o7777,
            0o600
        );
        link(&file, "elsewhere").unwrap();
        link(&file, "elsewhere").unwrap();
        assert_eq!(fs_err::read_link(&file).unwrap(), Path::new("elsewhere"));
    }

    #[test]
    fn what_dracut_complains_of_is_found() {
        let text = b"dracut[I]: fine\ndracut[E]: no zstd\ndracut-install: ERROR: installing 'x'\n";
        let found: Vec<_> = complaints(text).collect();
        assert_eq!(found, ["no zstd", "installing 'x'"]);
    }
}
