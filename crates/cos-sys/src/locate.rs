//! Finding devices by what they hold, and waiting for them to appear.

use crate::block::{BlockDevice, BlockDevices, BlockError};
use crate::device_spec::DeviceSpec;
use crate::probe::{self, Filesystem};
use fs_err::File;
use std::fmt::Write as _;
use std::thread;
use std::time::{Duration, Instant};

/// How often the devices are looked at while one is missing.
const INTERVAL: Duration = Duration::from_millis(100);

/// Devices that never hold a source or volume: looking into a floppy drive takes seconds, and the
/// others are made from files and memory. One that is partitioned is a disk like any other.
const SKIPPED: [&str; 4] = ["loop", "ram", "zram", "fd"];

/// A device and what is on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The device.
    pub device: BlockDevice,
    /// The file system on it.
    pub filesystem: Option<Filesystem>,
    /// `PARTUUID` when it is a partition.
    pub partition_uuid: Option<String>,
}

impl Candidate {
    fn matches(&self, spec: &DeviceSpec) -> bool {
        let filesystem = self.filesystem.as_ref();
        match spec {
            DeviceSpec::PartitionUuid(uuid) => self.partition_uuid.as_ref() == Some(uuid),
            DeviceSpec::Uuid(uuid) => filesystem
                .and_then(|found| found.uuid.as_ref())
                .is_some_and(|found| found.eq_ignore_ascii_case(uuid)),
            DeviceSpec::Label(label) => filesystem.is_some_and(|found| found.bears(label)),
            DeviceSpec::Path(path) => {
                self.device.node == *path
                    || fs_err::canonicalize(path).is_ok_and(|real| real == self.device.node)
            }
        }
    }

    /// What mount(8) and fstab name it by, the most lasting first.
    pub fn lasting_name(&self) -> String {
        match &self.partition_uuid {
            Some(uuid) => format!("PARTUUID={uuid}"),
            None => self.device.node.display().to_string(),
        }
    }

    /// One line for people.
    fn describe(&self) -> String {
        let mut text = format!("{} ({} MiB", self.device.name, self.device.size >> 20);
        if let Some(found) = &self.filesystem {
            // Writing to a String cannot fail.
            let _infallible = write!(text, ", {}", found.kind);
            if let Some(label) = &found.label {
                let _infallible = write!(text, " LABEL={label}");
            }
        }
        if let Some(uuid) = &self.partition_uuid {
            let _infallible = write!(text, ", PARTUUID={uuid}");
        }
        text.push(')');
        text
    }
}

/// Looks at every block device. What cannot be read (a drive without a medium) counts as empty.
pub fn scan() -> Result<Vec<Candidate>, BlockError> {
    let devices = BlockDevices::list()?;
    let mut candidates = Vec::new();
    for device in &devices.0 {
        let is_skipped = device.partition.is_none()
            && SKIPPED
                .iter()
                .any(|skipped| device.name.starts_with(skipped));
        if device.size == 0 || is_skipped {
            continue;
        }
        let partition_uuid = device.partition.as_ref().and_then(|partition| {
            let disk = devices.by_name(&partition.disk)?;
            let file = File::open(&disk.node).ok()?;
            let uuid =
                crate::gpt::partition_uuid(&file, disk.size, disk.block_size, partition.number);
            uuid.ok().flatten()
        });
        candidates.push(Candidate {
            filesystem: File::open(&device.node)
                .and_then(|file| probe::probe(&file))
                .ok()
                .flatten(),
            device: device.clone(),
            partition_uuid,
        });
    }
    Ok(candidates)
}

/// What was found, and whether others would have fitted as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The device.
    pub candidate: Candidate,
    /// More devices on other disks that have the same name.
    pub others: Vec<String>,
}

