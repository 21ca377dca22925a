//! The partitions of the machine that is reset.

use super::ResetError;
use crate::machine::{LOADER_LABEL, Machine, Mode};
use cos_disk::live::mount_points;
use cos_sys::block::BlockDevice;
use cos_sys::detached_mount::DetachedMount;
use cos_sys::device_spec::DeviceSpec;
use cos_sys::locate::{self, Candidate};
use cos_sys::mount::unmount;
use std::path::{Path, PathBuf};

/// Device nodes of the partitions of one disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResetPartitions {
    /// The kernel's name of the disk.
    pub disk: String,
    /// COS_STATE.
    pub state: PathBuf,
    /// COS_GRUB, the EFI system partition, if it is there.
    pub loader: Option<PathBuf>,
    /// COS_OEM, if it is there.
    pub oem: Option<PathBuf>,
    /// COS_PERSISTENT, if it is there.
    pub persistent: Option<PathBuf>,
}

impl ResetPartitions {
    /// Those of the disk that `machine` was booted from or, when that is a live medium, of `device`.
    pub fn find(machine: &Machine, device: Option<&Path>) -> Result<Self, ResetError> {
        let all = locate::scan().map_err(ResetError::Devices)?;
        let wanted = match (machine.boot.mode, device) {
            (Mode::Live, None) => return Err(ResetError::NoDevice),
            (Mode::Live, Some(device)) => device,
            (_, None) => &machine.boot.source,
            (_, Some(_)) => {
                let device = machine.boot.source.clone();
                return Err(ResetError::OtherDevice { device });
            }
        };
        Self::on_disk_of(&all, wanted)
    }

    fn on_disk_of(all: &[Candidate], device: &Path) -> Result<Self, ResetError> {
        let spec = DeviceSpec::Path(device.to_owned());
        let near = locate::pick(all, &spec, None).ok_or_else(|| ResetError::NoDisk {
            device: device.to_owned(),
        })?;
        let near = near.candidate.device;
        let state = find(all, &near, "COS_STATE");
        Ok(Self {
            disk: near.disk().to_owned(),
            state: state.ok_or_else(|| ResetError::NoPartition {
                label: "COS_STATE",
                disk: near.disk().to_owned(),
            })?,
            loader: find(all, &near, LOADER_LABEL),
            oem: find(all, &near, "COS_OEM"),
            persistent: find(all, &near, "COS_PERSISTENT"),
        })
    }

    /// Whether those that are to be wiped are there.
    pub(super) fn check(
        &self,
        oem: bool,
        persistent: bool,
        is_sealed: bool,
    ) -> Result<(), ResetError> {
        for (wiped, label, node) in [
            (is_sealed, LOADER_LABEL, &self.loader),
            (oem, "COS_OEM", &self.oem),
            (persistent, "COS_PERSISTENT", &self.persistent),
        ] {
            if wiped && node.is_none() {
                let disk = self.disk.clone();
                return Err(ResetError::NoPartition { label, disk });
            }
        }
        Ok(())
    }
}

/// The partition with this label on the disk of `near`, and on no other.
fn find(all: &[Candidate], near: &BlockDevice, label: &str) -> Option<PathBuf> {
    let spec = DeviceSpec::Label(label.to_owned());
    let found = locate::pick(all, &spec, Some(near))?;
    Some(found.candidate.device.node)
}

/// Mounts a file system for this process alone.
pub(super) fn mount(
    device: &Path,
    fstype: &str,
    options: &str,
    scratch: &Path,
) -> Result<DetachedMount, ResetError> {
    DetachedMount::new(device, fstype, options, scratch).map_err(|source| ResetError::Mount {
        device: device.to_owned(),
        source: Box::new(source),
    })
}

/// Unmounts a device wherever it is mounted.
pub(super) fn release(device: &Path) -> Result<(), ResetError> {
    let open = |source| ResetError::Open {
        device: device.to_owned(),
        source,
    };
    for place in mount_points(device).map_err(open)? {
        unmount(&place, false).map_err(|error| ResetError::InUse {
            device: device.to_owned(),
            source: std::io::Error::other(error),
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cos_sys::block::Partition;
    use cos_sys::probe::Filesystem;

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
                uuid: None,
                size: None,
            }),
            partition_uuid: None,
        }
    }

    #[test]
    fn a_label_on_another_disk_is_not_meant() {
        let all = [
            partition("vda", 1, "COS_STATE"),
            partition("vda", 2, "COS_OEM"),
            partition("vdb", 1, "COS_RECOVERY"),
            partition("vdb", 2, "COS_STATE"),
            partition("vdc", 1, "COS_RECOVERY"),
        ];
        let found = ResetPartitions::on_disk_of(&all, Path::new("/dev/vdb1")).unwrap();
        assert_eq!(found.state, Path::new("/dev/vdb2"));
        assert_eq!((found.oem.clone(), found.persistent.clone()), (None, None));
        assert!(matches!(
            found.check(true, false, false),
            Err(ResetError::NoPartition {
                label: "COS_OEM",
                ..
            })
        ));
        let error = ResetPartitions::on_disk_of(&all, Path::new("/dev/vdc1")).unwrap_err();
        insta::assert_snapshot!(error, @"disk vdc has no partition COS_STATE");
        let error = ResetPartitions::on_disk_of(&all, Path::new("/dev/vdx")).unwrap_err();
        assert!(matches!(error, ResetError::NoDisk { .. }), "{error}");
    }
}
