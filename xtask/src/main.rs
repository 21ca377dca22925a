//! Everything a developer or CI runs: `cargo xtask help`.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "developer tooling: it runs programs, reads the environment and talks to the terminal"
)]

mod apt;
mod bench;
mod cargo;
mod ci;
mod demo;
mod deny;
mod differential;
mod dist;
mod docs;
mod fuzz;
mod links;
mod page;
mod powercut;
mod steps;
mod test;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Everything a developer or CI runs on cOS.
///
/// Each command installs the Debian packages it needs when it is root, and otherwise names them.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// From a Dockerfile to a booted, immutable machine at a login prompt.
    Demo(demo::Arguments),
    /// Run tests: all tiers, or one of pure, system and machine; all tests, or those that match.
    Test(test::Arguments),
    /// All that must hold before a change goes in: style, lints, docs, licences, every test.
    Ci,
    /// Feed made-up bytes to the parsers of foreign ones.
    Fuzz(fuzz::Arguments),
    /// Hold the layer reader against GNU tar, Python's tarfile and libarchive, over made-up archives.
    Differential(differential::Arguments),
    /// Cut the power at every write of every operation, and print what boots then.
    Powercut(powercut::Arguments),
    /// Measure, and print a table.
    Bench(bench::Arguments),
    /// Build the book and the API documentation.
    Docs(docs::Arguments),
    /// Build the static binaries into target/dist.
    Dist,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::Ci => ci::run(),
        Command::Fuzz(arguments) => fuzz::run(&arguments),
        Command::Differential(arguments) => differential::run(&arguments),
        Command::Powercut(arguments) => powercut::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Docs(arguments) => docs::run(&arguments),
        Command::Dist => dist::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
