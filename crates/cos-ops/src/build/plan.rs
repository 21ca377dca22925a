//! A disk, planned: every partition with its place and its identities, before anything is written.

use super::sizes::{Bytes, ContentSizes, MIB, Role, SizeError, SizeRequest, partition_sizes};
use crate::identity::Identity;
use cos_disk::DiskError;
use cos_disk::gpt::{self, Layout, Partition, PartitionRequest, Size, types};
use cos_disk::live::{FileSystem, LayoutError, NewPartition};
use cos_sys::probe::label_on;
use serde::Serialize;
use std::fmt;
use uuid::Uuid;

/// Why a disk cannot be planned.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A partition's size.
    #[error(transparent)]
    Size(#[from] SizeError),
    /// The disk's size.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A partition of the user's own.
    #[error(transparent)]
    Extra(#[from] LayoutError),
    /// A name or label that is cOS' own, or there already.
    #[error("{name:?} cannot be the name or label of another partition")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// A file system that does not fit its partition.
    #[error("partition persistent has {} and {filesystem} needs {}", Bytes(*.given), Bytes(*.needed))]
    FileSystemTooLarge {
        /// Which.
        filesystem: FileSystem,
        /// Bytes.
        needed: u64,
        /// Bytes.
        given: u64,
    },
}

/// What a disk has besides what every disk of cOS has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extras {
    /// More partitions, in front of the last one.
    pub partitions: Vec<NewPartition>,
    /// The file system of COS_PERSISTENT.
    pub persistent: FileSystem,
}

/// A planned disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskPlan {
    /// Identity of the partition table.
    pub disk_uuid: Uuid,
    /// One partition for each role, in the order of [`Role::ALL`], with the extra ones in front of the
    /// last.
    pub layout: Layout,
    /// What is not as on every disk.
    pub extras: Extras,
}

/// A partition of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedPartition<'p> {
    /// Position in the partition table, from 1.
    pub number: u32,
    /// Its place.
    pub partition: &'p Partition,
    /// What it is for; `None` for one of the user's own.
    pub role: Option<Role>,
    /// Label of the file system.
    pub label: Option<&'p str>,
    /// The file system; none on the BIOS boot partition.
    pub filesystem: Option<FileSystem>,
}

impl DiskPlan {
    /// Plans a disk that holds `content`.
    pub fn new(
        request: &SizeRequest,
        extras: &Extras,
        identity: &Identity,
        content: &ContentSizes,
    ) -> Result<Self, PlanError> {
        check_names(&extras.partitions)?;
        let sizes = partition_sizes(request, content)?;
        let mut requests: Vec<PartitionRequest> = sizes
            .into_iter()
            .map(|(role, size)| PartitionRequest {
                name: role.name().to_owned(),
                type_guid: match role {
                    Role::Bios => types::BIOS_BOOT,
                    Role::Efi => types::EFI_SYSTEM,
                    _ => types::LINUX_DATA,
                },
                unique_guid: identity.uuid(&format!("{} partition", role.name())),
                size,
                attributes: 0,
            })
            .collect();
        for extra in &extras.partitions {
            let name = extra.partition_label.clone().unwrap_or_default();
            requests.insert(
                requests.len() - 1,
                PartitionRequest {
                    type_guid: match extra.filesystem {
                        FileSystem::Swap => types::LINUX_SWAP,
                        FileSystem::Vfat => types::MICROSOFT_BASIC_DATA,
                        _ => types::LINUX_DATA,
                    },
                    unique_guid: identity.uuid(&format!("extra partition {name}")),
                    size: Size::Fixed(extra.size_mib.saturating_mul(MIB)),
                    attributes: 0,
                    name,
                },
            );
        }
        let plan = Self {
            disk_uuid: identity.uuid("disk"),
            layout: gpt::plan(&requests, request.disk)?,
            extras: extras.clone(),
        };
        let (filesystem, given) = (extras.persistent, plan.partition(Role::Persistent).bytes());
        let needed = filesystem.least_size();
        if given < needed {
            return Err(PlanError::FileSystemTooLarge {
                filesystem,
                needed,
                given,
            });
        }
        Ok(plan)
    }

