//! Signatures as they are fetched.

use std::collections::BTreeMap;

/// Media type of a payload that cosign signs ("simple signing").
pub const SIMPLE_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// Media type of a sigstore bundle; older ones have the version as a parameter.
pub const BUNDLE_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// Annotation of a simple signing layer: the signature, base64.
pub const SIGNATURE_ANNOTATION: &str = "dev.cosignproject.cosign/signature";
/// Annotation of a simple signing layer: the certificate, PEM.
pub(crate) const CERTIFICATE_ANNOTATION: &str = "dev.sigstore.cosign/certificate";
/// Annotation of a simple signing layer: what the transparency log said, JSON.
pub(crate) const LOG_ANNOTATION: &str = "dev.sigstore.cosign/bundle";
/// Signed annotation: until when the signature speaks for the image as the newest, RFC 3339.
pub const ANNOTATION_EXPIRES: &str = "dev.cos.expires";

/// A signature as it was fetched. Nothing of it is to be believed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// What it is.
    pub media_type: String,
    /// The payload or the bundle.
    pub bytes: Vec<u8>,
    /// Annotations of the layer.
    pub annotations: BTreeMap<String, String>,
    /// Where it was found, for people.
    pub place: String,
}

impl Document {
    pub(crate) fn is_bundle(&self) -> bool {
        self.media_type
            .starts_with("application/vnd.dev.sigstore.bundle")
    }
}
