//! Reader of the log of writes that dm-log-writes and QEMU's `blklogwrites` keep.
//!
//! A sector with a superblock, then the entries, each a sector with its header and the data behind it
//! (Documentation/admin-guide/device-mapper/log-writes.rst, drivers/md/dm-log-writes.c).

use anyhow::{Context, Result, ensure};
use fs_err::File;
use fs_err::os::unix::fs::FileExt;
use std::path::Path;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;
/// Longer logs are refused, not read.
const MAX_ENTRIES: u64 = 1 << 20;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(u64);

impl Flags {
    const FLUSH: u64 = 1;
    const FUA: u64 = 2;
    const DISCARD: u64 = 4;
    const MARK: u64 = 8;
    const METADATA: u64 = 16;
    const ALL: u64 = Self::FLUSH | Self::FUA | Self::DISCARD | Self::MARK | Self::METADATA;

    /// Everything that was finished before it is on the disk.
    pub fn flush(self) -> bool {
        self.0 & Self::FLUSH != 0
    }

    /// A write that counts as finished only once it is on the disk.
    pub fn fua(self) -> bool {
        self.0 & Self::FUA != 0
    }

    /// Forgets sectors; there is no data.
    pub fn discard(self) -> bool {
        self.0 & Self::DISCARD != 0
    }

    /// A name for a moment, and no write.
    pub fn mark(self) -> bool {
        self.0 & Self::MARK != 0
    }
}

/// A write, discard, flush or mark.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// What it is.
    pub flags: Flags,
    /// First byte of the disk that it concerns.
    pub at: u64,
    /// How many bytes it concerns; none for a flush alone.
    pub length: u64,
    /// Where its data is in the log, and where the entry ends there.
    data_at: u64,
    end: u64,
}

impl Entry {
    /// Whether it changes the disk.
    pub fn writes(&self) -> bool {
        self.length > 0 && !self.flags.mark()
    }
}

/// A log.
#[derive(Debug)]
pub struct Log {
    file: File,
    entries: Vec<Entry>,
}

impl Log {
    /// Reads the log of a disk of `disk_bytes`.
    pub fn open(path: &Path, disk_bytes: u64) -> Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let superblock = header(&file, 0)?;
        ensure!(
            superblock[0] == MAGIC,
            "{}: no log of writes",
            path.display()
        );
        ensure!(
            superblock[1] == VERSION,
            "{}: version {}",
            path.display(),
            superblock[1]
        );
        let count = superblock[2];
        let sector = superblock[3] & 0xffff_ffff;
        ensure!(
            sector.is_power_of_two() && (512..=4096).contains(&sector),
            "{}: sectors of {sector} bytes",
            path.display()
        );
        ensure!(count <= MAX_ENTRIES, "{}: {count} entries", path.display());
        let mut entries = Vec::new();
        let mut at = sector;
        for number in 0..count {
            let entry = entry(&file, at, sector)
                .and_then(|entry| check(entry, length, disk_bytes))
                .with_context(|| format!("{}, entry {number}", path.display()))?;
            at = entry.end;
            entries.push(entry);
        }
        Ok(Self { file, entries })
    }

    /// All entries, in the order in which they were logged.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// How many entries lie whole in the first `bytes` of the log.
    pub fn position(&self, bytes: u64) -> usize {
        self.entries.partition_point(|entry| entry.end <= bytes)
    }

    /// What an entry writes; zeros for a discard.
    pub fn data(&self, entry: &Entry) -> Result<Vec<u8>> {
        let length = usize::try_from(entry.length)?;
        let mut data = vec![0; length];
        if !entry.flags.discard() {
            self.file.read_exact_at(&mut data, entry.data_at)?;
        }
        Ok(data)
    }
}

/// The four numbers that superblock and entries begin with.
fn header(file: &File, at: u64) -> Result<[u64; 4]> {
    let mut bytes = [0; 32];
    file.read_exact_at(&mut bytes, at)?;
    let mut numbers = [0; 4];
    for (number, bytes) in numbers.iter_mut().zip(bytes.chunks_exact(8)) {
        *number = u64::from_le_bytes(bytes.try_into()?);
    }
    Ok(numbers)
}

