//! The three tiers of tests, and a list of what could not run.

use crate::{apt, cargo, dist};
use anyhow::Context;
use cos_testkit::images::{self, Suite};
use cos_testkit::{paths, process, tools};
use fs_err as fs;
use std::path::PathBuf;

/// How far from a bare function call to a booted machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tier {
    /// Milliseconds, no privileges, no other program.
    Pure,
    /// Kernel mounts, registries, other people's tools: `tests/system_*.rs`.
    System,
    /// Machines under QEMU: `tests/machine_*.rs`.
    Machine,
}

impl Tier {
    pub(crate) const ALL: [Tier; 3] = [Tier::Pure, Tier::System, Tier::Machine];

    fn of(word: &str) -> Option<Tier> {
        Tier::ALL.into_iter().find(|tier| tier.name() == word)
    }

    /// The tier's name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Tier::Pure => "pure",
            Tier::System => "system",
            Tier::Machine => "machine",
        }
    }

    /// The tier's tests in nextest's filter language; with words, those whose name or file contains any of them.
    fn filterset(self, words: &[String]) -> String {
        let tier = match self {
            Tier::Pure => "not binary(/^(system|machine)_/)",
            Tier::System => "binary(/^system_/)",
            Tier::Machine => "binary(/^machine_/)",
        };
        if words.is_empty() {
            return tier.to_owned();
        }
        let any: Vec<String> = words
            .iter()
            .map(|word| format!("test(~{word}) | binary(~{word})"))
            .collect();
        format!("({tier}) & ({})", any.join(" | "))
    }
}

/// `cargo xtask test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// pure, system or machine; and words of which the test's name, or its file's, must contain any.
    #[arg(value_name = "TIER|FILTER")]
    words: Vec<String>,
}

/// Runs the tests that the arguments name and prints what was skipped.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let tier = arguments.words.first().and_then(|word| Tier::of(word));
    let filters = &arguments.words[usize::from(tier.is_some())..];
    if let Some(word) = filters.iter().find(|word| !is_plain(word)) {
        anyhow::bail!("{word:?} is in no test's name");
    }
    let tiers = tier.map_or(Tier::ALL.to_vec(), |tier| vec![tier]);
    forget_skips(&tiers)?;
    let result = tiers.iter().try_for_each(|tier| {
        println!("==> tests: {}", tier.name());
        run_tier(*tier, filters, tiers.len() == 1)
    });
    // Also after a failure: a skip may be what explains it.
    let reported = report_skips(&tiers);
    result.and(reported)
}

/// Whether a word can be part of a test's name, and so means nothing else to nextest.
fn is_plain(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-:".contains(c);
    !word.is_empty() && word.chars().all(plain)
}

/// Runs one tier. A filter that matches nothing in the only tier asked for is an error.
fn run_tier(tier: Tier, filters: &[String], only: bool) -> anyhow::Result<()> {
    let nextest = cargo::NEXTEST.ensure()?;
    let mut command = std::process::Command::new(nextest);
    command
        .args([
            "nextest",
            "run",
            "--workspace",
            // Its targets are no tests, and link C++.
            "--exclude",
            "cos-fuzz",
            "--locked",
            "--filterset",
            &tier.filterset(filters),
        ])
        .args([
            "--no-tests",
            if only && !filters.is_empty() {
                "fail"
            } else {
                "pass"
            },
        ])
        .env(cos_testkit::SKIP_LOG, skip_log(tier))
        .current_dir(paths::workspace());
    if tier != Tier::Pure {
        prepare(tier)?;
        command.env(cos_testkit::dist::READY, paths::dist());
    }
    cargo::forget_this_package(&mut command);
    process::run(&mut command)
}

/// Everything that tests share and would otherwise each wait for.
fn prepare(tier: Tier) -> anyhow::Result<()> {
    let mut packages = tools::packages();
    packages.extend([
        "ovmf",
        "grub-pc-bin",
        "grub-efi-amd64-bin",
        "systemd-boot-efi",
    ]);
    apt::ensure_or_say(&packages);
    dist::build()?;
    if tier == Tier::System && tools::fsck_erofs().is_none() {
        eprintln!("warning: tests that need fsck.erofs 1.8 will be skipped");
    }
    for suite in [Suite::Trixie, Suite::Bookworm] {
        if let Err(error) = images::prepare_base(suite) {
            eprintln!("warning: no base image of {suite}: {error:#}");
        }
    }
    Ok(())
}

/// Forgets the skips of earlier runs.
pub(crate) fn forget_skips(tiers: &[Tier]) -> anyhow::Result<()> {
    for tier in tiers {
        let log = skip_log(*tier);
        fs::create_dir_all(log.parent().context("the log has a directory")?)?;
        if log.exists() {
            fs::remove_file(&log)?;
        }
    }
    Ok(())
}

fn skip_log(tier: Tier) -> PathBuf {
    paths::target().join("skipped").join(tier.name())
}

/// Prints the skipped tests of `tiers` by name, with their reasons and their number.
pub(crate) fn report_skips(tiers: &[Tier]) -> anyhow::Result<()> {
    let mut count = 0;
    for tier in tiers {
        for skipped in cos_testkit::read_skips(&skip_log(*tier))? {
            println!(
                "skipped  {}: {} ({})",
                tier.name(),
                skipped.name,
                skipped.reason
            );
            count += 1;
        }
    }
    match count {
        0 => println!("no test was skipped"),
        1 => println!("1 test was skipped"),
        _ => println!("{count} tests were skipped"),
    }
    Ok(())
}

/// Runs one whole tier.
pub(crate) fn whole_tier(tier: Tier) -> anyhow::Result<()> {
    run_tier(tier, &[], false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiers_are_named_as_they_are_typed() {
        for tier in Tier::ALL {
            assert_eq!(Tier::of(tier.name()), Some(tier));
        }
        assert_eq!(Tier::of("skip"), None);
    }
}
