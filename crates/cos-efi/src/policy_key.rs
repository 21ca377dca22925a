//! The key that signs what a TPM measures. It has no certificate: its public half is named where data are sealed.

use crate::KeyError;
use rsa::pkcs1::EncodeRsaPublicKey as _;
use rsa::pkcs1v15;
use rsa::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, EncodePublicKey as _, LineEnding};
use rsa::sha2::Sha256;
use rsa::signature::{SignatureEncoding as _, Signer as _};
use rsa::{Generate as _, PrivateKey, PublicKey};
use sha2::Digest as _;
use std::fmt;

/// An RSA key that signs policies of a TPM.
#[derive(Clone)]
pub struct PolicyKey {
    key: pkcs1v15::SigningKey<Sha256>,
    private: PrivateKey,
    public_pem: String,
    fingerprint: [u8; 32],
}

impl fmt::Debug for PolicyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fingerprint = hex::encode(self.fingerprint);
        f.debug_tuple("PolicyKey").field(&fingerprint).finish()
    }
}

impl PolicyKey {
    /// Makes a key of 2048 bits, which every TPM takes.
    pub fn generate() -> Result<Self, KeyError> {
        Self::new(PrivateKey::try_generate().map_err(failed)?)
    }

    /// A private key: PKCS#8 in PEM.
    pub fn from_pem(private: &str) -> Result<Self, KeyError> {
        let private = PrivateKey::from_pkcs8_pem(private);
        Self::new(private.map_err(|error| KeyError::Private(error.to_string()))?)
    }

    fn new(private: PrivateKey) -> Result<Self, KeyError> {
        let public = PublicKey::from(&private);
        let der = public.to_pkcs1_der().map_err(failed)?;
        Ok(Self {
            key: pkcs1v15::SigningKey::new(private.clone()),
            private,
            public_pem: public.to_public_key_pem(LineEnding::LF).map_err(failed)?,
            fingerprint: sha2::Sha256::digest(der.as_bytes()).into(),
        })
    }

    /// The private key: PKCS#8 in PEM. For its owner's eyes alone.
    pub fn private_pem(&self) -> Result<String, KeyError> {
        let pem = self.private.to_pkcs8_pem(LineEnding::LF).map_err(failed)?;
        Ok(pem.to_string())
    }

    /// The public key: `SubjectPublicKeyInfo` in PEM.
    pub fn public_pem(&self) -> &str {
        &self.public_pem
    }

    /// SHA-256 of the public key as PKCS#1 has it in DER, by which systemd finds it.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// RSASSA-PKCS1-v1_5 with SHA-256.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let signature = self.key.try_sign(message).map_err(failed)?;
        Ok(signature.to_vec())
    }
}

fn failed(error: impl fmt::Display) -> KeyError {
    KeyError::Rsa(error.to_string())
}
