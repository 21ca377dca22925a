//! One line of `authorized_keys`: `[options] type base64 [comment]`.

use crate::error::AccountsError;

/// The longest line, in bytes: what `sshd(8)` reads.
const MAX_LINE: usize = 8 << 10;

/// How much of a bad line a message shows, in characters.
const SHOWN: usize = 40;

/// Key types that are spelt in full.
const TYPES: [&str; 4] = ["ssh-ed25519", "ssh-rsa", "ssh-dss", "ssh-ed448"];

/// Key types of many sizes, and certificates of all of them.
const FAMILIES: [&str; 4] = ["ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-", "webauthn-sk-"];

const CERTIFICATE: &str = "-cert-v01@openssh.com";

/// What a key is, whatever options and comment say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key<'a> {
    kind: &'a str,
    body: &'a str,
}

impl<'a> Key<'a> {
    /// The key of a line that somebody wants added.
    pub(super) fn parse(line: &'a str) -> Result<Self, AccountsError> {
        let bad = |why| AccountsError::Key {
            start: line.chars().take(SHOWN).collect(),
            why,
        };
        if line.len() > MAX_LINE {
            return Err(bad("it is longer than 8 KiB"));
        }
        if line
            .chars()
            .any(|character| character.is_control() && character != '\t')
        {
            return Err(bad("it has line breaks or control characters"));
        }
        let key = Self::find(line).ok_or_else(|| bad("its type is not known"))?;
        if key.body.is_empty() {
            return Err(bad("the key is missing"));
        }
        let blob = decode(key.body).ok_or_else(|| bad("the key is no base64"))?;
        // The type comes again as the first string of the key (RFC 4253 section 6.6).
        let length = u32::try_from(key.kind.len())
            .unwrap_or(u32::MAX)
            .to_be_bytes();
        let named = blob.strip_prefix(&length).is_some_and(|rest| {
            rest.len() > key.kind.len() && rest.starts_with(key.kind.as_bytes())
        });
        if named {
            return Ok(key);
        }
        Err(bad("the key is cut off or of another type"))
    }

    /// The key of a line of the file; `None` for what is not understood.
    pub(super) fn find(line: &'a str) -> Option<Self> {
        let line = line.trim();
        let (first, rest) = split_word(line);
        let (kind, rest) = if is_type(first) {
            (first, rest)
        } else {
            split_word(rest)
        };
        is_type(kind).then(|| Self {
            kind,
            body: split_word(rest).0,
        })
    }
}

fn is_type(word: &str) -> bool {
    let plain = word.strip_suffix(CERTIFICATE).unwrap_or(word);
    TYPES.contains(&plain) || FAMILIES.iter().any(|family| word.starts_with(family))
}

/// The first word and the rest. Options may have white space in double quotes, where `\"` is one.
fn split_word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let (mut quoted, mut escaped) = (false, false);
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b' ' | b'\t' if !quoted => return text.split_at(index),
            _ => {}
        }
    }
    (text, "")
}

/// Base64 with padding (RFC 4648 section 4).
fn decode(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    if !text.len().is_multiple_of(4) || text.len() - digits.len() > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in digits.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ED25519: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5Wq6tLQx4bqKyQm1m5E3m2F2b7Q1s0b1yq2Vw8Zk4H";

    #[test]
    fn base64_is_decoded() {
        for (text, bytes) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg==", "foob"),
        ] {
            assert_eq!(decode(text).as_deref(), Some(bytes.as_bytes()));
        }
        for text in ["Zg", "Zg=", "Z===", "Zm9v====", "Zm 9", "Zm9-"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }

    #[test]
    fn options_and_comments_do_not_count() {
        let plain = Key::parse(ED25519).unwrap();
        let lines = [
            format!("{ED25519} bob@host and more"),
            format!("no-pty,command=\"echo \\\"ssh-rsa x\\\" y\" {ED25519}"),
            format!("\trestrict\t{ED25519}"),
        ];
        for line in &lines {
            assert_eq!(Key::parse(line).unwrap(), plain, "{line}");
        }
    }

    #[test]
    fn what_is_no_key_is_said_with_its_beginning() {
        let cut = &ED25519[..ED25519.len() - 1];
        let bad = [
            "",
            "ssh-rsa",
            "ssh-rsa !!!!",
            "github:bob",
            cut,
            "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAA",
            "ssh-rsa AAAA\nssh-rsa BBBB",
            "<!DOCTYPE html>",
            "command=\"x ssh-rsa AAAA",
        ];
        for line in bad {
            let error = Key::parse(line).unwrap_err();
            assert!(matches!(error, AccountsError::Key { .. }), "{line}");
        }
        let long = "ssh-unknown ".repeat(20);
        let error = Key::parse(&long).unwrap_err().to_string();
        insta::assert_snapshot!(error, @r#"no SSH public key: "ssh-unknown ssh-unknown ssh-unknown ssh-": its type is not known"#);
    }

    proptest! {
        #[test]
        fn any_line_is_read(line in ".{0,200}") {
            if let Ok(key) = Key::parse(&line) {
                prop_assert_eq!(Key::find(&line), Some(key));
            }
        }
    }
}
