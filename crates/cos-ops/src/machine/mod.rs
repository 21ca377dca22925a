//! The running machine: which system it booted, from which disk, and where its snapshots are.

mod error;
mod mounted;
mod record;

pub use error::MachineError;
pub(crate) use mounted::Mounted;
pub use mounted::{Access, MountedStore};
pub(crate) use record::BootRecord;

use crate::build::running::RunningSnapshot;
use cos_boot::SnapshotId;
use cos_store::Store;
use cos_sys::device_spec::DeviceSpec;
use cos_sys::locate::{self, Candidate};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Label of the partition with the snapshots.
pub(crate) const STATE_LABEL: &str = "COS_STATE";
/// Label of the partition with the recovery system.
pub(crate) const RECOVERY_LABEL: &str = "COS_RECOVERY";
/// Label of the EFI system partition.
pub(crate) const LOADER_LABEL: &str = "COS_GRUB";
/// The report is a page of text; more is not read.
const MAX_REPORT: usize = 256 * 1024;

/// Which system runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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

impl Mode {
    /// Its word on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Passive => "passive",
            Self::Recovery => "recovery",
            Self::Live => "live",
        }
    }
}

/// Which of the two places of a machine is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// COS_STATE: the system.
    System,
    /// COS_RECOVERY.
    Recovery,
}

/// Where a running cOS keeps what tools need to know; other places only in tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The state of this boot: `/run/cos`.
    pub run: PathBuf,
    /// The lock of operations.
    pub lock: PathBuf,
    /// The TPM, on machines that have one: the kernel's device, or the socket of one in software.
    pub tpm: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            run: "/run/cos".into(),
            lock: "/run/cos/lock".into(),
            // Only a TPM 2.0 has it.
            tpm: "/dev/tpmrm0".into(),
        }
    }
}

impl Places {
    /// Where the partition or medium booted from is mounted.
    pub fn source(&self) -> PathBuf {
        self.run.join("source")
    }

    /// Where the root image is mounted with nothing over it.
    pub fn pristine(&self) -> PathBuf {
        self.run.join("rootfs")
    }
}

/// What `cos-init` reported of this boot (`/run/cos/boot.json`).
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one thing that cos-init says of the boot"
)]
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct BootReport {
    /// Which system runs.
    pub mode: Mode,
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The root hash that the kernel enforces, hexadecimal.
    pub root_hash: String,
    /// The device that holds the snapshots.
    pub source: PathBuf,
    /// Whether the snapshot is on trial in this boot.
    #[serde(default)]
    pub trial: bool,
    /// Whether something that comes before it was given up.
    #[serde(default)]
    pub fallback: bool,
    /// Whether a sealed system runs.
    #[serde(default)]
    pub sealed: bool,
    /// Whether its data are encrypted.
    #[serde(default)]
    pub encrypted: bool,
    /// Whether changes to persistent paths are kept.
    #[serde(default)]
    pub persistent: bool,
    /// What went wrong without stopping the boot.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// The running machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// What was reported of this boot.
    pub boot: BootReport,
    /// Where it keeps what tools need to know.
    pub places: Places,
}

impl Machine {
    /// The machine this runs on; an error where it is not one of cOS.
    pub fn probe(places: &Places) -> Result<Self, MachineError> {
        let path = places.run.join("boot.json");
        let bytes = match fs_err::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(MachineError::NotCos { path });
            }
            Err(source) => return Err(MachineError::ReadReport { path, source }),
        };
        let bytes = &bytes[..bytes.len().min(MAX_REPORT)];
        let boot = serde_json::from_slice(bytes).map_err(|error| MachineError::ReadReport {
            path,
            source: error.into(),
        })?;
        Ok(Self {
            boot,
            places: places.clone(),
        })
    }

    /// Whether the system runs from COS_STATE.
    pub fn is_installed(&self) -> bool {
        matches!(self.boot.mode, Mode::Active | Mode::Passive)
    }

    /// The partition with this label on the disk booted from, and on no other.
    pub fn partition(&self, label: &str) -> Result<Candidate, MachineError> {
        let all = locate::scan().map_err(MachineError::Devices)?;
        let near = all
            .iter()
            .find(|candidate| candidate.device.node == self.boot.source);
        let near = near.ok_or_else(|| MachineError::SourceGone {
            device: self.boot.source.clone(),
        })?;
        let spec = DeviceSpec::Label(label.to_owned());
        let found = locate::pick(&all, &spec, Some(&near.device));
        found
            .map(|found| found.candidate)
            .ok_or_else(|| MachineError::NoPartition {
                label: label.to_owned(),
                disk: near.device.disk().to_owned(),
            })
    }

    /// COS_STATE, mounted.
    pub fn state(&self, access: Access) -> Result<MountedStore, MachineError> {
        self.store(STATE_LABEL, self.is_installed(), access)
    }

    /// COS_RECOVERY, mounted.
    pub fn recovery(&self, access: Access) -> Result<MountedStore, MachineError> {
        self.store(RECOVERY_LABEL, self.boot.mode == Mode::Recovery, access)
    }

    fn store(
        &self,
        label: &str,
        booted_from: bool,
        access: Access,
    ) -> Result<MountedStore, MachineError> {
        if booted_from {
            return MountedStore::in_place(&self.places.source(), access);
        }
        let partition = self.partition(label)?;
        let target = self.places.run.join("partitions").join(label);
        MountedStore::mounted(&partition.device.node, &target, access)
    }

    /// The snapshot that runs, to be installed elsewhere.
    pub fn running_snapshot(&self) -> RunningSnapshot {
        RunningSnapshot {
            store: self.places.source(),
            root: self.places.pristine(),
            id: self.boot.snapshot.clone(),
            root_hash: self.boot.root_hash.clone(),
        }
    }

    /// The store booted from, as it is mounted.
    pub fn own_store(&self) -> Store {
        Store::new(self.places.source())
    }
}

/// Refuses anybody but root, before anything else is tried.
pub fn require_root() -> Result<(), MachineError> {
    if rustix::process::geteuid().is_root() {
        Ok(())
    } else {
        Err(MachineError::NotRoot)
    }
}

/// Takes the lock that lets one operation change a machine at a time; it goes away with the process.
pub fn lock(places: &Places, operation: &str) -> Result<cos_sys::lock::Lock, MachineError> {
    let holder = format!("cos {operation}, process {}", std::process::id());
    let path: &Path = &places.lock;
    match cos_sys::lock::try_lock(path, &holder) {
        Ok(Ok(lock)) => Ok(lock),
        Ok(Err(holder)) => Err(MachineError::Locked { holder }),
        Err(source) => Err(MachineError::Lock {
            path: path.to_owned(),
            source,
        }),
    }
}

/// The machine's time, seconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs().cast_signed())
}