    /// The partition with this role.
    pub fn partition(&self, role: Role) -> &Partition {
        let behind = match role {
            Role::Persistent => self.extras.partitions.len(),
            _ => 0,
        };
        &self.layout.partitions[role as usize + behind]
    }

    /// Every partition, in disk order.
    pub fn partitions(&self) -> impl Iterator<Item = PlannedPartition<'_>> {
        let roles = Role::ALL.into_iter().map(|role| {
            let filesystem = match role {
                Role::Bios => None,
                Role::Efi => Some(FileSystem::Vfat),
                Role::Persistent => Some(self.extras.persistent),
                _ => Some(FileSystem::Ext4),
            };
            let kind = filesystem.map_or("", FileSystem::name);
            let label = role.label().map(|label| label_on(kind, label));
            (Some(role), label, filesystem)
        });
        let extras = self.extras.partitions.iter().map(|extra| {
            let label = Some(extra.fs_label.as_str()).filter(|label| !label.is_empty());
            (None, label, Some(extra.filesystem))
        });
        let last = Role::ALL.len() - 1;
        let what = roles
            .clone()
            .take(last)
            .chain(extras)
            .chain(roles.skip(last));
        let places = (1..).zip(&self.layout.partitions);
        places.zip(what).map(
            |((number, partition), (role, label, filesystem))| PlannedPartition {
                number,
                partition,
                role,
                label,
                filesystem,
            },
        )
    }

    /// The plan for `--json`.
    pub fn describe(&self) -> DiskDescription {
        let partition = |planned: PlannedPartition<'_>| PartitionDescription {
            number: planned.number,
            name: planned.partition.name.clone(),
            label: planned.label.map(str::to_owned),
            filesystem: planned.filesystem.map(FileSystem::name),
            start: planned.partition.offset(),
            size: planned.partition.bytes(),
            uuid: planned.partition.unique_guid.to_string(),
        };
        let partitions = self.partitions().map(partition).collect();
        DiskDescription {
            size: self.layout.total_bytes,
            partitions,
        }
    }
}

/// Partitions are found by name and label: none may be there twice, or look like one of cOS' own.
fn check_names(extras: &[NewPartition]) -> Result<(), PlanError> {
    let mut taken: Vec<&str> = Role::ALL.iter().map(|role| role.name()).collect();
    for extra in extras {
        extra.check()?;
        let name = extra.partition_label.as_deref().unwrap_or_default();
        let is_ours = extra.fs_label.starts_with("COS_");
        let names = [name, extra.fs_label.as_str()];
        if let Some(name) = names
            .into_iter()
            .find(|name| taken.contains(name) || is_ours)
        {
            return Err(PlanError::NameTaken { name: name.into() });
        }
        // The name of one may be its own label.
        taken.extend(names.into_iter().filter(|name| !name.is_empty()));
    }
    Ok(())
}

/// A planned disk, for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DiskDescription {
    /// Length of the disk in bytes.
    pub size: u64,
    /// Partitions in disk order.
    pub partitions: Vec<PartitionDescription>,
}

/// A planned partition, for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PartitionDescription {
    /// Position in the partition table, from 1.
    pub number: u32,
    /// Name in the partition table.
    pub name: String,
    /// Label of the file system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The file system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filesystem: Option<&'static str>,
    /// First byte on the disk.
    pub start: u64,
    /// Length in bytes.
    pub size: u64,
    /// Identity in the partition table.
    pub uuid: String,
}

