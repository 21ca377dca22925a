//! Block devices as the kernel lists them under `/sys/class/block`.

use std::io;
use std::path::{Path, PathBuf};

/// More devices than this are not looked at.
const MAX_DEVICES: usize = 4096;

/// Bytes in a sector of sysfs (`size`, `start`), whatever the device's own sector size.
pub const SYSFS_SECTOR: u64 = 512;

/// Why block devices could not be listed.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// The list itself could not be read.
    #[error("cannot list the block devices")]
    List {
        /// Why.
        source: io::Error,
    },
}

/// A disk or partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockDevice {
    /// The kernel's name: `vda2`.
    pub name: String,
    /// Its node in `/dev`.
    pub node: PathBuf,
    /// Size in bytes; 0 for a drive without a medium.
    pub size: u64,
    /// Which part of which disk, when it is a partition.
    pub partition: Option<Partition>,
    /// Logical block size in bytes of the disk.
    pub block_size: u32,
}

/// Where a partition lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// The kernel's name of the disk: `vda`.
    pub disk: String,
    /// Number, from 1.
    pub number: u32,
    /// First byte on the disk.
    pub start: u64,
}

impl BlockDevice {
    /// Name of the disk: its own, or that of the disk it is a part of.
    pub fn disk(&self) -> &str {
        self.partition
            .as_ref()
            .map_or(self.name.as_str(), |partition| partition.disk.as_str())
    }
}

/// The block devices of a machine, sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockDevices(pub Vec<BlockDevice>);

impl BlockDevices {
    /// Lists the machine's block devices.
    pub fn list() -> Result<Self, BlockError> {
        Self::list_at(Path::new("/sys/class/block"))
    }

    /// Lists the block devices under a directory like `/sys/class/block`. Devices that go away while
    /// they are looked at are left out.
    pub fn list_at(class: &Path) -> Result<Self, BlockError> {
        let entries = fs_err::read_dir(class).map_err(|source| BlockError::List { source })?;
        let mut devices = Vec::new();
        for entry in entries.take(MAX_DEVICES) {
            let entry = entry.map_err(|source| BlockError::List { source })?;
            devices.extend(read_device(&entry.path()));
        }
        devices.sort_by(|a, b| natural(&a.name).cmp(&natural(&b.name)));
        Ok(Self(devices))
    }

    /// The device with this name.
    pub fn by_name(&self, name: &str) -> Option<&BlockDevice> {
        self.0.iter().find(|device| device.name == name)
    }

    /// The other partitions of the disk that `device` is on, and `device` itself.
    pub fn siblings<'a>(
        &'a self,
        device: &'a BlockDevice,
    ) -> impl Iterator<Item = &'a BlockDevice> {
        self.0.iter().filter(move |other| {
            other.partition.is_some() && device.partition.is_some() && other.disk() == device.disk()
        })
    }
}

/// Sorts `vda10` behind `vda9`: the name without its trailing number, then that number.
fn natural(name: &str) -> (&str, u64) {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    (stem, name[stem.len()..].parse().unwrap_or(0))
}

fn read_device(entry: &Path) -> Option<BlockDevice> {
    let name = entry.file_name()?.to_str()?.to_owned();
    let real = fs_err::canonicalize(entry).ok()?;
    let uevent = fs_err::read_to_string(real.join("uevent")).ok()?;
    let node = uevent
        .lines()
        .find_map(|line| line.strip_prefix("DEVNAME="))
        .map(|node| Path::new("/dev").join(node))?;
    let number = |file: &str| -> Option<u64> {
        let text = fs_err::read_to_string(real.join(file)).ok()?;
        text.trim().parse().ok()
    };
    let size = number("size")?.checked_mul(SYSFS_SECTOR)?;
    let partition = match number("partition") {
        Some(partition) => Some(Partition {
            disk: real.parent()?.file_name()?.to_str()?.to_owned(),
            number: u32::try_from(partition).ok()?,
            start: number("start")?.checked_mul(SYSFS_SECTOR)?,
        }),
        None => None,
    };
    let block_size = number("queue/logical_block_size")
        .or_else(|| number("../queue/logical_block_size"))
        .and_then(|size| u32::try_from(size).ok())
        .unwrap_or(512);
    Some(BlockDevice {
        name,
        node,
        size,
        partition,
        block_size,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A `/sys` with one disk of two partitions, as the kernel lays it out.
    fn sysfs(root: &Path) -> PathBuf {
        let disk = root.join("devices/virtio0/block/vda");
        let class = root.join("class/block");
        fs_err::create_dir_all(&class).unwrap();
        let write = |path: PathBuf, text: &str| {
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        };
        write(
            disk.join("uevent"),
            "MAJOR=254\nDEVNAME=vda\nDEVTYPE=disk\n",
        );
        write(disk.join("size"), "4096\n");
        write(disk.join("queue/logical_block_size"), "512\n");
        for (number, start, size) in [(2, 34, 100), (10, 2048, 1000)] {
            let part = disk.join(format!("vda{number}"));
            write(part.join("uevent"), &format!("DEVNAME=vda{number}\n"));
            write(part.join("partition"), &format!("{number}\n"));
            write(part.join("start"), &format!("{start}\n"));
            write(part.join("size"), &format!("{size}\n"));
        }
        for (name, target) in [
            ("vda", "../../devices/virtio0/block/vda"),
            ("vda2", "../../devices/virtio0/block/vda/vda2"),
            ("vda10", "../../devices/virtio0/block/vda/vda10"),
        ] {
            fs_err::os::unix::fs::symlink(target, class.join(name)).unwrap();
        }
        class
    }

    #[test]
    fn disks_and_partitions_are_listed_in_order() {
        let root = tempfile::tempdir().unwrap();
        let devices = BlockDevices::list_at(&sysfs(root.path())).unwrap();
        let names: Vec<_> = devices
            .0
            .iter()
            .map(|device| device.name.as_str())
            .collect();
        assert_eq!(names, ["vda", "vda2", "vda10"]);
        let second = devices.by_name("vda10").unwrap();
        assert_eq!(second.node, Path::new("/dev/vda10"));
        assert_eq!(second.size, 512_000);
        assert_eq!(
            second.partition,
            Some(Partition {
                disk: "vda".into(),
                number: 10,
                start: 1_048_576
            })
        );
        assert_eq!(devices.siblings(second).count(), 2);
        assert_eq!(devices.siblings(devices.by_name("vda").unwrap()).count(), 0);
    }
}
