//! Judging a boot: whether it is good, and what becomes of the machine when it is not.
//!
//! A boot that is not good in time ends in a reboot, so that the boot loader takes another try or falls
//! back; why is noted on COS_STATE before. What proved itself once is not put into question by a health
//! check: there, a failed one is told and nothing more.

mod checks;
mod diagnose;
mod good;
mod note;
mod program;

pub use checks::{Assessment, CheckResult, Patience};
pub use diagnose::{Diagnosis, diagnose};
pub use good::{Marked, mark_good};

use crate::OpsError;
use crate::machine::Machine;
use cos_events::{Monitor, warn};
use cos_store::FailureStage;
use good::Open;
use serde::Serialize;
use std::path::Path;

/// What the checks said, for whoever asks later.
const ASSESSMENT: &str = "assessment.json";
/// Words of the kernel command line by which somebody asks for the shell that opened.
const SHELL_WORDS: [&str; 8] = [
    "emergency",
    "-b",
    "rescue",
    "single",
    "s",
    "S",
    "1",
    "rd.shell",
];
/// What runs [`expire`].
const DEADLINE_UNIT: &str = "cos-boot-deadline.service";
/// Units that are shells.
const SHELL_UNITS: [&str; 2] = ["emergency.", "rescue."];

/// What is to become of a boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "verdict")]
pub enum Verdict {
    /// It goes on.
    GoOn,
    /// It goes on although something is wrong.
    GoOnAnyway {
        /// What.
        reason: String,
    },
    /// It failed: the machine must reboot.
    Reboot {
        /// Why.
        reason: String,
    },
}

/// Runs the health checks of the system at `root`. A failed one of a snapshot on trial is noted, and the
/// verdict is to reboot.
pub fn assess(
    machine: &Machine,
    root: &Path,
    patience: Patience,
    monitor: &dyn Monitor,
) -> Result<(Assessment, Verdict), OpsError> {
    let found = if machine.is_installed() {
        checks::find(root)?
    } else {
        Vec::new()
    };
    let assessment = checks::run(&found, machine, patience, monitor)?;
    write(machine, &assessment)?;
    let verdict = match assessment.reason() {
        None => Verdict::GoOn,
        Some(reason) if open(machine).trial => {
            give_up(machine, FailureStage::Health, reason, monitor)
        }
        Some(reason) => Verdict::GoOnAnyway { reason },
    };
    Ok((assessment, verdict))
}

/// What to do when the time for a boot is over.
pub fn expire(machine: &Machine, monitor: &dyn Monitor) -> Verdict {
    let open = open(machine);
    if !open.boot {
        return Verdict::GoOn;
    }
    let reason = late();
    if open.trial {
        give_up(machine, FailureStage::Deadline, reason, monitor)
    } else {
        Verdict::GoOnAnyway { reason }
    }
}

/// What the boot still waits for, and what failed in it.
fn late() -> String {
    let jobs = note::lines("systemctl", &["list-jobs", "--no-legend", "--no-pager"]);
    let waits_for = list("it waits for", running_jobs(&jobs));
    format!(
        "the boot was not complete in time{waits_for}{}",
        failed_units()
    )
}

/// The units of `JOB UNIT TYPE STATE` lines that are being started, but for the one that asks.
fn running_jobs(jobs: &[String]) -> impl Iterator<Item = &str> {
    jobs.iter()
        .filter(|job| job.trim_end().ends_with("running"))
        .filter_map(|job| job.split_whitespace().nth(1))
        .filter(|unit| *unit != DEADLINE_UNIT)
}

fn failed_units() -> String {
    let units = note::lines(
        "systemctl",
        &[
            "list-units",
            "--failed",
            "--plain",
            "--no-legend",
            "--no-pager",
        ],
    );
    let names = units
        .iter()
        .filter_map(|unit| unit.split_whitespace().next());
    list("failed are", names)
}

/// `; what a, b`, or nothing.
fn list<'n>(what: &str, names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() {
        String::new()
    } else {
        format!("; {what} {}", names.join(", "))
    }
}

/// What to do when a boot ends in an emergency shell. A shell that somebody asked for, on the kernel
/// command line or in a system that had started well, is theirs.
pub fn emergency(machine: &Machine, command_line: &str, monitor: &dyn Monitor) -> Verdict {
    if asks_for_shell(command_line) || !open(machine).boot {
        return Verdict::GoOn;
    }
    let reason = format!("the boot ended in emergency mode{}", failed_units());
    give_up(machine, FailureStage::Emergency, reason, monitor)
}

fn asks_for_shell(command_line: &str) -> bool {
    let is_shell = |unit: &str| SHELL_UNITS.iter().any(|shell| unit.starts_with(shell));
    command_line.split_ascii_whitespace().any(|word| {
        SHELL_WORDS.contains(&word) || word.strip_prefix("systemd.unit=").is_some_and(is_shell)
    })
}

/// A machine that cannot note why it reboots reboots all the same.
fn give_up(
    machine: &Machine,
    stage: FailureStage,
    reason: String,
    monitor: &dyn Monitor,
) -> Verdict {
    if let Err(error) = note::note_this_boot(machine, stage, &reason) {
        warn(
            monitor,
            format!(
                "the next boot will not learn why: {}",
                crate::error::chain(&error)
            ),
        );
    }
    Verdict::Reboot { reason }
}

/// What is not settled yet, as COS_STATE says; what the boot loader said counts where that cannot be
/// read. A recovery or live system has nothing to settle.
fn open(machine: &Machine) -> Open {
    if !machine.is_installed() {
        return Open {
            trial: false,
            boot: false,
        };
    }
    let unread = Open {
        trial: machine.boot.trial,
        boot: true,
    };
    good::is_open(&machine.own_store(), &machine.boot.snapshot).unwrap_or(unread)
}

fn write(machine: &Machine, assessment: &Assessment) -> Result<(), OpsError> {
    let path = machine.places.run.join(ASSESSMENT);
    let failed = |source| OpsError::Write {
        path: path.clone(),
        source,
    };
    let text = serde_json::to_vec_pretty(assessment).map_err(|error| failed(error.into()))?;
    fs_err::write(&path, text).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_boot_waits_for_is_what_is_being_started() {
        let jobs = [
            "  1 multi-user.target start waiting",
            " 84 web.service start running",
            "120 cos-boot-deadline.service start running",
            "",
        ]
        .map(str::to_owned);
        assert_eq!(
            list("it waits for", running_jobs(&jobs)),
            "; it waits for web.service"
        );
        assert_eq!(list("failed are", std::iter::empty()), "");
    }

    #[test]
    fn who_asks_for_a_shell_gets_it() {
        for line in [
            "quiet emergency",
            "systemd.unit=rescue.target",
            "systemd.unit=emergency.service x",
            "single",
        ] {
            assert!(asks_for_shell(line), "{line}");
        }
        for line in [
            "quiet rd.emergency=reboot rd.shell=0",
            "systemd.unit=multi-user.target",
            "",
        ] {
            assert!(!asks_for_shell(line), "{line}");
        }
    }
}
