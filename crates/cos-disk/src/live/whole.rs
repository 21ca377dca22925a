//! A whole disk, or a file in its place: what is on it, who uses it, and taking it over.

use super::content::{Content, probe, probe_at};
use super::disk::{Disks, numbers};
use super::make::claim;
use super::{LayoutError, apply, kernel, mounts};
use crate::sparse::{clear, size_of};
use cos_sys::block::{BlockDevice, BlockDevices};
use cos_sys::gpt::{GptError, Table, forget_partition};
use cos_sys::probe::read_at;
use fs_err::{File, OpenOptions};
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Stands where the header of the partition table will be, for as long as a disk is not finished.
const UNFINISHED: &[u8] = b"COS: this disk is being written, nothing on it counts yet\n";
/// Where: the second sector, which is what a new table's last write is.
const UNFINISHED_AT: u64 = 512;
/// What lies at both ends of a disk and says what it is.
const ENDS: u64 = 1 << 20;
/// How long udev may look at a partition that is to be forgotten.
const PATIENCE: Duration = Duration::from_secs(10);

/// A disk or a file as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// Its path as it was given.
    pub path: PathBuf,
    /// The kernel's name of the disk; absent for a file.
    pub name: Option<String>,
    /// Bytes in all.
    pub size: u64,
    /// Bytes of a logical block.
    pub block_size: u32,
    /// What is on it.
    pub content: WholeContent,
    /// Who uses it: mount points, swap space, devices made of it.
    pub users: Vec<String>,
}

/// What a whole disk holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WholeContent {
    /// Nothing known.
    Nothing,
    /// What an interrupted [`ClaimedDisk::begin`] left.
    Unfinished,
    /// A GUID partition table.
    Partitions(Vec<SurveyedPartition>),
    /// Something else, in words: `xfs`, `an MBR partition table`.
    Other(String),
}

/// A partition of the table, and what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SurveyedPartition {
    /// Its number, from 1.
    pub number: u32,
    /// Its name in the table.
    pub name: String,
    /// First byte on the disk.
    pub start: u64,
    /// Length in bytes.
    pub size: u64,
    /// What it is for.
    pub type_guid: Uuid,
    /// Its identity.
    pub unique_guid: Uuid,
    /// What is on it.
    pub content: Option<Content>,
}

impl Survey {
    /// Looks at a disk or a file; changes nothing.
    pub fn of(path: &Path) -> Result<Self, LayoutError> {
        let meta = fs_err::metadata(path).map_err(|source| LayoutError::Find {
            path: path.to_owned(),
            source,
        })?;
        let (device, users) = if meta.is_file() {
            (None, Vec::new())
        } else {
            let device = whole_disk(path)?;
            let users = mounts::users(&device)?;
            (Some(device), users)
        };
        let read = |source| LayoutError::Read {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(|source| LayoutError::Open {
            path: path.to_owned(),
            source,
        })?;
        let size = size_of(&file).map_err(read)?;
        let block_size = device.as_ref().map_or(512, |device| device.block_size);
        Ok(Self {
            content: content_of(&file, size, block_size).map_err(read)?,
            path: path.to_owned(),
            name: device.map(|device| device.name),
            size,
            block_size,
            users,
        })
    }
}

fn content_of(file: &File, size: u64, block_size: u32) -> std::io::Result<WholeContent> {
    if read_at(file, UNFINISHED_AT, UNFINISHED.len())? == UNFINISHED {
        return Ok(WholeContent::Unfinished);
    }
    let table = match Table::read(file, size, block_size) {
        Ok(table) => table,
        Err(GptError::Io { source, .. }) if size > 0 => return Err(source),
        Err(error) => {
            let whole = probe(file)?.map(|found| found.kind.to_owned());
            return Ok(match (whole, error) {
                (Some(kind), _) => WholeContent::Other(kind),
                (None, GptError::Mbr { .. }) => {
                    WholeContent::Other("an MBR partition table".to_owned())
                }
                (None, GptError::Damaged { .. }) => {
                    WholeContent::Other("a damaged partition table".to_owned())
                }
                (None, _) => WholeContent::Nothing,
            });
        }
    };
    let block = u64::from(block_size);
    let partition = |entry: cos_sys::gpt::Entry| {
        let start = entry.first * block;
        Ok(SurveyedPartition {
            number: entry.number,
            start,
            size: (entry.last + 1 - entry.first) * block,
            type_guid: Uuid::from_bytes_le(entry.type_guid),
            unique_guid: Uuid::from_bytes_le(entry.unique_guid),
            content: probe_at(file, start)?,
            name: entry.name,
        })
    };
    let partitions: std::io::Result<Vec<_>> = table.entries().map(partition).collect();
    Ok(WholeContent::Partitions(partitions?))
}

/// The device at a path, which must be a disk and not a part of one.
fn whole_disk(path: &Path) -> Result<BlockDevice, LayoutError> {
    let not_a_disk = || LayoutError::NotADisk {
        path: path.to_owned(),
    };
    let find = |source| LayoutError::Find {
        path: path.to_owned(),
        source,
    };
    let meta = fs_err::metadata(path).map_err(find)?;
    if !meta.file_type().is_block_device() {
        return Err(not_a_disk());
    }
    let (major, minor) = numbers(meta.rdev());
    let entry = fs_err::canonicalize(format!("/sys/dev/block/{major}:{minor}")).map_err(find)?;
    let name = entry.file_name().and_then(|name| name.to_str());
    let devices = BlockDevices::list().map_err(LayoutError::Devices)?;
    let device = name.and_then(|name| devices.by_name(name));
    device
        .filter(|device| device.partition.is_none())
        .cloned()
        .ok_or_else(not_a_disk)
}

/// A disk or file that nobody else uses, for as long as this lives.
#[derive(Debug)]
pub struct ClaimedDisk {
    file: File,
    device: Option<BlockDevice>,
}

impl ClaimedDisk {
    /// Takes it. A disk that is in use is [`LayoutError::Busy`]. udev keeps away from it meanwhile.
    pub fn take(path: &Path) -> Result<Self, LayoutError> {
        let open = |source| LayoutError::Open {
            path: path.to_owned(),
            source,
        };
        let is_file = fs_err::metadata(path).map_err(open)?.is_file();
        let (file, device) = if is_file {
            let mut options = OpenOptions::new();
            let file = options.read(true).write(true).open(path).map_err(open)?;
            (file, None)
        } else {
            let device = whole_disk(path)?;
            let file = claim(&device.node).map_err(|source| LayoutError::Busy {
                disk: device.node.clone(),
                source,
            })?;
            (file, Some(device))
        };
        apply::lock_open(&file)?;
        Ok(Self { file, device })
    }

