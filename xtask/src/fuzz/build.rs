//! The targets' programs, built by the stable compiler.

use crate::cargo;
use anyhow::Context;
use cos_testkit::{paths, process};
use std::path::PathBuf;
use std::process::Command;

/// What libFuzzer counts coverage by, as cargo-fuzz has it. Without a sanitizer: the crates have no unsafe code,
/// the compiler on stable has no sanitizers, and what is left (panics, overflows, hangs, memory) is found
/// faster without.
const FLAGS: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// What coverage is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Instrumented {
    /// The crates of this tree: what they depend on is compiled once for this and for the tests.
    Own,
    /// What they depend on, too, such as parsers of YAML and JSON: all is compiled again.
    Everything,
}

/// Builds all targets. Returns the directory of their programs.
pub(super) fn build(instrumented: Instrumented) -> anyhow::Result<PathBuf> {
    let mut command = cargo::command("build");
    command.args(["--package", "cos-fuzz", "--bins", "--locked"]);
    let (programs, log) = match instrumented {
        Instrumented::Own => {
            let wrapper = paths::workspace().join("fuzz/instrument.sh");
            command
                .env("RUSTC_WORKSPACE_WRAPPER", wrapper)
                .env("COS_FUZZ_FLAGS", FLAGS.join(" "));
            (paths::target().join("debug"), "smoke")
        }
        Instrumented::Everything => {
            let host = host()?;
            // Where a target is named, what runs while compiling is compiled without the flags.
            command
                .args(["--target", &host, "--target-dir"])
                .arg(paths::target().join("fuzz"))
                .env("RUSTFLAGS", FLAGS.join(" "));
            (
                paths::target().join("fuzz").join(host).join("debug"),
                "build",
            )
        }
    };
    println!("     cargo build --package cos-fuzz");
    process::logged(&mut command, &super::target::log(log))?;
    Ok(programs)
}

/// The machine that the compiler compiles for when not told.
fn host() -> anyhow::Result<String> {
    let said = process::text(Command::new("rustc").arg("-vV"))?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned)
        .context("rustc does not say what it compiles for")
}
