//! Fuzzing: foreign bytes made up by libFuzzer, for every parser that reads such.

mod build;
mod corpus;
mod processor;
mod table;
mod target;

use self::build::Instrumented;
use self::table::Row;
use crate::{apt, page};
use anyhow::bail;
use cos_testkit::paths;
use std::num::NonZero;
use std::sync::Mutex;
use std::time::Duration;

/// What libFuzzer's library is compiled with.
pub(crate) const COMPILER: &str = "g++";

/// What each target runs in CI, what it knows already included.
const SMOKE: Duration = Duration::from_secs(2);

/// `cargo xtask fuzz`.
#[derive(Debug, clap::Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub(crate) struct Arguments {
    /// The target, by the name of its file in `fuzz/fuzz_targets`; every one when none is named.
    target: Option<String>,
    /// Processor time that each target gets.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Count coverage in what the crates depend on, too: compiles all of it again.
    #[arg(long)]
    dependencies: bool,
    /// Afterwards, make fuzz/corpus anew: the smallest inputs that lead wherever any did.
    #[arg(long)]
    minimize: bool,
    /// As CI does: some seconds each, and nothing is kept.
    #[arg(long, conflicts_with_all = ["target", "seconds", "dependencies", "minimize", "record"])]
    smoke: bool,
    /// Put the table of executions and coverage into the book.
    #[arg(long, conflicts_with = "target")]
    record: bool,
}

/// Runs targets from where they got to last time (target/fuzz/found), as many at a time as there are
/// processors. One that finds something leaves the input in fuzz/artifacts; the others still run.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if arguments.smoke {
        return smoke();
    }
    let known = targets()?;
    let wanted = match &arguments.target {
        None => known,
        Some(name) if known.contains(name) => vec![name.clone()],
        Some(name) => bail!(
            "there is no target {name}; the targets are {}",
            known.join(", ")
        ),
    };
    apt::ensure(&[COMPILER])?;
    let programs = build::build(if arguments.dependencies {
        Instrumented::Everything
    } else {
        Instrumented::Own
    })?;
    let rows = run_all(&wanted, |name| {
        let found = corpus::found(name);
        target::run(
            &programs,
            name,
            &found,
            Duration::from_secs(arguments.seconds),
        )
    })?;
    let table = table::render(&rows);
    println!("\n{table}");
    if arguments.minimize {
        for name in &wanted {
            corpus::minimize(&programs, name)?;
        }
    }
    if arguments.record {
        page::replace(table::PAGE, "fuzz", &table)?;
    }
    Ok(())
}

/// Builds every target and runs each for a moment, from the inputs that are in the tree.
pub(crate) fn smoke() -> anyhow::Result<()> {
    apt::ensure(&[COMPILER])?;
    let programs = build::build(Instrumented::Own)?;
    let rows = run_all(&targets()?, |name| {
        let scratch = corpus::scratch(name)?;
        target::run(&programs, name, &scratch, SMOKE)
    })?;
    println!("{}", table::render(&rows));
    Ok(())
}

/// Gives the targets to as many threads as there are processors.
fn run_all(
    wanted: &[String],
    one: impl Fn(&str) -> anyhow::Result<Row> + Sync,
) -> anyhow::Result<Vec<Row>> {
    let queue = Mutex::new(wanted.iter());
    let done = Mutex::new((Vec::new(), Vec::new()));
    let workers = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(name) = queue.lock().ok().and_then(|mut queue| queue.next()) {
                    let result = one(name);
                    let Ok(mut done) = done.lock() else {
                        return;
                    };
                    match result {
                        Ok(row) => {
                            println!("{}", row.line());
                            done.0.push(row);
                        }
                        Err(error) => {
                            println!("{name:<18} FAILED\n{error:#}");
                            done.1.push(name.as_str());
                        }
                    }
                }
            });
        }
    });
    let (mut rows, failed) = done.into_inner().unwrap_or_default();
    rows.sort_by(|one, other| one.target.cmp(&other.target));
    if failed.is_empty() {
        return Ok(rows);
    }
    bail!(
        "these targets found something: {}; the inputs are in fuzz/artifacts/TARGET, and the target's program \
         tries one again when it is given its path",
        failed.join(", ")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_a_program_with_inputs_of_its_own() {
        let manifest = fs_err::read_to_string(paths::workspace().join("fuzz/Cargo.toml")).unwrap();
        let targets = targets().unwrap();
        assert!(targets.len() > 20);
        for target in &targets {
            let entry = format!("name = \"{target}\"\npath = \"fuzz_targets/{target}.rs\"");
            assert!(manifest.contains(&entry), "{target}");
            let inputs = corpus::kept(target);
            assert!(fs_err::read_dir(inputs).unwrap().count() > 0, "{target}");
        }
        assert_eq!(manifest.matches("[[bin]]").count(), targets.len());
    }
}
