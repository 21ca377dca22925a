//! One 512-byte tar header block: v7, ustar (POSIX.1-1988), GNU and star.

use super::problem::EntryError;

/// Size of a tar block.
pub(crate) const BLOCK: usize = 512;

/// Length of the main header's sparse table, and of one extension block's.
const GNU_SPARSE_SLOTS: usize = 4;
const GNU_EXTENSION_SLOTS: usize = 21;
/// Two 12-byte numbers.
const GNU_SPARSE_SLOT: usize = 24;

/// Offsets and lengths of a sparse file's data.
pub(crate) type Segments = Vec<(u64, u64)>;

/// A header block whose checksum is right.
#[derive(Clone, Copy)]
pub(crate) struct Header<'b>(&'b [u8; BLOCK]);

impl<'b> Header<'b> {
    /// Checks what says how the block is to be read: its sum and the mark of its format.
    pub(crate) fn new(block: &'b [u8; BLOCK]) -> Result<Self, EntryError> {
        let header = Self(block);
        header.check_sum()?;
        header.check_format()?;
        header.check_numbers()?;
        Ok(header)
    }

    /// Some old writers took the sum over signed bytes.
    fn check_sum(self) -> Result<(), EntryError> {
        let (header, block) = (self, self.0);
        let stored = header.number("checksum", 148..156)?;
        let field = &block[148..156];
        let spaces = 8 * i64::from(b' ');
        let unsigned = |bytes: &[u8]| bytes.iter().map(|&b| i64::from(b)).sum::<i64>();
        let sum = unsigned(block) - unsigned(field) + spaces;
        if sum == stored {
            return Ok(());
        }
        let signed = |bytes: &[u8]| {
            bytes
                .iter()
                .map(|&b| i64::from(b.cast_signed()))
                .sum::<i64>()
        };
        if signed(block) - signed(field) + spaces == stored {
            Ok(())
        } else {
            Err(EntryError::BadChecksum)
        }
    }

    /// Marks that are nearly one of those known, and fields that the marked format does not have, are
    /// read by some and not by others.
    fn check_format(self) -> Result<(), EntryError> {
        if self.is_ustar() {
            return Ok(());
        }
        if !self.is_gnu() && self.bytes(257..262) == b"ustar" {
            return Err(EntryError::Ambiguous("the mark of its format"));
        }
        // A name prefix is read there, or a sparse map, whatever the type and the format. (Times of access and
        // change could be, too, which no image has any use for.)
        if self.type_flag() != b'S' && self.bytes(345..BLOCK).iter().any(|&b| b != 0) {
            return Err(EntryError::Ambiguous(
                "a field that its format does not have",
            ));
        }
        Ok(())
    }

    /// Also those that nobody needs here, as some readers take a wrong one for the end of the archive.
    fn check_numbers(self) -> Result<(), EntryError> {
        self.mode()?;
        self.uid()?;
        self.gid()?;
        self.size()?;
        self.mtime()?;
        self.device()?;
        Ok(())
    }

    fn bytes(self, range: std::ops::Range<usize>) -> &'b [u8] {
        &self.0[range]
    }

    pub(crate) fn is_ustar(self) -> bool {
        self.bytes(257..263) == b"ustar\0"
    }

    fn is_gnu(self) -> bool {
        self.bytes(257..265) == b"ustar  \0"
    }

    pub(crate) fn type_flag(self) -> u8 {
        self.0[156]
    }

    /// The name, with the prefix of ustar headers in front.
    pub(crate) fn name(self) -> Vec<u8> {
        let name = until_nul(self.bytes(0..100));
        let prefix = if !self.is_ustar() {
            &[][..]
        } else if self.bytes(508..512) == b"tar\0" {
            until_nul(self.bytes(345..476))
        } else {
            until_nul(self.bytes(345..500))
        };
        if prefix.is_empty() {
            name.to_vec()
        } else {
            [prefix, b"/", name].concat()
        }
    }

    pub(crate) fn link_name(self) -> Vec<u8> {
        until_nul(self.bytes(157..257)).to_vec()
    }

    pub(crate) fn mode(self) -> Result<i64, EntryError> {
        self.number("mode", 100..108)
    }

    pub(crate) fn uid(self) -> Result<i64, EntryError> {
        self.number("uid", 108..116)
    }

    pub(crate) fn gid(self) -> Result<i64, EntryError> {
        self.number("gid", 116..124)
    }

    pub(crate) fn size(self) -> Result<u64, EntryError> {
        self.natural("size", 124..136)
    }

    pub(crate) fn mtime(self) -> Result<i64, EntryError> {
        self.number("mtime", 136..148)
    }

    /// Major and minor number; zero in v7 headers, which have none, and which none may have.
    pub(crate) fn device(self) -> Result<(i64, i64), EntryError> {
        let numbers = (
            self.number("major device number", 329..337)?,
            self.number("minor device number", 337..345)?,
        );
        if numbers != (0, 0) && !self.is_ustar() && !self.is_gnu() {
            return Err(EntryError::Ambiguous(
                "device numbers, which its format does not have",
            ));
        }
        Ok(numbers)
    }

    /// What an old GNU sparse header says: segments, file size, and whether extension blocks follow.
    pub(crate) fn gnu_sparse(self) -> Result<(Segments, u64, bool), EntryError> {
        if !self.is_gnu() {
            return Err(EntryError::Sparse("it is not in GNU format"));
        }
        let segments = sparse_slots(self.0, 386, GNU_SPARSE_SLOTS)?;
        if segments.is_empty() {
            return Err(EntryError::Sparse("it has no map"));
        }
        let real_size = self.natural("sparse file size", 483..495)?;
        Ok((segments, real_size, self.0[482] != 0))
    }

    fn natural(
        self,
        field: &'static str,
        range: std::ops::Range<usize>,
    ) -> Result<u64, EntryError> {
        let number = self.number(field, range)?;
        u64::try_from(number).map_err(|_| EntryError::BadNumber(field))
    }

    fn number(self, field: &'static str, range: std::ops::Range<usize>) -> Result<i64, EntryError> {
        number(self.bytes(range)).ok_or(EntryError::BadNumber(field))
    }
}