impl fmt::Display for DiskPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:>2}  {:<10}  {:<14}  {:>10}  {:>10}",
            "#", "name", "label", "start", "size"
        )?;
        for planned in self.partitions() {
            let PlannedPartition {
                number, partition, ..
            } = planned;
            let (start, size) = (Bytes(partition.offset()), Bytes(partition.bytes()));
            let (start, size) = (start.to_string(), size.to_string());
            let (name, label) = (&partition.name, planned.label.unwrap_or("-"));
            writeln!(
                f,
                "{number:>2}  {name:<10}  {label:<14}  {start:>10}  {size:>10}"
            )?;
        }
        writeln!(f, "disk: {}", Bytes(self.layout.total_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_printed() {
        let identity = Identity::from_parts(&[b"test"]);
        let content = ContentSizes {
            snapshot: vec![200 * MIB],
            ..ContentSizes::default()
        };
        let plan = DiskPlan::new(
            &SizeRequest::default(),
            &Extras::default(),
            &identity,
            &content,
        )
        .unwrap();
        insta::assert_snapshot!(plan, @"
         #  name        label                start        size
         1  bios        -                  1.0 MiB     1.0 MiB
         2  efi         COS_GRUB           2.0 MiB   256.0 MiB
         3  oem         COS_OEM          258.0 MiB    64.0 MiB
         4  recovery    COS_RECOVERY     322.0 MiB   636.0 MiB
         5  state       COS_STATE        958.0 MiB   942.0 MiB
         6  persistent  COS_PERSISTENT     1.9 GiB   512.0 MiB
        disk: 2.4 GiB
        ");
        for planned in plan.partitions() {
            assert_eq!(planned.partition.name, planned.role.unwrap().name());
        }
    }

    fn extra(name: &str, filesystem: FileSystem, label: &str) -> NewPartition {
        NewPartition {
            fs_label: label.into(),
            size_mib: 400,
            partition_label: Some(name.into()),
            filesystem,
            bootable: false,
        }
    }

    fn with(extras: &Extras) -> Result<DiskPlan, PlanError> {
        let request = SizeRequest {
            disk: Some(4096 * MIB),
            ..SizeRequest::default()
        };
        let identity = Identity::from_parts(&[b"test"]);
        DiskPlan::new(&request, extras, &identity, &ContentSizes::default())
    }

    #[test]
    fn extra_partitions_lie_in_front_of_the_last() {
        let extras = Extras {
            partitions: vec![
                extra("data", FileSystem::Xfs, "DATA"),
                extra("swap", FileSystem::Swap, ""),
            ],
            persistent: FileSystem::Xfs,
        };
        let plan = with(&extras).unwrap();
        insta::assert_snapshot!(plan, @"
         #  name        label                start        size
         1  bios        -                  1.0 MiB     1.0 MiB
         2  efi         COS_GRUB           2.0 MiB   256.0 MiB
         3  oem         COS_OEM          258.0 MiB    64.0 MiB
         4  recovery    COS_RECOVERY     322.0 MiB    16.0 MiB
         5  state       COS_STATE        338.0 MiB    16.0 MiB
         6  data        DATA             354.0 MiB   400.0 MiB
         7  swap        -                754.0 MiB   400.0 MiB
         8  persistent  COS_PERSISTE       1.1 GiB     2.9 GiB
        disk: 4.0 GiB
        ");
        let last = plan.partitions().last().unwrap();
        assert_eq!(last.partition, plan.partition(Role::Persistent));
        assert_eq!((last.number, last.filesystem), (8, Some(FileSystem::Xfs)));
        assert_eq!(plan.partition(Role::State).name, "state");
    }

    #[test]
    fn names_that_are_taken_are_refused() {
        for (name, label) in [("state", "X"), ("data", "COS_STATE"), ("data", "swap")] {
            let extras = Extras {
                partitions: vec![
                    extra("swap", FileSystem::Ext4, "S"),
                    extra(name, FileSystem::Ext4, label),
                ],
                ..Extras::default()
            };
            let error = with(&extras).unwrap_err();
            assert!(matches!(error, PlanError::NameTaken { .. }), "{error}");
        }
    }

    #[test]
    fn a_disk_too_small_is_refused_with_numbers() {
        let identity = Identity::from_parts(&[b"test"]);
        let content = ContentSizes {
            snapshot: vec![200 * MIB],
            ..ContentSizes::default()
        };
        let request = SizeRequest {
            disk: Some(1024 * MIB),
            ..SizeRequest::default()
        };
        insta::assert_snapshot!(DiskPlan::new(&request, &Extras::default(), &identity, &content).unwrap_err(), @"2060451840 bytes are needed, but the disk has 1073741824");
    }
}
