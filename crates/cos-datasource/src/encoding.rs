//! base64 and gzip around documents.

use crate::USER_DATA_LIMIT;
use crate::error::Refusal;
use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, general_purpose::STANDARD};
use flate2::read::MultiGzDecoder;
use std::io::Read as _;

/// Takes padding or leaves it, as tools differ.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Decodes base64 with any white space in it.
pub(crate) fn base64(text: &[u8]) -> Result<Vec<u8>, Refusal> {
    let bare: Vec<u8> = text
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    LENIENT.decode(bare).map_err(|source| Refusal::Encoding {
        what: "base64",
        source: Box::new(source),
    })
}

/// Decodes what is base64 of something recognisable, and leaves everything else as it is: some
/// clouds hand binary user-data out encoded, and say nothing of it.
pub(crate) fn maybe_base64(bytes: Vec<u8>) -> Vec<u8> {
    match base64(&bytes) {
        Ok(decoded) if is_recognisable(&decoded) => decoded,
        _ => bytes,
    }
}

fn is_recognisable(bytes: &[u8]) -> bool {
    let starts: [&[u8]; 4] = [b"\x1f\x8b", b"#", b"Content-Type:", b"MIME-Version:"];
    starts.iter().any(|start| bytes.starts_with(start))
}

/// Decompresses what is gzip (RFC 1952) and leaves everything else as it is.
pub(crate) fn gunzip(bytes: Vec<u8>) -> Result<Vec<u8>, Refusal> {
    let too_large = || Refusal::TooLarge {
        what: "the user-data".into(),
        limit: USER_DATA_LIMIT,
    };
    if bytes.len() as u64 > USER_DATA_LIMIT {
        return Err(too_large());
    }
    if !bytes.starts_with(b"\x1f\x8b") {
        return Ok(bytes);
    }
    let mut plain = Vec::new();
    let mut decoder = MultiGzDecoder::new(bytes.as_slice()).take(USER_DATA_LIMIT + 1);
    decoder
        .read_to_end(&mut plain)
        .map_err(|source| Refusal::Encoding {
            what: "gzip",
            source: Box::new(source),
        })?;
    if plain.len() as u64 > USER_DATA_LIMIT {
        return Err(too_large());
    }
    Ok(plain)
}

/// Bytes as base64 in JSON, for the cache.
pub(crate) mod optional {
    use super::STANDARD;
    use base64::Engine as _;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    #[expect(clippy::ref_option, reason = "the signature that serde calls")]
    pub(crate) fn serialize<S: Serializer>(
        bytes: &Option<Vec<u8>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match bytes {
            Some(bytes) => serializer.serialize_some(&STANDARD.encode(bytes)),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'d, D: Deserializer<'d>>(
        deserializer: D,
    ) -> Result<Option<Vec<u8>>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| STANDARD.decode(text).map_err(D::Error::custom))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn gzip_is_known_by_its_magic() {
        assert_eq!(gunzip(b"plain".to_vec()).unwrap(), b"plain");
        assert_eq!(
            gunzip(gzip(b"#cloud-config\n")).unwrap(),
            b"#cloud-config\n"
        );
        assert!(gunzip(b"\x1f\x8bbroken".to_vec()).is_err());
    }

    #[test]
    fn a_bomb_is_refused() {
        let bomb = gzip(&vec![0; USER_DATA_LIMIT as usize + 1]);
        assert!(bomb.len() < 1 << 20);
        assert!(matches!(gunzip(bomb), Err(Refusal::TooLarge { .. })));
    }

    #[test]
    fn base64_is_decoded_where_it_hides_something() {
        assert_eq!(base64(b" I2Nsb3Vk\nLWNvbmZpZw ").unwrap(), b"#cloud-config");
        assert!(base64(b"%%%").is_err());
        assert_eq!(
            maybe_base64(b"I2Nsb3VkLWNvbmZpZw==".to_vec()),
            b"#cloud-config"
        );
        assert_eq!(maybe_base64(b"abcd".to_vec()), b"abcd");
        assert_eq!(maybe_base64(b"#!/bin/sh\n".to_vec()), b"#!/bin/sh\n");
    }
}
