//! `cargo xtask differential`: runs mutated archives through all readers and prints what they made of them.
#![expect(
    clippy::disallowed_macros,
    clippy::print_stdout,
    reason = "developer tooling: it talks to the terminal"
)]

use anyhow::{Context as _, bail};
use cos_differential::{Case, Readers, run};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |text: &String| text.parse::<u64>().context("a number is expected");
    match &arguments[..] {
        [seed, count] => all(number(seed)?, number(count)?),
        [seed, word, case] if word == "case" => one(number(seed)?, number(case)?),
        _ => bail!("usage: cos-differential SEED COUNT, or SEED case NUMBER"),
    }
}

/// How many disagreements are printed whole.
const SHOWN: usize = 20;

fn all(seed: u64, count: u64) -> anyhow::Result<()> {
    let report = run(seed, count)?;
    println!("{report}");
    println!("cOS refuses because (times; of these, tarfile and libarchive agreed):");
    for (reason, (count, alone)) in &report.reasons {
        println!("{count:>8} {alone:>8}  {reason}");
    }
    for finding in report.findings.iter().take(SHOWN) {
        println!("{finding}");
    }
    match report.total().disagreed {
        0 => Ok(()),
        some => bail!("{some} archives are understood in more than one way; seed {seed}"),
    }
}

/// Prints one case's verdict, and the archive into a file beside.
fn one(seed: u64, number: u64) -> anyhow::Result<()> {
    let case = Case::new(seed, number);
    let file = std::env::temp_dir().join(format!("case-{seed}-{number}.tar"));
    fs_err::write(&file, &case.bytes)?;
    println!("{} ({})", file.display(), case.class);
    println!("{:?}", Readers::start()?.judge(&case.bytes)?);
    Ok(())
}
