//! Public keys of a policy.

use sha2::{Digest as _, Sha256};
use sigstore_verify::crypto::{
    Error, KeyAlgorithm, SigningScheme, VerificationKey, validate_raw_public_key,
};
use sigstore_verify::types::{DerPublicKey, SignatureBytes};
use std::fmt;

/// A public key that images can be signed with: ECDSA on P-256 or P-384, Ed25519, RSA from 2048 bits.
#[derive(Clone)]
pub struct PublicKey {
    der: DerPublicKey,
    schemes: &'static [SigningScheme],
    identity: [u8; 32],
    name: String,
}

impl PublicKey {
    /// Reads a key in PEM (`-----BEGIN PUBLIC KEY-----`). `name` is for people: the file it came from.
    pub fn from_pem(
        pem: &str,
        name: &str,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        crate::provider::install();
        let der = DerPublicKey::from_pem(pem)?;
        let algorithm = KeyAlgorithm::from_spki(&der)?;
        // Which algorithm a signature is checked with is the key's to say, and never the signature's.
        let schemes: &[SigningScheme] = match algorithm {
            KeyAlgorithm::EcdsaP256 => &[SigningScheme::EcdsaP256Sha256],
            // The first is cosign's: it hashes with SHA-256 whatever the curve.
            KeyAlgorithm::EcdsaP384 => &[
                SigningScheme::EcdsaP384Sha256,
                SigningScheme::EcdsaP384Sha384,
            ],
            KeyAlgorithm::Ed25519 => &[SigningScheme::Ed25519],
            KeyAlgorithm::Rsa => &[SigningScheme::RsaPkcs1Sha256, SigningScheme::RsaPssSha256],
            other => return Err(format!("keys of type {other:?} are not supported").into()),
        };
        let mut hash = Sha256::new();
        for scheme in schemes {
            // The bits of the key alone: one key can be written in several ways.
            let key = VerificationKey::from_spki_with_scheme(&der, *scheme)?;
            validate_raw_public_key(*scheme, key.as_bytes())?;
            hash = Sha256::new_with_prefix(format!("{algorithm:?}:")).chain_update(key.as_bytes());
        }
        Ok(Self {
            der,
            schemes,
            identity: hash.finalize().into(),
            name: name.to_owned(),
        })
    }

    /// SHA-256 of the key in DER, as `openssl pkey -pubin -outform DER | sha256sum` says it.
    pub fn fingerprint(&self) -> String {
        format!(
            "sha256:{}",
            hex::encode(Sha256::digest(self.der.as_bytes()))
        )
    }

    /// The file it came from, or that it is written in the policy.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether two are the same key, however each is written.
    pub fn is_same(&self, other: &Self) -> bool {
        self.identity == other.identity
    }

    pub(crate) fn identity(&self) -> [u8; 32] {
        self.identity
    }

    /// Whether `signature` is one of `data` by this key.
    pub(crate) fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), Error> {
        let signature = SignatureBytes::from_bytes(signature);
        self.any(|key| key.verify(data, &signature))
    }

    /// Whether `signature` is one of the content with this SHA-256, by this key.
    pub(crate) fn verify_digest(&self, digest: &[u8; 32], signature: &[u8]) -> Result<(), Error> {
        let signature = SignatureBytes::from_bytes(signature);
        self.any(|key| match key.scheme() {
            SigningScheme::EcdsaP256Sha256 | SigningScheme::EcdsaP384Sha256 => {
                key.verify_prehashed(digest, &signature)
            }
            other => Err(Error::UnsupportedAlgorithm(format!(
                "{} over a digest",
                other.name()
            ))),
        })
    }

    fn any(&self, check: impl Fn(&VerificationKey) -> Result<(), Error>) -> Result<(), Error> {
        crate::provider::install();
        let mut result = Err(Error::Verification("the key is of no use".to_owned()));
        for scheme in self.schemes {
            result = VerificationKey::from_spki_with_scheme(&self.der, *scheme)
                .and_then(|key| check(&key));
            if result.is_ok() {
                break;
            }
        }
        result
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey")
            .field("name", &self.name)
            .field("fingerprint", &self.fingerprint())
            .finish_non_exhaustive()
    }
}
