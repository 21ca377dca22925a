//! A disk, planned: every partition with its place and its identities, before anything is written.

use super::sizes::{Bytes, ContentSizes, Role, SizeError, SizeRequest, partition_sizes};
use crate::identity::Identity;
use cos_disk::DiskError;
use cos_disk::gpt::{self, Layout, Partition, PartitionRequest, types};
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
}

/// A planned disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskPlan {
    /// Identity of the partition table.
    pub disk_uuid: Uuid,
    /// One partition for each role, in the order of [`Role::ALL`].
    pub layout: Layout,
}

impl DiskPlan {
    /// Plans a disk that holds `content`.
    pub fn new(
        request: &SizeRequest,
        identity: &Identity,
        content: &ContentSizes,
    ) -> Result<Self, PlanError> {
        let sizes = partition_sizes(request, content)?;
        let requests: Vec<PartitionRequest> = sizes
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
        let layout = gpt::plan(&requests, request.disk)?;
        Ok(Self {
            disk_uuid: identity.uuid("disk"),
            layout,
        })
    }

    /// The partition with this role.
    pub fn partition(&self, role: Role) -> &Partition {
        &self.layout.partitions[role as usize]
    }

    /// Every partition with its role.
    pub fn partitions(&self) -> impl Iterator<Item = (Role, &Partition)> {
        Role::ALL
            .into_iter()
            .map(|role| (role, self.partition(role)))
    }

    /// The plan for `--json`.
    pub fn describe(&self) -> DiskDescription {
        let partition = |(role, partition): (Role, &Partition)| PartitionDescription {
            number: role.number(),
            name: role.name(),
            label: role.label(),
            start: partition.offset(),
            size: partition.bytes(),
            uuid: partition.unique_guid.to_string(),
        };
        let partitions = self.partitions().map(partition).collect();
        DiskDescription {
            size: self.layout.total_bytes,
            partitions,
        }
    }
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
    pub name: &'static str,
    /// Label of the file system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<&'static str>,
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
        for (role, partition) in self.partitions() {
            let (start, size) = (Bytes(partition.offset()), Bytes(partition.bytes()));
            let (start, size) = (start.to_string(), size.to_string());
            let (number, name, label) = (role.number(), role.name(), role.label().unwrap_or("-"));
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
    use crate::build::sizes::MIB;

    #[test]
    fn a_plan_is_printed() {
        let identity = Identity::from_parts(&[b"test"]);
        let content = ContentSizes {
            snapshot: vec![200 * MIB],
            ..ContentSizes::default()
        };
        let plan = DiskPlan::new(&SizeRequest::default(), &identity, &content).unwrap();
        insta::assert_snapshot!(plan, @"
         #  name        label                start        size
         1  bios        -                  1.0 MiB     1.0 MiB
         2  efi         COS_GRUB           2.0 MiB   256.0 MiB
         3  oem         COS_OEM          258.0 MiB    64.0 MiB
         4  recovery    COS_RECOVERY     322.0 MiB   433.0 MiB
         5  state       COS_STATE        755.0 MiB   636.0 MiB
         6  persistent  COS_PERSISTENT     1.4 GiB   512.0 MiB
        disk: 1.9 GiB
        ");
        for (role, partition) in plan.partitions() {
            assert_eq!(partition.name, role.name());
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
        insta::assert_snapshot!(DiskPlan::new(&request, &identity, &content).unwrap_err(), @"1526726656 bytes are needed, but the disk has 1073741824");
    }
}
