//! Sigstore bundles: a signature with everything that it takes to check it offline.

use crate::pattern::subject_matches;
use crate::signing::PREDICATE_TYPE;
use crate::{Identity, PublicKey, simple};
use serde::Deserialize;
use serde_json::{Map, Value};
use sigstore_verify::trust_root::TrustedRoot;
use sigstore_verify::types::bundle::VerificationMaterialContent;
use sigstore_verify::types::{Artifact, Bundle, Sha256Hash, SignatureContent};
use sigstore_verify::{VerificationPolicy, Verifier};
use std::fmt;
use std::sync::Arc;

/// Payload type of in-toto statements.
pub(crate) const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// What in-toto statements say they are.
const STATEMENT_TYPES: [&str; 2] = [
    "https://in-toto.io/Statement/v1",
    "https://in-toto.io/Statement/v0.1",
];

/// Who vouches for identities: certificate authorities, logs and clocks of a sigstore.
#[derive(Clone)]
pub struct TrustRoot {
    verifier: Arc<Verifier>,
    has_logs: bool,
    has_certificate_logs: bool,
}

impl fmt::Debug for TrustRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustRoot").finish_non_exhaustive()
    }
}

impl TrustRoot {
    /// Reads a `trusted_root.json`.
    pub(crate) fn from_json(
        bytes: &[u8],
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        crate::provider::install();
        let root = TrustedRoot::from_json(std::str::from_utf8(bytes)?)?;
        if root.certificate_authorities.is_empty() {
            return Err("there is no certificate authority in it".into());
        }
        if root.tlogs.is_empty() && root.timestamp_authorities.is_empty() {
            return Err("nobody in it can say when something was signed".into());
        }
        Ok(Self {
            verifier: Arc::new(Verifier::new(&root)?),
            has_logs: !root.tlogs.is_empty(),
            has_certificate_logs: !root.ctlogs.is_empty(),
        })
    }

    /// Checks a bundle with a certificate over `artifact`, and whether its identity is one of
    /// `identities`. Returns which, and what the certificate says. Logs that the root has must vouch.
    pub(crate) fn verify<'i>(
        &self,
        bundle: &Bundle,
        artifact: Artifact<'_>,
        identities: &'i [Identity],
    ) -> Result<(&'i Identity, Identity), String> {
        let mut policy = VerificationPolicy::any_identity();
        if !self.has_logs {
            policy = policy.skip_tlog_unsafe();
        }
        if !self.has_certificate_logs {
            policy = policy.skip_sct();
        }
        let result = self.verifier.verify(artifact, bundle, &policy);
        let result = result.map_err(|error| error.to_string())?;
        let complete = result.certificate_verified()
            && !result.verified_timestamps().is_empty()
            && (result.tlog_verified() || !self.has_logs);
        if !complete {
            return Err("its certificate was not checked to the end".to_owned());
        }
        let issuer = result.issuer().unwrap_or_default();
        let subject = result.identity().map_or("", |it| it.as_str());
        let found = identities
            .iter()
            .find(|it| it.issuer == issuer && subject_matches(&it.subject, subject));
        let claimed = Identity {
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
        };
        match found {
            Some(identity) if !subject.is_empty() => Ok((identity, claimed)),
            _ => Err(format!(
                "it is by {subject:?}, known to {issuer:?}, who may not sign this image"
            )),
        }
    }
}

/// A bundle as it was fetched.
pub(crate) struct Parsed {
    bundle: Bundle,
}

/// Who made a bundle's signature.
pub(crate) enum Maker<'r> {
    Key(&'r PublicKey),
    Identity(&'r Identity, Identity),
}

impl Parsed {
    pub(crate) fn from_json(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
        let bundle =
            Bundle::from_json(text).map_err(|error| format!("it is no bundle: {error}"))?;
        Ok(Self { bundle })
    }

    /// Checks the signature over the image with this SHA-256; returns whose it is and until when it
    /// speaks for the image.
    pub(crate) fn check<'r>(
        &self,
        sha256: &[u8; 32],
        keys: &'r [PublicKey],
        identities: &'r [Identity],
        trust_root: Option<&TrustRoot>,
    ) -> Result<(Maker<'r>, Option<i64>), String> {
        let material = &self.bundle.verification_material.content;
        let maker = if matches!(material, VerificationMaterialContent::PublicKey(_)) {
            let key = keys.iter().find(|key| self.is_by(key, sha256));
            Maker::Key(key.ok_or("no key of the rule made it")?)
        } else {
            let root = trust_root.ok_or("it has a certificate, and the rule knows keys only")?;
            let hash =
                Sha256Hash::from_hex(&hex::encode(sha256)).map_err(|error| error.to_string())?;
            let artifact = Artifact::from_digest(hash);
            let (identity, claimed) = root.verify(&self.bundle, artifact, identities)?;
            Maker::Identity(identity, claimed)
        };
        let expires = match &self.bundle.content {
            SignatureContent::DsseEnvelope(envelope) => {
                statement_claims(&envelope.payload_type, envelope.payload.as_bytes(), sha256)?
            }
            // Directly over the image's manifest: there is no place for annotations.
            _ => None,
        };
        Ok((maker, expires))
    }

    fn is_by(&self, key: &PublicKey, sha256: &[u8; 32]) -> bool {
        let checked = match &self.bundle.content {
            SignatureContent::DsseEnvelope(envelope) => {
                key.verify(&envelope.pae(), envelope.signature.sig.as_bytes())
            }
            SignatureContent::MessageSignature(message) => {
                key.verify_digest(sha256, message.signature.as_bytes())
            }
            _ => return false,
        };
        checked.is_ok()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    predicate_type: String,
    subject: Vec<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    digest: Map<String, Value>,
    #[serde(default)]
    annotations: Option<Map<String, Value>>,
}

/// Reads a statement whose signature is valid: it must say that the image with this SHA-256 is signed,
/// and nothing else, such as what was found in it.
fn statement_claims(
    payload_type: &str,
    payload: &[u8],
    sha256: &[u8; 32],
) -> Result<Option<i64>, String> {
    if payload_type != PAYLOAD_TYPE {
        return Err(format!("what is signed is of type {payload_type:?}"));
    }
    let statement: Statement = serde_json::from_slice(payload)
        .map_err(|error| format!("what is signed is no statement: {error}"))?;
    if !STATEMENT_TYPES.contains(&statement.kind.as_str()) {
        return Err(format!("what is signed is a {:?}", statement.kind));
    }
    if statement.predicate_type != PREDICATE_TYPE {
        return Err(format!(
            "it states something else than that the image is signed: {:?}",
            statement.predicate_type
        ));
    }
    let wanted = hex::encode(sha256);
    let is_ours = |subject: &&Subject| {
        subject.digest.get("sha256").and_then(Value::as_str) == Some(wanted.as_str())
    };
    let subject = statement.subject.iter().find(is_ours);
    let subject = subject.ok_or("it is a signature of another image")?;
    simple::expires(subject.annotations.as_ref())
}