/// One extension block of an old GNU sparse header: segments, and whether another block follows.
pub(crate) fn gnu_sparse_extension(block: &[u8; BLOCK]) -> Result<(Segments, bool), EntryError> {
    Ok((
        sparse_slots(block, 0, GNU_EXTENSION_SLOTS)?,
        block[504] != 0,
    ))
}

/// Sparse table slots. One whose first byte, or whose length, is none ends the table, depending on the
/// reader: so nothing may follow.
fn sparse_slots(block: &[u8; BLOCK], start: usize, count: usize) -> Result<Segments, EntryError> {
    let mut segments = Vec::new();
    let mut ended = false;
    for slot in block[start..].chunks_exact(GNU_SPARSE_SLOT).take(count) {
        if slot.iter().all(|&b| b == 0) {
            ended = true;
            continue;
        }
        if ended || slot[0] == 0 || slot[12] == 0 {
            return Err(EntryError::Sparse("its map goes on behind its end"));
        }
        let value = |field: &[u8]| {
            number(field)
                .and_then(|n| u64::try_from(n).ok())
                .ok_or(EntryError::BadNumber("sparse segment"))
        };
        segments.push((value(&slot[..12])?, value(&slot[12..])?));
    }
    Ok(segments)
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|&b| b == 0).next().unwrap_or_default()
}

/// A numeric field: octal digits, spaces in front, spaces and NULs behind (NULs alone are zero); or
/// base-256 of GNU and star, two's complement behind a byte that is 0x80 or, below zero, 0xFF.
fn number(field: &[u8]) -> Option<i64> {
    match field.split_first()? {
        (0x80, rest) => base_256(0, rest),
        (0xff, rest) => base_256(-1, rest),
        _ => octal(field),
    }
}

fn octal(field: &[u8]) -> Option<i64> {
    let end = field.iter().rposition(|b| !matches!(b, b' ' | 0));
    let Some(end) = end else {
        // Spaces alone are zero to some, and an error to GNU tar.
        return field.first().filter(|&&b| b == 0).map(|_| 0);
    };
    let start = field.iter().position(|&b| b != b' ')?;
    field[start..=end]
        .iter()
        .try_fold(0_i64, |value, digit| match digit {
            b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
            _ => None,
        })
}

fn base_256(sign: i128, bytes: &[u8]) -> Option<i64> {
    let value = bytes
        .iter()
        .fold(sign, |value, &byte| (value << 8) | i128::from(byte));
    i64::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_octal_or_base_256() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b"  644 \0 "), Some(0o644));
        assert_eq!(number(b"\0\0\0\0\0\0\0\0"), Some(0));
        assert_eq!(number(b"77777777"), Some(0o77_777_777));
        assert_eq!(number(b"\x80\0\0\0\0\0\x01\0"), Some(256));
        assert_eq!(number(&[0xff; 12]), Some(-1));
        assert_eq!(
            number(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xae\x80"),
            Some(-86400)
        );
        for bad in [
            &b"+644\0"[..],
            b"0x1f\0",
            b"64 4\0",
            b"-1\0",
            b"8\0",
            b"64\x004\0",
            b"\x00644\0",
            b"\t644\0",
            b"        ",
            b"\x81\0\0\0\0\0\0\x01",
            b"\xfe\0\0\0\0\0\0\x01",
        ] {
            assert_eq!(number(bad), None, "{bad:?}");
        }
        assert_eq!(number(b"\x80\0\0\x01\0\0\0\0\0\0\0\0"), None);
    }

    proptest! {
        #[test]
        fn any_field_is_read_or_refused(field in proptest::collection::vec(any::<u8>(), 12)) {
            let value = number(&field);
            if let Some(value) = value && field[0] & 0x80 == 0 {
                prop_assert!(value >= 0);
            }
        }

        #[test]
        fn numbers_agree_with_another_reader(value in 0_u64..(1 << 62)) {
            let mut header = tar_core::Header::new_gnu();
            header.set_size(value).unwrap();
            header.set_mtime(value).unwrap();
            header.set_checksum();
            let block = *header.as_bytes();
            let ours = Header::new(&block).map_err(|e| e.to_string()).unwrap();
            prop_assert_eq!(ours.size().map_err(|e| e.to_string()).unwrap(), value);
            prop_assert_eq!(ours.mtime().map_err(|e| e.to_string()).unwrap(), value.cast_signed());
        }
    }
}
