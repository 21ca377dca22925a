//! The machine as a whole: syncing, rebooting, the kernel log.

use fs_err::OpenOptions;
use rustix::system::RebootCommand;
use std::io::{self, Write as _};

/// Longest text of one record of `/dev/kmsg`, less than the kernel's 1024 with its prefix.
const KMSG_LINE: usize = 900;

/// How urgent a line of the kernel log is (syslog(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The boot stops here. Shown on every console whatever `quiet` says.
    Critical,
    /// Something is wrong, the boot goes on.
    Warning,
    /// What happens.
    Info,
}

/// Writes text to the kernel log, line by line, and so to every console.
pub fn kmsg(severity: Severity, name: &str, text: &str) -> io::Result<()> {
    let mut log = OpenOptions::new().write(true).open("/dev/kmsg")?;
    records(severity, name, text)
        .iter()
        .try_for_each(|record| log.write_all(record.as_bytes()))
}

/// One record per line; the kernel refuses longer ones whole.
fn records(severity: Severity, name: &str, text: &str) -> Vec<String> {
    let level = match severity {
        Severity::Critical => 2,
        Severity::Warning => 4,
        Severity::Info => 6,
    };
    let mut records = Vec::new();
    for line in text.lines() {
        let mut rest = line;
        loop {
            let mut cut = rest.len().min(KMSG_LINE);
            while !rest.is_char_boundary(cut) {
                cut -= 1;
            }
            let (now, later) = rest.split_at(cut);
            records.push(format!("<{level}>{name}: {now}\n"));
            if later.is_empty() {
                break;
            }
            rest = later;
        }
    }
    records
}

/// Writes everything to the disks and restarts the machine, without asking anybody.
pub fn reboot() -> io::Result<()> {
    rustix::fs::sync();
    rustix::system::reboot(RebootCommand::Restart)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_become_several_records_cut_between_characters() {
        let text = format!("{}\nshort", "ä".repeat(500));
        let records = records(Severity::Critical, "cos-init", &text);
        assert_eq!(records.len(), 3);
        assert!(
            records
                .iter()
                .all(|record| record.starts_with("<2>cos-init: "))
        );
        assert!(records.iter().all(|record| record.len() < 1000));
        assert_eq!(records[2], "<2>cos-init: short\n");
    }
}