    /// The open disk.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Makes the disk one on which nothing counts, durably: without a table, known as
    /// [`WholeContent::Unfinished`]. The kernel forgets its partitions.
    pub fn begin(&self) -> Result<(), LayoutError> {
        let path = self.file.path();
        let cleared = || -> std::io::Result<()> {
            let size = size_of(&self.file)?;
            // The mark first: from its write on the disk is known for what it is.
            self.file.file().write_all_at(UNFINISHED, UNFINISHED_AT)?;
            self.file.sync_data()?;
            let behind = UNFINISHED_AT + 512;
            self.file.file().write_all_at(&[0; 512], 0)?;
            clear(&self.file, behind, ENDS - behind)?;
            clear(&self.file, size.saturating_sub(ENDS).max(ENDS), ENDS)?;
            self.file.sync_all()
        };
        cleared().map_err(|source| LayoutError::Clear {
            path: path.to_owned(),
            source,
        })?;
        match &self.device {
            Some(device) => self.forget_partitions(device),
            None => Ok(()),
        }
    }

    fn forget_partitions(&self, device: &BlockDevice) -> Result<(), LayoutError> {
        let begin = Instant::now();
        let disks = Disks::list()?;
        for (number, ..) in disks.partitions(device) {
            while let Err(source) = forget_partition(&self.file, number) {
                if begin.elapsed() > PATIENCE {
                    return Err(LayoutError::Table {
                        disk: device.node.clone(),
                        source,
                    });
                }
                sleep(Duration::from_millis(100));
            }
        }
        Ok(())
    }

    /// Reads the table from the disk, tells the kernel of it, and waits for the partitions' nodes.
    pub fn finish(&self) -> Result<Table, LayoutError> {
        let path = self.file.path();
        let table_failed = |source| LayoutError::Table {
            disk: path.to_owned(),
            source,
        };
        let read = |source| LayoutError::Read {
            path: path.to_owned(),
            source,
        };
        self.file.sync_all().map_err(read)?;
        rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::DontNeed)
            .map_err(|errno| read(errno.into()))?;
        let size = size_of(&self.file).map_err(read)?;
        let block_size = self.device.as_ref().map_or(512, |device| device.block_size);
        let table = Table::read(&self.file, size, block_size).map_err(table_failed)?;
        if let Some(device) = &self.device {
            kernel::tell(&self.file, device, Some(&table))?;
            for entry in table.entries() {
                kernel::partition(device, entry.number)?;
            }
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpt::{self, PartitionRequest, Size, types};

    fn disk(size: u64) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk");
        File::create(&path).unwrap().set_len(size).unwrap();
        (directory, path)
    }

    fn write_table(path: &Path) {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .unwrap();
        let request = PartitionRequest {
            name: "data".into(),
            type_guid: types::LINUX_DATA,
            unique_guid: Uuid::from_u128(7),
            size: Size::Fixed(4 << 20),
            attributes: 0,
        };
        let layout = gpt::plan(&[request], Some(16 << 20)).unwrap();
        gpt::write_table(&file, 16 << 20, Uuid::from_u128(1), &layout.partitions).unwrap();
    }

    #[test]
    fn a_disk_is_unfinished_from_its_beginning_to_its_table() {
        let (_directory, path) = disk(16 << 20);
        assert_eq!(Survey::of(&path).unwrap().content, WholeContent::Nothing);
        write_table(&path);
        let WholeContent::Partitions(found) = Survey::of(&path).unwrap().content else {
            panic!("no table");
        };
        assert_eq!((found[0].name.as_str(), found[0].size), ("data", 4 << 20));
        let claimed = ClaimedDisk::take(&path).unwrap();
        claimed.begin().unwrap();
        assert_eq!(Survey::of(&path).unwrap().content, WholeContent::Unfinished);
        write_table(&path);
        assert_eq!(claimed.finish().unwrap().entries().count(), 1);
        let content = Survey::of(&path).unwrap().content;
        assert!(
            matches!(content, WholeContent::Partitions(_)),
            "{content:?}"
        );
    }

    #[test]
    fn what_is_neither_disk_nor_file_is_refused() {
        let error = Survey::of(Path::new("/dev/null")).unwrap_err();
        assert!(matches!(error, LayoutError::NotADisk { .. }), "{error}");
        let error = Survey::of(Path::new("/dev/no-such-disk")).unwrap_err();
        assert!(matches!(error, LayoutError::Find { .. }), "{error}");
    }
}
