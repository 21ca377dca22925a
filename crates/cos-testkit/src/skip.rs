//! Tests that could not run say so by name.

use anyhow::Context;
use fs_err as fs;
use std::io::Write;
use std::path::Path;

/// Environment variable that names the file skips are appended to; set by `cargo xtask test`.
pub const SKIP_LOG: &str = "COS_SKIP_LOG";

/// One test that did not run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Skipped {
    /// The test.
    pub name: String,
    /// What it lacked.
    pub reason: String,
}

/// Records that the test `name` did not run, and why. The caller returns right after.
///
/// # Panics
///
/// When the log named by `COS_SKIP_LOG` cannot be written: a skip nobody hears of is a false pass.
#[expect(
    clippy::panic,
    reason = "an unrecorded skip must fail the test that skipped"
)]
pub fn skip(name: &str, reason: &str) {
    let Some(log) = std::env::var_os(SKIP_LOG) else {
        eprintln!("SKIPPED {name}: {reason}");
        return;
    };
    if let Err(error) = append(Path::new(&log), name, reason) {
        panic!("cannot record that {name} was skipped ({reason}): {error:#}");
    }
}

/// Whether the process is root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether the process is root; if not, records the skip of test `name`.
pub fn require_root(name: &str) -> bool {
    if !is_root() {
        skip(name, "needs root");
    }
    is_root()
}

/// Reads back the skips recorded in `log`, sorted, each once. A log that is not there has none.
pub fn read_skips(log: &Path) -> anyhow::Result<Vec<Skipped>> {
    if !log.exists() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(log)?;
    let mut skips: Vec<Skipped> = text
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(name, reason)| Skipped {
            name: name.into(),
            reason: reason.into(),
        })
        .collect();
    skips.sort();
    skips.dedup();
    Ok(skips)
}

fn append(log: &Path, name: &str, reason: &str) -> anyhow::Result<()> {
    let line = format!("{}\t{}\n", one_line(name), one_line(reason));
    let mut file = fs::OpenOptions::new().create(true).append(true).open(log)?;
    // One write: lines of tests that run at the same time do not mix.
    file.write_all(line.as_bytes())
        .context("cannot append a skip")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skips_come_back_sorted_and_once() {
        let dir = crate::temp_dir().unwrap();
        let log = dir.path().join("skips");
        append(&log, "mounts a root image", "needs\troot\nand a kernel").unwrap();
        append(&log, "boots", "no qemu").unwrap();
        append(&log, "boots", "no qemu").unwrap();
        let skips = read_skips(&log).unwrap();
        assert_eq!(skips.len(), 2);
        assert_eq!(skips[0].name, "boots");
        assert_eq!(skips[1].reason, "needs root and a kernel");
    }

    #[test]
    fn no_log_means_no_skips() {
        let dir = crate::temp_dir().unwrap();
        assert_eq!(read_skips(&dir.path().join("none")).unwrap(), []);
    }
}
