//! From a request and a disk to a list of changes, before anything is written.

use super::request::MIB;
use super::{Content, DiskState, FileSystem, LayoutError, LayoutRequest, NewPartition, TableState};
use crate::gpt::types;
use cos_sys::gpt::{Entry, Table};
use sha2::{Digest, Sha256};
use std::fmt;
use uuid::Uuid;

/// One change to a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A new, empty table.
    NewTable {
        /// The disk's new identity.
        disk_guid: Uuid,
    },
    /// A damaged copy of the table is restored from the other.
    RepairTable {
        /// `primary` or `backup`.
        damaged: &'static str,
    },
    /// A new partition.
    AddPartition {
        /// Its number.
        number: u32,
        /// What it is known by.
        label: String,
        /// Its first byte on the disk.
        start: u64,
        /// Its size in bytes.
        size: u64,
    },
    /// A larger partition.
    GrowPartition {
        /// Its number.
        number: u32,
        /// Its size before, in bytes.
        from: u64,
        /// Its size after, in bytes.
        to: u64,
    },
    /// A new file system.
    MakeFileSystem {
        /// The number of its partition.
        number: u32,
        /// Which.
        filesystem: FileSystem,
        /// Its label; may be empty.
        label: String,
    },
    /// A file system made as large as its partition.
    GrowFileSystem {
        /// The number of its partition.
        number: u32,
        /// What is there now.
        content: Content,
        /// The size of the partition, in bytes.
        to: u64,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NewTable { disk_guid } => {
                write!(f, "write a new partition table, GUID {disk_guid}")
            }
            Self::RepairTable { damaged } => {
                write!(f, "restore the damaged {damaged} partition table")
            }
            Self::AddPartition {
                number,
                label,
                start,
                size,
            } => write!(
                f,
                "add partition {number} ({label}) of {} MiB at {} MiB",
                size / MIB,
                start / MIB
            ),
            Self::GrowPartition { number, from, to } => write!(
                f,
                "grow partition {number} from {} MiB to {} MiB",
                from / MIB,
                to / MIB
            ),
            Self::MakeFileSystem {
                number,
                filesystem,
                label,
            } => write!(f, "make {filesystem} {label} on partition {number}"),
            Self::GrowFileSystem {
                number,
                content,
                to,
            } => write!(
                f,
                "grow the {} on partition {number} to {} MiB",
                content.kind,
                to / MIB
            ),
        }
    }
}

/// What is to be done, in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LayoutPlan {
    /// The changes; none when the disk is as it is asked for.
    pub changes: Vec<Change>,
    /// What is not done, and why.
    pub warnings: Vec<String>,
    /// The table to write.
    pub(super) table: Option<Table>,
}

impl fmt::Display for LayoutPlan {
    /// A line for each change, then for each warning.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in &self.changes {
            writeln!(f, "{change}")?;
        }
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        Ok(())
    }
}

/// Plans what makes the disk as it is asked for. `new_guid` becomes the identity of a new table, if
/// one is needed and the request names none.
pub fn plan(
    request: &LayoutRequest,
    disk: &DiskState,
    new_guid: Uuid,
) -> Result<LayoutPlan, LayoutError> {
    request.check()?;
    let mut draft = Draft::start(request, disk, new_guid)?;
    for partition in &request.add {
        draft.add(partition)?;
    }
    if let Some(size_mib) = request.expand {
        draft.expand(size_mib)?;
    }
    Ok(draft.finish())
}

/// A plan being made.
struct Draft<'a> {
    disk: &'a DiskState,
    /// The table as it will be.
    table: Table,
    /// Changes to the table.
    changes: Vec<Change>,
    /// File systems to make, and then to grow.
    contents: Vec<Change>,
    warnings: Vec<String>,
    /// The label of an added partition that takes all that is free.
    rest: Option<String>,
}

impl<'a> Draft<'a> {
    fn start(
        request: &LayoutRequest,
        disk: &'a DiskState,
        new_guid: Uuid,
    ) -> Result<Self, LayoutError> {
        let mut changes = Vec::new();
        let mut warnings = Vec::new();
        let node = || disk.node.clone();
        let table = match &disk.table {
            TableState::Mbr => return Err(LayoutError::Mbr { disk: node() }),
            TableState::Occupied(kind) => {
                return Err(LayoutError::Occupied { disk: node(), kind });
            }
            TableState::Absent if !request.init_disk => {
                return Err(LayoutError::NoTable { disk: node() });
            }
            TableState::Absent => {
                let disk_guid = disk_guid(request, new_guid, &mut warnings);
                changes.push(Change::NewTable { disk_guid });
                Table::blank(disk.size, disk.block_size, disk_guid.to_bytes_le())
                    .ok_or_else(|| LayoutError::DiskTooSmall { disk: node() })?
            }
            TableState::Present { table, has_backup } => {
                let damaged = match (table.is_from_backup(), has_backup) {
                    (true, _) => Some("primary"),
                    (false, false) => Some("backup"),
                    (false, true) => None,
                };
                changes.extend(damaged.map(|damaged| Change::RepairTable { damaged }));
                table.clone()
            }
        };
        Ok(Self {
            disk,
            table,
            changes,
            contents: Vec::new(),
            warnings,
            rest: None,
        })
    }

