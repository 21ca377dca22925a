//! Mounting and unmounting, with errors that say what was to be mounted where.

use rustix::mount::{MountFlags, UnmountFlags};
use std::ffi::CString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why a mount failed.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The kernel refused to mount.
    #[error("cannot mount {source_name} ({fstype}{}) on {}", comma(.options), .target.display())]
    Mount {
        /// Device, directory or file system name.
        source_name: String,
        /// File system type.
        fstype: String,
        /// Options as they were given.
        options: String,
        /// Mount point.
        target: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel refused to unmount.
    #[error("cannot unmount {}", .target.display())]
    Unmount {
        /// Mount point.
        target: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn comma(options: &str) -> String {
    if options.is_empty() {
        String::new()
    } else {
        format!(", {options}")
    }
}

/// A mount to be made: data, so that plans can be printed and compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Device, directory (of a bind mount) or any name.
    pub source: String,
    /// Mount point.
    pub target: PathBuf,
    /// File system type; `none` for a bind mount.
    pub fstype: String,
    /// Options in the words of mount(8), comma-separated: `ro,nosuid,size=20%`.
    pub options: String,
}

impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} on {} type {} ({})",
            self.source,
            self.target.display(),
            self.fstype,
            self.options
        )
    }
}

/// The generic options, which the kernel takes as flags and not as text.
fn flag(option: &str) -> Option<(MountFlags, bool)> {
    Some(match option {
        "ro" => (MountFlags::RDONLY, true),
        "rw" => (MountFlags::RDONLY, false),
        "nosuid" => (MountFlags::NOSUID, true),
        "suid" => (MountFlags::NOSUID, false),
        "nodev" => (MountFlags::NODEV, true),
        "dev" => (MountFlags::NODEV, false),
        "noexec" => (MountFlags::NOEXEC, true),
        "exec" => (MountFlags::NOEXEC, false),
        "sync" => (MountFlags::SYNCHRONOUS, true),
        "async" => (MountFlags::SYNCHRONOUS, false),
        "noatime" => (MountFlags::NOATIME, true),
        "nodiratime" => (MountFlags::NODIRATIME, true),
        "relatime" => (MountFlags::RELATIME, true),
        "strictatime" => (MountFlags::STRICTATIME, true),
        "lazytime" => (MountFlags::LAZYTIME, true),
        "nosymfollow" => (MountFlags::NOSYMFOLLOW, true),
        "bind" => (MountFlags::BIND, true),
        "rbind" => (MountFlags::BIND.union(MountFlags::REC), true),
        // Words for /etc/fstab and mount(8) that mean nothing to the kernel.
        "defaults" | "auto" | "noauto" | "nofail" | "_netdev" => (MountFlags::empty(), true),
        other if other.starts_with("x-") => (MountFlags::empty(), true),
        _ => return None,
    })
}

/// Splits options into the kernel's flags and the text for the file system.
fn parse_options(options: &str) -> (MountFlags, String) {
    let mut flags = MountFlags::empty();
    let mut data = Vec::new();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match flag(option) {
            Some((bits, true)) => flags |= bits,
            Some((bits, false)) => flags &= !bits,
            None => data.push(option),
        }
    }
    (flags, data.join(","))
}

/// Mounts.
pub fn mount(mount: &Mount) -> Result<(), MountError> {
    let failed = |source: io::Error| MountError::Mount {
        source_name: mount.source.clone(),
        fstype: mount.fstype.clone(),
        options: mount.options.clone(),
        target: mount.target.clone(),
        source,
    };
    let (flags, data) = parse_options(&mount.options);
    let data = CString::new(data).map_err(|error| failed(error.into()))?;
    rustix::mount::mount(
        mount.source.as_str(),
        &mount.target,
        mount.fstype.as_str(),
        flags,
        data.as_c_str(),
    )
    .map_err(|errno| failed(errno.into()))
}

/// Makes a mounted file system writable or read-only; `options` are the mount's others, which the kernel
/// would forget otherwise.
pub fn remount(target: &Path, read_only: bool, options: &str) -> Result<(), MountError> {
    let (mut flags, _) = parse_options(options);
    flags.set(MountFlags::RDONLY, read_only);
    rustix::mount::mount_remount(target, flags, c"").map_err(|errno| MountError::Mount {
        source_name: "what is there".to_owned(),
        fstype: if read_only { "read-only" } else { "read-write" }.to_owned(),
        options: options.to_owned(),
        target: target.to_owned(),
        source: errno.into(),
    })
}

/// Unmounts; `lazily` lets users of it finish and takes it out of sight at once.
pub fn unmount(target: &Path, lazily: bool) -> Result<(), MountError> {
    let flags = if lazily {
        UnmountFlags::DETACH
    } else {
        UnmountFlags::empty()
    };
    rustix::mount::unmount(target, flags).map_err(|errno| MountError::Unmount {
        target: target.to_owned(),
        source: errno.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_split_into_flags_and_text() {
        let (flags, data) = parse_options("defaults,ro,nosuid,size=20%,,mode=0755,x-initrd.mount");
        assert_eq!(flags, MountFlags::RDONLY | MountFlags::NOSUID);
        assert_eq!(data, "size=20%,mode=0755");
        assert_eq!(parse_options("ro,rw").0, MountFlags::empty());
    }

    #[test]
    fn an_error_names_source_type_options_and_target() {
        let error = mount(&Mount {
            source: "/dev/nothing".into(),
            target: "/nonexistent".into(),
            fstype: "ext4".into(),
            options: "ro".into(),
        })
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot mount /dev/nothing (ext4, ro) on /nonexistent"
        );
    }
}
