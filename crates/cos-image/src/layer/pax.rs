//! PAX extended headers: `LENGTH KEY=VALUE\n` records (POSIX.1-2001, pax, "Extended Header").

use super::problem::EntryError;
use crate::limits::Limits;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use cos_tree::{Xattrs, display};

/// What the PAX records of one entry say. `None`: nothing.
#[derive(Debug, Default, Clone)]
pub(crate) struct Pax {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) link_path: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) uid: Option<u64>,
    pub(crate) gid: Option<u64>,
    pub(crate) mtime: Option<i64>,
    pub(crate) major: Option<u64>,
    pub(crate) minor: Option<u64>,
    pub(crate) xattrs: Xattrs,
    pub(crate) sparse: PaxSparse,
}

/// GNU tar's sparse records.
#[derive(Debug, Default, Clone)]
pub(crate) struct PaxSparse {
    pub(crate) major: Option<u64>,
    pub(crate) minor: Option<u64>,
    pub(crate) name: Option<Vec<u8>>,
    /// `GNU.sparse.size` of 0.0 and 0.1.
    pub(crate) size: Option<u64>,
    /// `GNU.sparse.realsize` of 1.0.
    pub(crate) real_size: Option<u64>,
    /// `GNU.sparse.numblocks` of 0.0 and 0.1.
    pub(crate) count: Option<u64>,
    /// `GNU.sparse.map` of 0.1.
    pub(crate) map: Option<Vec<u8>>,
    /// `GNU.sparse.offset` and `.numbytes` of 0.0, in the order they came.
    pub(crate) pairs: Vec<(u64, u64)>,
    pending: Option<u64>,
}

/// Splits a PAX header into its records.
fn records(mut data: &[u8]) -> impl Iterator<Item = Result<(&[u8], &[u8]), EntryError>> {
    std::iter::from_fn(move || {
        if data.is_empty() {
            return None;
        }
        let record = split_record(data);
        data = match &record {
            Ok((_, _, rest)) => rest,
            Err(_) => &[],
        };
        Some(record.map(|(key, value, _)| (key, value)))
    })
}

type Record<'d> = (&'d [u8], &'d [u8], &'d [u8]);

fn split_record(data: &[u8]) -> Result<Record<'_>, EntryError> {
    let malformed = EntryError::MalformedPax;
    let space = data
        .iter()
        .take(20)
        .position(|&b| b == b' ')
        .ok_or(malformed("a record has no length"))?;
    let length = decimal(&data[..space]).ok_or(malformed("a record's length is not a number"))?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let record = data
        .get(space + 1..length)
        .ok_or(malformed("a record's length is wrong"))?;
    let record = record
        .strip_suffix(b"\n")
        .ok_or(malformed("a record does not end in a newline"))?;
    let equals = record
        .iter()
        .position(|&b| b == b'=')
        .ok_or(malformed("a record has no `=`"))?;
    if equals == 0 || record[..equals].contains(&0) {
        return Err(malformed("a record has no key, or one with a NUL"));
    }
    Ok((&record[..equals], &record[equals + 1..], &data[length..]))
}

