//! Measurements, made the same way every time.

mod build;
mod measure;
mod registry;
mod report;

use clap::ValueEnum;

/// What can be measured.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Name {
    /// From a registry to a verified root image, a disk and an ISO, against other tools' pipelines.
    Build,
}

/// `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// What to measure.
    #[arg(value_enum)]
    name: Name,
    /// Print one JSON document instead of a table.
    #[arg(long)]
    json: bool,
    /// How often everything is run; medians are of all of them.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

/// Runs a benchmark.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    match arguments.name {
        Name::Build => build::run(arguments.rounds, arguments.json),
    }
}