    fn bytes(&self, blocks: u64) -> u64 {
        blocks.saturating_mul(u64::from(self.table.block_size()))
    }

    /// The partition that ends last, which is not always that with the highest number.
    fn last(&self) -> Option<Entry> {
        self.table.entries().max_by_key(|entry| entry.first)
    }

    /// The end of the usable blocks in whole MiB.
    fn aligned_end(&self) -> u64 {
        let unit = self.table.alignment();
        self.table.usable_end() / unit * unit
    }

    fn no_room(&self, what: &str, blocks: u64, start: u64) -> LayoutError {
        LayoutError::NoRoom {
            disk: self.disk.node.clone(),
            what: what.to_owned(),
            needed: self.bytes(blocks),
            available: self.bytes(self.aligned_end().saturating_sub(start)),
        }
    }

    fn add(&mut self, wanted: &NewPartition) -> Result<(), LayoutError> {
        let unique = partition_guid(self.table.disk_guid(), wanted.key());
        if self.is_there(wanted, unique) {
            return Ok(());
        }
        if let Some(label) = self.rest.clone() {
            return Err(LayoutError::RestNotLast { label });
        }
        let (first, end) = self.place(wanted)?;
        let number = self.table.free_number();
        let number = number.ok_or(LayoutError::TooManyPartitions)?;
        let added = self.table.add(&Entry {
            number,
            type_guid: type_guid(wanted).to_bytes_le(),
            unique_guid: unique.to_bytes_le(),
            first,
            last: end - 1,
            attributes: 0,
            name: wanted.name().to_owned(),
        });
        if !added {
            return Err(self.no_room(wanted.key(), end - first, first));
        }
        if wanted.bootable && wanted.filesystem != FileSystem::Vfat {
            self.warnings.push(format!(
                "partition {} is to be an EFI system partition, but no firmware reads {}",
                wanted.key(),
                wanted.filesystem
            ));
        }
        self.changes.push(Change::AddPartition {
            number,
            label: wanted.key().to_owned(),
            start: self.bytes(first),
            size: self.bytes(end - first),
        });
        self.make(number, wanted);
        Ok(())
    }

    /// The first block of a new partition and the one behind it.
    fn place(&mut self, wanted: &NewPartition) -> Result<(u64, u64), LayoutError> {
        let unit = self.table.alignment();
        let behind = self.last().map(|entry| entry.last + 1);
        let free = behind.unwrap_or_else(|| self.table.first_usable());
        let first = free.next_multiple_of(unit);
        let aligned_end = self.aligned_end();
        let least = wanted.filesystem.least_size().div_ceil(MIB) * unit;
        let blocks = if wanted.size_mib == 0 {
            self.rest = Some(wanted.key().to_owned());
            aligned_end.saturating_sub(first).max(least)
        } else {
            wanted.size_mib * unit
        };
        let end = first.saturating_add(blocks);
        if end > aligned_end {
            return Err(self.no_room(wanted.key(), blocks, first));
        }
        Ok((first, end))
    }

    /// Whether the partition is on the disk already; its file system may still have to be made.
    fn is_there(&mut self, wanted: &NewPartition, unique: Uuid) -> bool {
        if !wanted.fs_label.is_empty() && self.disk.bears(&wanted.fs_label) {
            return true;
        }
        let unique = unique.to_bytes_le();
        let ours = self
            .table
            .entries()
            .find(|entry| entry.unique_guid == unique);
        if let Some(entry) = ours {
            // Made by an earlier request, which may not have come as far as the file system.
            let occupant = self.disk.occupant(entry.number);
            if occupant.is_some_and(|occupant| occupant.blank) {
                self.make(entry.number, wanted);
            } else if !wanted.fs_label.is_empty() {
                self.leave_alone(entry.number, wanted);
            }
            return true;
        }
        let named = self.table.entries().find(|entry| {
            !entry.name.is_empty() && Some(&entry.name) == wanted.partition_label.as_ref()
        });
        if let Some(entry) = &named
            && !wanted.fs_label.is_empty()
        {
            self.leave_alone(entry.number, wanted);
        }
        named.is_some()
    }

    fn leave_alone(&mut self, number: u32, wanted: &NewPartition) {
        let content = self.disk.occupant(number);
        let kind = content.and_then(|it| it.content.as_ref()).map(|it| it.kind);
        self.warnings.push(format!(
            "partition {number} is taken for {}, but holds {}, and is left as it is",
            wanted.key(),
            kind.unwrap_or("something else")
        ));
    }

