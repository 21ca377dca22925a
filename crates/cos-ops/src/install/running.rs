//! The system that runs, as far as it can be installed from.

use super::InstallError;
use crate::build::running::RunningSnapshot;
use cos_boot::SnapshotId;
use serde::Deserialize;
use std::io;
use std::path::{Path, PathBuf};

/// The report is a page of text; more is not read.
const MAX_REPORT: usize = 256 * 1024;

/// Which system runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The snapshot that boots by default.
    Active,
    /// One kept behind it.
    Passive,
    /// The recovery system.
    Recovery,
    /// From a live medium.
    Live,
}

/// A system that cos-init started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Which system.
    pub mode: Mode,
    /// The device it was booted from.
    pub device: PathBuf,
    /// Its snapshot.
    pub snapshot: RunningSnapshot,
}

/// What `cos-init` reported of this boot.
#[derive(Deserialize)]
struct Report {
    mode: Mode,
    snapshot: SnapshotId,
    root_hash: String,
    source: PathBuf,
}

impl Running {
    /// The system that keeps the state of its boot in `run` (`/run/cos`); `None` when that is none of
    /// cOS.
    pub fn probe(run: &Path) -> Result<Option<Self>, InstallError> {
        let path = run.join("boot.json");
        let failed = |source| InstallError::Running {
            path: path.clone(),
            source,
        };
        let bytes = match fs_err::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let bytes = &bytes[..bytes.len().min(MAX_REPORT)];
        let report: Report = serde_json::from_slice(bytes).map_err(|error| failed(error.into()))?;
        Ok(Some(Self {
            mode: report.mode,
            device: report.source,
            snapshot: RunningSnapshot {
                store: run.join("source"),
                root: run.join("rootfs"),
                id: report.snapshot,
                root_hash: report.root_hash,
            },
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_of_the_initrd_is_understood() {
        let run = tempfile::tempdir().unwrap();
        assert_eq!(Running::probe(run.path()).unwrap(), None);
        let hash = "ab".repeat(32);
        let report = format!(
            r#"{{"mode": "live", "snapshot": "0123456789ab", "root_hash": "{hash}",
                "source": "/dev/sr0", "oem_device": null, "warnings": []}}"#
        );
        fs_err::write(run.path().join("boot.json"), report).unwrap();
        let running = Running::probe(run.path()).unwrap().unwrap();
        assert_eq!(running.mode, Mode::Live);
        assert_eq!(running.device, Path::new("/dev/sr0"));
        assert_eq!(running.snapshot.root_hash, hash);
        fs_err::write(run.path().join("boot.json"), "{}").unwrap();
        assert!(Running::probe(run.path()).is_err());
    }
}
