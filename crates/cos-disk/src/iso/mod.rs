//! ISO 9660 images that boot: from CD and from USB stick, by BIOS and by UEFI.
//!
//! Files are written one after the other at their final place, of whatever length; the directories
//! go into room kept for them at the front. Names are Rock Ridge's. Layout: ECMA-119 (level 3), the
//! System Use Sharing Protocol 1.12, the Rock Ridge Interchange Protocol 1.10, El Torito 1.0.

mod boot;
mod directory;
mod tree;
mod volume;

use crate::DiskError;
use crate::calendar::Calendar;
use fs_err::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use tree::Tree;

pub use boot::{BiosBoot, BootImages};

/// Bytes of a logical sector and block.
const SECTOR: u64 = 2048;

/// Where files start, in sectors: 1 MiB, so that what lies there is aligned for any device.
const DATA_START: u64 = 512;

/// Zeros after the last file, in sectors: drives that read ahead fail at the very end of a CD.
const PADDING: u64 = 150;

/// What tells one image from another, and its times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsoOptions {
    /// The volume's label: up to 32 capital letters, digits and `_`.
    pub volume_id: String,
    /// The time of all files and of the volume's creation, in seconds since 1970, UTC.
    pub time: i64,
    /// From which the volume's UUID is made; images that differ want different ones.
    pub identity: u64,
}

/// Seconds in the hundred years that UUIDs are spread over.
const CENTURY: u64 = 3_155_673_600;

/// 1990-01-01, where these years start.
const UUID_EPOCH: i64 = 631_152_000;

/// The UUID that an image made with `identity` has for `blkid` and for GRUB's `search --fs-uuid`:
/// the modification time of the volume, as `YYYY-MM-DD-hh-mm-ss-cc`.
pub fn uuid_of(identity: u64) -> String {
    let digits = volume::uuid_digits(identity);
    let text = String::from_utf8_lossy(&digits[..16]);
    let parts = [0..4, 4..6, 6..8, 8..10, 10..12, 12..14, 14..16];
    parts.map(|range| &text[range]).join("-")
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsoSummary {
    /// The volume's UUID; see [`uuid_of`].
    pub uuid: String,
    /// The size of the image, in bytes.
    pub bytes: u64,
}

/// An image in the making.
#[derive(Debug)]
pub struct IsoWriter<'f> {
    file: &'f File,
    options: IsoOptions,
    tree: Tree,
    /// Where the next file goes, in sectors.
    next: u64,
}

impl<'f> IsoWriter<'f> {
    /// Starts an image in `file`, whose content is lost.
    pub fn create(file: &'f File, options: IsoOptions) -> Result<Self, DiskError> {
        volume::check_label(&options.volume_id)?;
        file.set_len(0)
            .map_err(|source| write_error(file, source))?;
        Ok(Self {
            file,
            options,
            tree: Tree::new(),
            next: DATA_START,
        })
    }

    /// Adds a directory, and those above it. One that is there stays as it is.
    pub fn add_directory(&mut self, path: &str) -> Result<(), DiskError> {
        self.tree.add_directory(path)
    }

    /// Adds a file of these bytes, and the directories above it.
    pub fn add_file(&mut self, path: &str, mut bytes: &[u8]) -> Result<(), DiskError> {
        let length = bytes.len() as u64;
        self.add_file_from(path, &mut bytes, length)
    }

    /// Adds a file of exactly `length` bytes from a reader.
    pub fn add_file_from(
        &mut self,
        path: &str,
        reader: &mut dyn Read,
        length: u64,
    ) -> Result<(), DiskError> {
        let mut target = self.stream_file(path)?;
        let copied = io::copy(&mut reader.take(length), &mut target).and_then(|copied| {
            if copied == length {
                Ok(())
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            }
        });
        copied.map_err(|source| DiskError::ReadContent {
            path: path.into(),
            source,
        })?;
        target.finish()
    }

    /// Starts a file whose length is known only when it is finished. What is written goes straight
    /// to its final place.
    pub fn stream_file(&mut self, path: &str) -> Result<IsoFile<'_, 'f>, DiskError> {
        self.tree.check_new(path)?;
        let start = self.next * SECTOR;
        // What an abandoned file left behind goes.
        self.file
            .set_len(start)
            .map_err(|source| write_error(self.file, source))?;
        Ok(IsoFile {
            writer: self,
            path: path.to_owned(),
            start,
            position: 0,
            length: 0,
        })
    }

    /// Writes directories and boot records. The image is complete then, but not yet synced.
    pub fn finish(self, boot: &BootImages<'_>) -> Result<IsoSummary, DiskError> {
        let sectors = self.next + PADDING;
        let metadata = volume::metadata(&self.tree, &self.options, sectors, boot)?;
        let patches = boot::patches(self.file, &self.tree, &self.options, sectors, boot)?;
        let written = || -> io::Result<()> {
            self.file.set_len(sectors * SECTOR)?;
            self.file
                .file()
                .write_all_at(&metadata, volume::START * SECTOR)?;
            for (offset, bytes) in &patches {
                self.file.file().write_all_at(bytes, *offset)?;
            }
            Ok(())
        };
        written().map_err(|source| write_error(self.file, source))?;
        Ok(IsoSummary {
            uuid: uuid_of(self.options.identity),
            bytes: sectors * SECTOR,
        })
    }
}

