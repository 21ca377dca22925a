//! How big each partition of a disk is: from the content, unless the user says otherwise.

use cos_disk::ext4::{self, Ext4Options};
use cos_disk::gpt::Size;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// Bytes in a mebibyte.
pub const MIB: u64 = 1 << 20;

/// What a partition is for. The order is the order on the disk; the last one grows at first boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// GRUB's core image, for BIOS.
    Bios,
    /// The EFI system partition.
    Efi,
    /// Cloud-config files.
    Oem,
    /// The recovery snapshot.
    Recovery,
    /// Snapshots and boot state.
    State,
    /// `/usr/local` and the persistent paths.
    Persistent,
}

impl Role {
    /// Every role, in disk order.
    pub const ALL: [Self; 6] = [
        Self::Bios,
        Self::Efi,
        Self::Oem,
        Self::Recovery,
        Self::State,
        Self::Persistent,
    ];

    /// Name of the GPT partition.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bios => "bios",
            Self::Efi => "efi",
            Self::Oem => "oem",
            Self::Recovery => "recovery",
            Self::State => "state",
            Self::Persistent => "persistent",
        }
    }

    /// Position in the partition table, from 1.
    pub fn number(self) -> u32 {
        self as u32 + 1
    }

    /// Label of the file system; the BIOS partition has none.
    pub fn label(self) -> Option<&'static str> {
        match self {
            Self::Bios => None,
            Self::Efi => Some("COS_GRUB"),
            Self::Oem => Some("COS_OEM"),
            Self::Recovery => Some("COS_RECOVERY"),
            Self::State => Some("COS_STATE"),
            Self::Persistent => Some("COS_PERSISTENT"),
        }
    }
}

impl FromStr for Role {
    type Err = SizeError;

    fn from_str(name: &str) -> Result<Self, SizeError> {
        let role = Self::ALL
            .into_iter()
            .find(|role| role.name() == name && *role != Self::Bios);
        role.ok_or_else(|| SizeError::UnknownPartition(name.to_owned()))
    }
}

/// Why the partitions cannot be laid out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// Not a number with a unit.
    #[error("{0:?} is not a size")]
    Unreadable(String),
    /// No such partition, or one whose size is fixed.
    #[error("there is no partition {0:?} whose size can be set")]
    UnknownPartition(String),
    /// A partition is too small for what goes onto it.
    #[error("partition {} needs {} and was given {}", .role.name(), Bytes(*.needed), Bytes(*.given))]
    PartitionTooSmall {
        /// Which one.
        role: Role,
        /// Bytes its content needs.
        needed: u64,
        /// Bytes asked for.
        given: u64,
    },
}

impl SizeError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unreadable(_) => {
                Some("write a number and a unit, such as 512MiB, 8GiB or 16G".to_owned())
            }
            Self::UnknownPartition(_) => {
                Some("partitions are efi, oem, recovery, state and persistent".to_owned())
            }
            Self::PartitionTooSmall { role, needed, .. } => {
                let mib = needed.div_ceil(MIB);
                Some(format!(
                    "use --partition {}={mib}MiB or leave it out",
                    role.name()
                ))
            }
        }
    }
}

/// A number of bytes, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes @ 0..1024 => write!(f, "{bytes} B"),
            bytes if bytes < MIB => write!(f, "{:.1} KiB", bytes as f64 / 1024.0),
            bytes if bytes < 1024 * MIB => write!(f, "{:.1} MiB", bytes as f64 / MIB as f64),
            bytes => write!(f, "{:.1} GiB", bytes as f64 / (1024 * MIB) as f64),
        }
    }
}

/// Reads `8GiB`, `8G` (the same), `512MiB`, `1048576`; a decimal unit is `GB`. Up to 1 EiB.
pub fn parse_size(text: &str) -> Result<u64, SizeError> {
    let unreadable = || SizeError::Unreadable(text.to_owned());
    let trimmed = text.trim();
    let digits = trimmed.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = trimmed.split_at(digits);
    let unit = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err(unreadable()),
    };
    let number: u64 = number.parse().map_err(|_| unreadable())?;
    let bytes = number
        .checked_mul(unit)
        .filter(|&bytes| bytes > 0 && bytes <= 1 << 60);
    bytes.ok_or_else(unreadable)
}

/// What the user asks of the sizes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SizeRequest {
    /// Size of the whole disk in bytes; the last partition takes what is left.
    pub disk: Option<u64>,
    /// Sizes of single partitions in bytes.
    pub partitions: BTreeMap<Role, u64>,
}

/// What has to fit, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContentSizes {
    /// The files of one snapshot.
    pub snapshot: Vec<u64>,
    /// The files of the boot loader.
    pub loader: Vec<u64>,
    /// The signed program of a sealed system; 0 otherwise.
    pub program: u64,
    /// The cloud-config files.
    pub oem: Vec<u64>,
}

/// Snapshots COS_STATE has room for: active, passive, and the one an upgrade writes.
const STATE_SNAPSHOTS: usize = 3;
/// Snapshots COS_RECOVERY has room for: the present one, and its successor while it is written.
const RECOVERY_SNAPSHOTS: usize = 2;
/// Later versions of a system are larger than the first: room for half as much again.
const GROWTH: (u64, u64) = (3, 2);
/// Signed programs the EFI system partition has room for besides the first: those of the passive system, of
/// the one an upgrade writes, and of another recovery system.
const MORE_PROGRAMS: u64 = 3;
/// The least that is useful to keep files in.
const LEAST_PERSISTENT: u64 = 64 * MIB;
/// FAT32 starts here; some firmware reads nothing smaller.
const LEAST_FAT32: u64 = 33 * MIB;

