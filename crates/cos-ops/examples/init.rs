//! Prepares the image whose root directory is the argument: what `cos init --root DIR` does, without
//! the rest of the command line. `--dry-run` behind it prints the plan only.

use cos_events::{Event, Monitor};
use cos_ops::init::{InitError, InitOptions, execute, plan};
use std::process::ExitCode;

struct Lines;

impl Monitor for Lines {
    #[expect(
        clippy::disallowed_macros,
        clippy::print_stderr,
        reason = "a program, not a library"
    )]
    fn report(&self, event: Event) {
        match event {
            Event::Started { label, .. } => eprintln!("{label}"),
            Event::Warning { message } => eprintln!("warning: {message}"),
            _ => {}
        }
    }
}

#[expect(
    clippy::disallowed_macros,
    clippy::print_stdout,
    reason = "a program, not a library"
)]
fn run(root: &str, dry_run: bool) -> Result<(), InitError> {
    let plan = plan(&InitOptions {
        root: root.into(),
        kernel: None,
        machine: std::env::consts::ARCH.to_owned(),
    })?;
    if dry_run {
        println!("{plan}");
        return Ok(());
    }
    execute(&plan, &Lines)
}

#[expect(
    clippy::disallowed_macros,
    clippy::print_stderr,
    reason = "a program, not a library"
)]
fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let Some(root) = args.get(1) else {
        eprintln!("usage: init ROOT [--dry-run]");
        return ExitCode::from(2);
    };
    match run(root, args.iter().any(|word| word == "--dry-run")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}; {:?}", error.hint());
            ExitCode::FAILURE
        }
    }
}