    fn make(&mut self, number: u32, wanted: &NewPartition) {
        self.contents.push(Change::MakeFileSystem {
            number,
            filesystem: wanted.filesystem,
            label: wanted.fs_label.clone(),
        });
    }

    fn expand(&mut self, size_mib: u64) -> Result<(), LayoutError> {
        let Some(last) = self.last() else {
            return Err(LayoutError::NothingToExpand {
                disk: self.disk.node.clone(),
            });
        };
        let unit = self.table.alignment();
        let end = if size_mib == 0 {
            self.aligned_end()
        } else {
            let end = last.first.saturating_add(size_mib * unit);
            end.checked_next_multiple_of(unit).unwrap_or(u64::MAX)
        };
        // Less than a MiB is not worth a write to the table.
        let grows =
            end >= last.last.saturating_add(1 + unit) || (size_mib > 0 && end > last.last + 1);
        if grows && !self.table.set_last(last.number, end - 1) {
            let what = format!("partition {}", last.number);
            return Err(self.no_room(&what, end - last.first, last.first));
        }
        if grows {
            self.note_growth(&last, end);
        }
        let end = if grows { end } else { last.last + 1 };
        let size = self.bytes(end - last.first);
        self.grow_content(last.number, size, grows);
        Ok(())
    }

    fn note_growth(&mut self, last: &Entry, end: u64) {
        let to = self.bytes(end - last.first);
        let from = self.bytes(last.last + 1 - last.first);
        for change in &mut self.changes {
            match change {
                Change::AddPartition { number, size, .. } if *number == last.number => {
                    *size = to;
                    return;
                }
                _ => {}
            }
        }
        let number = last.number;
        self.changes
            .push(Change::GrowPartition { number, from, to });
    }

    /// Lets what is on the last partition grow to `size` bytes; also when the partition has it
    /// already, as an earlier request may have been interrupted between the two.
    fn grow_content(&mut self, number: u32, size: u64, partition_grows: bool) {
        let is_made = |change: &Change| matches!(change, Change::MakeFileSystem { number: made, .. } if *made == number);
        if self.contents.iter().any(is_made) {
            return;
        }
        let content = self
            .disk
            .occupant(number)
            .and_then(|it| it.content.as_ref());
        match content {
            Some(content) if matches!(content.kind, "ext4" | "xfs" | "btrfs" | "swap") => {
                let known = content.size.unwrap_or(size);
                if known.saturating_add(content.grain.max(MIB)) <= size {
                    self.contents.push(Change::GrowFileSystem {
                        number,
                        content: content.clone(),
                        to: size,
                    });
                }
            }
            _ if !partition_grows => {}
            Some(content) => self.warnings.push(format!(
                "partition {number} grows, but the {} on it cannot",
                content.kind
            )),
            None => self.warnings.push(format!(
                "partition {number} grows, but holds nothing that could grow with it"
            )),
        }
    }

    fn finish(self) -> LayoutPlan {
        let table = (!self.changes.is_empty()).then_some(self.table);
        let mut changes = self.changes;
        changes.extend(self.contents);
        LayoutPlan {
            changes,
            warnings: self.warnings,
            table,
        }
    }
}

/// The identity a new table gets.
fn disk_guid(request: &LayoutRequest, new_guid: Uuid, warnings: &mut Vec<String>) -> Uuid {
    let Some(name) = &request.disk_name else {
        return new_guid;
    };
    match Uuid::try_parse(name) {
        Ok(guid) if !guid.is_nil() => guid,
        _ => {
            warnings.push(format!(
                "the disk name {name:?} is ignored: a GUID partition table has no name but its GUID"
            ));
            new_guid
        }
    }
}

/// The identity of a partition that is added: the same for the same disk and label, so that a
/// partition whose file system was not made yet is known again.
fn partition_guid(disk_guid: [u8; 16], key: &str) -> Uuid {
    let mut hasher = Sha256::new();
    hasher.update(b"cOS layout partition\0");
    hasher.update(disk_guid);
    hasher.update(key.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hasher.finalize()[..16]);
    // UUID version 8 of RFC 9562: bytes of one's own making.
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

fn type_guid(wanted: &NewPartition) -> Uuid {
    match wanted.filesystem {
        _ if wanted.bootable => types::EFI_SYSTEM,
        FileSystem::Vfat => types::MICROSOFT_BASIC_DATA,
        FileSystem::Swap => types::LINUX_SWAP,
        FileSystem::Ext2
        | FileSystem::Ext3
        | FileSystem::Ext4
        | FileSystem::Xfs
        | FileSystem::Btrfs => types::LINUX_DATA,
    }
}

#[cfg(test)]
mod tests;
