//! The disks of this machine, for somebody who has to choose one.

use super::InstallError;
use super::refusal::describe;
use crate::build::sizes::Bytes;
use cos_disk::live::{LayoutError, Survey};
use cos_sys::block::BlockDevices;
use std::fmt;
use std::path::PathBuf;

/// Devices that are no disks to install to: made from files and memory, read-only media, or made of
/// other disks.
const SKIPPED: [&str; 8] = ["loop", "ram", "zram", "fd", "sr", "dm-", "nbd", "mtd"];

/// A disk to choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Its node.
    pub node: PathBuf,
    /// Bytes in all.
    pub size: u64,
    /// What its maker calls it.
    pub model: Option<String>,
    /// What is on it, in words.
    pub content: String,
    /// Why it cannot be installed to.
    pub users: Vec<String>,
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (node, size) = (
            self.node.display().to_string(),
            Bytes(self.size).to_string(),
        );
        write!(f, "{node:<14} {size:>10}  ")?;
        if let Some(model) = &self.model {
            write!(f, "{model}; ")?;
        }
        f.write_str(&self.content)?;
        match self.users.first() {
            Some(user) => write!(f, " (in use: {user})"),
            None => Ok(()),
        }
    }
}

/// The disks of this machine. One that cannot be looked into is listed all the same.
pub fn list() -> Result<Vec<Disk>, InstallError> {
    let devices = BlockDevices::list().map_err(LayoutError::Devices)?;
    let disks = devices.0.iter().filter(|device| {
        let skipped = SKIPPED.iter().any(|prefix| device.name.starts_with(prefix));
        device.partition.is_none() && device.size > 0 && !skipped
    });
    let disk = |device: &cos_sys::block::BlockDevice| {
        let (content, users) = match Survey::of(&device.node) {
            Ok(survey) => (describe(&survey.content), survey.users),
            Err(error) => (error.to_string(), Vec::new()),
        };
        Disk {
            node: device.node.clone(),
            size: device.size,
            model: model(&device.name),
            content,
            users,
        }
    };
    Ok(disks.map(disk).collect())
}

/// The disks as one text, a line each.
pub fn text(disks: &[Disk]) -> String {
    let lines: Vec<String> = disks.iter().map(|disk| format!("  {disk}")).collect();
    lines.join("\n")
}

/// What sysfs says, cleaned: it comes from the device.
fn model(name: &str) -> Option<String> {
    let text = fs_err::read_to_string(format!("/sys/class/block/{name}/device/model")).ok()?;
    let clean: String = text
        .trim()
        .chars()
        .filter(|c| !c.is_control())
        .take(40)
        .collect();
    (!clean.is_empty()).then_some(clean)
}
