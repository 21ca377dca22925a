//! GRUB's environment block: `NAME=VALUE` lines in a file of exactly 1024 bytes, padded with `#`,
//! so that GRUB can change it in place. Format: grub-core/lib/envblk.c.

use std::collections::BTreeMap;

const SIZE: usize = 1024;
const SIGNATURE: &[u8] = b"# GRUB Environment Block\n";

/// Variables of an environment block. Always written whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EnvironmentBlock {
    variables: BTreeMap<String, String>,
}

/// Why an environment block could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError {
    /// Missing signature or wrong length.
    #[error("not a GRUB environment block of {} bytes", SIZE)]
    Format,
    /// A line that is no assignment, or not text.
    #[error("line {0} of the GRUB environment block is not NAME=VALUE")]
    Line(usize),
    /// A name GRUB cannot hold.
    #[error("{0:?} cannot be the name of a GRUB variable")]
    Name(String),
    /// More than the block holds.
    #[error(
        "the GRUB environment block would need {needed} bytes, it has {}",
        SIZE
    )]
    Full {
        /// Bytes the variables take.
        needed: usize,
    },
}

impl EnvironmentBlock {
    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// Sets a variable.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), EnvironmentError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(allowed) {
            return Err(EnvironmentError::Name(name.to_owned()));
        }
        self.variables.insert(name.to_owned(), value.to_owned());
        Ok(())
    }

    /// Parses the bytes of a block.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EnvironmentError> {
        let body = bytes
            .strip_prefix(SIGNATURE)
            .filter(|_| bytes.len() == SIZE);
        let body = body.ok_or(EnvironmentError::Format)?;
        let mut block = Self::default();
        let mut number = 1;
        let mut rest = body;
        while let Some(line_length) = line_length(rest) {
            let (line, tail) = rest.split_at(line_length);
            number += 1;
            rest = tail.get(1..).unwrap_or_default();
            if line.starts_with(b"#") || line.is_empty() {
                continue;
            }
            let text = std::str::from_utf8(line).map_err(|_| EnvironmentError::Line(number))?;
            let (name, value) = text.split_once('=').ok_or(EnvironmentError::Line(number))?;
            block.set(name, &unescape(value))?;
        }
        Ok(block)
    }

    /// The block as GRUB stores it.
    pub fn to_bytes(&self) -> Result<Vec<u8>, EnvironmentError> {
        let mut bytes = SIGNATURE.to_vec();
        for (name, value) in &self.variables {
            bytes.extend_from_slice(name.as_bytes());
            bytes.push(b'=');
            for byte in value.bytes() {
                if matches!(byte, b'\\' | b'\n') {
                    bytes.push(b'\\');
                }
                bytes.push(byte);
            }
            bytes.push(b'\n');
        }
        if bytes.len() > SIZE {
            return Err(EnvironmentError::Full {
                needed: bytes.len(),
            });
        }
        bytes.resize(SIZE, b'#');
        Ok(bytes)
    }
}

/// Length of the next line; a newline behind a backslash belongs to the value.
fn line_length(rest: &[u8]) -> Option<usize> {
    let mut escaped = false;
    for (index, &byte) in rest.iter().enumerate() {
        match byte {
            b'\n' if !escaped => return Some(index),
            b'\\' if !escaped => escaped = true,
            _ => escaped = false,
        }
    }
    None
}

fn unescape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_block_has_grubs_form() {
        let mut block = EnvironmentBlock::default();
        block.set("cos_active", "abc").unwrap();
        let bytes = block.to_bytes().unwrap();
        assert_eq!(bytes.len(), 1024);
        assert!(bytes.starts_with(b"# GRUB Environment Block\ncos_active=abc\n####"));
    }

    #[test]
    fn an_overfull_block_is_refused() {
        let mut block = EnvironmentBlock::default();
        block.set("a", &"x".repeat(1024)).unwrap();
        assert_eq!(
            block.to_bytes(),
            Err(EnvironmentError::Full { needed: 1052 })
        );
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(values in prop::collection::btree_map("[a-z_]{1,9}", "[ -~\n]{0,40}", 0..8)) {
            let mut block = EnvironmentBlock::default();
            for (name, value) in &values {
                block.set(name, value).unwrap();
            }
            prop_assert_eq!(EnvironmentBlock::from_bytes(&block.to_bytes().unwrap()).unwrap(), block);
        }

        #[test]
        fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), SIZE - SIGNATURE.len())) {
            let mut block = SIGNATURE.to_vec();
            block.extend(bytes);
            // Either outcome is right; only a panic is not.
            drop(EnvironmentBlock::from_bytes(&block));
        }
    }
}
