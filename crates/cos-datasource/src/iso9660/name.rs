//! Names of directory records.

use super::{Iso, IsoError, Names, Record, SECTOR, Source};

/// Continuation areas followed for one record.
const MAX_CONTINUATIONS: usize = 8;
/// The longest Rock Ridge name, in bytes.
const MAX_NAME: usize = 1024;

impl<S: Source> Iso<S> {
    /// Whether the record has this name.
    pub(super) fn is_named(
        &self,
        record: &Record<'_>,
        name: &str,
        names: Names,
    ) -> Result<bool, IsoError> {
        match names {
            Names::Joliet => Ok(without_version(&ucs2(record.identifier)) == name),
            Names::Plain { skip } => {
                if let Some(found) = self.rock_ridge_name(record, skip)? {
                    return Ok(found == name.as_bytes());
                }
                let plain = String::from_utf8_lossy(record.identifier);
                let plain = without_version(&plain);
                Ok(plain
                    .strip_suffix('.')
                    .unwrap_or(plain)
                    .eq_ignore_ascii_case(name))
            }
        }
    }

    /// The name in the entries `NM` of a record, which may go on in other places (`CE`).
    fn rock_ridge_name(
        &self,
        record: &Record<'_>,
        skip: usize,
    ) -> Result<Option<Vec<u8>>, IsoError> {
        let mut found: Option<Vec<u8>> = None;
        let mut area = record.system_use.get(skip..).unwrap_or_default().to_vec();
        for _ in 0..MAX_CONTINUATIONS {
            let mut next = None;
            for entry in Entries(&area) {
                match entry {
                    // Flags 2 and 4 are the directory itself and its parent.
                    [b'N', b'M', _, 1, flags, text @ ..] if flags & 6 == 0 => {
                        let name = found.get_or_insert_default();
                        name.extend_from_slice(text);
                        name.truncate(MAX_NAME);
                    }
                    [b'C', b'E', _, 1, fields @ ..] => next = continuation(fields),
                    [b'S', b'T', ..] => break,
                    _ => {}
                }
            }
            let Some((block, offset, length)) = next else {
                break;
            };
            let start = block * self.block + offset;
            area = self.bytes(start, (length as usize).min(SECTOR))?;
        }
        Ok(found)
    }
}

/// Block, offset and length of a continuation area: both-endian numbers (SUSP, 5.1).
fn continuation(fields: &[u8]) -> Option<(u64, u64, u64)> {
    let number = |at: usize| {
        let field = fields.get(at..at + 4)?;
        Some(u64::from(u32::from_le_bytes(field.try_into().ok()?)))
    };
    Some((number(0)?, number(8)?, number(16)?))
}

/// The entries of a system use area: two letters, length, version, data (SUSP, 4.1).
struct Entries<'a>(&'a [u8]);

impl<'a> Iterator for Entries<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(*self.0.get(2)?);
        if length < 4 {
            return None;
        }
        let (entry, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(entry)
    }
}

fn ucs2(bytes: &[u8]) -> String {
    let units = bytes
        .chunks_exact(2)
        .map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    char::decode_utf16(units)
        .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

/// `NAME.EXT;1` without its version.
fn without_version(name: &str) -> &str {
    match name.rsplit_once(';') {
        Some((bare, version)) if version.bytes().all(|byte| byte.is_ascii_digit()) => bare,
        _ => name,
    }
}
