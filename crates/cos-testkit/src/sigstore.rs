//! A sigstore of one's own: a certificate authority as Fulcio is one, and a transparency log as Rekor is
//! one, whose promises are all it gives.
#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "helpers of tests fail by panicking, as tests do"
)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use p256::pkcs8::{DecodePrivateKey as _, EncodePublicKey as _};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// Object identifier of the extension with the issuer, as a string and as it was at first.
const ISSUER: [&[u64]; 2] = [
    &[1, 3, 6, 1, 4, 1, 57264, 1, 8],
    &[1, 3, 6, 1, 4, 1, 57264, 1, 1],
];
/// How long a certificate is valid, in seconds, from [`Moment::signed`] on.
const VALIDITY: i64 = 600;

/// When something happens, in seconds since 1970.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// When the certificate is made.
    pub certified: i64,
    /// When the log says that the signature was made.
    pub signed: i64,
}

impl Moment {
    /// Both at once.
    pub fn at(time: i64) -> Self {
        Self {
            certified: time,
            signed: time,
        }
    }
}

/// The authority and the log.
pub struct Sigstore {
    authority: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
    log: SigningKey,
}

impl std::fmt::Debug for Sigstore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sigstore").finish_non_exhaustive()
    }
}

/// A certificate with its key, for one signature.
pub struct Identity {
    certificate: rcgen::Certificate,
    key: SigningKey,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

impl Identity {
    /// A signature of some bytes, base64.
    pub fn sign(&self, data: &[u8]) -> String {
        let signature: Signature = self.key.sign(data);
        STANDARD.encode(signature.to_der().as_bytes())
    }

    /// The certificate, PEM.
    pub fn certificate(&self) -> String {
        self.certificate.pem()
    }
}

impl Sigstore {
    /// Makes one that was there all the time.
    pub fn new() -> Self {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::OrganizationName, "test");
        params
            .distinguished_name
            .push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = OffsetDateTime::from_unix_timestamp(0).unwrap();
        params.not_after = OffsetDateTime::from_unix_timestamp(i64::from(u32::MAX)).unwrap();
        let authority = params.self_signed(&key).unwrap();
        let log = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        Self {
            authority,
            issuer: Issuer::new(params, key),
            log: SigningKey::from_pkcs8_der(&log.serialize_der()).unwrap(),
        }
    }

    fn log_key(&self) -> Vec<u8> {
        let key = self.log.verifying_key().to_public_key_der().unwrap();
        key.as_bytes().to_vec()
    }

