//! Laying partitions out on a disk, before anything is written.

use super::{ALIGNMENT, BACKUP_SECTORS, Partition, SECTOR};
use crate::DiskError;
use uuid::Uuid;

/// How large a partition is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// At least this many bytes; rounded up to whole [alignment](ALIGNMENT) units.
    Fixed(u64),
    /// All that the disk has left, but at least this many bytes. Only the last partition.
    Rest {
        /// The least size, in bytes.
        minimum: u64,
    },
}

impl Size {
    fn minimum(self) -> u64 {
        match self {
            Self::Fixed(bytes) | Self::Rest { minimum: bytes } => bytes,
        }
    }
}

/// A partition that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionRequest {
    /// Its name in the table: at most 36 UTF-16 units.
    pub name: String,
    /// What it is for; see [`types`](super::types).
    pub type_guid: Uuid,
    /// Its identity.
    pub unique_guid: Uuid,
    /// How large it is to be.
    pub size: Size,
    /// Attribute bits of the table entry.
    pub attributes: u64,
}

/// Where everything goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The partitions in the order of the requests, numbered from 1.
    pub partitions: Vec<Partition>,
    /// The size of the whole disk, in bytes, tables included.
    pub total_bytes: u64,
}

/// Lays out `requests` one after the other.
///
/// On a disk of `disk_bytes`, or, when that is not given, on one of the least size that holds them.
pub fn plan(requests: &[PartitionRequest], disk_bytes: Option<u64>) -> Result<Layout, DiskError> {
    let needed = needed_bytes(requests)?;
    let total_bytes = disk_bytes.unwrap_or(needed);
    if needed > total_bytes {
        return Err(DiskError::DiskTooSmall {
            needed,
            available: total_bytes,
        });
    }
    let usable_end = (total_bytes / SECTOR - BACKUP_SECTORS) * SECTOR / ALIGNMENT * ALIGNMENT;
    let mut start = ALIGNMENT;
    let mut partitions = Vec::with_capacity(requests.len());
    for (index, request) in requests.iter().enumerate() {
        let bytes = match request.size {
            Size::Fixed(bytes) => round_up(bytes)?,
            Size::Rest { .. } if index + 1 == requests.len() => usable_end - start,
            Size::Rest { .. } => {
                return Err(DiskError::RestNotLast {
                    name: request.name.clone(),
                });
            }
        };
        partitions.push(Partition {
            name: request.name.clone(),
            type_guid: request.type_guid,
            unique_guid: request.unique_guid,
            start_lba: start / SECTOR,
            sectors: bytes / SECTOR,
            attributes: request.attributes,
        });
        start += bytes;
    }
    Ok(Layout {
        partitions,
        total_bytes,
    })
}

/// The least size of a disk that holds `requests`: the partitions and a unit for each table.
fn needed_bytes(requests: &[PartitionRequest]) -> Result<u64, DiskError> {
    requests
        .iter()
        .try_fold(2 * ALIGNMENT, |total: u64, request| {
            let bytes = round_up(request.size.minimum())?;
            total.checked_add(bytes).ok_or(DiskError::SizeOverflow)
        })
}

fn round_up(bytes: u64) -> Result<u64, DiskError> {
    bytes
        .max(1)
        .checked_next_multiple_of(ALIGNMENT)
        .ok_or(DiskError::SizeOverflow)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpt::types;
    use proptest::prelude::*;

    fn request(name: &str, size: Size) -> PartitionRequest {
        PartitionRequest {
            name: name.into(),
            type_guid: types::LINUX_DATA,
            unique_guid: Uuid::from_u128(1),
            size,
            attributes: 0,
        }
    }

    #[test]
    fn the_least_disk_is_the_partitions_and_two_tables() {
        let layout = plan(
            &[
                request("a", Size::Fixed(1)),
                request("b", Size::Fixed(3 << 20)),
                request(
                    "c",
                    Size::Rest {
                        minimum: (1 << 20) + 1,
                    },
                ),
            ],
            None,
        )
        .unwrap();
        assert_eq!(layout.total_bytes, 8 << 20);
        let places: Vec<_> = layout
            .partitions
            .iter()
            .map(|p| (p.start_lba, p.sectors))
            .collect();
        assert_eq!(places, [(2048, 2048), (4096, 6144), (10240, 4096)]);
    }

    #[test]
    fn the_rest_takes_what_a_larger_disk_has() {
        let requests = [
            request("a", Size::Fixed(1)),
            request("b", Size::Rest { minimum: 1 }),
        ];
        let layout = plan(&requests, Some((100 << 20) + 511)).unwrap();
        assert_eq!(layout.partitions[1].sectors, 97 * 2048);
        assert_eq!(layout.total_bytes, (100 << 20) + 511);
    }

    #[test]
    fn refusals_name_the_numbers() {
        let error = plan(&[request("a", Size::Fixed(5 << 20))], Some(6 << 20)).unwrap_err();
        assert!(error.to_string().contains("7340032"), "{error}");
        let rest = request("r", Size::Rest { minimum: 1 });
        let error = plan(&[rest, request("a", Size::Fixed(1))], None).unwrap_err();
        assert!(matches!(error, DiskError::RestNotLast { .. }));
        let error = plan(&[request("a", Size::Fixed(u64::MAX))], None).unwrap_err();
        assert!(matches!(error, DiskError::SizeOverflow));
    }

    proptest! {
        #[test]
        fn partitions_are_aligned_ordered_and_inside(
            sizes in proptest::collection::vec(0_u64..1 << 34, 0..12),
            slack in 0_u64..1 << 30,
        ) {
            let requests: Vec<_> =
                sizes.iter().map(|size| request("p", Size::Fixed(*size))).collect();
            let least = plan(&requests, None).unwrap().total_bytes;
            let layout = plan(&requests, Some(least + slack)).unwrap();
            let mut end = ALIGNMENT / SECTOR;
            for (partition, size) in layout.partitions.iter().zip(&sizes) {
                prop_assert_eq!(partition.start_lba, end);
                prop_assert_eq!(partition.start_lba % (ALIGNMENT / SECTOR), 0);
                prop_assert!(partition.sectors * SECTOR >= *size && partition.sectors > 0);
                end += partition.sectors;
            }
            prop_assert!(end + BACKUP_SECTORS <= layout.total_bytes / SECTOR);
        }
    }
}
