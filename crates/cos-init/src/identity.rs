//! The machine's identity: `/etc/machine-id`, the same at every boot.
//!
//! The image brings an empty one and `/etc` forgets at every reboot, so the identity lives with the
//! persistent state and is put in place before systemd looks. systemd therefore never sees a first
//! boot: what is enabled is what the image enabled, and presets are not applied a second time.
//! Recovery and live systems have no place to keep one and leave it to systemd.

use rustix::rand::GetRandomFlags;
use std::io::{self, Write as _};
use std::path::Path;

/// Reads the machine's identity from a file, making one the first time.
pub(crate) fn load_or_create(file: &Path) -> io::Result<String> {
    match fs_err::read_to_string(file) {
        Ok(text) => {
            if let Some(id) = parse(&text) {
                return Ok(id.to_owned());
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let id = generate()?;
    // A power cut leaves the old file or the new one, never half of it.
    let temporary = file.with_extension("new");
    let mut out = fs_err::File::create(&temporary)?;
    writeln!(out, "{id}")?;
    out.sync_all()?;
    fs_err::rename(&temporary, file)?;
    Ok(id)
}

/// machine-id(5): 32 lower-case hexadecimal digits, not all zero.
fn parse(text: &str) -> Option<&str> {
    let id = text.trim_end();
    let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    (id.len() == 32 && id.bytes().all(digit) && id.bytes().any(|b| b != b'0')).then_some(id)
}

/// A random identity, marked as a version 4 UUID as machine-id(5) recommends.
fn generate() -> io::Result<String> {
    let mut bytes = [0u8; 16];
    let mut filled = 0;
    while filled < bytes.len() {
        filled += rustix::rand::getrandom(&mut bytes[filled..], GetRandomFlags::empty())?;
    }
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
    Ok(bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_made_once() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("machine-id");
        let first = load_or_create(&file).unwrap();
        assert_eq!(parse(&first), Some(first.as_str()));
        assert_eq!(load_or_create(&file).unwrap(), first);
        fs_err::write(&file, "uninitialized\n").unwrap();
        let second = load_or_create(&file).unwrap();
        assert_ne!(second, first);
        assert_eq!(fs_err::read_to_string(&file).unwrap().trim(), second);
    }

    #[test]
    fn what_is_no_identity_is_not_taken() {
        for text in [
            "",
            "00000000000000000000000000000000",
            "ABCDEF00000000000000000000000000",
            "ab",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
