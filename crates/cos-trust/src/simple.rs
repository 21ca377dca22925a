//! Payloads of cosign's "simple signing", whose signatures are annotations beside them.

use crate::document::{
    ANNOTATION_EXPIRES, CERTIFICATE_ANNOTATION, LOG_ANNOTATION, SIGNATURE_ANNOTATION,
};
use crate::{Document, expiry};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use sigstore_verify::types::{Bundle, DerCertificate};

/// What such a payload says it is.
pub(crate) const TYPE: &str = "cosign container image signature";

/// What is signed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Payload {
    pub(crate) critical: Critical,
    #[serde(default)]
    pub(crate) optional: Option<Map<String, Value>>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Critical {
    #[serde(default)]
    pub(crate) identity: Value,
    pub(crate) image: Image,
    pub(crate) r#type: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Image {
    #[serde(rename = "docker-manifest-digest")]
    pub(crate) digest: String,
}

/// Reads a payload whose signature is valid: it must be about `digest`. Returns until when it speaks for
/// the image.
pub(crate) fn claims(payload: &[u8], digest: &str) -> Result<Option<i64>, String> {
    let payload: Payload = serde_json::from_slice(payload)
        .map_err(|error| format!("what is signed is no payload of cosign: {error}"))?;
    if payload.critical.r#type != TYPE {
        return Err(format!("what is signed is a {:?}", payload.critical.r#type));
    }
    if payload.critical.image.digest != digest {
        return Err(format!(
            "it is a signature of another image, {}",
            payload.critical.image.digest
        ));
    }
    expires(payload.optional.as_ref())
}

/// The expiry among signed annotations.
pub(crate) fn expires(annotations: Option<&Map<String, Value>>) -> Result<Option<i64>, String> {
    let Some(value) = annotations.and_then(|it| it.get(ANNOTATION_EXPIRES)) else {
        return Ok(None);
    };
    let text = value.as_str().unwrap_or_default();
    let time = expiry::time_of(text);
    time.map(Some)
        .map_err(|_| format!("{ANNOTATION_EXPIRES} is no time: {value}"))
}

/// The signature beside a payload.
pub(crate) fn signature(document: &Document) -> Result<Vec<u8>, String> {
    let text = document.annotations.get(SIGNATURE_ANNOTATION);
    let text = text.ok_or("it has no signature beside it")?;
    STANDARD
        .decode(text.trim())
        .map_err(|error| format!("its signature is not base64: {error}"))
}

/// Whether somebody's certificate is beside a payload.
pub(crate) fn has_certificate(document: &Document) -> bool {
    let text = document.annotations.get(CERTIFICATE_ANNOTATION);
    text.is_some_and(|text| !text.trim().is_empty())
}

/// What the transparency log said of a signature.
#[derive(Deserialize)]
struct LogEntry {
    #[serde(rename = "SignedEntryTimestamp")]
    signed: String,
    #[serde(rename = "Payload")]
    payload: LogPayload,
}

#[derive(Deserialize)]
struct LogPayload {
    body: String,
    #[serde(rename = "integratedTime")]
    integrated_time: i64,
    #[serde(rename = "logIndex")]
    log_index: i64,
    #[serde(rename = "logID")]
    log_id: String,
}

#[derive(Deserialize)]
struct LogBody {
    #[serde(rename = "apiVersion")]
    version: String,
    kind: String,
}

/// The same as a bundle of the first version, whose content is what the payload is: certificate,
/// signature, and the log's promise.
pub(crate) fn as_bundle(document: &Document) -> Result<Bundle, String> {
    let certificate = document.annotations.get(CERTIFICATE_ANNOTATION);
    let certificate = certificate.ok_or("it has no certificate beside it")?;
    let certificate = DerCertificate::from_pem(certificate)
        .map_err(|error| format!("its certificate cannot be read: {error}"))?;
    let entry = document.annotations.get(LOG_ANNOTATION);
    let entry = entry.ok_or("no transparency log vouches for the time of its certificate")?;
    let entry: LogEntry = serde_json::from_str(entry)
        .map_err(|error| format!("its entry of the transparency log cannot be read: {error}"))?;
    let body = STANDARD.decode(&entry.payload.body);
    let body = body.map_err(|error| format!("its log entry is not base64: {error}"))?;
    let kind: LogBody = serde_json::from_slice(&body)
        .map_err(|error| format!("its log entry cannot be read: {error}"))?;
    let log_id = hex::decode(&entry.payload.log_id)
        .map_err(|error| format!("its log's name is not hexadecimal: {error}"))?;
    let bundle = json!({
        "mediaType": "application/vnd.dev.sigstore.bundle+json;version=0.1",
        "verificationMaterial": {
            "x509CertificateChain": {"certificates": [
                {"rawBytes": STANDARD.encode(certificate.as_bytes())}
            ]},
            "tlogEntries": [{
                "logIndex": entry.payload.log_index.to_string(),
                "logId": {"keyId": STANDARD.encode(log_id)},
                "kindVersion": {"kind": kind.kind, "version": kind.version},
                "integratedTime": entry.payload.integrated_time.to_string(),
                "inclusionPromise": {"signedEntryTimestamp": entry.signed},
                "canonicalizedBody": entry.payload.body,
            }],
        },
        "messageSignature": {
            "messageDigest": {
                "algorithm": "SHA2_256",
                "digest": STANDARD.encode(Sha256::digest(&document.bytes)),
            },
            "signature": STANDARD.encode(signature(document)?),
        },
    });
    Bundle::from_json(&bundle.to_string()).map_err(|error| error.to_string())
}
