//! Looks into an initrd: newc cpio archives one after the other, the later ones compressed.
//! Format: Documentation/driver-api/early-userspace/buffer-format.rst of Linux.

use std::io::{self, BufRead, BufReader, Read};

const MAGIC: &[u8; 6] = b"070701";
const HEADER: usize = 110;
/// Longest path in an initrd, bytes.
const MAX_NAME: u64 = 4096;
/// Most entries looked at, so that a hostile archive ends.
const MAX_ENTRIES: usize = 200_000;
/// Most bytes of files looked past, so that a hostile one that is compressed well ends too. The kernel
/// unpacks an initrd into memory.
const MAX_UNPACKED: u64 = 4 << 30;

/// Why an initrd could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InitrdError {
    /// The bytes could not be read or decompressed.
    #[error("cannot read the initrd")]
    Read(#[from] io::Error),
    /// A compression we do not look into.
    #[error("the initrd is compressed in a way that is not gzip or zstd")]
    Compression,
    /// Not a cpio archive.
    #[error("the initrd is damaged: {0}")]
    Damaged(&'static str),
}

/// Whether an initrd holds a file at `path` (no leading slash).
pub(crate) fn contains(initrd: impl Read, path: &[u8]) -> Result<bool, InitrdError> {
    let mut reader = BufReader::with_capacity(1 << 16, initrd);
    loop {
        match next_format(&mut reader)? {
            Format::End => return Ok(false),
            Format::Cpio => {
                if scan(&mut reader, path)? {
                    return Ok(true);
                }
            }
            Format::Gzip => {
                let inflated = flate2::bufread::MultiGzDecoder::new(reader);
                return scan(&mut BufReader::new(inflated), path);
            }
            Format::Zstd => {
                let inflated = zstd::stream::read::Decoder::with_buffer(reader)?;
                return scan(&mut BufReader::new(inflated), path);
            }
        }
    }
}

enum Format {
    Cpio,
    Gzip,
    Zstd,
    End,
}

/// What comes next; archives may be padded with zeros.
fn next_format(reader: &mut impl BufRead) -> Result<Format, InitrdError> {
    loop {
        let buffer = reader.fill_buf()?;
        let zeros = buffer.iter().take_while(|&&byte| byte == 0).count();
        let nothing_left = buffer.is_empty();
        let format = match &buffer[zeros..] {
            [b'0', b'7', b'0', b'7', b'0', ..] => Some(Format::Cpio),
            [0x1f, 0x8b, ..] => Some(Format::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Format::Zstd),
            [] if nothing_left => Some(Format::End),
            [] => None,
            _ => return Err(InitrdError::Compression),
        };
        reader.consume(zeros);
        if let Some(format) = format {
            return Ok(format);
        }
    }
}

/// Reads one archive to its trailer, or to the entry looked for.
fn scan(reader: &mut impl Read, path: &[u8]) -> Result<bool, InitrdError> {
    let mut unpacked = 0;
    for _ in 0..MAX_ENTRIES {
        let mut header = [0; HEADER];
        reader.read_exact(&mut header)?;
        if &header[..6] != MAGIC {
            return Err(InitrdError::Damaged("an entry has no newc header"));
        }
        let size = field(&header, 6)?;
        let name_size = field(&header, 11)?;
        if name_size == 0 || name_size > MAX_NAME {
            return Err(InitrdError::Damaged("an entry has an impossible name"));
        }
        let padded = (HEADER as u64 + name_size).next_multiple_of(4) - HEADER as u64;
        let mut name = Vec::new();
        reader.take(padded).read_to_end(&mut name)?;
        name.truncate(name_size as usize - 1);
        let name = name.strip_prefix(b"./").unwrap_or(&name);
        if name == b"TRAILER!!!" {
            return Ok(false);
        }
        if name == path {
            return Ok(true);
        }
        let data = size.next_multiple_of(4);
        unpacked += data;
        if unpacked > MAX_UNPACKED {
            return Err(InitrdError::Damaged("it unpacks to more than 4 GiB"));
        }
        if io::copy(&mut reader.take(data), &mut io::sink())? != data {
            return Err(InitrdError::Damaged("it ends inside a file"));
        }
    }
    Err(InitrdError::Damaged("it has too many entries"))
}

/// The `index`th of the 8-digit hexadecimal fields behind the magic.
fn field(header: &[u8; HEADER], index: usize) -> Result<u64, InitrdError> {
    let start = 6 + index * 8;
    let text = std::str::from_utf8(&header[start..start + 8]).ok();
    let value = text.and_then(|text| u64::from_str_radix(text, 16).ok());
    value.ok_or(InitrdError::Damaged("an entry's header is not hexadecimal"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn archive(names: &[&str]) -> Vec<u8> {
        let mut out = Vec::new();
        for name in names.iter().chain(&["TRAILER!!!"]) {
            let is_trailer = *name == "TRAILER!!!";
            let content = if is_trailer {
                String::new()
            } else {
                format!("content of {name}")
            };
            out.extend_from_slice(MAGIC);
            for index in 0..13 {
                let value = match index {
                    6 => content.len(),
                    11 => name.len() + 1,
                    _ => 0,
                };
                write!(out, "{value:08x}").unwrap();
            }
            out.extend_from_slice(name.as_bytes());
            out.push(0);
            out.resize(out.len().next_multiple_of(4), 0);
            out.extend_from_slice(content.as_bytes());
            out.resize(out.len().next_multiple_of(4), 0);
        }
        out
    }

    #[test]
    fn the_compressed_archive_behind_the_early_one_is_searched() {
        let mut early = archive(&["kernel/x86/microcode/AuthenticAMD.bin"]);
        early.resize(early.len().next_multiple_of(512), 0);
        let main = archive(&["usr/bin/sh", "./usr/bin/cos-init"]);
        let zstd = [early.clone(), zstd::encode_all(main.as_slice(), 3).unwrap()].concat();
        assert!(contains(zstd.as_slice(), b"usr/bin/cos-init").unwrap());
        assert!(!contains(zstd.as_slice(), b"usr/bin/other").unwrap());
        let mut gzip = flate2::write::GzEncoder::new(early, flate2::Compression::fast());
        gzip.write_all(&main).unwrap();
        assert!(contains(gzip.finish().unwrap().as_slice(), b"usr/bin/cos-init").unwrap());
    }

    #[test]
    fn what_unpacks_to_more_than_any_machine_has_is_refused() {
        // Two sparse files of 4 GiB less a page, of which the second is not even looked past.
        let mut huge = archive(&["huge"]);
        huge.truncate(HEADER);
        huge[6 + 6 * 8..][..8].copy_from_slice(b"fffff000");
        huge.extend_from_slice(b"huge\0\0");
        let endless = huge.as_slice().chain(io::repeat(0).take(0xffff_f000));
        let mut endless = endless.chain(huge.as_slice());
        let error = scan(&mut endless, b"b").unwrap_err();
        assert!(error.to_string().contains("4 GiB"), "{error}");
    }

    #[test]
    fn damage_is_told_from_absence() {
        let whole = archive(&["a"]);
        assert!(matches!(
            contains(&whole[..150], b"b"),
            Err(InitrdError::Read(_) | InitrdError::Damaged(_))
        ));
        assert!(matches!(
            contains(&b"BZh9"[..], b"b"),
            Err(InitrdError::Compression)
        ));
        assert!(!contains(io::empty(), b"b").unwrap());
    }
}
