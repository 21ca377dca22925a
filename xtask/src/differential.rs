//! The layer reader against other people's: made-up archives that all must read alike, or cOS refuse.

use crate::{apt, cargo, page};
use cos_testkit::process;

/// Python's `tarfile`, libarchive and GNU tar.
const PACKAGES: [&str; 3] = ["libarchive-tools", "python3", "tar"];

/// `cargo xtask differential`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How many archives.
    #[arg(long, default_value_t = 200_000)]
    count: u64,
    /// Other numbers are other archives; the same are the same.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only this archive of the seed, with what every reader says of it.
    #[arg(long, value_name = "NUMBER")]
    case: Option<u64>,
    /// Put the table into the book.
    #[arg(long, conflicts_with = "case")]
    record: bool,
}

/// The page of the book that has the table.
const PAGE: &str = "docs/src/explanation/hostile-input.md";

/// Runs `cos-differential`.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    apt::ensure(&PACKAGES)?;
    let mut command = cargo::command("run");
    command
        .args(["--quiet", "--locked", "--package", "cos-differential", "--"])
        .arg(arguments.seed.to_string());
    match arguments.case {
        Some(case) => command.args(["case", &case.to_string()]),
        None => command.arg(arguments.count.to_string()),
    };
    if !arguments.record {
        return process::run(&mut command);
    }
    let said = process::text(&mut command)?;
    let table: Vec<&str> = said.lines().filter(|line| line.starts_with('|')).collect();
    println!("{said}");
    page::replace(PAGE, "differential", &table.join("\n"))
}