/// The size of each partition, in disk order.
pub fn partition_sizes(
    request: &SizeRequest,
    content: &ContentSizes,
) -> Result<Vec<(Role, Size)>, SizeError> {
    let loader: u64 = content
        .loader
        .iter()
        .map(|size| size.next_multiple_of(1 << 16))
        .sum();
    let one = ext4_size(&content.snapshot);
    let mut sizes = Vec::with_capacity(Role::ALL.len());
    for role in Role::ALL {
        let (least, default) = match role {
            Role::Bios => (MIB, MIB),
            Role::Efi => {
                let more = content.program * GROWTH.0 / GROWTH.1 * MORE_PROGRAMS;
                let room = LEAST_FAT32 + loader + more;
                (
                    LEAST_FAT32 + loader,
                    room.next_multiple_of(MIB).max(256 * MIB),
                )
            }
            Role::Oem => (ext4_size(&content.oem), 64 * MIB),
            Role::Recovery => (one, with_growth(content, RECOVERY_SNAPSHOTS)),
            Role::State => (one, with_growth(content, STATE_SNAPSHOTS)),
            Role::Persistent => (LEAST_PERSISTENT, 512 * MIB),
        };
        let given = request.partitions.get(&role).copied();
        if let Some(given) = given.filter(|&given| given < least) {
            return Err(SizeError::PartitionTooSmall {
                role,
                needed: least,
                given,
            });
        }
        let is_rest = role == Role::Persistent && given.is_none() && request.disk.is_some();
        sizes.push((
            role,
            match given {
                Some(given) => Size::Fixed(given),
                None if is_rest => Size::Rest {
                    minimum: LEAST_PERSISTENT,
                },
                None => Size::Fixed(default.max(least)),
            },
        ));
    }
    Ok(sizes)
}

/// Room for so many snapshots, each of them grown.
fn with_growth(content: &ContentSizes, snapshots: usize) -> u64 {
    let grown = content
        .snapshot
        .iter()
        .map(|size| size * GROWTH.0 / GROWTH.1);
    ext4_size(&grown.collect::<Vec<_>>().repeat(snapshots))
}

/// What an ext4 file system that holds files of these sizes in a few directories takes.
fn ext4_size(files: &[u64]) -> u64 {
    const DIRECTORIES: usize = 8;
    const SLACK: u64 = 8 * MIB;
    let options = Ext4Options::new("", Uuid::nil(), 0);
    ext4::size_for(files, DIRECTORIES, SLACK, &options).next_multiple_of(MIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(request: &SizeRequest) -> Result<String, SizeError> {
        let content = ContentSizes {
            snapshot: vec![200 * MIB, 10 * MIB, 40 * MIB, 300],
            loader: vec![3 * MIB],
            program: 0,
            oem: vec![100],
        };
        let sizes = partition_sizes(request, &content)?;
        let rows = sizes.iter().map(|(role, size)| match size {
            Size::Fixed(bytes) => format!("{} {}", role.name(), Bytes(*bytes)),
            Size::Rest { minimum } => format!("{} rest, {}", role.name(), Bytes(*minimum)),
        });
        Ok(rows.collect::<Vec<_>>().join("; "))
    }

    #[test]
    fn sizes_follow_from_the_content() {
        insta::assert_snapshot!(table(&SizeRequest::default()).unwrap(), @"bios 1.0 MiB; efi 256.0 MiB; oem 64.0 MiB; recovery 789.0 MiB; state 1.2 GiB; persistent 512.0 MiB");
    }

    #[test]
    fn the_last_partition_takes_what_a_given_disk_has_left() {
        let request = SizeRequest {
            disk: Some(8192 * MIB),
            ..SizeRequest::default()
        };
        insta::assert_snapshot!(table(&request).unwrap(), @"bios 1.0 MiB; efi 256.0 MiB; oem 64.0 MiB; recovery 789.0 MiB; state 1.2 GiB; persistent rest, 64.0 MiB");
    }

    #[test]
    fn a_partition_too_small_is_refused_with_numbers() {
        let partitions = BTreeMap::from([(Role::State, 100 * MIB)]);
        let error = table(&SizeRequest {
            partitions,
            disk: None,
        })
        .unwrap_err();
        insta::assert_snapshot!(error, @"partition state needs 280.0 MiB and was given 100.0 MiB");
        insta::assert_snapshot!(error.hint().unwrap(), @"use --partition state=280MiB or leave it out");
    }

    #[test]
    fn sizes_are_read_with_their_units() {
        assert_eq!(parse_size("8GiB"), Ok(8 << 30));
        assert_eq!(parse_size("8g"), Ok(8 << 30));
        assert_eq!(parse_size("1 GB"), Ok(1_000_000_000));
        assert_eq!(parse_size("4096"), Ok(4096));
        for bad in ["", "G", "1.5G", "-1", "0", "99999999T", "1XB"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}
