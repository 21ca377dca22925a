//! How the command line and the layout name volumes.

use cos_sys::device_spec::DeviceSpec;
use std::fmt;
use std::path::{Component, Path, PathBuf};

/// A file system to be mounted: `LABEL=DATA:/data[:options]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Volume {
    /// Where it is.
    pub device: DeviceSpec,
    /// Where it goes, as the running system sees it.
    pub target: PathBuf,
    /// Mount options, comma-separated; empty for the defaults.
    pub options: String,
}

impl fmt::Display for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.device, self.target.display())
    }
}

impl Volume {
    /// Parses `DEVICE:/path[:options]`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        // Paths of devices may hold colons; a mount point begins with a slash.
        let (device, rest) = text
            .split_once(":/")
            .ok_or_else(|| format!("{text:?} is no volume: use LABEL=NAME:/path"))?;
        let (target, options) = rest.split_once(':').unwrap_or((rest, ""));
        if options.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(format!("{text:?} has mount options that are no words"));
        }
        Ok(Self {
            device: DeviceSpec::parse(device)?,
            target: parse_path(&format!("/{target}"))?,
            options: options.to_owned(),
        })
    }
}

/// An absolute path for a mount point: no `..`, nothing that overlayfs or fstab would take for a
/// separator.
pub(crate) fn parse_path(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    let clean = path
        .components()
        .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    let separator = |c: char| c.is_control() || c.is_whitespace() || ",:\\\"".contains(c);
    if !path.is_absolute() || !clean || text.len() > 1024 || text.contains(separator) {
        return Err(format!("{text:?} cannot be a mount point"));
    }
    // Collected from its components: no doubled or trailing slashes.
    let path: PathBuf = path.components().collect();
    if path == Path::new("/") {
        return Err("\"/\" is the root image's own place".to_owned());
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_split_at_the_mount_point() {
        let volume = Volume::parse("LABEL=DATA:/var/data/:ro,noexec").unwrap();
        assert_eq!(volume.device, DeviceSpec::Label("DATA".into()));
        assert_eq!(volume.target, Path::new("/var/data"));
        assert_eq!(volume.options, "ro,noexec");
        let by_path = Volume::parse("/dev/disk/by-path/pci-0000:00:04.0:/x").unwrap();
        assert_eq!(by_path.to_string(), "/dev/disk/by-path/pci-0000:00:04.0:/x");
    }

    #[test]
    fn what_cannot_be_a_volume_is_refused_with_its_text() {
        for text in [
            "",
            "LABEL=X",
            "X:/a",
            "LABEL=:/a",
            "LABEL=X:/a/../b",
            "LABEL=X:/",
            "LABEL=X:/a,b",
            "LABEL=X:/a:o p",
            "/dev/../etc:/a",
        ] {
            assert!(Volume::parse(text).is_err(), "{text}");
        }
    }
}
