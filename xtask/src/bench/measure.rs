//! Wall time, processor time, peak memory and output size of a series of commands.

use anyhow::{Context, bail};
use cos_testkit::process;
use fs_err as fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// GNU time: it waits with wait4(2) and so knows what a program and all its children used.
const TIME: &str = "/usr/bin/time";

/// One run of one contender.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sample {
    /// Seconds from the start of the first command to the end of the last.
    pub(super) wall: f64,
    /// Seconds of user and system time, children included.
    pub(super) cpu: f64,
    /// Largest resident set of any one process, in KiB.
    pub(super) peak_kib: u64,
    /// Bytes allocated to the result: holes do not count.
    pub(super) size: u64,
}

/// A way from an image in a registry to one file.
#[derive(Debug)]
pub(super) struct Contender {
    /// Its name in the table.
    pub(super) name: &'static str,
    /// The commands, each a program and its arguments, run one after the other.
    pub(super) commands: Vec<Vec<String>>,
    /// The file they make.
    pub(super) output: PathBuf,
}

impl Contender {
    /// Runs the commands in an empty directory `work`, which is emptied again.
    pub(super) fn run(&self, work: &Path) -> anyhow::Result<Sample> {
        empty(work)?;
        let (mut cpu, mut peak_kib) = (0.0, 0);
        let start = Instant::now();
        for words in &self.commands {
            let usage = timed(words, work)?;
            cpu += usage.cpu;
            peak_kib = peak_kib.max(usage.peak_kib);
        }
        let wall = start.elapsed();
        let size =
            allocated(&self.output).with_context(|| format!("{} made no result", self.name))?;
        empty(work)?;
        Ok(Sample {
            wall: seconds(wall),
            cpu,
            peak_kib,
            size,
        })
    }
}

struct Usage {
    cpu: f64,
    peak_kib: u64,
}

fn timed(words: &[String], work: &Path) -> anyhow::Result<Usage> {
    let report = work.join("usage");
    let mut command = Command::new(TIME);
    command
        .args(["--format", "%U %S %M", "--output"])
        .arg(&report)
        .args(words)
        .current_dir(work);
    process::logged(command.stdin(Stdio::null()), &work.join("log"))?;
    parse(&fs::read_to_string(report)?).with_context(|| format!("usage of {words:?}"))
}

fn parse(report: &str) -> anyhow::Result<Usage> {
    let fields: Vec<&str> = report.split_whitespace().collect();
    let [user, system, peak] = fields[..] else {
        bail!("{TIME} said {report}")
    };
    Ok(Usage {
        cpu: user.parse::<f64>()? + system.parse::<f64>()?,
        peak_kib: peak.parse()?,
    })
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

fn empty(directory: &Path) -> anyhow::Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    fs::create_dir_all(directory)?;
    Ok(())
}

fn allocated(file: &Path) -> anyhow::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    Ok(fs::metadata(file)?.blocks() * 512)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_of_time_is_read() {
        let usage = parse("1.50 0.25 20480\n").unwrap();
        assert!((usage.cpu - 1.75).abs() < 1e-9);
        assert_eq!(usage.peak_kib, 20480);
        assert!(parse("Command exited with non-zero status 1\n1 2 3").is_err());
    }
}