/// Picks the device that a name means. `near` is a device on the disk booted from: labels of the
/// COS_ family mean a partition of that disk and of no other, whatever another disk may claim.
pub fn pick(
    candidates: &[Candidate],
    spec: &DeviceSpec,
    near: Option<&BlockDevice>,
) -> Option<Found> {
    let same_disk =
        |candidate: &&Candidate| near.is_some_and(|near| candidate.device.disk() == near.disk());
    let matching: Vec<&Candidate> = candidates.iter().filter(|c| c.matches(spec)).collect();
    let ours_only =
        near.is_some() && matches!(spec, DeviceSpec::Label(label) if label.starts_with("COS_"));
    let chosen = matching
        .iter()
        .copied()
        .find(same_disk)
        .or_else(|| (!ours_only).then(|| matching.first().copied()).flatten())?;
    let others = matching
        .iter()
        .filter(|other| other.device.disk() != chosen.device.disk())
        .map(|other| other.device.name.clone())
        .collect();
    Some(Found {
        candidate: chosen.clone(),
        others,
    })
}

/// Waits until the device is there. `Ok(Err(…))` describes what there was instead.
pub fn wait_for(
    spec: &DeviceSpec,
    near: Option<&BlockDevice>,
    timeout: Duration,
) -> Result<Result<Found, String>, BlockError> {
    let start = Instant::now();
    loop {
        let candidates = scan()?;
        if let Some(found) = pick(&candidates, spec, near) {
            return Ok(Ok(found));
        }
        if start.elapsed() >= timeout {
            let present: Vec<String> = candidates.iter().map(Candidate::describe).collect();
            return Ok(Err(if present.is_empty() {
                "none (is the disk's driver in the initrd?)".to_owned()
            } else {
                present.join(", ")
            }));
        }
        thread::sleep(INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::Partition;

    fn partition(disk: &str, number: u32, label: &str) -> Candidate {
        let name = format!("{disk}{number}");
        Candidate {
            device: BlockDevice {
                node: format!("/dev/{name}").into(),
                name,
                size: 64 << 20,
                partition: Some(Partition {
                    disk: disk.into(),
                    number,
                    start: 0,
                }),
                block_size: 512,
            },
            filesystem: Some(Filesystem {
                kind: "ext4",
                label: Some(label.into()),
                uuid: Some(format!("AB-{number}")),
                size: None,
            }),
            partition_uuid: Some(format!("{disk}-{number}")),
        }
    }

    fn machine() -> Vec<Candidate> {
        vec![
            partition("vda", 1, "COS_OEM"),
            partition("vdb", 1, "COS_OEM"),
            partition("vdb", 2, "COS_STATE"),
            partition("vda", 2, "DATA"),
        ]
    }

    fn label(label: &str) -> DeviceSpec {
        DeviceSpec::Label(label.into())
    }

    #[test]
    fn family_labels_mean_the_disk_booted_from() {
        let machine = machine();
        let near = &machine[2].device;
        let name =
            |spec, near| pick(&machine, &spec, near).map(|found| found.candidate.device.name);
        assert_eq!(name(label("COS_OEM"), Some(near)).as_deref(), Some("vdb1"));
        assert_eq!(name(label("COS_PERSISTENT"), Some(near)), None);
        assert_eq!(name(label("DATA"), Some(near)).as_deref(), Some("vda2"));
        assert_eq!(name(label("COS_STATE"), Some(&machine[0].device)), None);
        assert_eq!(
            pick(&machine, &label("COS_OEM"), Some(near))
                .unwrap()
                .others,
            ["vda1"]
        );
    }

    #[test]
    fn every_kind_of_name_finds_its_device() {
        let machine = machine();
        for (spec, name) in [
            (DeviceSpec::PartitionUuid("vdb-2".into()), "vdb2"),
            (DeviceSpec::Uuid("ab-2".into()), "vdb2"),
            (DeviceSpec::Path("/dev/vda2".into()), "vda2"),
        ] {
            assert_eq!(
                pick(&machine, &spec, None).unwrap().candidate.device.name,
                name
            );
        }
    }

    #[test]
    fn a_device_is_described_by_what_one_looks_for() {
        assert_eq!(
            machine()[3].describe(),
            "vda2 (64 MiB, ext4 LABEL=DATA, PARTUUID=vda-2)"
        );
    }
}
