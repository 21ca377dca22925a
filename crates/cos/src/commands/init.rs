//! `cos init`.

use crate::arguments::InitArguments;
use crate::failure::Failure;
use crate::render::Renderer;
use cos_ops::init::{InitOptions, execute, plan};
use serde::Serialize;
use std::process::ExitCode;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome<'a> {
    dry_run: bool,
    steps: Vec<String>,
    warnings: &'a [String],
}

/// Prepares the image this runs in, or says what that would be.
pub(crate) fn init(arguments: InitArguments, renderer: &Renderer) -> Result<ExitCode, Failure> {
    let options = InitOptions {
        root: arguments.root,
        kernel: arguments.kernel,
        machine: std::env::consts::ARCH.to_owned(),
    };
    let plan = plan(&options).map_err(Failure::Init)?;
    if arguments.dry_run {
        for warning in &plan.warnings {
            cos_events::warn(renderer, warning);
        }
    } else {
        execute(&plan, renderer).map_err(Failure::Init)?;
    }
    let steps = plan.steps.iter().map(ToString::to_string).collect();
    let outcome = Outcome {
        dry_run: arguments.dry_run,
        steps,
        warnings: &plan.warnings,
    };
    renderer.result(&plan.to_string(), &outcome)?;
    Ok(ExitCode::SUCCESS)
}
