//! One target's run.

use super::table::Row;
use super::{corpus, processor};
use anyhow::Context;
use cos_testkit::paths;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Memory that one input may cost, MiB: a small machine boots with less, but the fuzzer itself needs
/// some.
const MEMORY: u32 = 2048;
/// Seconds that one input may take.
const PATIENCE: u32 = 10;

/// The shortest run that is worth its start.
const LEAST: Duration = Duration::from_secs(5);

/// Runs a target for so much processor time, from the inputs that are kept and those in `found`, where new ones
/// go. libFuzzer itself ends by the clock: where other programs want the processors too, it is started again.
pub(super) fn run(
    programs: &Path,
    name: &str,
    found: &Path,
    wanted: Duration,
) -> anyhow::Result<Row> {
    let mut row = start(programs, name, found, wanted)?;
    while row.processor < wanted {
        let left = (wanted - row.processor).max(LEAST);
        row = row.then(start(programs, name, found, left)?);
    }
    Ok(row)
}

/// One start of the target's program, for so much time of the clock.
fn start(programs: &Path, name: &str, found: &Path, time: Duration) -> anyhow::Result<Row> {
    fs_err::create_dir_all(found)?;
    let artifacts = paths::workspace().join("fuzz/artifacts").join(name);
    fs_err::create_dir_all(&artifacts)?;
    let mut command = Command::new(programs.join(name));
    command
        .arg(found)
        .args(corpus::inputs(name))
        .arg(format!("-max_total_time={}", time.as_secs() + 1))
        .arg(format!("-rss_limit_mb={MEMORY}"))
        .arg(format!("-malloc_limit_mb={MEMORY}"))
        .arg(format!("-timeout={PATIENCE}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg("-print_final_stats=1");
    let processor = processor::measured(&mut command, &log(name))?;
    let said = String::from_utf8_lossy(&fs_err::read(log(name))?).into_owned();
    Row::read(name, &said, processor).context("libFuzzer did not say what it ran")
}

pub(super) fn log(name: &str) -> PathBuf {
    paths::target()
        .join("fuzz/logs")
        .join(format!("{name}.log"))
}