/// Decimal digits only: no sign, no spaces.
pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 20 {
        return None;
    }
    text.iter().try_fold(0_u64, |value, digit| match digit {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// A PAX time, rounded down to whole seconds: `1.9` is 1, `-0.1` is -1, as GNU tar and `tarfile` unpack it
/// (libarchive rounds to 1970).
fn time(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut parts = digits.splitn(2, |&b| b == b'.');
    let whole = i64::try_from(decimal(parts.next()?)?).ok()?;
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    match negative {
        false => Some(whole),
        true if fraction.iter().any(|&b| b != b'0') => whole.checked_neg()?.checked_sub(1),
        true => whole.checked_neg(),
    }
}

impl Pax {
    /// Reads the header of one entry.
    pub(crate) fn parse(data: &[u8], limits: &Limits) -> Result<Self, EntryError> {
        let mut pax = Self::default();
        let mut seen = std::collections::BTreeMap::<&[u8], &[u8]>::new();
        for record in records(data) {
            let (key, value) = record?;
            // The one pair of keys that is meant to repeat.
            if pax.sparse.pair(key, value, limits)? {
                continue;
            }
            match seen.insert(key, value) {
                Some(before) if before != value => {
                    return Err(EntryError::ConflictingPax(display(key)));
                }
                Some(_) => {}
                None => pax.apply(key, value, limits)?,
            }
        }
        if pax.sparse.pending.is_some() {
            return Err(EntryError::Sparse("an offset has no length"));
        }
        Ok(pax)
    }

    fn apply(&mut self, key: &[u8], value: &[u8], limits: &Limits) -> Result<(), EntryError> {
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            return self.xattr(key, name, value, limits);
        }
        if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
            let bad = || EntryError::BadPaxValue(display(key));
            let name = percent_decode(name).ok_or_else(bad)?;
            let value = base64_decode(value).ok_or_else(bad)?;
            return self.xattr(key, &name, &value, limits);
        }
        // To POSIX an empty value takes the record back, to others it is a value, or an error: none of
        // these reads as one.
        let bad = || EntryError::BadPaxValue(display(key));
        let number = || decimal(value).ok_or_else(bad).map(Some);
        match key {
            b"atime" | b"ctime" => drop(time(value).ok_or_else(bad)?),
            b"path" => self.path = Some(name(value).ok_or_else(bad)?),
            b"linkpath" => self.link_path = Some(name(value).ok_or_else(bad)?),
            b"size" => self.size = number()?,
            b"uid" => self.uid = number()?,
            b"gid" => self.gid = number()?,
            b"mtime" => self.mtime = Some(time(value).ok_or_else(bad)?),
            b"SCHILY.devmajor" => self.major = number()?,
            b"SCHILY.devminor" => self.minor = number()?,
            b"GNU.sparse.major" => self.sparse.major = number()?,
            b"GNU.sparse.minor" => self.sparse.minor = number()?,
            b"GNU.sparse.name" => self.sparse.name = Some(name(value).ok_or_else(bad)?),
            b"GNU.sparse.size" => self.sparse.size = number()?,
            b"GNU.sparse.realsize" => self.sparse.real_size = number()?,
            b"GNU.sparse.numblocks" => self.sparse.count = number()?,
            b"GNU.sparse.map" => {
                self.sparse.counted()?;
                self.sparse.map = Some(value.to_vec());
            }
            b"SCHILY.realsize" | b"SUN.holesdata" => {
                return Err(EntryError::Sparse("its format is that of star or Solaris"));
            }
            // libarchive looks at what follows only, whatever stands between.
            _ if key.starts_with(b"GNU.sparse") => {
                return Err(EntryError::Sparse("it has a record of an unknown kind"));
            }
            _ => {}
        }
        Ok(())
    }

    fn xattr(
        &mut self,
        key: &[u8],
        name: &[u8],
        value: &[u8],
        limits: &Limits,
    ) -> Result<(), EntryError> {
        // linux/limits.h: XATTR_NAME_MAX, XATTR_SIZE_MAX.
        if name.is_empty() || name.len() > 255 || name.contains(&0) {
            return Err(EntryError::Xattrs(
                "a name is empty, over 255 bytes or holds a NUL",
            ));
        }
        if value.len() > 65_536 {
            return Err(EntryError::Xattrs("a value is over 64 KiB"));
        }
        match self.xattrs.insert(name.into(), value.into()) {
            Some(before) if *before != *value => {
                return Err(EntryError::ConflictingPax(display(key)));
            }
            _ => {}
        }
        let size: usize = self
            .xattrs
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        if self.xattrs.len() > limits.xattrs || size > limits.xattr_size {
            return Err(EntryError::Xattrs(
                "there are too many, or they are too large",
            ));
        }
        Ok(())
    }
}

/// Checks a header that holds for all entries after it. Whether a second one adds to the first or takes
/// its place, and whether it is looked at at all, differs: so nothing in it may mean anything.
pub(crate) fn check_global(data: &[u8]) -> Result<(), EntryError> {
    for record in records(data) {
        let (key, _) = record?;
        let vendor = key.split(|&b| b == b'.').next().unwrap_or_default();
        let effective = if vendor.len() < key.len() {
            matches!(vendor, b"GNU" | b"SCHILY" | b"LIBARCHIVE" | b"SUN" | b"RHT")
        } else {
            key != b"comment"
        };
        if effective {
            return Err(EntryError::GlobalPax(display(key)));
        }
    }
    Ok(())
}

impl PaxSparse {
    /// GNU tar reads no map without the number of its segments in front.
    fn counted(&self) -> Result<(), EntryError> {
        match self.count {
            Some(_) => Ok(()),
            None => Err(EntryError::Sparse(
                "the number of its segments does not stand in front of them",
            )),
        }
    }

