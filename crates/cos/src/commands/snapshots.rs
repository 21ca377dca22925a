//! `cos rollback`, `cos pin`, `cos unpin`, `cos boot`, `cos status`.

use super::power;
use crate::arguments::{BootCommand, RollbackArguments, SnapshotArguments, StatusArguments};
use crate::environment::Environment;
use crate::failure::Failure;
use crate::render::Renderer;
use cos_boot::Once;
use cos_ops::OpsError;
use cos_ops::machine::{Machine, Places, require_root};
use cos_ops::snapshots::{self, Changed};
use cos_ops::status;
use std::process::ExitCode;

pub(super) fn machine() -> Result<Machine, Failure> {
    require_root().map_err(OpsError::from)?;
    let machine = Machine::probe(&Places::default()).map_err(OpsError::from)?;
    Ok(machine)
}

/// Goes back to another snapshot.
pub(crate) fn rollback(
    arguments: &RollbackArguments,
    environment: &Environment,
    renderer: &Renderer,
) -> Result<ExitCode, Failure> {
    let machine = machine()?;
    let to = arguments.to.as_deref();
    let to = to.map(|text| snapshots::find(&machine, text)).transpose()?;
    let changed = snapshots::roll_back(&machine, to.as_ref())?;
    let text = if changed.changed {
        format!("snapshot {} boots next\n", changed.active)
    } else {
        format!("snapshot {} boots by default already\n", changed.active)
    };
    renderer.result(&text, &changed)?;
    if arguments.reboot {
        power::reboot(environment)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Pins or unpins a snapshot.
pub(crate) fn pin(
    arguments: &SnapshotArguments,
    pinned: bool,
    renderer: &Renderer,
) -> Result<ExitCode, Failure> {
    let machine = machine()?;
    let id = snapshots::find(&machine, &arguments.id)?;
    let changed = snapshots::pin(&machine, &id, pinned)?;
    let word = if pinned { "pinned" } else { "not pinned" };
    renderer.result(&format!("snapshot {id} is {word}\n"), &changed)?;
    Ok(ExitCode::SUCCESS)
}

/// `cos boot …`.
pub(crate) fn boot(
    command: &BootCommand,
    environment: &Environment,
    renderer: &Renderer,
) -> Result<ExitCode, Failure> {
    match command {
        BootCommand::Assess(command) => super::boot::run(command, environment, renderer),
        BootCommand::Once { what, reboot } => {
            let changed = boot_once(what)?;
            let text = match &changed.once {
                Some(once) => format!("{once} boots next, once\n"),
                None => format!("snapshot {} boots next\n", changed.active),
            };
            renderer.result(&text, &changed)?;
            if *reboot {
                power::reboot(environment)?;
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn boot_once(what: &str) -> Result<Changed, Failure> {
    let machine = machine()?;
    let once = match what {
        "none" => None,
        "recovery" => Some(Once::Recovery),
        text => Some(Once::Snapshot(snapshots::find(&machine, text)?)),
    };
    Ok(snapshots::boot_once(&machine, once)?)
}

/// Says whether the machine is well.
pub(crate) fn status(
    arguments: &StatusArguments,
    renderer: &Renderer,
) -> Result<ExitCode, Failure> {
    if arguments.schema {
        let schema = status::schema();
        let text = serde_json::to_string_pretty(&schema).map_err(std::io::Error::from)?;
        renderer.result(&(text + "\n"), &schema)?;
        return Ok(ExitCode::SUCCESS);
    }
    let status = status::status(&machine()?)?;
    renderer.result(&status.to_string(), &status)?;
    Ok(ExitCode::SUCCESS)
}
