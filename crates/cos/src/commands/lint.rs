//! `cos lint`.

use super::request;
use crate::arguments::LintArguments;
use crate::environment::Environment;
use crate::failure::Failure;
use crate::render::Renderer;
use cos_ops::lint::{Severity, lint as lint_image};
use std::fmt::Write as _;
use std::process::ExitCode;

/// The image was read, and does not boot as it is.
const FOUND: u8 = 5;

/// Prints what is wrong with an image.
pub(crate) fn lint(
    arguments: &LintArguments,
    environment: &Environment,
    renderer: &Renderer,
) -> Result<ExitCode, Failure> {
    let temporary = arguments
        .source
        .temp_dir
        .clone()
        .unwrap_or_else(std::env::temp_dir);
    let request = request::image(&arguments.source, &temporary.join("lint"), environment)?;
    let findings = lint_image(&request, &temporary, renderer)?;
    let errors = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .count();
    let warnings = findings.len() - errors;
    let mut text: String = findings.iter().map(ToString::to_string).collect();
    // Writing to a String cannot fail.
    let _infallible = match (errors, warnings) {
        (0, 0) => writeln!(text, "nothing found: the image should boot"),
        (0, _) => writeln!(text, "warnings: {warnings}; the image should boot"),
        _ => writeln!(
            text,
            "errors: {errors}, warnings: {warnings}; the image does not boot"
        ),
    };
    renderer.result(&text, &findings)?;
    let failed = errors > 0 || (arguments.strict && warnings > 0);
    Ok(if failed {
        ExitCode::from(FOUND)
    } else {
        ExitCode::SUCCESS
    })
}
