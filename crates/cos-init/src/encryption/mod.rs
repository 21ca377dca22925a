//! Encrypted data: COS_PERSISTENT and COS_OEM in LUKS2, made at the first boot of a sealed machine, unlocked at
//! every other one before anything of them is looked at.
//!
//! ```text
//! TPM: PCR 7, and PCR 11 as signed ─┐
//! recovery key ─────────────────────┼─▶ COS_PERSISTENT ── a key in it ──▶ COS_OEM
//! passphrase, without a TPM ────────┘
//! ```
//!
//! COS_OEM has no way to be unlocked but by the key in COS_PERSISTENT, and its LUKS header is read from there:
//! so whoever can write the disk cannot put a cloud-config of theirs beside somebody's data. A COS_PERSISTENT
//! of theirs, which they can have a machine unlock by their own passphrase, comes with nothing of the machine's;
//! and as the TPM is told that data were unlocked before any of it is read, what runs from it unseals nothing.

mod console;
mod error;
mod order;
mod partition;
mod steps;
mod tools;
mod tpm;

pub(crate) use error::EncryptionError;

use crate::cmdline::{CommandLine, is_encrypted};
use crate::error::chain;
use crate::log::{Log, critical};
use crate::plan::PERSISTENT_LABEL;
use cos_sys::block::BlockDevice;
use cos_sys::device_spec::DeviceSpec;
use steps::Steps;

/// COS_OEM, unlocked.
const OEM_NODE: &str = "/dev/mapper/cos-oem";
/// COS_PERSISTENT, unlocked.
const PERSISTENT_NODE: &str = "/dev/mapper/cos-persistent";

/// The public key of systems that unlock data, as systemd-stub hands it over, and for the running system.
const POLICY_KEY: &str = "/.extra/tpm2-pcr-public-key.pem";
const KEPT_POLICY_KEY: &str = "/run/cos/tpm2-pcr-public-key.pem";

/// Unlocks the data of the disk that `near` is on, where the command line says that they are encrypted. A recovery
/// system starts without what cannot be unlocked; it takes nothing else in its place.
pub(crate) fn unlock(
    cmdline: &CommandLine,
    near: &BlockDevice,
    log: &mut Log,
) -> Result<(), EncryptionError> {
    if !cmdline.encrypted {
        return Ok(());
    }
    let unlocked = Steps::begin(cmdline, near, log).and_then(|mut steps| {
        order::run(&mut steps)?;
        steps.finish()
    });
    // For who enrols a TPM anew in the running system.
    if let Err(error) = fs_err::copy(POLICY_KEY, KEPT_POLICY_KEY) {
        log.warn(format!("the key of what unlocks data is not kept: {error}"));
    }
    // Whatever came of it: from here on, others have a say in what runs.
    tpm::close()?;
    match unlocked {
        Err(error) if !cmdline.mode.is_persistent() => {
            log.warn(format!("this system runs without data: {}", chain(&error)));
            Ok(())
        }
        other => other,
    }
}

/// Takes the TPM's secrets away from what runs after a boot that failed.
pub(crate) fn close_after_failure() {
    let line = fs_err::read_to_string("/proc/cmdline").unwrap_or_default();
    if !is_encrypted(&line) {
        return;
    }
    if let Err(error) = tpm::close() {
        critical(&chain(&error));
    }
}

/// What is to be mounted for a volume: for one of ours, where data are encrypted, what was unlocked and nothing
/// else that bears its label.
pub(crate) fn place(cmdline: &CommandLine, device: &DeviceSpec) -> DeviceSpec {
    match device {
        DeviceSpec::Label(label) if cmdline.encrypted && *label == cmdline.oem_label => {
            DeviceSpec::Path(OEM_NODE.into())
        }
        DeviceSpec::Label(label) if cmdline.encrypted && label == PERSISTENT_LABEL => {
            DeviceSpec::Path(PERSISTENT_NODE.into())
        }
        other => other.clone(),
    }
}
