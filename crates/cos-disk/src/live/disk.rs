//! Finding the disk, and what lies on it as the kernel sees it.

use super::{LayoutError, Target, content};
use cos_sys::block::{BlockDevice, BlockDevices};
use cos_sys::gpt::Table;
use fs_err::File;
use std::collections::BTreeSet;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Devices stacked higher than this are not followed down.
const MAX_DEPTH: u32 = 8;

/// The block devices of the machine and how they are stacked.
pub(super) struct Disks {
    sysfs: PathBuf,
    devices: BlockDevices,
}

impl Disks {
    pub(super) fn list() -> Result<Self, LayoutError> {
        Self::list_at(Path::new("/sys"))
    }

    fn list_at(sysfs: &Path) -> Result<Self, LayoutError> {
        let devices = BlockDevices::list_at(&sysfs.join("class/block"));
        Ok(Self {
            sysfs: sysfs.to_owned(),
            devices: devices.map_err(LayoutError::Devices)?,
        })
    }

    /// The disk that is meant. Where several bear a label, it is the one that `boot` is on.
    pub(super) fn find(
        &self,
        target: &Target,
        boot: Option<&Path>,
    ) -> Result<&BlockDevice, LayoutError> {
        match target {
            Target::Boot(path) | Target::Path(path) => self.of_path(path),
            Target::Label(label) => self.of_label(label, boot),
        }
    }

    /// The disk with this name, as it is now.
    pub(super) fn again(&self, disk: &BlockDevice) -> Result<&BlockDevice, LayoutError> {
        let found = self.devices.by_name(&disk.name);
        found.ok_or_else(|| LayoutError::NotADisk {
            path: disk.node.clone(),
        })
    }

    /// The partitions of a disk that the kernel knows, with their numbers and first bytes.
    pub(super) fn partitions(
        &self,
        disk: &BlockDevice,
    ) -> impl Iterator<Item = (u32, u64, &BlockDevice)> {
        self.devices.0.iter().filter_map(|device| {
            let partition = device.partition.as_ref()?;
            (partition.disk == disk.name).then_some((partition.number, partition.start, device))
        })
    }

    /// Devices made of space on the disk, but for its partitions: unlocked encrypted partitions,
    /// logical volumes, arrays.
    pub(super) fn mapped(&self, disk: &BlockDevice) -> impl Iterator<Item = &BlockDevice> {
        self.devices.0.iter().filter(|device| {
            device.disk() != disk.name && self.below(device.disk()).contains(&disk.name)
        })
    }

    fn of_path(&self, path: &Path) -> Result<&BlockDevice, LayoutError> {
        let find = |source| LayoutError::Find {
            path: path.to_owned(),
            source,
        };
        let unknown = || LayoutError::NotADisk {
            path: path.to_owned(),
        };
        let meta = fs_err::metadata(path).map_err(find)?;
        if !meta.file_type().is_block_device() {
            return Err(unknown());
        }
        let (major, minor) = numbers(meta.rdev());
        let entry = self.sysfs.join(format!("dev/block/{major}:{minor}"));
        let entry = fs_err::canonicalize(entry).map_err(find)?;
        let name = entry.file_name().and_then(|name| name.to_str());
        let device = name.and_then(|name| self.devices.by_name(name));
        device
            .and_then(|it| self.stands_for(it))
            .ok_or_else(unknown)
    }

    fn of_label(&self, label: &str, boot: Option<&Path>) -> Result<&BlockDevice, LayoutError> {
        let mut disks = self.disks_where(|device| {
            let found = open(device).and_then(|file| content::probe(&file).ok().flatten());
            found.is_some_and(|found| found.label.as_deref() == Some(label))
        });
        if disks.is_empty() {
            disks = self
                .disks_where(|device| device.partition.is_none() && has_partition(device, label));
        }
        let boot = || self.of_path(boot?).ok();
        match disks.as_slice() {
            [] => Err(LayoutError::NoSuchLabel {
                label: label.to_owned(),
            }),
            [disk] => Ok(disk),
            several => {
                boot()
                    .filter(|boot| several.contains(boot))
                    .ok_or_else(|| LayoutError::Ambiguous {
                        label: label.to_owned(),
                        disks: several
                            .iter()
                            .map(|disk| disk.node.display().to_string())
                            .collect(),
                    })
            }
        }
    }

    /// The disks, each once, of all devices of which something is true.
    fn disks_where(&self, holds: impl Fn(&BlockDevice) -> bool) -> Vec<&BlockDevice> {
        let devices = self.devices.0.iter().filter(|device| holds(device));
        let mut disks: Vec<&BlockDevice> = Vec::new();
        for disk in devices.filter_map(|device| self.stands_for(device)) {
            if !disks.contains(&disk) {
                disks.push(disk);
            }
        }
        disks
    }

    /// The disk that a device stands for: itself, what it is a partition of, or the one disk it is
    /// mapped onto.
    fn stands_for(&self, device: &BlockDevice) -> Option<&BlockDevice> {
        let mut name = device.disk().to_owned();
        // The device mapper's own devices have no partitions; an array is a disk, even one that a
        // single disk is left of.
        for _ in 0..MAX_DEPTH {
            if !name.starts_with("dm-") {
                return self.devices.by_name(&name);
            }
            let below = self.slaves(&name);
            let disks: BTreeSet<&str> = below
                .iter()
                .filter_map(|slave| self.devices.by_name(slave))
                .map(BlockDevice::disk)
                .collect();
            let mut disks = disks.into_iter();
            let (Some(only), None) = (disks.next(), disks.next()) else {
                return None;
            };
            only.clone_into(&mut name);
        }
        None
    }

