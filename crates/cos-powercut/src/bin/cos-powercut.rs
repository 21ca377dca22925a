//! Cuts the power at every write of every operation, and prints what boots: `cargo xtask powercut`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_macros,
    reason = "a developer's program"
)]

use anyhow::Result;
use clap::Parser;
use cos_powercut::guest;
use cos_powercut::survey::{self, Wanted};
use std::num::NonZero;
use std::process::ExitCode;

/// Cuts the power at every write of every operation, and looks at what boots then.
#[derive(Debug, Parser)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "flags of a command line, one independent of the other"
)]
struct Arguments {
    /// End with one line of JSON.
    #[arg(long)]
    json: bool,
    /// Only the histories in which an operation's name contains this.
    #[arg(long)]
    operation: Option<String>,
    /// A tenth of the samples.
    #[arg(long)]
    quick: bool,
    /// Also kill upgrades at their system calls, and let each write of one fail.
    #[arg(long)]
    faults: bool,
    /// Instead of all that: record a machine under QEMU, and boot so many states of its disk.
    #[arg(long, value_name = "STATES", conflicts_with_all = ["operation", "quick", "faults"])]
    boot: Option<NonZero<usize>>,
    /// Write the table into the book.
    #[arg(long)]
    write_docs: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool> {
    if let Some(count) = arguments.boot {
        return boot(count.get(), arguments);
    }
    // Built beside this one.
    let upgrade = std::env::current_exe()?.with_file_name("cos-powercut-upgrade");
    let wanted = Wanted {
        faults: arguments.faults.then_some(upgrade),
        operation: arguments.operation.clone(),
        divisor: if arguments.quick { 10 } else { 1 },
    };
    let survey = survey::run(&wanted, |line| println!("{line}"))?;
    if arguments.write_docs {
        survey.write_docs(&cos_testkit::paths::workspace())?;
    }
    if arguments.json {
        println!("{}", survey.json());
    }
    Ok(survey.is_good())
}

fn boot(count: usize, arguments: &Arguments) -> Result<bool> {
    let boots = guest::run(count, |line| println!("{line}"))?;
    println!("{boots}");
    if arguments.write_docs {
        boots.write_docs(&cos_testkit::paths::workspace())?;
    }
    if arguments.json {
        println!("{}", boots.json());
    }
    Ok(boots.is_good())
}
