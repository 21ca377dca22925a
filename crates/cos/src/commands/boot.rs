//! `cos boot assess`, `good`, `expire`, `emergency` and `diagnose`: what units run to judge a boot.

use super::power;
use super::snapshots::machine;
use crate::arguments::{AssessArguments, AssessCommand};
use crate::environment::Environment;
use crate::failure::Failure;
use crate::render::Renderer;
use cos_events::warn;
use cos_ops::assess::{self, Patience, Verdict};
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

/// A health check failed: the boot is not good.
const UNWELL: u8 = 9;
/// A shutdown takes no longer; what waits for it here is ended by it.
const SHUTDOWN: Duration = Duration::from_mins(10);

/// Runs one of them.
pub(crate) fn run(
    command: &AssessCommand,
    environment: &Environment,
    renderer: &Renderer,
) -> Result<ExitCode, Failure> {
    match command {
        AssessCommand::Assess(arguments) => assess(arguments, environment, renderer),
        AssessCommand::Good => good(renderer),
        AssessCommand::Expire => {
            let verdict = assess::expire(&machine()?, renderer);
            carry_out(&verdict, true, environment, renderer)
        }
        AssessCommand::Emergency => emergency(environment, renderer),
        AssessCommand::Diagnose => diagnose(renderer),
    }
}

fn assess(
    arguments: &AssessArguments,
    environment: &Environment,
    renderer: &Renderer,
) -> Result<ExitCode, Failure> {
    let patience = Patience {
        limit: Duration::from_secs(arguments.timeout.into()),
        tries: arguments.tries,
        pause: Duration::from_secs(arguments.pause.into()),
    };
    let (assessment, verdict) = assess::assess(&machine()?, Path::new("/"), patience, renderer)?;
    renderer.result(&assessment.to_string(), &assessment)?;
    carry_out(&verdict, false, environment, renderer)
}

fn good(renderer: &Renderer) -> Result<ExitCode, Failure> {
    let marked = assess::mark_good(&machine()?)?;
    if let Some(problem) = &marked.floor_problem {
        warn(renderer, format!("version floor: {problem}"));
    }
    let text = if marked.proven {
        format!(
            "snapshot {} had its first good boot: its trial is over\n",
            marked.snapshot
        )
    } else {
        format!("this boot of snapshot {} is good\n", marked.snapshot)
    };
    renderer.result(&text, &marked)?;
    Ok(ExitCode::SUCCESS)
}

/// Does not come back before the reboot, so that no shell opens in between.
fn emergency(environment: &Environment, renderer: &Renderer) -> Result<ExitCode, Failure> {
    let command_line = super::stage::command_line();
    let verdict = assess::emergency(&machine()?, &command_line, renderer);
    let code = carry_out(&verdict, true, environment, renderer)?;
    if matches!(verdict, Verdict::Reboot { .. }) {
        thread::sleep(SHUTDOWN);
    }
    Ok(code)
}

fn diagnose(renderer: &Renderer) -> Result<ExitCode, Failure> {
    let found = assess::diagnose(&machine()?, renderer)?;
    let lines: Vec<String> = found
        .iter()
        .map(|it| format!("snapshot {} failed: {}\n", it.snapshot, it.reason))
        .collect();
    renderer.result(&lines.concat(), &found)?;
    Ok(ExitCode::SUCCESS)
}

/// `at_once`: services that hang are not waited for.
fn carry_out(
    verdict: &Verdict,
    at_once: bool,
    environment: &Environment,
    renderer: &Renderer,
) -> Result<ExitCode, Failure> {
    match verdict {
        Verdict::GoOn => Ok(ExitCode::SUCCESS),
        Verdict::GoOnAnyway { reason } => {
            warn(
                renderer,
                format!("{reason}; this snapshot was good before, so it is kept"),
            );
            Ok(ExitCode::SUCCESS)
        }
        Verdict::Reboot { reason } => {
            warn(renderer, format!("this boot failed, rebooting: {reason}"));
            if at_once {
                power::reboot_at_once(environment)?;
            } else {
                power::reboot(environment)?;
            }
            Ok(ExitCode::from(UNWELL))
        }
    }
}