    /// Its `trusted_root.json`, for what the authority certified up to `end` (RFC 3339).
    pub fn trusted_root(&self, end: Option<&str>) -> Value {
        let mut validity = json!({"start": "1990-01-01T00:00:00Z"});
        if let Some(end) = end {
            validity["end"] = end.into();
        }
        let log = self.log_key();
        json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [{
                "baseUrl": "https://log.example",
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": STANDARD.encode(&log),
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "validFor": {"start": "1990-01-01T00:00:00Z"},
                },
                "logId": {"keyId": STANDARD.encode(Sha256::digest(&log))},
            }],
            "certificateAuthorities": [{
                "subject": {"organization": "test", "commonName": "authority"},
                "uri": "https://authority.example",
                "certChain": {"certificates": [
                    {"rawBytes": STANDARD.encode(self.authority.der())}
                ]},
                "validFor": validity,
            }],
            "ctlogs": [],
            "timestampAuthorities": [],
        })
    }

    /// Certifies somebody (`subject`, a URL) whom `issuer` knows.
    pub fn certify(&self, issuer: &str, subject: &str, at: Moment) -> Identity {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(subject.try_into().unwrap())];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
        let [modern, first] = ISSUER;
        // DER of a UTF8String shorter than 128 bytes.
        let length = u8::try_from(issuer.len()).unwrap();
        assert!(length < 128);
        let text = [&[0x0c, length], issuer.as_bytes()].concat();
        params.custom_extensions = vec![
            CustomExtension::from_oid_content(modern, text),
            CustomExtension::from_oid_content(first, issuer.as_bytes().to_vec()),
        ];
        params.not_before = OffsetDateTime::from_unix_timestamp(at.certified).unwrap();
        params.not_after = OffsetDateTime::from_unix_timestamp(at.certified + VALIDITY).unwrap();
        Identity {
            certificate: params.signed_by(&key, &self.issuer).unwrap(),
            key: SigningKey::from_pkcs8_der(&key.serialize_der()).unwrap(),
        }
    }

    /// The log's entry with this body, and its promise.
    fn entry(&self, body: &Value, time: i64) -> (String, String, String) {
        let body = STANDARD.encode(body.to_string());
        let id = hex::encode(Sha256::digest(self.log_key()));
        // Canonical: no white space, keys in order.
        let promised =
            format!(r#"{{"body":"{body}","integratedTime":{time},"logID":"{id}","logIndex":7}}"#);
        let promise: Signature = self.log.sign(promised.as_bytes());
        (body, id, STANDARD.encode(promise.to_der().as_bytes()))
    }

    /// Annotations of a layer with `payload`, as cosign writes them for a signature without a key.
    pub fn simple(
        &self,
        identity: &Identity,
        payload: &[u8],
        at: Moment,
    ) -> BTreeMap<String, String> {
        let signature = identity.sign(payload);
        let body = json!({
            "apiVersion": "0.0.1",
            "kind": "hashedrekord",
            "spec": {
                "data": {"hash": {
                    "algorithm": "sha256", "value": hex::encode(Sha256::digest(payload)),
                }},
                "signature": {
                    "content": signature,
                    "publicKey": {"content": STANDARD.encode(identity.certificate())},
                },
            },
        });
        let (body, id, promise) = self.entry(&body, at.signed);
        let log = json!({
            "SignedEntryTimestamp": promise,
            "Payload": {"body": body, "integratedTime": at.signed, "logIndex": 7, "logID": id},
        });
        BTreeMap::from([
            ("dev.cosignproject.cosign/signature".to_owned(), signature),
            (
                "dev.sigstore.cosign/certificate".to_owned(),
                identity.certificate(),
            ),
            ("dev.sigstore.cosign/bundle".to_owned(), log.to_string()),
        ])
    }

    /// A bundle with an in-toto statement.
    pub fn statement(&self, identity: &Identity, statement: &Value, at: Moment) -> Value {
        let kind = "application/vnd.in-toto+json";
        let payload = statement.to_string();
        let signed = format!("DSSEv1 {} {kind} {} {payload}", kind.len(), payload.len());
        let signature = identity.sign(signed.as_bytes());
        let hash = |bytes: &[u8]| json!({"algorithm": "sha256", "value": hex::encode(Sha256::digest(bytes))});
        let body = json!({
            "apiVersion": "0.0.1",
            "kind": "dsse",
            "spec": {
                "envelopeHash": hash(b"nobody looks"),
                "payloadHash": hash(payload.as_bytes()),
                "signatures": [{
                    "signature": signature,
                    "verifier": STANDARD.encode(identity.certificate()),
                }],
            },
        });
        let (body, id, promise) = self.entry(&body, at.signed);
        let id = STANDARD.encode(hex::decode(id).unwrap());
        json!({
            "mediaType": "application/vnd.dev.sigstore.bundle+json;version=0.1",
            "verificationMaterial": {
                "x509CertificateChain": {"certificates": [
                    {"rawBytes": STANDARD.encode(identity.certificate.der())}
                ]},
                "tlogEntries": [{
                    "logIndex": "7",
                    "logId": {"keyId": id},
                    "kindVersion": {"kind": "dsse", "version": "0.0.1"},
                    "integratedTime": at.signed.to_string(),
                    "inclusionPromise": {"signedEntryTimestamp": promise},
                    "canonicalizedBody": body,
                }],
            },
            "dsseEnvelope": {
                "payload": STANDARD.encode(&payload),
                "payloadType": kind,
                "signatures": [{"sig": signature}],
            },
        })
    }
}

impl Default for Sigstore {
    fn default() -> Self {
        Self::new()
    }
}
