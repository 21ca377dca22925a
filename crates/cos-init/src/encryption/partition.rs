//! The partitions whose data are encrypted, on the disk that was booted from.

use super::EncryptionError;
use cos_sys::block::{BlockDevice, BlockDevices};
use cos_sys::gpt::Table;
use cos_sys::locate::Candidate;
use cos_sys::probe;
use fs_err::File;
use std::io;

/// What the header of a half made one says.
pub(super) const HALF_MADE: &str = "COS_HALF_MADE";

/// Where LUKS2 headers begin, as cryptsetup makes them, and with what: the second is there for a first one that a
/// power cut tore.
const LUKS_HEADERS: [(u64, &[u8; 6]); 2] = [(0, b"LUKS\xba\xbe"), (0x4000, b"SKUL\xba\xbe")];

/// A partition of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Oem,
    Persistent,
}

impl Role {
    /// Its name in the partition table.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Oem => "oem",
            Self::Persistent => "persistent",
        }
    }

    /// Label of the file system in it.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Oem => "COS_OEM",
            Self::Persistent => "COS_PERSISTENT",
        }
    }

    /// Label of its LUKS header: not that of the file system, which is looked for by it.
    pub(super) fn header_label(self) -> &'static str {
        match self {
            Self::Oem => "COS_OEM_ENCRYPTED",
            Self::Persistent => "COS_PERSISTENT_ENCRYPTED",
        }
    }

    /// Name of the unlocked device, below `/dev/mapper`.
    pub(super) fn mapped(self) -> &'static str {
        match self {
            Self::Oem => "cos-oem",
            Self::Persistent => "cos-persistent",
        }
    }

    /// The unlocked device.
    pub(super) fn node(self) -> &'static str {
        match self {
            Self::Oem => super::OEM_NODE,
            Self::Persistent => super::PERSISTENT_NODE,
        }
    }
}

/// What is on a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Holds {
    /// Nothing that is known here.
    Nothing,
    /// A file system, of this kind.
    FileSystem(&'static str),
    /// LUKS2, whose header bears this label.
    Encrypted(String),
}

/// A partition and what is on it.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) role: Role,
    pub(super) candidate: Candidate,
    pub(super) holds: Holds,
}

impl Found {
    /// Its device, as programs take it.
    pub(super) fn device(&self) -> String {
        self.candidate.device.node.display().to_string()
    }

    /// How people name it.
    pub(super) fn kernel_name(&self) -> String {
        self.candidate.device.name.clone()
    }
}

/// Finds a partition by its name on the disk that `near` is on.
pub(super) fn find(role: Role, near: &BlockDevice) -> Result<Found, EncryptionError> {
    let devices = BlockDevices::list()?;
    let none = || EncryptionError::NoPartition {
        disk: near.disk().to_owned(),
        name: role.name(),
    };
    let disk = devices.by_name(near.disk()).ok_or_else(none)?;
    let files = |source| EncryptionError::Files {
        path: disk.node.clone(),
        source,
    };
    let file = File::open(&disk.node).map_err(files)?;
    let table = Table::read(&file, disk.size, disk.block_size)?;
    let entry = table.entries().find(|entry| entry.name == role.name());
    let number = entry.ok_or_else(none)?.number;
    let device = devices
        .siblings(near)
        .find(|it| it.partition.as_ref().is_some_and(|it| it.number == number));
    let device = device.ok_or_else(none)?.clone();
    let looked = File::open(&device.node).and_then(|file| {
        let filesystem = probe::probe(&file)?;
        Ok((look(&file, filesystem.as_ref())?, filesystem))
    });
    let (holds, filesystem) = looked.map_err(|source| EncryptionError::Files {
        path: device.node.clone(),
        source,
    })?;
    Ok(Found {
        role,
        holds,
        candidate: Candidate {
            device,
            filesystem,
            partition_uuid: None,
        },
    })
}

fn look(device: &File, filesystem: Option<&probe::Filesystem>) -> io::Result<Holds> {
    // First: a LUKS header lies in front of what file systems are known by.
    for (place, magic) in LUKS_HEADERS {
        let head = probe::read_at(device, place, 512)?;
        if let (Some(label), true) = (luks_label(&head, magic), place == 0 || filesystem.is_none())
        {
            return Ok(Holds::Encrypted(label));
        }
    }
    Ok(filesystem.map_or(Holds::Nothing, |found| Holds::FileSystem(found.kind)))
}

/// Label of a LUKS2 header (LUKS2 On-Disk Format Specification, 2.1).
fn luks_label(head: &[u8], magic: &[u8]) -> Option<String> {
    if head.get(..6)? != magic || head.get(6..8)? != [0, 2] {
        return None;
    }
    let label = head.get(24..72)?;
    let end = label.iter().position(|&byte| byte == 0);
    Some(String::from_utf8_lossy(&label[..end.unwrap_or(label.len())]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_says_its_label() {
        let label = |head: &[u8]| luks_label(head, LUKS_HEADERS[0].1);
        let mut head = vec![0; 512];
        head[..8].copy_from_slice(b"LUKS\xba\xbe\x00\x02");
        assert_eq!(label(&head).as_deref(), Some(""));
        head[24..37].copy_from_slice(b"COS_HALF_MADE");
        assert_eq!(label(&head).as_deref(), Some(HALF_MADE));
        head[24..72].fill(b'x');
        assert_eq!(label(&head), Some("x".repeat(48)));
        head[7] = 1;
        assert_eq!(label(&head), None);
        assert_eq!(label(b"LUKS"), None);
    }
}
