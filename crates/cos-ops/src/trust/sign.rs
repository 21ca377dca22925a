//! `cos sign`: a signature beside an image in its registry.

use super::{document, sha256};
use crate::OpsError;
use cos_events::Monitor;
use cos_image::{
    Attachment, Digest, FileContent, NewArtifact, NewFile, Options, Publisher, Reference, Source,
};
use cos_trust::{
    ANNOTATION_EXPIRES, BUNDLE_TYPE, Document, PREDICATE_TYPE, Policy, PublicKey, Signed,
    SigningKey, TrustError,
};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// How a signature is put beside an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SignFormat {
    /// Under cosign's tag, which every version of cosign finds.
    Tag,
    /// As a bundle among the image's referrers, as cosign does from version 3 on.
    Bundle,
}

/// What to sign.
#[derive(Debug)]
pub struct SignRequest {
    /// The image.
    pub reference: Reference,
    /// How to reach its registry.
    pub options: Options,
    /// The key.
    pub key: SigningKey,
    /// Until when the signature speaks for the image as the newest, seconds since 1970.
    pub expires: Option<i64>,
    /// What else is signed.
    pub annotations: BTreeMap<String, String>,
    /// How to put it there.
    pub format: SignFormat,
}

/// A signature that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SignResult {
    /// The image.
    pub image: String,
    /// The digest that was signed.
    pub digest: String,
    /// SHA-256 of the public key in DER.
    pub key: String,
    /// Digest of the manifest with the signature.
    pub signature: String,
    /// How it was put there.
    pub format: SignFormat,
    /// Until when it speaks for the image as the newest, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

/// Signs what a reference names at this moment, and reads the signature back. An earlier one of the same
/// key under cosign's tag is replaced.
pub fn sign(request: &SignRequest, monitor: &dyn Monitor) -> Result<SignResult, OpsError> {
    let source = Source::Registry(request.reference.clone());
    let failed = |error| OpsError::image(&source, error);
    let resolved = cos_image::resolve(&source, &request.options, monitor).map_err(failed)?;
    let Some(digest) = resolved.reference_digest().cloned() else {
        return Err(OpsError::NotAChannel {
            source_name: source.to_string(),
        });
    };
    sign_digest(request, &digest, monitor)
}

/// Signs a digest in the repository of the request's reference, whatever it is of.
pub(crate) fn sign_digest(
    request: &SignRequest,
    digest: &Digest,
    monitor: &dyn Monitor,
) -> Result<SignResult, OpsError> {
    let source = Source::Registry(request.reference.clone());
    let expires = request.expires.map(cos_trust::rfc3339);
    let mut annotations = request.annotations.clone();
    annotations.extend(
        expires
            .clone()
            .map(|at| (ANNOTATION_EXPIRES.to_owned(), at)),
    );
    let public_pem = request.key.public_pem()?;
    let public = PublicKey::from_pem(&public_pem, "the signing key");
    let public = public.map_err(TrustError::PublicKey)?;
    let signature = put(request, digest, &annotations, &public_pem, monitor)?;
    let there = super::documents(&request.reference, digest, &request.options, monitor)?;
    if !there.iter().any(|it| is_by(&public_pem, digest, it)) {
        return Err(OpsError::SignatureGone {
            image: source.to_string(),
        });
    }
    Ok(SignResult {
        image: source.to_string(),
        digest: digest.to_string(),
        key: public.fingerprint(),
        signature: signature.to_string(),
        format: request.format,
        expires,
    })
}

/// Puts a new signature beside the image; returns the digest of its manifest.
fn put(
    request: &SignRequest,
    digest: &Digest,
    annotations: &BTreeMap<String, String>,
    public_pem: &str,
    monitor: &dyn Monitor,
) -> Result<Digest, OpsError> {
    let source = Source::Registry(request.reference.clone());
    let failed = |error| OpsError::image(&source, error);
    let publisher =
        Publisher::new(&request.reference, &request.options, monitor).map_err(failed)?;
    let put = match request.format {
        SignFormat::Tag => {
            let repository = super::name_of(&source);
            let signed = request
                .key
                .simple(&repository, &digest.to_string(), annotations)?;
            let replaces = |present: &Attachment| {
                let mut present = present.clone();
                present.place.clear();
                is_by(public_pem, digest, &document(present))
            };
            publisher.add_signature(digest, &attachment(signed), &replaces)
        }
        SignFormat::Bundle => {
            let signed = request.key.bundle(digest.hex(), annotations)?;
            let manifest_annotations = BTreeMap::from([
                (
                    "dev.sigstore.bundle.content".to_owned(),
                    "dsse-envelope".to_owned(),
                ),
                (
                    "dev.sigstore.bundle.predicateType".to_owned(),
                    PREDICATE_TYPE.to_owned(),
                ),
            ]);
            publisher.add_referrer(&NewArtifact {
                artifact_type: BUNDLE_TYPE.to_owned(),
                subject: digest.clone(),
                files: vec![NewFile {
                    media_type: signed.media_type.to_owned(),
                    annotations: signed.annotations,
                    content: FileContent::Bytes(signed.bytes),
                }],
                annotations: manifest_annotations,
            })
        }
    };
    put.map_err(failed)
}

/// Whether a signature is a valid one of this key over this digest, as a policy would judge it.
fn is_by(public_pem: &str, digest: &Digest, document: &Document) -> bool {
    let rule = Policy::of_key(public_pem);
    let documents = std::slice::from_ref(document);
    rule.is_ok_and(|rule| rule.judge("", &sha256(digest), documents).is_ok())
}

fn attachment(signed: Signed) -> Attachment {
    Attachment {
        media_type: signed.media_type.to_owned(),
        bytes: signed.bytes,
        annotations: signed.annotations,
        place: String::new(),
    }
}

/// Makes a key pair: `PREFIX.key` for its owner alone, `PREFIX.pub` for policies. Returns the public
/// key's fingerprint.
pub fn generate_key(private: &Path, public: &Path) -> Result<String, OpsError> {
    let key = SigningKey::generate()?;
    key.write(private, public)?;
    let pem = key.public_pem()?;
    let public = PublicKey::from_pem(&pem, "new").map_err(TrustError::PublicKey)?;
    Ok(public.fingerprint())
}