fn entry(file: &File, at: u64, sector: u64) -> Result<Entry> {
    let [first, sectors, flags, mark_bytes] = header(file, at)?;
    ensure!(flags & !Flags::ALL == 0, "flags {flags:#x}");
    let flags = Flags(flags);
    let bytes = |sectors: u64| sectors.checked_mul(sector).context("too many sectors");
    let length = bytes(sectors)?;
    let stored = if flags.mark() {
        mark_bytes
            .checked_next_multiple_of(sector)
            .context("mark")?
    } else if flags.discard() {
        0
    } else {
        length
    };
    let data_at = at + sector;
    Ok(Entry {
        flags,
        at: bytes(first)?,
        length,
        data_at,
        end: data_at.checked_add(stored).context("too long")?,
    })
}

fn check(entry: Entry, log_bytes: u64, disk_bytes: u64) -> Result<Entry> {
    ensure!(entry.end <= log_bytes, "beyond the end of the log");
    let end = entry.at.checked_add(entry.length);
    ensure!(
        !entry.writes() || end.is_some_and(|end| end <= disk_bytes),
        "beyond the end of the disk"
    );
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sector(numbers: &[u64]) -> Vec<u8> {
        let mut bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        bytes.resize(512, 0);
        bytes
    }

    fn log(parts: &[Vec<u8>]) -> (cos_testkit::TempDir, Result<Log>) {
        let temp = cos_testkit::temp_dir().unwrap();
        let path = temp.path().join("log");
        fs_err::write(&path, parts.concat()).unwrap();
        let log = Log::open(&path, 1 << 20);
        (temp, log)
    }

    #[test]
    fn writes_flushes_and_discards_are_read() {
        let parts = [
            sector(&[MAGIC, 1, 4, 512]),
            sector(&[8, 2, 0, 0]),
            vec![7; 1024],
            sector(&[0, 0, 1, 0]),
            sector(&[16, 4, 4, 0]),
            sector(&[9, 1, 3, 0]),
            vec![9; 512],
        ];
        let (_temp, log) = log(&parts);
        let log = log.unwrap();
        let kinds: Vec<_> = log
            .entries()
            .iter()
            .map(|it| {
                (
                    it.at,
                    it.length,
                    it.flags.flush(),
                    it.flags.fua(),
                    it.writes(),
                )
            })
            .collect();
        assert_eq!(
            kinds,
            [
                (4096, 1024, false, false, true),
                (0, 0, true, false, false),
                (8192, 2048, false, false, true),
                (4608, 512, true, true, true),
            ]
        );
        assert_eq!(log.data(&log.entries()[0]).unwrap(), [7; 1024]);
        assert_eq!(log.data(&log.entries()[2]).unwrap(), [0; 2048]);
        assert_eq!(log.data(&log.entries()[3]).unwrap(), [9; 512]);
        assert_eq!(log.position(512 * 4), 1);
        assert_eq!(log.position(512 * 4 - 1), 0);
        assert_eq!(log.position(u64::MAX), 4);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (wrong, numbers) in [
            ("beyond the end of the log", [0, 2, 0, 0]),
            ("beyond the end of the disk", [2048, 1, 0, 0]),
            ("too many sectors", [0, u64::MAX, 0, 0]),
            ("flags 0x20", [0, 1, 32, 0]),
        ] {
            let parts = [sector(&[MAGIC, 1, 1, 512]), sector(&numbers), vec![0; 512]];
            let error = format!("{:#}", log(&parts).1.unwrap_err());
            assert!(error.contains(wrong), "{error}");
        }
        for superblock in [
            [MAGIC + 1, 1, 0, 512],
            [MAGIC, 2, 0, 512],
            [MAGIC, 1, MAX_ENTRIES + 1, 512],
            [MAGIC, 1, 0, 500],
        ] {
            assert!(log(&[sector(&superblock)]).1.is_err());
        }
        // More entries promised than there are.
        assert!(log(&[sector(&[MAGIC, 1, 1, 512])]).1.is_err());
    }
}
