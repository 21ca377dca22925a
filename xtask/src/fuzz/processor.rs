//! How much processor time a program took.

use anyhow::{Context, bail};
use cos_testkit::process;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How many lines of a failed program's output an error carries.
const TAIL: usize = 25;

/// Runs a program with its whole output in the file `log`. Anything but success is an error with the log's end.
pub(super) fn measured(command: &mut Command, log: &Path) -> anyhow::Result<Duration> {
    if let Some(parent) = log.parent() {
        fs_err::create_dir_all(parent)?;
    }
    let file = fs_err::File::create(log)?.into_file();
    let copy = file.try_clone()?;
    let said = || process::display(command);
    let cannot = format!("cannot run `{}`", said());
    let failed = format!("`{}` failed", said());
    let mut child = command
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(copy)
        .spawn()
        .context(cannot)?;
    let taken = taken(&child);
    let status = child.wait()?;
    if !status.success() {
        let said = String::from_utf8_lossy(&fs_err::read(log)?).into_owned();
        bail!(
            "{failed} ({status}); the end of {}:\n{}",
            log.display(),
            process::tail(&said, TAIL)
        );
    }
    taken
}

/// Waits for the program's end. What it took is read before the kernel forgets it.
fn taken(child: &Child) -> anyhow::Result<Duration> {
    let id = child.id();
    let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
    let pid = pid.with_context(|| format!("{id} is no process"))?;
    let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(pid), ended).with_context(|| format!("cannot wait for process {id}"))?;
    let path = format!("/proc/{id}/stat");
    let stat = fs_err::read_to_string(&path)?;
    let ticks = ticks(&stat).with_context(|| format!("{path} says no times"))?;
    Ok(Duration::from_millis(
        ticks * 1000 / rustix::param::clock_ticks_per_second(),
    ))
}

/// What a process spent in its own code and in the kernel, of `/proc/PID/stat`: the 14th and the 15th field, the
/// 2nd being a name in parentheses that may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, behind) = stat.rsplit_once(')')?;
    let mut fields = behind.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_took_is_known_after_its_end() {
        let log = std::env::temp_dir().join(format!("xtask-measured-{}", std::process::id()));
        let busy = "i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done; echo done; times";
        let measured = measured(Command::new("sh").args(["-c", busy]), &log);
        let said = fs_err::read_to_string(&log);
        fs_err::remove_file(&log).unwrap();
        assert!(measured.unwrap() > Duration::ZERO);
        assert!(said.unwrap().starts_with("done\n"));
    }

    #[test]
    fn a_name_may_hold_anything() {
        let stat = "77 (a) S 1 (b) Z 1 77 77 0 -1 4228364 1 2 3 4 150 27 0 0 20 0 1 0 5 0";
        assert_eq!(ticks(stat), Some(177));
        assert_eq!(ticks("77 (a) Z 1"), None);
    }
}
