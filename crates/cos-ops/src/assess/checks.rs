//! Health checks: programs of the image and of the machine that say whether it is well.

use super::program;
use crate::OpsError;
use crate::machine::Machine;
use cos_events::{Monitor, Task, warn};
use cos_sys::tool::in_root;
use serde::Serialize;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Where checks are; of two with one name, the first counts.
const DIRECTORIES: [&str; 2] = ["etc/cos/health.d", "usr/lib/cos/health.d"];
/// Where Elemental's are, which want to be told what to do.
const ELEMENTAL: &str = "usr/libexec/elemental-checker";
const ELEMENTAL_ARGUMENT: &str = "check";
/// A link to it in the first directory takes a check of the second one away.
const NOTHING: &str = "/dev/null";
/// More files than these in one directory are a mistake.
const MAX_CHECKS: usize = 256;
/// Longest end of a check's output in a reason.
const SHOWN: usize = 300;

/// How much time a check gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For one run.
    pub limit: Duration,
    /// How often it may fail before that counts: services settle.
    pub tries: u32,
    /// Between two runs.
    pub pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            limit: Duration::from_mins(2),
            tries: 5,
            pause: Duration::from_secs(10),
        }
    }
}

/// A program that says whether the machine is well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Check {
    pub name: String,
    pub path: PathBuf,
    pub arguments: &'static [&'static str],
}

/// What a check said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckResult {
    /// Name of the program.
    pub name: String,
    /// The program.
    pub path: PathBuf,
    /// Whether it ended with 0, at last.
    pub passed: bool,
    /// How often it was run.
    pub tries: u32,
    /// How long all of that took.
    pub seconds: u64,
    /// How it failed the last time, also of one that passed then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What all checks said: `/run/cos/assessment.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Assessment {
    /// Whether every check passed.
    pub healthy: bool,
    /// Each check, in the order in which they ran.
    pub checks: Vec<CheckResult>,
}

impl Assessment {
    /// What is wrong, in one line; `None` of a machine that is well.
    pub fn reason(&self) -> Option<String> {
        let failed = self.checks.iter().filter(|check| !check.passed);
        let reasons: Vec<String> = failed
            .map(|check| {
                let why = check.reason.as_deref().unwrap_or("failed");
                format!("health check {}: {why}", check.name)
            })
            .collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }
}

impl fmt::Display for Assessment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for check in &self.checks {
            let word = if check.passed { "passed" } else { "FAILED" };
            write!(f, "{word}  {}", check.name)?;
            if check.tries > 1 {
                write!(f, " (run {} times)", check.tries)?;
            }
            match &check.reason {
                Some(reason) if !check.passed => writeln!(f, ": {reason}")?,
                _ => writeln!(f)?,
            }
        }
        match (self.healthy, self.checks.len()) {
            (true, 0) => writeln!(f, "this boot is well: there are no health checks"),
            (true, count) => writeln!(f, "this boot is well: {count} health checks passed"),
            (false, _) => writeln!(f, "this boot is not well"),
        }
    }
}

/// The checks of the system at `root`, in the order of their names.
pub(super) fn find(root: &Path) -> Result<Vec<Check>, OpsError> {
    let mut found: BTreeMap<(OsString, usize), Check> = BTreeMap::new();
    let mut hidden: Vec<OsString> = Vec::new();
    for directory in DIRECTORIES {
        for (name, path) in entries(&root.join(directory))? {
            if hidden.contains(&name) {
                continue;
            }
            hidden.push(name.clone());
            if is_program(&path) {
                found.insert((name.clone(), 0), check(&name, path, &[]));
            }
        }
    }
    for (name, path) in entries(&root.join(ELEMENTAL))? {
        if is_program(&path) {
            found.insert((name.clone(), 1), check(&name, path, &[ELEMENTAL_ARGUMENT]));
        }
    }
    Ok(found.into_values().collect())
}

fn check(name: &OsString, path: PathBuf, arguments: &'static [&'static str]) -> Check {
    Check {
        name: name.to_string_lossy().into_owned(),
        path,
        arguments,
    }
}

fn entries(directory: &Path) -> Result<Vec<(OsString, PathBuf)>, OpsError> {
    let failed = |source| OpsError::ListChecks {
        path: directory.to_owned(),
        source,
    };
    let listed = match fs_err::read_dir(directory) {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut found = Vec::new();
    for entry in listed {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            found.push((entry.file_name(), entry.path()));
        }
        if found.len() > MAX_CHECKS {
            return Err(failed(io::Error::other("too many files")));
        }
    }
    Ok(found)
}

/// What is not meant to be run (a README, a link to nothing) is no check.
fn is_program(path: &Path) -> bool {
    let masked = fs_err::read_link(path).is_ok_and(|target| target == Path::new(NOTHING));
    let program =
        |meta: std::fs::Metadata| meta.is_file() && meta.permissions().mode() & 0o111 != 0;
    !masked && fs_err::metadata(path).is_ok_and(program)
}

/// Runs checks, one after the other; all of them, so that everything that is wrong is known.
pub(super) fn run(
    checks: &[Check],
    machine: &Machine,
    patience: Patience,
    monitor: &dyn Monitor,
) -> Result<Assessment, OpsError> {
    let mut results = Vec::new();
    for check in checks {
        results.push(run_one(check, machine, patience, monitor)?);
    }
    Ok(Assessment {
        healthy: results.iter().all(|result| result.passed),
        checks: results,
    })
}

fn run_one(
    check: &Check,
    machine: &Machine,
    patience: Patience,
    monitor: &dyn Monitor,
) -> Result<CheckResult, OpsError> {
    let task = Task::items(monitor, format!("health check {}", check.name), None);
    let start = Instant::now();
    let mut result = CheckResult {
        name: check.name.clone(),
        path: check.path.clone(),
        passed: false,
        tries: 0,
        seconds: 0,
        reason: None,
    };
    while !result.passed && result.tries < patience.tries.max(1) {
        if result.tries > 0 {
            thread::sleep(patience.pause);
        }
        monitor.checkpoint()?;
        result.tries += 1;
        match complaint(check, machine, patience.limit) {
            None => result.passed = true,
            Some(reason) => {
                let (name, tries) = (&check.name, result.tries);
                warn(
                    monitor,
                    format!(
                        "health check {name}, try {tries} of {}: {reason}",
                        patience.tries
                    ),
                );
                result.reason = Some(reason);
            }
        }
    }
    result.seconds = start.elapsed().as_secs();
    task.finish();
    Ok(result)
}

/// Runs a check once. What is wrong, if anything is.
fn complaint(check: &Check, machine: &Machine, limit: Duration) -> Option<String> {
    let boot = &machine.boot;
    let mut command = in_root(None, &check.path.to_string_lossy());
    command
        .args(check.arguments)
        .env("COS_MODE", boot.mode.name())
        .env("COS_SNAPSHOT", boot.snapshot.as_str())
        .env("COS_TRIAL", if boot.trial { "1" } else { "0" });
    let ended = match program::run(command, limit) {
        Ok(ended) => ended,
        Err(error) => return Some(format!("it cannot be run: {error}")),
    };
    let mut reason = match ended.status {
        Some(status) if status.success() => return None,
        Some(status) => status.to_string(),
        None => format!("it took longer than {} seconds", limit.as_secs_f64()),
    };
    let said: Vec<char> = ended.output.trim().chars().collect();
    if !said.is_empty() {
        let end = &said[said.len().saturating_sub(SHOWN)..];
        reason.push_str(": ");
        reason.extend(end);
    }
    Some(reason)
}

#[cfg(test)]
mod tests;
