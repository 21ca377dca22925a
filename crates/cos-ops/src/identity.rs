//! Identities of partitions and file systems, derived from what they belong to, so that the same
//! build gives the same bytes and two different builds never share a UUID.

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// A source of identities for one medium.
#[derive(Debug, Clone)]
pub struct Identity {
    seed: [u8; 32],
}

impl Identity {
    /// An identity that depends on every part of `parts`, in order.
    pub fn from_parts(parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(b"cos-identity-v1");
        for part in parts {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Self {
            seed: hasher.finalize().into(),
        }
    }

    /// An identity that no other medium has.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        Ok(Self { seed })
    }

    /// The UUID of one role: `disk`, `state partition`, …
    pub fn uuid(&self, role: &str) -> Uuid {
        let bytes = self.bytes(role);
        let mut half = [0; 16];
        half.copy_from_slice(&bytes[..16]);
        uuid::Builder::from_custom_bytes(half).into_uuid()
    }

    /// A number for one role: FAT volume ids.
    pub fn number(&self, role: &str) -> u32 {
        let bytes = self.bytes(role);
        u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }

    /// A wide number for one role: what an ISO's UUID is made from.
    pub fn wide_number(&self, role: &str) -> u64 {
        let mut half = [0; 8];
        half.copy_from_slice(&self.bytes(role)[..8]);
        u64::from_le_bytes(half)
    }

    fn bytes(&self, role: &str) -> [u8; 32] {
        Sha256::new()
            .chain_update(self.seed)
            .chain_update(role)
            .finalize()
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_identities_differ() {
        let (one, other) = (Identity::random().unwrap(), Identity::random().unwrap());
        assert_ne!(one.uuid("disk"), other.uuid("disk"));
    }

    #[test]
    fn identities_follow_from_their_parts_and_role() {
        let one = Identity::from_parts(&[b"a", b"bc"]);
        let other = Identity::from_parts(&[b"ab", b"c"]);
        assert_eq!(
            one.uuid("disk"),
            Identity::from_parts(&[b"a", b"bc"]).uuid("disk")
        );
        assert_ne!(one.uuid("disk"), one.uuid("state"));
        assert_ne!(one.uuid("disk"), other.uuid("disk"));
        assert_eq!(one.uuid("disk").get_version_num(), 8);
    }
}