/// A file of the image while it is written. Left out of the image unless [finished](Self::finish).
#[derive(Debug)]
pub struct IsoFile<'w, 'f> {
    writer: &'w mut IsoWriter<'f>,
    path: String,
    start: u64,
    position: u64,
    length: u64,
}

impl IsoFile<'_, '_> {
    /// Where the file starts in the image, in bytes.
    pub fn offset(&self) -> u64 {
        self.start
    }

    /// The image's own file, for who writes at positions; then [set the length](Self::set_length).
    pub fn image(&self) -> &File {
        self.writer.file
    }

    /// Sets the length of the file, in bytes. What was not written reads as zeros.
    pub fn set_length(&mut self, length: u64) {
        self.length = length;
    }

    /// Enters the file into the image.
    pub fn finish(self) -> Result<(), DiskError> {
        let first = self.start / SECTOR;
        let sectors = self.length.div_ceil(SECTOR);
        if first + sectors + PADDING > u64::from(u32::MAX) {
            return Err(DiskError::SizeOverflow);
        }
        self.writer.tree.add_file(&self.path, first, self.length)?;
        self.writer.next = first + sectors;
        Ok(())
    }
}

impl Write for IsoFile<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self
            .writer
            .file
            .file()
            .write_at(bytes, self.start + self.position)?;
        self.position += written as u64;
        self.length = self.length.max(self.position);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for IsoFile<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self
            .length
            .saturating_sub(self.position)
            .min(buffer.len() as u64);
        let offset = self.start + self.position;
        let count = self
            .writer
            .file
            .file()
            .read_at(&mut buffer[..left as usize], offset)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for IsoFile<'_, '_> {
    fn seek(&mut self, target: SeekFrom) -> io::Result<u64> {
        let position = match target {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(distance) => self.position.checked_add_signed(distance),
            SeekFrom::End(distance) => self.length.checked_add_signed(distance),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

fn write_error(file: &File, source: io::Error) -> DiskError {
    DiskError::WriteIso {
        path: file.path().into(),
        source,
    }
}

/// The date of `time` in the years that directory records can tell.
fn date_of(time: i64) -> Calendar {
    Calendar::within_years(time, 1900, 2155)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_dates_and_differ() {
        assert_eq!(uuid_of(0), "1990-01-01-00-00-00-00");
        assert_eq!(uuid_of(1), "1990-01-01-00-00-01-00");
        assert_eq!(uuid_of(CENTURY), "1990-01-01-00-00-00-01");
        assert_ne!(uuid_of(u64::MAX), uuid_of(u64::MAX - 1));
        assert_eq!(uuid_of(u64::MAX).len(), 22);
    }

    #[test]
    fn an_abandoned_file_is_not_there() {
        let file = File::from_parts(tempfile::tempfile().unwrap(), "x.iso");
        let options = IsoOptions {
            volume_id: "X".into(),
            time: 0,
            identity: 0,
        };
        let mut writer = IsoWriter::create(&file, options).unwrap();
        writer
            .stream_file("a")
            .unwrap()
            .write_all(&[1; 5000])
            .unwrap();
        let mut kept = writer.stream_file("b").unwrap();
        assert_eq!(kept.offset(), 1 << 20);
        kept.write_all(b"b").unwrap();
        kept.finish().unwrap();
        writer.add_file("a", b"again").unwrap();
        assert!(matches!(
            writer.add_file("a", b""),
            Err(DiskError::DuplicatePath { .. })
        ));
        assert!(matches!(
            writer.add_file("a/b", b""),
            Err(DiskError::DuplicatePath { .. })
        ));
        assert!(matches!(
            writer.add_file("../b", b""),
            Err(DiskError::IsoName { .. })
        ));
        let summary = writer.finish(&BootImages::default()).unwrap();
        assert_eq!(summary.bytes, file.metadata().unwrap().len());
        let mut bytes = [9; 2];
        file.file().read_exact_at(&mut bytes, 1 << 20).unwrap();
        assert_eq!(&bytes, b"b\0");
    }

    #[test]
    fn a_short_reader_is_an_error() {
        let file = File::from_parts(tempfile::tempfile().unwrap(), "x.iso");
        let options = IsoOptions {
            volume_id: "X".into(),
            time: 0,
            identity: 0,
        };
        let mut writer = IsoWriter::create(&file, options).unwrap();
        let error = writer.add_file_from("a", &mut &b"12"[..], 3).unwrap_err();
        assert!(matches!(error, DiskError::ReadContent { .. }));
    }
}
