//! How command lines and configuration name devices.

use std::fmt;
use std::path::PathBuf;

/// Longest device name taken from outside.
const MAX_NAME: usize = 256;

/// A device, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceSpec {
    /// `PARTUUID=`: identity of the partition; lower case.
    PartitionUuid(String),
    /// `UUID=`: identity of the file system, as `blkid` spells it; compared without regard to case.
    Uuid(String),
    /// `LABEL=`: label of the file system.
    Label(String),
    /// A path below `/dev`.
    Path(PathBuf),
}

impl fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PartitionUuid(uuid) => write!(f, "PARTUUID={uuid}"),
            Self::Uuid(uuid) => write!(f, "UUID={uuid}"),
            Self::Label(label) => write!(f, "LABEL={label}"),
            Self::Path(path) => write!(f, "{}", path.display()),
        }
    }
}

impl DeviceSpec {
    /// Parses `PARTUUID=…`, `UUID=…`, `LABEL=…` or `/dev/…`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} names no device: use PARTUUID=, UUID=, LABEL= or /dev/…");
        if text.len() > MAX_NAME || text.chars().any(char::is_control) {
            return Err(bad());
        }
        if text.starts_with("/dev/") && !text.contains("..") {
            return Ok(Self::Path(text.into()));
        }
        match text.split_once('=') {
            Some((_, "")) | None => Err(bad()),
            Some(("PARTUUID", uuid)) => Ok(Self::PartitionUuid(uuid.to_ascii_lowercase())),
            Some(("UUID", uuid)) => Ok(Self::Uuid(uuid.to_owned())),
            Some(("LABEL", label)) => Ok(Self::Label(label.to_owned())),
            Some(_) => Err(bad()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_as_they_are_written() {
        for text in ["PARTUUID=ab-1", "UUID=AB12", "LABEL=COS_STATE", "/dev/vda1"] {
            assert_eq!(DeviceSpec::parse(text).unwrap().to_string(), text);
        }
        for bad in ["", "LABEL=", "X=1", "vda", "/dev/../etc"] {
            assert!(DeviceSpec::parse(bad).is_err(), "{bad}");
        }
    }
}
