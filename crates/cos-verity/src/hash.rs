//! Digests of blocks, and the one of the root as text.

use crate::{DIGEST_SIZE, SALT, VerityError};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;

/// The digest that the whole tree, and so every byte of data, follows from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RootHash(pub [u8; DIGEST_SIZE]);

impl fmt::Display for RootHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for RootHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RootHash({self})")
    }
}

impl FromStr for RootHash {
    type Err = VerityError;

    fn from_str(text: &str) -> Result<Self, VerityError> {
        let mut bytes = [0; DIGEST_SIZE];
        match hex::decode_to_slice(text, &mut bytes) {
            Ok(()) => Ok(Self(bytes)),
            Err(_) => Err(VerityError::BadRootHash {
                text: text.chars().take(80).collect(),
            }),
        }
    }
}

/// Hash type 1 puts the salt in front.
pub(crate) fn block_digest(block: &[u8]) -> [u8; DIGEST_SIZE] {
    Sha256::new_with_prefix(SALT)
        .chain_update(block)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_salt_is_the_digest_of_the_format_name() {
        assert_eq!(SALT, *Sha256::digest(b"cos-root-v1"));
    }

    #[test]
    fn root_hashes_survive_text_and_bad_text_is_refused() {
        let hash = RootHash([0xab; 32]);
        assert_eq!(hash.to_string().parse::<RootHash>().unwrap(), hash);
        for text in ["", "ab", &"g".repeat(64), &"a".repeat(66)] {
            assert!(matches!(
                text.parse::<RootHash>(),
                Err(VerityError::BadRootHash { .. })
            ));
        }
    }
}
