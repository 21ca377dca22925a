//! `cos image root`.

use super::request;
use crate::arguments::RootArguments;
use crate::environment::Environment;
use crate::failure::Failure;
use crate::render::Renderer;
use cos_ops::build::root::build_root;
use std::process::ExitCode;

/// Writes a root image and prints its root hash, alone on its line.
pub(crate) fn root(
    arguments: &RootArguments,
    environment: &Environment,
    renderer: &Renderer,
) -> Result<ExitCode, Failure> {
    let request = request::build(
        &arguments.source,
        &arguments.format,
        &arguments.output,
        None,
        environment,
    )?;
    let result = build_root(&request, arguments.verity_sidecar.as_deref(), renderer)?;
    renderer.result(&format!("{}\n", result.root_hash), &result)?;
    Ok(ExitCode::SUCCESS)
}
