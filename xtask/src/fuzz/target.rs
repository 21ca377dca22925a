//! One target's run.

use super::corpus;
use super::table::Row;
use anyhow::Context;
use cos_testkit::{paths, process};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Memory that one input may cost, MiB: a small machine boots with less, but the fuzzer itself needs
/// some.
const MEMORY: u32 = 2048;
/// Seconds that one input may take.
const PATIENCE: u32 = 10;

/// Runs a target from the inputs that are kept and those in `found`, where new ones go.
pub(super) fn run(programs: &Path, name: &str, found: &Path, seconds: u32) -> anyhow::Result<Row> {
    fs_err::create_dir_all(found)?;
    let artifacts = paths::workspace().join("fuzz/artifacts").join(name);
    fs_err::create_dir_all(&artifacts)?;
    let mut command = Command::new(programs.join(name));
    command
        .arg(found)
        .args(corpus::inputs(name))
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-rss_limit_mb={MEMORY}"))
        .arg(format!("-malloc_limit_mb={MEMORY}"))
        .arg(format!("-timeout={PATIENCE}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg("-print_final_stats=1");
    process::logged(&mut command, &log(name))?;
    let said = String::from_utf8_lossy(&fs_err::read(log(name))?).into_owned();
    Row::read(name, &said).context("libFuzzer did not say what it ran")
}

pub(super) fn log(name: &str) -> PathBuf {
    paths::target()
        .join("fuzz/logs")
        .join(format!("{name}.log"))
}
