//! The command line of cOS: parses arguments, asks `cos-ops` for the operation, renders its events, and maps
//! its error to an exit code.

mod arguments;
mod commands;
mod environment;
mod failure;
mod render;
mod signals;

use arguments::Cli;
use clap::Parser as _;
use environment::Environment;
use failure::Failure;
use render::{Format, Renderer};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

fn main() -> ExitCode {
    let cli = Cli::parse_from(arguments::by_name(std::env::args_os()));
    let format = if cli.json {
        Format::Json
    } else {
        Format::Human
    };
    let (cancelled, handler) = match signals::cancellation() {
        Ok(flag) => (flag, None),
        Err(error) => (Arc::new(AtomicBool::new(false)), Some(error)),
    };
    let renderer = Renderer::new(format, cli.quiet, cancelled);
    if let Some(error) = handler {
        cos_events::warn(&renderer, format!("Ctrl-C will not clean up: {error}"));
    }
    match commands::run(cli.command, &Environment::read(), &renderer) {
        Ok(code) => code,
        Err(failure) => report(&failure, &renderer),
    }
}

fn report(failure: &Failure, renderer: &Renderer) -> ExitCode {
    if failure.is_closed_pipe() {
        return ExitCode::SUCCESS;
    }
    // Where the error itself cannot be shown, the exit code still tells.
    drop(renderer.error(failure.error(), failure.hint().as_deref()));
    failure.exit_code()
}
