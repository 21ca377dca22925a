//! What the verbs that change this machine share.

use super::{power, request, stage, trust};
use crate::arguments::install::ImageArguments;
use crate::environment::Environment;
use crate::failure::Failure;
use cos_events::Monitor;
use cos_ops::OpsError;
use cos_ops::deploy::SnapshotSource;
use cos_ops::hooks::StageHooks;
use cos_ops::machine::{self, Machine, MachineError, Places, require_root};
use cos_sys::lock::Lock;
use std::io::{self, IsTerminal as _, Write as _};

/// What somebody says, or that there is nobody to ask.
pub(super) enum Answer {
    Said(String),
    NobodyThere,
}

/// The machine this runs on, for root alone; `None` where cOS did not boot it.
pub(super) fn probe() -> Result<Option<Machine>, Failure> {
    require_root().map_err(OpsError::from)?;
    match Machine::probe(&Places::default()) {
        Ok(machine) => Ok(Some(machine)),
        Err(MachineError::NotCos { .. }) => Ok(None),
        Err(error) => Err(OpsError::from(error).into()),
    }
}

/// Lets one operation change this machine at a time. The lock goes away with the process.
pub(super) fn lock(operation: &str) -> Result<Lock, Failure> {
    Ok(machine::lock(&Places::default(), operation).map_err(OpsError::from)?)
}

/// The hooks of an operation: stages of this machine's cloud-config.
pub(super) fn hooks<'h>(
    operation: &str,
    environment: &Environment,
    monitor: &'h dyn Monitor,
) -> StageHooks<'h> {
    StageHooks {
        operation: operation.to_owned(),
        request: stage::own_request("", environment),
        threads: threads(),
        monitor,
    }
}

/// Worker threads.
pub(super) fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// A question on the terminal, and the line that is the answer.
pub(super) fn ask(question: &str) -> Result<Answer, Failure> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(Answer::NobodyThere);
    }
    io::stderr().lock().write_all(question.as_bytes())?;
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    Ok(Answer::Said(line.trim().to_owned()))
}

/// The image in the place of the running system.
pub(super) fn image(
    arguments: &ImageArguments,
    image: &str,
    environment: &Environment,
) -> Result<SnapshotSource, Failure> {
    let source = arguments.source(image);
    let build = request::build(
        &source,
        &arguments.format,
        &arguments.temp_dir,
        None,
        environment,
    )?;
    let mut image = build.image;
    image.gate = trust::gate(&arguments.trust)?;
    Ok(SnapshotSource::Image(Box::new(image)))
}

/// Restarts the machine or switches it off, in order.
pub(super) fn afterwards(
    reboot: bool,
    poweroff: bool,
    environment: &Environment,
) -> Result<(), Failure> {
    match (reboot, poweroff) {
        (true, _) => power::reboot(environment),
        (false, true) => power::power_off(environment),
        (false, false) => Ok(()),
    }
}