    /// All disks somewhere below a device.
    fn below(&self, name: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut level = BTreeSet::from([name.to_owned()]);
        for _ in 0..MAX_DEPTH {
            let slaves = level.iter().flat_map(|name| self.slaves(name));
            level = slaves
                .filter_map(|slave| Some(self.devices.by_name(&slave)?.disk().to_owned()))
                .filter(|disk| found.insert(disk.clone()))
                .collect();
        }
        found
    }

    /// Names of the devices that a device is made of.
    fn slaves(&self, name: &str) -> Vec<String> {
        let directory = self.sysfs.join("class/block").join(name).join("slaves");
        let entries = fs_err::read_dir(directory).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect()
    }
}

/// Major and minor number of a device.
pub(super) fn numbers(device: u64) -> (u32, u32) {
    (rustix::fs::major(device), rustix::fs::minor(device))
}

/// Opens a device to look at it. Drives without a medium have no size; floppy drives take seconds.
fn open(device: &BlockDevice) -> Option<File> {
    let is_floppy = device.name.starts_with("fd");
    (device.size > 0 && !is_floppy)
        .then(|| File::open(&device.node).ok())
        .flatten()
}

fn has_partition(disk: &BlockDevice, name: &str) -> bool {
    let table = open(disk).and_then(|file| Table::read(&file, disk.size, disk.block_size).ok());
    table.is_some_and(|table| table.entries().any(|entry| entry.name == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A `/sys` with disks sda (two partitions), sdb, sdc; an encrypted sda2 (dm-0) with a volume
    /// in it (dm-1); a volume over sda1 and sdb (dm-2); an array of which sdc is left (md0, with a
    /// partition); and a loop of mappings onto themselves (dm-3, dm-4).
    fn machine(root: &Path) -> Disks {
        let class = root.join("class/block");
        fs_err::create_dir_all(&class).unwrap();
        let device = |path: &str, partition: Option<u32>, slaves: &[&str]| {
            let real = root.join("devices").join(path);
            let name = real.file_name().unwrap().to_str().unwrap().to_owned();
            fs_err::create_dir_all(real.join("slaves")).unwrap();
            fs_err::write(real.join("uevent"), format!("DEVNAME={name}\n")).unwrap();
            fs_err::write(real.join("size"), "2048\n").unwrap();
            if let Some(number) = partition {
                fs_err::write(real.join("partition"), format!("{number}\n")).unwrap();
                fs_err::write(real.join("start"), "0\n").unwrap();
            }
            for slave in slaves {
                fs_err::write(real.join("slaves").join(slave), "").unwrap();
            }
            fs_err::os::unix::fs::symlink(&real, class.join(name)).unwrap();
        };
        device("sda", None, &[]);
        device("sda/sda1", Some(1), &[]);
        device("sda/sda2", Some(2), &[]);
        device("sdb", None, &[]);
        device("sdc", None, &[]);
        device("dm-0", None, &["sda2"]);
        device("dm-1", None, &["dm-0"]);
        device("dm-2", None, &["sda1", "sdb"]);
        device("dm-3", None, &["dm-4"]);
        device("dm-4", None, &["dm-3"]);
        device("md0", None, &["sdc"]);
        device("md0/md0p1", Some(1), &[]);
        Disks::list_at(root).unwrap()
    }

    #[test]
    fn a_device_stands_for_the_disk_it_is_on_alone() {
        let root = tempfile::tempdir().unwrap();
        let disks = machine(root.path());
        for (name, disk) in [
            ("sda", Some("sda")),
            ("sda2", Some("sda")),
            ("dm-0", Some("sda")),
            ("dm-1", Some("sda")),
            ("dm-2", None),
            ("dm-3", None),
            ("md0", Some("md0")),
            ("md0p1", Some("md0")),
        ] {
            let device = disks.devices.by_name(name).unwrap();
            let found = disks.stands_for(device).map(|disk| disk.name.as_str());
            assert_eq!(found, disk, "{name}");
        }
    }

    #[test]
    fn what_is_mapped_onto_a_disk_is_found_through_all_layers() {
        let root = tempfile::tempdir().unwrap();
        let disks = machine(root.path());
        let mapped = |name: &str| -> Vec<&str> {
            let disk = disks.devices.by_name(name).unwrap();
            disks
                .mapped(disk)
                .map(|device| device.name.as_str())
                .collect()
        };
        assert_eq!(mapped("sda"), ["dm-0", "dm-1", "dm-2"]);
        assert_eq!(mapped("sdb"), ["dm-2"]);
        assert_eq!(mapped("sdc"), ["md0", "md0p1"]);
        let disk = disks.devices.by_name("sda").unwrap();
        let numbers: Vec<u32> = disks.partitions(disk).map(|(number, ..)| number).collect();
        assert_eq!(numbers, [1, 2]);
    }

    #[test]
    fn a_file_is_no_disk() {
        let root = tempfile::tempdir().unwrap();
        let disks = machine(root.path());
        let file = root.path().join("disk.img");
        fs_err::write(&file, "").unwrap();
        let error = disks.find(&Target::Path(file), None).unwrap_err();
        assert!(matches!(error, LayoutError::NotADisk { .. }), "{error}");
        let error = disks
            .find(&Target::Boot("/nonexistent".into()), None)
            .unwrap_err();
        assert!(matches!(error, LayoutError::Find { .. }), "{error}");
    }
}
