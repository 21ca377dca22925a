//! Fuzzing: foreign bytes made up by libFuzzer, for every parser that reads such.

use crate::{apt, cargo};
use anyhow::{Context, bail};
use cos_testkit::{paths, process};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// What libFuzzer's library is compiled with.
const COMPILER: &str = "g++";
/// Memory that one input may cost, MiB: a small machine boots with less, but the fuzzer itself needs
/// some.
const MEMORY: u32 = 2048;
/// Seconds that one input may take.
const PATIENCE: u32 = 10;

/// `cargo xtask fuzz`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The target, by the name of its file in `fuzz/fuzz_targets`; every one, one after the other,
    /// when none is named.
    target: Option<String>,
    /// How long each target runs.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
}

/// Runs targets from where they got to last time (fuzz/corpus). One that finds something leaves the
/// input in fuzz/artifacts; the others still run.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let known = targets()?;
    let wanted: Vec<&String> = match &arguments.target {
        None => known.iter().collect(),
        Some(name) => match known.iter().find(|target| *target == name) {
            Some(target) => vec![target],
            None => bail!(
                "there is no target {name}; the targets are {}",
                known.join(", ")
            ),
        },
    };
    apt::ensure(&[COMPILER])?;
    let tool = cargo::FUZZ.ensure()?;
    println!("     cargo fuzz build (into target/fuzz)");
    let mut build = command(&tool, "build");
    build.args(arguments.target.iter());
    process::logged(&mut build, &log("build"))?;
    let mut failed = Vec::new();
    for target in wanted {
        if let Err(error) = run_one(&tool, target, arguments.seconds) {
            println!("{target:<18} FAILED\n{error:#}");
            failed.push(target.as_str());
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    bail!(
        "these targets found something: {}; to try one input again: {} run --sanitizer none TARGET INPUT",
        failed.join(", "),
        tool.display()
    )
}

fn run_one(tool: &Path, target: &str, seconds: u32) -> anyhow::Result<()> {
    let fuzz = paths::workspace().join("fuzz");
    let corpus = fuzz.join("corpus").join(target);
    fs_err::create_dir_all(&corpus)?;
    let mut command = command(tool, "run");
    command.arg(target).arg(corpus);
    let seeds = fuzz.join("seeds").join(target);
    if seeds.is_dir() {
        command.arg(seeds);
    }
    command
        .arg("--")
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-rss_limit_mb={MEMORY}"))
        .arg(format!("-malloc_limit_mb={MEMORY}"))
        .arg(format!("-timeout={PATIENCE}"))
        .arg("-print_final_stats=1");
    let start = Instant::now();
    process::logged(&mut command, &log(target))?;
    let said = String::from_utf8_lossy(&fs_err::read(log(target))?).into_owned();
    let inputs = executed(&said).context("libFuzzer did not say how many inputs it ran")?;
    let seconds = start.elapsed().as_secs();
    println!("{target:<18} {seconds:>5} s  {inputs:>10} inputs  ok");
    Ok(())
}

/// Compiles the targets without linking or running them: that much of them every change keeps.
pub(crate) fn check() -> anyhow::Result<()> {
    let manifest = paths::workspace().join("fuzz/Cargo.toml");
    process::run(
        cargo::command("fmt")
            .args(["--check", "--manifest-path"])
            .arg(&manifest),
    )?;
    // Not locked: nothing but this workspace updates its lock file when a crate's dependencies change.
    process::run(
        cargo::command("check")
            .args(["--bins", "--quiet", "--manifest-path"])
            .arg(&manifest)
            .arg("--target-dir")
            .arg(paths::target())
            // What is not linked need not be compiled from its C++.
            .env("CUSTOM_LIBFUZZER_PATH", "/nonexistent/libfuzzer.a"),
    )
}

/// The names of the targets, sorted.
fn targets() -> anyhow::Result<Vec<String>> {
    let directory = paths::workspace().join("fuzz/fuzz_targets");
    let mut targets = Vec::new();
    for entry in fs_err::read_dir(directory)? {
        let path = entry?.path();
        let name = path
            .file_stem()
            .map(|name| name.to_string_lossy().into_owned());
        if path.extension().is_some_and(|extension| extension == "rs") {
            targets.extend(name);
        }
    }
    targets.sort();
    Ok(targets)
}

/// `cargo fuzz VERB`. Without a sanitizer: the crates have no unsafe code, the compiler on stable has
/// no sanitizers, and what is left (panics, overflows, hangs, memory) is found faster without.
fn command(tool: &Path, verb: &str) -> Command {
    let mut command = Command::new(tool);
    command
        .arg(verb)
        .args(["--sanitizer", "none", "--target-dir"])
        .arg(paths::target().join("fuzz"))
        .current_dir(paths::workspace());
    command
}

fn log(name: &str) -> PathBuf {
    paths::target()
        .join("fuzz/logs")
        .join(format!("{name}.log"))
}

/// How many inputs a run tried, as its final statistics say.
fn executed(said: &str) -> Option<u64> {
    let line = said
        .lines()
        .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_a_program_of_the_fuzz_workspace() {
        let manifest = fs_err::read_to_string(paths::workspace().join("fuzz/Cargo.toml")).unwrap();
        let targets = targets().unwrap();
        assert!(targets.len() > 10);
        for target in &targets {
            let entry = format!("name = \"{target}\"\npath = \"fuzz_targets/{target}.rs\"");
            assert!(manifest.contains(&entry), "{target}");
        }
        assert_eq!(manifest.matches("[[bin]]").count(), targets.len());
    }

    #[test]
    fn the_statistics_are_found_between_the_fuzzers_words() {
        let said =
            "Done 812 runs in 3 second(s)\nstat::number_of_executed_units: 812\nstat::x: 1\n";
        assert_eq!(executed(said), Some(812));
        assert_eq!(executed("Done"), None);
    }
}
