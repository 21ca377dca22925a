//! How a volume is divided.

use crate::DiskError;
use crate::gpt::SECTOR;

/// Copies of the allocation table.
pub(super) const FATS: u32 = 2;

/// The number of the first cluster.
pub(super) const FIRST_CLUSTER: u32 = 2;

/// Sector of the free space information, FAT32 only.
pub(super) const INFO_SECTOR: u16 = 1;

/// Sector of the copy of the boot sector, FAT32 only.
pub(super) const BACKUP_BOOT_SECTOR: u16 = 6;

/// The fewest clusters of a FAT16 and of a FAT32 volume; nothing but their number tells the types
/// apart.
const FAT16_CLUSTERS: u32 = 4_085;
const FAT32_CLUSTERS: u32 = 65_525;

/// Volumes that come closer than this to the limit are taken for the other type by some readers.
const MARGIN: u32 = 16;

/// Data starts at a multiple of this many sectors, so that files lie on 4 KiB pages.
const DATA_ALIGNMENT: u32 = 8;

/// Slots of the fixed root directory of FAT16.
const FAT16_ROOT_ENTRIES: u32 = 512;

/// Bits of a table entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    Fat16,
    Fat32,
}

impl Width {
    pub(super) fn type_name(self) -> &'static [u8; 8] {
        match self {
            Self::Fat16 => b"FAT16   ",
            Self::Fat32 => b"FAT32   ",
        }
    }

    fn entry_bytes(self) -> u64 {
        match self {
            Self::Fat16 => 2,
            Self::Fat32 => 4,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Geometry {
    pub(super) width: Width,
    pub(super) sectors: u32,
    pub(super) sectors_per_cluster: u8,
    /// Sectors before the first table.
    pub(super) reserved: u32,
    pub(super) fat_sectors: u32,
    /// Slots of the fixed root directory; 0 for FAT32, whose root is a chain.
    pub(super) root_entries: u32,
    pub(super) clusters: u32,
}

impl Geometry {
    /// The division of a volume of `size` bytes: FAT32 where it can be, clusters up to 4 KiB.
    pub(super) fn of(size: u64) -> Result<Self, DiskError> {
        let sectors = u32::try_from(size / SECTOR).map_err(|_| DiskError::FatSize {
            size,
            limit: "at most 2 TiB",
        })?;
        let candidates = [Width::Fat32, Width::Fat16].into_iter();
        candidates
            .flat_map(|width| [8, 4, 2, 1].map(|per_cluster| (width, per_cluster)))
            .find_map(|(width, per_cluster)| Self::divide(sectors, width, per_cluster))
            .ok_or(DiskError::FatSize {
                size,
                limit: "at least 2.1 MiB",
            })
    }

    fn divide(sectors: u32, width: Width, sectors_per_cluster: u8) -> Option<Self> {
        let (minimum_reserved, root_entries, least, most) = match width {
            Width::Fat16 => (
                1,
                FAT16_ROOT_ENTRIES,
                FAT16_CLUSTERS + MARGIN,
                FAT32_CLUSTERS - MARGIN,
            ),
            Width::Fat32 => (32, 0, FAT32_CLUSTERS + MARGIN, 0x0fff_fff0),
        };
        let per_cluster = u32::from(sectors_per_cluster);
        let root_sectors = root_entries * 32 / SECTOR as u32;
        // One table sector too many does no harm, so the tables may count themselves as data.
        let entries = u64::from(sectors / per_cluster + FIRST_CLUSTER);
        let fat_sectors = (entries * width.entry_bytes()).div_ceil(SECTOR) as u32;
        let before_data = minimum_reserved + FATS * fat_sectors + root_sectors;
        let data_start = before_data.next_multiple_of(DATA_ALIGNMENT);
        let clusters = sectors.checked_sub(data_start)? / per_cluster;
        (least..=most).contains(&clusters).then_some(Self {
            width,
            sectors,
            sectors_per_cluster,
            reserved: minimum_reserved + data_start - before_data,
            fat_sectors,
            root_entries,
            clusters,
        })
    }

    /// Bytes of a cluster.
    pub(super) fn cluster_bytes(&self) -> u64 {
        u64::from(self.sectors_per_cluster) * SECTOR
    }

    /// Where a cluster starts, in bytes from the start of the volume. 0 is the root of FAT16.
    pub(super) fn offset_of(&self, cluster: u32) -> u64 {
        let root = u64::from(self.reserved + FATS * self.fat_sectors) * SECTOR;
        match cluster.checked_sub(FIRST_CLUSTER) {
            None => root,
            Some(index) => {
                root + u64::from(self.root_entries) * 32 + u64::from(index) * self.cluster_bytes()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_gives_a_type_that_readers_agree_on() {
        for mib in 3..600 {
            let g = Geometry::of(mib << 20).unwrap();
            let is_fat32 = g.clusters >= 65_525;
            assert_eq!(is_fat32, g.width == Width::Fat32, "{mib} MiB");
            assert!(g.clusters >= 4_085);
            let entries = u64::from(g.fat_sectors) * SECTOR / g.width.entry_bytes();
            assert!(entries >= u64::from(g.clusters + FIRST_CLUSTER));
            let end = g.offset_of(g.clusters + FIRST_CLUSTER);
            assert!(end <= mib << 20);
            assert_eq!(g.offset_of(FIRST_CLUSTER) % 4096, 0);
        }
        assert_eq!(Geometry::of(256 << 20).unwrap().width, Width::Fat32);
        assert!(Geometry::of(1 << 20).is_err());
        assert!(Geometry::of(3 << 40).is_err());
    }
}