    /// Takes one half of a segment of format 0.0; says whether the record was one.
    fn pair(&mut self, key: &[u8], value: &[u8], limits: &Limits) -> Result<bool, EntryError> {
        let number = || decimal(value).ok_or_else(|| EntryError::BadPaxValue(display(key)));
        match key {
            b"GNU.sparse.offset" => {
                self.counted()?;
                if self.pending.replace(number()?).is_some() {
                    return Err(EntryError::Sparse("an offset has no length"));
                }
            }
            b"GNU.sparse.numbytes" => {
                let offset = self
                    .pending
                    .take()
                    .ok_or(EntryError::Sparse("a length has no offset"))?;
                if self.pairs.len() >= limits.sparse_segments {
                    return Err(EntryError::Sparse("it has too many segments"));
                }
                self.pairs.push((offset, number()?));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// A name: something, and no NUL inside.
fn name(value: &[u8]) -> Option<Vec<u8>> {
    (!value.is_empty() && !value.contains(&0)).then(|| value.to_vec())
}

fn percent_decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        if byte == b'%' {
            let pair = [*bytes.next()?, *bytes.next()?];
            out.extend(hex::decode(pair).ok()?);
        } else {
            out.push(byte);
        }
    }
    Some(out)
}

/// libarchive writes base64 without padding, others with.
fn base64_decode(text: &[u8]) -> Option<Vec<u8>> {
    let config =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(&STANDARD, config).decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(key: &str, value: &[u8]) -> Vec<u8> {
        let body = key.len() + value.len() + 3;
        let mut length = body + 1;
        while length != body + length.to_string().len() {
            length = body + length.to_string().len();
        }
        let mut out = format!("{length} {key}=").into_bytes();
        out.extend_from_slice(value);
        out.push(b'\n');
        out
    }

    fn parse(data: &[u8]) -> Result<Pax, EntryError> {
        Pax::parse(data, &Limits::default())
    }

    #[test]
    fn times_are_rounded_down() {
        for (text, seconds) in [
            ("0", 0),
            ("1.999999999", 1),
            ("-1", -1),
            ("-0.5", -1),
            ("-86400.000", -86400),
            ("-1.000000001", -2),
            ("4489084800.25", 4_489_084_800),
        ] {
            assert_eq!(time(text.as_bytes()), Some(seconds), "{text}");
        }
        for bad in [
            "",
            "-",
            "+1",
            "1e3",
            " 1",
            "1.2.3",
            ".5",
            "99999999999999999999",
        ] {
            assert_eq!(time(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn records_of_one_key_must_agree() {
        let same = [record("path", b"a"), record("path", b"a")].concat();
        assert_eq!(parse(&same).unwrap().path.unwrap(), b"a");
        let differ = [record("path", b"a"), record("path", b"b")].concat();
        assert!(matches!(parse(&differ), Err(EntryError::ConflictingPax(key)) if key == "path"));
        let both = [
            record("SCHILY.xattr.user.a", b"one"),
            record("LIBARCHIVE.xattr.user.%61", b"dHdv"),
        ]
        .concat();
        assert!(matches!(parse(&both), Err(EntryError::ConflictingPax(_))));
    }

    #[test]
    fn attributes_come_in_two_spellings() {
        let data = [
            record("SCHILY.xattr.user.raw", b"\0\xff="),
            record("LIBARCHIVE.xattr.user.b%2564", b"AP8"),
        ]
        .concat();
        let pax = parse(&data).unwrap();
        assert_eq!(*pax.xattrs[&b"user.raw"[..]], *b"\0\xff=");
        assert_eq!(*pax.xattrs[&b"user.b%64"[..]], *b"\0\xff");
    }

    #[test]
    fn malformed_headers_are_refused() {
        for bad in [
            &b"x"[..],
            b"5 a=b",
            b"6 a=b",
            b"99 a=b\n",
            b"6 a b\n",
            b"5 =b\n",
            b"0 a=b\n",
            b"2 a=b\n",
            b"-6 a=b\n",
            b"6 a=b\n\0",
            b"18446744073709551615 a=b\n",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
        for (key, value) in [
            ("size", "-1"),
            ("uid", "1.0"),
            ("mtime", "now"),
            ("path", "a\0b"),
            ("path", ""),
            ("size", ""),
            ("ctime", "+1"),
        ] {
            let data = record(key, value.as_bytes());
            assert!(
                matches!(parse(&data), Err(EntryError::BadPaxValue(_))),
                "{key}"
            );
        }
    }

    #[test]
    fn global_headers_say_nothing() {
        let data = [record("comment", b"x"), record("VENDOR.key", b"y")].concat();
        assert!(check_global(&data).is_ok());
        for key in [
            "path",
            "size",
            "mtime",
            "uid",
            "GNU.sparse.major",
            "SCHILY.xattr.user.a",
        ] {
            let result = check_global(&record(key, b"1"));
            assert!(matches!(result, Err(EntryError::GlobalPax(_))), "{key}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Err(error) = parse(&data) {
                prop_assert!(!error.to_string().is_empty());
            }
        }

        #[test]
        fn names_come_back_as_they_went(path in proptest::collection::vec(1_u8.., 1..300)) {
            let pax = parse(&record("path", &path)).map_err(|e| e.to_string()).unwrap();
            prop_assert_eq!(pax.path.unwrap(), path);
        }
    }
}
