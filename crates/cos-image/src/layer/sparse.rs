//! Sparse files: the segments of data, and the holes between them.

use super::header::BLOCK;
use super::pax::{PaxSparse, decimal};
use super::problem::EntryError;
use crate::limits::Limits;

/// The data segments of a sparse file, checked: in order, apart, inside the file, and together as
/// long as what the archive stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SparseMap {
    /// Offset and length of each.
    pub(crate) segments: Vec<(u64, u64)>,
    /// Size of the file.
    pub(crate) size: u64,
}

impl SparseMap {
    /// Checks segments against the file's size and the number of bytes stored.
    pub(crate) fn new(
        segments: Vec<(u64, u64)>,
        size: u64,
        stored: u64,
        limits: &Limits,
    ) -> Result<Self, EntryError> {
        if segments.len() > limits.sparse_segments {
            return Err(EntryError::Sparse("it has too many segments"));
        }
        let mut end = 0;
        let mut total = 0_u64;
        for &(offset, length) in &segments {
            // GNU tar begins each segment in a block of its own; others put them together.
            if length > 0 && !total.is_multiple_of(BLOCK as u64) {
                return Err(EntryError::Sparse(
                    "a segment before the last does not fill its blocks",
                ));
            }
            if offset < end {
                return Err(EntryError::Sparse(
                    "its segments overlap or are out of order",
                ));
            }
            end = offset
                .checked_add(length)
                .filter(|&end| end <= size)
                .ok_or(EntryError::Sparse("a segment ends behind the file"))?;
            // No overflow: the segments do not overlap.
            total += length;
        }
        if total != stored {
            return Err(EntryError::Sparse(
                "its segments are not what the archive stores",
            ));
        }
        Ok(Self { segments, size })
    }
}

impl PaxSparse {
    /// Whether any sparse record was there.
    pub(crate) fn is_present(&self) -> bool {
        self.major.is_some()
            || self.minor.is_some()
            || self.name.is_some()
            || self.map.is_some()
            || self.size.is_some()
            || self.real_size.is_some()
            || self.count.is_some()
            || !self.pairs.is_empty()
    }

    /// Whether the map stands in front of the data (format 1.0).
    pub(crate) fn map_in_data(&self) -> Result<bool, EntryError> {
        match (self.major, self.minor) {
            (None, None) => Ok(false),
            (Some(1), Some(0)) => Ok(true),
            _ => Err(EntryError::Sparse("its format is none of 0.0, 0.1 and 1.0")),
        }
    }

    /// The segments that the records themselves list (formats 0.0 and 0.1).
    pub(crate) fn listed(&self, limits: &Limits) -> Result<Vec<(u64, u64)>, EntryError> {
        let segments = match &self.map {
            Some(map) if self.pairs.is_empty() => comma_separated(map, limits)?,
            Some(_) => return Err(EntryError::Sparse("it has two maps")),
            None if self.pairs.is_empty() => return Err(EntryError::Sparse("it has no map")),
            None => self.pairs.clone(),
        };
        match self.count {
            Some(count) if count != segments.len() as u64 => {
                Err(EntryError::Sparse("its number of segments is wrong"))
            }
            _ => Ok(segments),
        }
    }
}

fn comma_separated(map: &[u8], limits: &Limits) -> Result<Vec<(u64, u64)>, EntryError> {
    let mut numbers = map.split(|&b| b == b',').map(decimal);
    let mut segments = Vec::new();
    while let Some(offset) = numbers.next() {
        let (Some(offset), Some(Some(length))) = (offset, numbers.next()) else {
            return Err(EntryError::Sparse("its map is not pairs of numbers"));
        };
        if segments.len() >= limits.sparse_segments {
            return Err(EntryError::Sparse("it has too many segments"));
        }
        segments.push((offset, length));
    }
    Ok(segments)
}

/// Reads the map in front of the data of format 1.0, line by line: a count, then offsets and lengths.
#[derive(Debug, Default)]
pub(crate) struct MapReader {
    line: Vec<u8>,
    count: Option<u64>,
    offset: Option<u64>,
    segments: Vec<(u64, u64)>,
}

impl MapReader {
    /// Takes a block of the map. Returns the segments once they are complete; the rest of that
    /// block is padding.
    pub(crate) fn take(
        &mut self,
        block: &[u8],
        limits: &Limits,
    ) -> Result<Option<Vec<(u64, u64)>>, EntryError> {
        for &byte in block {
            if byte != b'\n' {
                self.line.push(byte);
                if self.line.len() > 20 {
                    return Err(EntryError::Sparse("its map is not lines of numbers"));
                }
                continue;
            }
            let number =
                decimal(&self.line).ok_or(EntryError::Sparse("its map is not lines of numbers"))?;
            self.line.clear();
            let Some(count) = self.count else {
                if number > limits.sparse_segments as u64 {
                    return Err(EntryError::Sparse("it has too many segments"));
                }
                self.count = Some(number);
                if number == 0 {
                    return Ok(Some(Vec::new()));
                }
                continue;
            };
            match self.offset.take() {
                None => self.offset = Some(number),
                Some(offset) => self.segments.push((offset, number)),
            }
            if self.segments.len() as u64 == count {
                return Ok(Some(std::mem::take(&mut self.segments)));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(segments: &[(u64, u64)], size: u64, stored: u64) -> Result<SparseMap, EntryError> {
        SparseMap::new(segments.to_vec(), size, stored, &Limits::default())
    }

    #[test]
    fn maps_are_checked() {
        assert!(map(&[(0, 512), (1024, 2), (2048, 0)], 2048, 514).is_ok());
        assert!(map(&[(0, 2), (4, 2), (8, 0)], 8, 4).is_err());
        assert!(map(&[], 1 << 30, 0).is_ok());
        assert!(map(&[(4, 2), (0, 2)], 8, 4).is_err());
        assert!(map(&[(0, 4), (2, 2)], 8, 6).is_err());
        assert!(map(&[(6, 4)], 8, 4).is_err());
        assert!(map(&[(u64::MAX, 2)], u64::MAX, 2).is_err());
        assert!(map(&[(0, 2)], 8, 3).is_err());
    }

    #[test]
    fn a_map_may_be_cut_anywhere() {
        let text = b"2\n0\n512\n4096\n10\n";
        let limits = Limits::default();
        for cut in 0..text.len() - 1 {
            let mut reader = MapReader::default();
            assert!(reader.take(&text[..cut], &limits).unwrap().is_none());
            let segments = reader.take(&text[cut..], &limits).unwrap().unwrap();
            assert_eq!(segments, [(0, 512), (4096, 10)]);
        }
        assert!(MapReader::default().take(b"9999999\n", &limits).is_err());
        assert!(MapReader::default().take(b"1\n-1\n", &limits).is_err());
        assert!(MapReader::default().take(&[0; 512], &limits).is_err());
    }

    #[test]
    fn comma_separated_maps_are_pairs() {
        let limits = Limits::default();
        assert_eq!(
            comma_separated(b"0,1,2,3", &limits).unwrap(),
            [(0, 1), (2, 3)]
        );
        for bad in [&b""[..], b"0", b"0,1,2", b"0,1,", b"a,b", b"0, 1"] {
            assert!(comma_separated(bad, &limits).is_err(), "{bad:?}");
        }
    }
}
