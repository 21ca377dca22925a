//! `cos reset`.

use super::machine::{self, Answer};
use super::request::argument;
use crate::arguments::install::ResetArguments;
use crate::environment::Environment;
use crate::failure::Failure;
use crate::render::Renderer;
use cos_ops::deploy::SnapshotSource;
use cos_ops::machine::Mode;
use cos_ops::reset::{
    ResetError, ResetPartitions, ResetRequest, ResetResult, plan_reset, reset as execute,
};
use std::process::ExitCode;

/// Resets, or says what that would be.
pub(crate) fn reset(
    arguments: &ResetArguments,
    environment: &Environment,
    renderer: &Renderer,
) -> Result<ExitCode, Failure> {
    let running = machine::probe()?.ok_or(ResetError::NotCos)?;
    // Before anything is looked for: this will never do.
    if matches!(running.boot.mode, Mode::Active | Mode::Passive) {
        return Err(ResetError::Installed.into());
    }
    let partitions = ResetPartitions::find(&running, arguments.device.as_deref())?;
    let source = match &arguments.image.image {
        Some(image) => machine::image(&arguments.image, image, environment)?,
        None => SnapshotSource::Running(running.running_snapshot()),
    };
    let request = ResetRequest {
        mode: running.boot.mode,
        is_sealed: running.boot.sealed,
        source,
        partitions,
        allow_downgrade: arguments.allow_downgrade,
        tpm: running.places.tpm,
        persistent: arguments.persistent,
        oem: arguments.oem,
        temp_dir: arguments.image.temp_dir.clone(),
        search_path: environment.path.clone(),
        now: cos_ops::machine::now(),
    };
    if arguments.dry_run {
        return print(&plan_reset(&request, renderer)?, "", renderer);
    }
    if !arguments.force {
        confirm(&request)?;
    }
    let _lock = machine::lock("reset")?;
    let hooks = machine::hooks("reset", environment, renderer);
    let result = execute(&request, &hooks, renderer)?;
    let code = print(&result, "reset\n", renderer)?;
    let afterwards = arguments.afterwards;
    machine::afterwards(afterwards.reboot, afterwards.poweroff, environment)?;
    Ok(code)
}

fn print(result: &ResetResult, done: &str, renderer: &Renderer) -> Result<ExitCode, Failure> {
    renderer.result(&format!("{result}{done}"), result)?;
    Ok(ExitCode::SUCCESS)
}

/// Asks whether what will be lost may be.
fn confirm(request: &ResetRequest) -> Result<(), Failure> {
    let partitions = &request.partitions;
    let mut lost = vec![format!(
        "All systems on {} of disk {} are replaced.",
        partitions.state.display(),
        partitions.disk
    )];
    for (label, wiped) in [
        ("COS_PERSISTENT", request.persistent),
        ("COS_OEM", request.oem),
    ] {
        if wiped {
            lost.push(format!("Everything on {label} is lost."));
        }
    }
    let lost = lost.join("\n");
    match machine::ask(&format!("{lost}\nGo on? [y/N] "))? {
        Answer::Said(text) if matches!(text.as_str(), "y" | "yes") => Ok(()),
        Answer::Said(_) => Err(argument(
            "not confirmed, nothing was changed".to_owned(),
            None,
        )),
        Answer::NobodyThere => Err(argument(
            "nobody is there to confirm".to_owned(),
            Some("--force asks nothing"),
        )),
    }
}
