//! Where a device is mounted: `/proc/self/mountinfo`, see proc(5).

use super::LayoutError;
use super::disk::numbers;
use cos_sys::block::{BlockDevice, BlockDevices};
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// A mount of a device.
#[derive(Debug, PartialEq, Eq)]
struct Mounted {
    /// Numbers of the device, which a Btrfs has of its own making.
    device: Vec<u8>,
    /// What was mounted, as mount(2) was told.
    source: PathBuf,
    /// Where.
    target: PathBuf,
    /// Whether all of the file system is mounted there, and not a directory of it.
    whole: bool,
    writable: bool,
}

/// A directory where the file system on the device is mounted: writable and whole if there is one.
pub(super) fn mount_point(node: &Path) -> io::Result<Option<PathBuf>> {
    let device = device_of(node)?;
    let table = fs_err::read("/proc/self/mountinfo")?;
    let mut found: Vec<Mounted> = parse(&table)
        .filter(|mounted| {
            mounted.device == device.as_bytes()
                || device_of(&mounted.source).is_ok_and(|source| source == device)
        })
        .filter(|mounted| mounted.target.is_dir())
        .collect();
    found.sort_by_key(|mounted| (!mounted.writable, !mounted.whole));
    Ok(found.into_iter().next().map(|mounted| mounted.target))
}

/// Who uses a disk or a partition of it: mount points, swap space, and devices made of it.
pub(super) fn users(disk: &BlockDevice) -> Result<Vec<String>, LayoutError> {
    let devices = BlockDevices::list().map_err(LayoutError::Devices)?;
    let parts: Vec<&BlockDevice> = devices
        .0
        .iter()
        .filter(|device| device.disk() == disk.name)
        .collect();
    let read = |path: &str| {
        fs_err::read(path).map_err(|source| LayoutError::Read {
            path: path.into(),
            source,
        })
    };
    let mountinfo = read("/proc/self/mountinfo")?;
    let mounted: Vec<Mounted> = parse(&mountinfo).collect();
    let swaps = read("/proc/swaps").unwrap_or_default();
    let mut users = Vec::new();
    for part in parts {
        let number = device_of(&part.node).unwrap_or_default();
        let is_it = |node: &Path| device_of(node).is_ok_and(|other| other == number);
        for mount in &mounted {
            if mount.device == number.as_bytes() || is_it(&mount.source) {
                users.push(format!(
                    "{} is mounted on {}",
                    part.name,
                    mount.target.display()
                ));
            }
        }
        let lines = swaps.split(|&byte| byte == b'\n').skip(1);
        let files = lines.filter_map(|line| line.split(u8::is_ascii_whitespace).next());
        if files.map(unescape).any(|file| is_it(&file)) {
            users.push(format!("{} is swap space", part.name));
        }
        let holders = format!("/sys/class/block/{}/holders", part.name);
        for holder in fs_err::read_dir(holders).into_iter().flatten().flatten() {
            let holder = holder.file_name();
            users.push(format!("{} is a part of {}", part.name, holder.display()));
        }
    }
    Ok(users)
}

/// Every place where the device is mounted, the last mounted first.
pub fn mount_points(node: &Path) -> io::Result<Vec<PathBuf>> {
    let device = device_of(node)?;
    let table = fs_err::read("/proc/self/mountinfo")?;
    let is_it = |mounted: &Mounted| {
        mounted.device == device.as_bytes()
            || device_of(&mounted.source).is_ok_and(|source| source == device)
    };
    let mut found: Vec<PathBuf> = parse(&table).filter(is_it).map(|it| it.target).collect();
    found.reverse();
    Ok(found)
}

/// `major:minor` of a device node.
fn device_of(node: &Path) -> io::Result<String> {
    let meta = fs_err::metadata(node)?;
    if !meta.file_type().is_block_device() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let (major, minor) = numbers(meta.rdev());
    Ok(format!("{major}:{minor}"))
}

fn parse(table: &[u8]) -> impl Iterator<Item = Mounted> {
    table.split(|&byte| byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|&byte| byte == b' ').skip(2);
        let device = fields.next()?.to_owned();
        let root = fields.next()?;
        let target = unescape(fields.next()?);
        let options = fields.next()?;
        // Any number of optional fields, a dash, then the file system's own.
        let mut fields = fields.skip_while(|field| *field != b"-").skip(2);
        let source = unescape(fields.next()?);
        let of_superblock = fields.next()?;
        let is_rw = |options: &[u8]| options.split(|&byte| byte == b',').any(|it| it == b"rw");
        Some(Mounted {
            device,
            source,
            target,
            whole: root == b"/",
            writable: is_rw(options) && is_rw(of_superblock),
        })
    })
}

/// Blanks, tabs, line ends and backslashes are written as three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, behind)) = rest.split_first() {
        let code = behind
            .get(..3)
            .filter(|_| byte == b'\\')
            .and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 8).ok());
        out.push(code.unwrap_or(byte));
        rest = if code.is_some() { &behind[3..] } else { behind };
    }
    OsString::from_vec(out).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read_with_their_escapes() {
        let table = b"36 35 98:0 /mnt1 /my\\040data\\134 rw,noatime master:1 - ext4 /dev/ro\\047t rw,errors=continue\n\
            37 35 0:40 / /data ro - btrfs /dev/vda5 rw,subvol=/\n\
            short line\n\n";
        let found: Vec<_> = parse(table).collect();
        assert_eq!(
            found,
            [
                Mounted {
                    device: b"98:0".to_vec(),
                    source: "/dev/ro't".into(),
                    target: "/my data\\".into(),
                    whole: false,
                    writable: true,
                },
                Mounted {
                    device: b"0:40".to_vec(),
                    source: "/dev/vda5".into(),
                    target: "/data".into(),
                    whole: true,
                    writable: false,
                },
            ]
        );
    }

    #[test]
    fn a_backslash_without_digits_stays() {
        assert_eq!(unescape(b"a\\b\\99\\"), Path::new("a\\b\\99\\"));
    }
}
