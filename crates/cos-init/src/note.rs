//! A note on COS_STATE of why a boot failed in the initrd, for the system that boots after it:
//! `cos/failures/<id>.json`, in the form of `cos_store::Failure`.

use crate::cmdline::CommandLine;
use crate::error::InitError;
use crate::report::quote;
use crate::root::SOURCE;
use cos_sys::locate;
use cos_sys::mount::{Mount, mount, remount, unmount};
use cos_sys::root_file::Metadata;
use cos_sys::root_path::Root;
use fs_err::OpenOptions;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where the source is mounted when it is not mounted yet.
const PLACE: &str = "/run/cos/note";
const OPTIONS: &str = "nodev,nosuid,noexec";
/// The source is there, or it is what the boot failed for.
const WAIT: Duration = Duration::from_secs(2);
/// So many lines of the kernel log are kept.
const LINES: usize = 60;

/// Leaves the note.
pub(crate) fn leave(why: &str) -> Result<(), InitError> {
    let text = fs_err::read_to_string("/proc/cmdline")
        .map_err(|source| InitError::ReadCommandLine { source })?;
    let cmdline = CommandLine::parse(&text)?;
    if !cmdline.mode.is_persistent() {
        return Ok(());
    }
    let time = SystemTime::now().duration_since(UNIX_EPOCH);
    let note = render(
        why,
        time.map_or(0, |time| time.as_secs()),
        &kernel_log().unwrap_or_default(),
    );
    // With the root on it, it is mounted already and cannot be mounted a second time to be written.
    if remount(Path::new(SOURCE), false, OPTIONS).is_ok() {
        let written = write(Path::new(SOURCE), &cmdline.snapshot, &note);
        remount(Path::new(SOURCE), true, OPTIONS)?;
        return written;
    }
    let found = locate::wait_for(&cmdline.source, None, WAIT)?;
    let found = found.map_err(|present| InitError::NoSource {
        seconds: WAIT.as_secs(),
        wanted: cmdline.source.to_string(),
        present,
    })?;
    let device = found.candidate.device;
    let kind = found.candidate.filesystem.map(|found| found.kind);
    let kind = kind.ok_or_else(|| InitError::ForeignSource {
        device: device.name.clone(),
    })?;
    fs_err::create_dir_all(PLACE).map_err(|source| InitError::Prepare {
        path: PLACE.into(),
        source,
    })?;
    mount(&Mount {
        source: device.node.display().to_string(),
        target: PLACE.into(),
        fstype: kind.into(),
        options: format!("rw,{OPTIONS}"),
    })?;
    let written = write(Path::new(PLACE), &cmdline.snapshot, &note);
    unmount(Path::new(PLACE), false)?;
    written
}

fn write(mounted: &Path, snapshot: &str, note: &str) -> Result<(), InitError> {
    let path = format!("cos/failures/{snapshot}.json");
    Root::open(mounted)?.write(Path::new(&path), note.as_bytes(), &Metadata::default())?;
    Ok(())
}

fn render(why: &str, time: u64, journal: &[String]) -> String {
    let journal: Vec<String> = journal.iter().map(|line| quote(line)).collect();
    format!(
        "{{\n  \"stage\": \"initrd\",\n  \"reason\": {},\n  \"time\": {time},\n  \"journal\": [{}]\n}}\n",
        quote(why),
        journal.join(", ")
    )
}

/// The end of the kernel log, which is where everything in the initrd speaks.
fn kernel_log() -> std::io::Result<Vec<String>> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    let mut log = options.open("/dev/kmsg")?;
    let mut record = vec![0; 8192];
    let mut lines = Vec::new();
    loop {
        match log.read(&mut record) {
            Ok(length) => lines.extend(message(&record[..length])),
            // What is read too slowly is overwritten; the next record is there again.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
            Err(_) => break,
        }
    }
    lines.drain(..lines.len().saturating_sub(LINES));
    Ok(lines)
}

/// The text of a record `6,339,5140900,-;text`, with the seconds since the start before it.
fn message(record: &[u8]) -> Option<String> {
    let record = String::from_utf8_lossy(record);
    let (head, text) = record.split_once(';')?;
    let microseconds: u64 = head.split(',').nth(2)?.parse().ok()?;
    let (seconds, rest) = (microseconds / 1_000_000, microseconds % 1_000_000);
    let text = text.lines().next()?;
    Some(format!("[{seconds:5}.{rest:06}] {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_the_kernel_log_becomes_a_line() {
        let record = b"6,339,5140900,-;cos-init: LABEL=X is vda5\n SUBSYSTEM=x\n";
        assert_eq!(
            message(record).unwrap(),
            "[    5.140900] cos-init: LABEL=X is vda5"
        );
        assert_eq!(message(b"nothing"), None);
    }

    /// `cos-store` has a test that reads this file.
    #[test]
    fn the_note_is_what_the_store_reads() {
        let journal = ["first \"line\"".to_owned(), "second\tline".to_owned()];
        let note = render("no root image: it is gone", 1_700_000_000, &journal);
        assert_eq!(note, include_str!("../tests/note.json"));
    }
}
