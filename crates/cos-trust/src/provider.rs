//! The algorithms under the sigstore crates: ECDSA of `RustCrypto`, which takes digests too, and Ed25519
//! and RSA of ring, which TLS brings anyway.

use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use ring::signature as of_ring;
use sha2::Digest as _;
use sigstore_verify::crypto::{
    CryptoProvider, Error, HashContext, Result, SigningScheme, install_default_provider,
};
use sigstore_verify::types::HashAlgorithm;

#[derive(Debug)]
struct Provider;

static PROVIDER: Provider = Provider;

/// The sigstore crates take their algorithms from one place of the process.
pub(crate) fn install() {
    // An error says that they have one: this one, of an earlier call.
    install_default_provider(&PROVIDER).ok();
}

enum Hash {
    Sha256(sha2::Sha256),
    Sha384(sha2::Sha384),
    Sha512(sha2::Sha512),
}

impl Hash {
    fn new(algorithm: HashAlgorithm) -> Result<Self> {
        Ok(match algorithm {
            HashAlgorithm::Sha2256 => Self::Sha256(sha2::Sha256::new()),
            HashAlgorithm::Sha2384 => Self::Sha384(sha2::Sha384::new()),
            HashAlgorithm::Sha2512 => Self::Sha512(sha2::Sha512::new()),
            other => return Err(Error::UnsupportedAlgorithm(other.to_string())),
        })
    }
}

impl HashContext for Hash {
    fn update(&mut self, data: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(data),
            Self::Sha384(hash) => hash.update(data),
            Self::Sha512(hash) => hash.update(data),
        }
    }

    fn finalize(self: Box<Self>) -> Vec<u8> {
        match *self {
            Self::Sha256(hash) => hash.finalize().to_vec(),
            Self::Sha384(hash) => hash.finalize().to_vec(),
            Self::Sha512(hash) => hash.finalize().to_vec(),
        }
    }
}

fn invalid(scheme: SigningScheme) -> Error {
    Error::Verification(format!("the {} signature is not valid", scheme.name()))
}

impl CryptoProvider for Provider {
    fn hash(&self, algorithm: HashAlgorithm) -> Result<Box<dyn HashContext>> {
        Ok(Box::new(Hash::new(algorithm)?))
    }

    fn verify_raw(
        &self,
        scheme: SigningScheme,
        key: &[u8],
        data: &[u8],
        signature: &[u8],
    ) -> Result<()> {
        let algorithm: &dyn of_ring::VerificationAlgorithm = match scheme {
            SigningScheme::EcdsaP256Sha256
            | SigningScheme::EcdsaP256Sha384
            | SigningScheme::EcdsaP384Sha256
            | SigningScheme::EcdsaP384Sha384 => {
                let algorithm = scheme.hash_algorithm().ok_or_else(|| invalid(scheme))?;
                let mut hash = Box::new(Hash::new(algorithm)?);
                hash.update(data);
                return self.verify_prehashed(scheme, key, &hash.finalize(), signature);
            }
            SigningScheme::Ed25519 => &of_ring::ED25519,
            SigningScheme::RsaPssSha256 => &of_ring::RSA_PSS_2048_8192_SHA256,
            SigningScheme::RsaPssSha384 => &of_ring::RSA_PSS_2048_8192_SHA384,
            SigningScheme::RsaPssSha512 => &of_ring::RSA_PSS_2048_8192_SHA512,
            SigningScheme::RsaPkcs1Sha256 => &of_ring::RSA_PKCS1_2048_8192_SHA256,
            SigningScheme::RsaPkcs1Sha384 => &of_ring::RSA_PKCS1_2048_8192_SHA384,
            SigningScheme::RsaPkcs1Sha512 => &of_ring::RSA_PKCS1_2048_8192_SHA512,
            other => return Err(Error::UnsupportedAlgorithm(other.name().to_owned())),
        };
        of_ring::UnparsedPublicKey::new(algorithm, key)
            .verify(data, signature)
            .map_err(|_| invalid(scheme))
    }

    fn verify_prehashed(
        &self,
        scheme: SigningScheme,
        key: &[u8],
        digest: &[u8],
        signature: &[u8],
    ) -> Result<()> {
        let bad = |_| invalid(scheme);
        match scheme {
            SigningScheme::EcdsaP256Sha256 | SigningScheme::EcdsaP256Sha384 => {
                let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(key).map_err(bad)?;
                let signature = p256::ecdsa::Signature::from_der(signature).map_err(bad)?;
                key.verify_prehash(digest, &signature).map_err(bad)
            }
            SigningScheme::EcdsaP384Sha256 | SigningScheme::EcdsaP384Sha384 => {
                let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(key).map_err(bad)?;
                let signature = p384::ecdsa::Signature::from_der(signature).map_err(bad)?;
                key.verify_prehash(digest, &signature).map_err(bad)
            }
            // ring takes no digests of its callers.
            other => Err(Error::UnsupportedAlgorithm(format!(
                "{} over a digest",
                other.name()
            ))),
        }
    }
}
