//! Signing images with a key in a file.

use crate::bundle::PAYLOAD_TYPE;
use crate::document::{BUNDLE_TYPE, SIGNATURE_ANNOTATION};
use crate::simple::{Critical, Image, Payload, TYPE};
use crate::{Document, SIMPLE_TYPE, TrustError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey as EcdsaKey};
use p256::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, EncodePublicKey as _, LineEnding};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use sigstore_verify::types::pae;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

/// What a statement says that an image is signed, as cosign has it.
pub const PREDICATE_TYPE: &str = "https://sigstore.dev/cosign/sign/v1";
/// Longest file with a private key, in bytes.
const MAX_KEY: u64 = 64 << 10;

/// A private key, ECDSA on P-256. Signatures of the same bytes are the same bytes (RFC 6979).
pub struct SigningKey(EcdsaKey);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

/// A signature to be put beside an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Media type of its bytes.
    pub media_type: &'static str,
    /// The payload or the bundle.
    pub bytes: Vec<u8>,
    /// Annotations of its layer.
    pub annotations: BTreeMap<String, String>,
}

impl Signed {
    /// As it will be fetched.
    pub fn document(&self, place: &str) -> Document {
        Document {
            media_type: self.media_type.to_owned(),
            bytes: self.bytes.clone(),
            annotations: self.annotations.clone(),
            place: place.to_owned(),
        }
    }
}

impl SigningKey {
    /// Makes up a key.
    pub fn generate() -> Result<Self, TrustError> {
        loop {
            let mut bytes = [0; 32];
            getrandom::fill(&mut bytes).map_err(TrustError::Random)?;
            // All but one in four billion numbers are keys.
            if let Ok(key) = EcdsaKey::from_slice(&bytes) {
                return Ok(Self(key));
            }
        }
    }

    /// Reads a key: PEM, PKCS#8, not encrypted.
    pub fn read(path: &Path) -> Result<Self, TrustError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| TrustError::SigningKey {
            path: path.to_owned(),
            source,
        };
        let mut pem = String::new();
        fs_err::File::open(path)
            .and_then(|file| file.take(MAX_KEY).read_to_string(&mut pem))
            .map_err(|error| failed(error.into()))?;
        if pem.contains("ENCRYPTED") {
            return Err(failed(
                "it is encrypted; such keys of cosign are for cosign alone".into(),
            ));
        }
        let key =
            EcdsaKey::from_pkcs8_pem(&pem).map_err(|error| failed(error.to_string().into()))?;
        Ok(Self(key))
    }

    /// The public key, PEM.
    pub fn public_pem(&self) -> Result<String, TrustError> {
        let pem = self.0.verifying_key().to_public_key_pem(LineEnding::LF);
        pem.map_err(unwritable)
    }

    /// Writes both keys into new files: the private one for its owner alone.
    pub fn write(&self, private: &Path, public: &Path) -> Result<(), TrustError> {
        let pem = self.0.to_pkcs8_pem(LineEnding::LF);
        let pem = pem.map_err(|error| TrustError::SigningKey {
            path: private.to_owned(),
            source: error.to_string().into(),
        })?;
        let public_pem = self.public_pem()?;
        for (path, text, mode) in [
            (private, pem.as_str(), 0o600),
            (public, public_pem.as_str(), 0o644),
        ] {
            create(path, text.as_bytes(), mode).map_err(|source| TrustError::WriteKey {
                path: path.to_owned(),
                source,
            })?;
        }
        Ok(())
    }

    fn sign(&self, data: &[u8]) -> String {
        let signature: Signature = self.0.sign(data);
        STANDARD.encode(signature.to_der().as_bytes())
    }

    /// A signature of the kind that every cosign checks. `name` is the repository.
    pub fn simple(
        &self,
        name: &str,
        digest: &str,
        annotations: &BTreeMap<String, String>,
    ) -> Result<Signed, TrustError> {
        let payload = Payload {
            critical: Critical {
                identity: json!({"docker-reference": name}),
                image: Image {
                    digest: digest.to_owned(),
                },
                r#type: TYPE.to_owned(),
            },
            optional: (!annotations.is_empty()).then(|| values(annotations)),
        };
        let bytes = serde_json::to_vec(&payload).map_err(TrustError::Payload)?;
        let signature = self.sign(&bytes);
        Ok(Signed {
            media_type: SIMPLE_TYPE,
            annotations: BTreeMap::from([(SIGNATURE_ANNOTATION.to_owned(), signature)]),
            bytes,
        })
    }

    /// A signature as a bundle, the kind that cosign makes from version 3 on. `digest` is a SHA-256,
    /// hexadecimal.
    pub fn bundle(
        &self,
        digest: &str,
        annotations: &BTreeMap<String, String>,
    ) -> Result<Signed, TrustError> {
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"digest": {"sha256": digest}, "annotations": values(annotations)}],
            "predicateType": PREDICATE_TYPE,
            "predicate": {},
        });
        let payload = statement.to_string().into_bytes();
        let public = self.0.verifying_key().to_public_key_der();
        let public = public.map_err(unwritable)?;
        let signature = self.sign(&pae(PAYLOAD_TYPE, &payload));
        let bundle = json!({
            "mediaType": BUNDLE_TYPE,
            "verificationMaterial": {
                // For whoever has many keys: cosign's way to name one.
                "publicKey": {"hint": STANDARD.encode(Sha256::digest(public.as_bytes()))},
                "tlogEntries": [],
            },
            "dsseEnvelope": {
                "payload": STANDARD.encode(&payload),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [{"sig": signature}],
            },
        });
        Ok(Signed {
            media_type: BUNDLE_TYPE,
            bytes: bundle.to_string().into_bytes(),
            annotations: BTreeMap::new(),
        })
    }
}

fn unwritable(error: p256::pkcs8::spki::Error) -> TrustError {
    TrustError::PublicKey(error.to_string().into())
}

fn values(annotations: &BTreeMap<String, String>) -> Map<String, Value> {
    let each = annotations.iter();
    each.map(|(key, value)| (key.clone(), Value::String(value.clone())))
        .collect()
}

fn create(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut options = fs_err::OpenOptions::new();
    options.write(true).create_new(true).mode(mode);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
