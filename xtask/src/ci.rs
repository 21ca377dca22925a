//! All that must hold before a change goes in.

use crate::steps::Steps;
use crate::test::{self, Tier};
use crate::{apt, cargo, deny, docs, fuzz};
use cos_testkit::process;

/// Runs every check, stops at the first that fails, and prints how long each took.
pub(crate) fn run() -> anyhow::Result<()> {
    let mut steps = Steps::default();
    let result = all(&mut steps);
    let reported = test::report_skips(&Tier::ALL);
    print!("{}", steps.table());
    result.and(reported)
}

fn all(steps: &mut Steps) -> anyhow::Result<()> {
    test::forget_skips(&Tier::ALL)?;
    steps.step("fmt", || {
        process::run(cargo::command("fmt").args(["--all", "--check"]))
    })?;
    // The fuzz targets are linted, too, and their engine is C++.
    apt::ensure(&[fuzz::COMPILER])?;
    steps.step("clippy", || {
        process::run(cargo::command("clippy").args([
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "--deny",
            "warnings",
        ]))
    })?;
    steps.step("docs", docs::api)?;
    steps.step("book", docs::book)?;
    steps.step("deny", deny::run)?;
    steps.step("fuzz", fuzz::smoke)?;
    for tier in Tier::ALL {
        steps.step(tier.name(), || test::whole_tier(tier))?;
    }
    Ok(())
}
