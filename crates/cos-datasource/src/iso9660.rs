//! Reads single files of an ISO 9660 file system (ECMA-119) straight from a device or image, with
//! the names of Rock Ridge (IEEE P1282, SUSP) or Joliet where the disc has them.
//!
//! A medium is anybody's: nothing is mounted, every size is checked against the limit before it is
//! believed, and what only large or strange discs have (several extents, interleaving, relocated
//! directories, symbolic links) is not followed.

use fs_err::os::unix::fs::FileExt;
use std::io;

mod name;

/// Volume descriptors and directories come in sectors of this size, in bytes.
const SECTOR: usize = 2048;
/// Where the volume descriptors begin, in sectors.
const FIRST_DESCRIPTOR: u64 = 16;
/// Volume descriptors looked at.
const MAX_DESCRIPTORS: u64 = 32;
/// The largest directory read, in bytes.
const MAX_DIRECTORY: u64 = 1 << 20;
/// Components in a path.
const MAX_DEPTH: usize = 8;

/// Flags of a directory record (ECMA-119, 9.1.6).
const DIRECTORY: u8 = 0x02;
const ASSOCIATED: u8 = 0x04;
const MULTI_EXTENT: u8 = 0x80;

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IsoError {
    /// The device failed.
    #[error("cannot read at byte {offset}")]
    Read { offset: u64, source: io::Error },
    /// The file system makes no sense.
    #[error("the ISO 9660 file system is damaged: {0}")]
    Damaged(&'static str),
    /// The file is larger than wanted.
    #[error("the file {path} is larger than {limit} bytes")]
    TooLarge { path: String, limit: u64 },
}

/// Where the bytes come from.
pub(crate) trait Source {
    /// Reads at a place; fewer bytes than asked for only where there are no more.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
}

impl Source for &[u8] {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = self.get(start..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

impl Source for &fs_err::File {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match FileExt::read_at(*self, &mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

/// How names are written in a directory tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    /// `USER_DAT.;1`, compared without regard to case and version, and Rock Ridge's where a record
    /// has one; `skip` is where a record's system use begins (SUSP, `LEN_SKP`).
    Plain { skip: usize },
    /// UCS-2, big-endian.
    Joliet,
}

/// A stretch of the disc: the contents of a file or directory.
#[derive(Debug, Clone, Copy)]
struct Extent {
    offset: u64,
    size: u64,
    flags: u8,
}

/// A directory record (ECMA-119, 9.1).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'d> {
    extent: Extent,
    pub(crate) identifier: &'d [u8],
    pub(crate) system_use: &'d [u8],
}

/// An open file system.
#[derive(Debug)]
pub(crate) struct Iso<S> {
    pub(crate) source: S,
    pub(crate) block: u64,
    trees: Vec<(Names, Extent)>,
}

impl<S: Source> Iso<S> {
    /// Reads the volume descriptors.
    pub(crate) fn open(source: S) -> Result<Self, IsoError> {
        let mut iso = Self {
            source,
            block: 0,
            trees: Vec::new(),
        };
        for number in 0..MAX_DESCRIPTORS {
            let descriptor = iso.bytes((FIRST_DESCRIPTOR + number) * SECTOR as u64, SECTOR)?;
            if descriptor.len() < SECTOR || &descriptor[1..6] != b"CD001" {
                break;
            }
            match descriptor[0] {
                1 if iso.trees.is_empty() => iso.add_tree(&descriptor, false)?,
                2 if is_joliet(&descriptor) && !iso.trees.is_empty() => {
                    iso.add_tree(&descriptor, true)?;
                }
                255 => break,
                _ => {}
            }
        }
        if iso.trees.is_empty() {
            return Err(IsoError::Damaged("it has no volume descriptor"));
        }
        Ok(iso)
    }

    fn add_tree(&mut self, descriptor: &[u8], joliet: bool) -> Result<(), IsoError> {
        let block = u64::from(u16::from_le_bytes([descriptor[128], descriptor[129]]));
        if !matches!(block, 512 | 1024 | 2048) || self.block != 0 && self.block != block {
            return Err(IsoError::Damaged("its blocks have no possible size"));
        }
        self.block = block;
        let Some((root, _)) = self.record(&descriptor[156..190]) else {
            return Err(IsoError::Damaged("its root directory has no record"));
        };
        let names = if joliet {
            Names::Joliet
        } else {
            let skip = self.susp_skip(root.extent)?;
            Names::Plain { skip }
        };
        self.trees.push((names, root.extent));
        Ok(())
    }

    /// `LEN_SKP` of the root's own record, which the SUSP entry `SP` states (SUSP, 5.3).
    fn susp_skip(&self, root: Extent) -> Result<usize, IsoError> {
        let sector = self.bytes(root.offset, SECTOR)?;
        let entry = self
            .record(&sector)
            .and_then(|(own, _)| own.system_use.get(..7));
        Ok(match entry {
            Some([b'S', b'P', 7, 1, 0xbe, 0xef, skip]) => usize::from(*skip),
            _ => 0,
        })
    }

    /// Reads the file at `path` (`a/b`), of at most `limit` bytes. `None` when there is none.
    pub(crate) fn read(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, IsoError> {
        for (names, root) in &self.trees {
            let Some(file) = self.find(path, *names, *root)? else {
                continue;
            };
            if file.flags & MULTI_EXTENT != 0 || file.size > limit {
                return Err(IsoError::TooLarge {
                    path: path.to_owned(),
                    limit,
                });
            }
            let bytes = self.bytes(file.offset, file.size as usize)?;
            if (bytes.len() as u64) < file.size {
                return Err(IsoError::Damaged("a file goes beyond its end"));
            }
            return Ok(Some(bytes));
        }
        Ok(None)
    }

    fn find(&self, path: &str, names: Names, root: Extent) -> Result<Option<Extent>, IsoError> {
        let mut at = root;
        let components = path.split('/').filter(|name| !name.is_empty());
        for (depth, name) in components.enumerate() {
            if at.flags & DIRECTORY == 0 || depth >= MAX_DEPTH {
                return Ok(None);
            }
            match self.entry(at, name, names)? {
                Some(extent) => at = extent,
                None => return Ok(None),
            }
        }
        Ok(Some(at).filter(|found| found.flags & DIRECTORY == 0))
    }

    /// Looks a name up in a directory.
    fn entry(&self, at: Extent, name: &str, names: Names) -> Result<Option<Extent>, IsoError> {
        if at.size > MAX_DIRECTORY {
            return Err(IsoError::Damaged("a directory is too large"));
        }
        let directory = self.bytes(at.offset, at.size as usize)?;
        // Records do not cross sectors; what is left of one is zero (ECMA-119, 6.8.1.1).
        for sector in directory.chunks(SECTOR) {
            let mut rest = sector;
            while let Some((record, after)) = self.record(rest) {
                rest = after;
                let hidden = record.extent.flags & ASSOCIATED != 0;
                let own = matches!(record.identifier, [0 | 1]);
                if !hidden && !own && self.is_named(&record, name, names)? {
                    return Ok(Some(record.extent));
                }
            }
        }
        Ok(None)
    }

    /// Takes the first record apart. `None` at the end of a sector and where it makes no sense.
    fn record<'d>(&self, bytes: &'d [u8]) -> Option<(Record<'d>, &'d [u8])> {
        let length = usize::from(*bytes.first()?);
        let (record, rest) = bytes.split_at_checked(length)?;
        let name_length = usize::from(*record.get(32)?);
        let number = |at: usize| {
            let field = record.get(at..at + 4)?;
            Some(u64::from(u32::from_le_bytes(field.try_into().ok()?)))
        };
        let identifier = record.get(33..33 + name_length)?;
        // A pad byte makes the length even (ECMA-119, 9.1.12).
        let system_use = 33 + name_length + usize::from(name_length % 2 == 0);
        let blocks = number(2)? + u64::from(record[1]);
        let interleaved = record[26] != 0;
        let extent = Extent {
            offset: blocks * self.block,
            size: number(10)?,
            // What cannot be read is treated like what is too large.
            flags: record[25] | if interleaved { MULTI_EXTENT } else { 0 },
        };
        let record = Record {
            extent,
            identifier,
            system_use: record.get(system_use..).unwrap_or_default(),
        };
        Some((record, rest))
    }

    /// Up to `length` bytes, which the caller has bounded; fewer at the end of the device.
    pub(crate) fn bytes(&self, offset: u64, length: usize) -> Result<Vec<u8>, IsoError> {
        let mut bytes = vec![0; length];
        let read = self.source.read_at(offset, &mut bytes);
        let count = read.map_err(|source| IsoError::Read { offset, source })?;
        bytes.truncate(count);
        Ok(bytes)
    }
}

/// Whether a supplementary descriptor is Joliet's: one of the three levels of UCS-2.
fn is_joliet(descriptor: &[u8]) -> bool {
    let escape = descriptor.get(88..91);
    matches!(escape, Some(b"%/@" | b"%/C" | b"%/E"))
}

#[cfg(test)]
mod tests;
