//! `cos verify`: what there is beside an image, and what the policy makes of it.

use super::{Guard, name_of, sha256};
use crate::OpsError;
use cos_events::Monitor;
use cos_image::{Options, Source};
use cos_trust::Signer;
use serde::Serialize;
use std::fmt;

/// One signature that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LookedAt {
    /// Where it was found.
    pub place: String,
    /// Whose it is, where it counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signer: Option<Signer>,
    /// Why it does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// That an image may run, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    /// The image.
    pub image: String,
    /// The digest whose signatures were looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Its version, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What the rule matches.
    pub rule: String,
    /// Where the rule was said: file, line, column.
    pub place: String,
    /// Whether anybody signed; where nobody did, the rule accepts that.
    pub signed: bool,
    /// Who signed.
    pub signers: Vec<Signer>,
    /// Until when the signatures speak for the image as the newest, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// Every signature that was looked at.
    pub checked: Vec<LookedAt>,
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = self.digest.as_deref().unwrap_or("no digest");
        writeln!(f, "{}\n  digest     {digest}", self.image)?;
        if let Some(version) = &self.version {
            writeln!(f, "  version    {version}")?;
        }
        writeln!(f, "  rule       {} ({})", self.rule, self.place)?;
        for one in &self.checked {
            let LookedAt { place, .. } = one;
            match (&one.signer, &one.reason) {
                (Some(signer), _) => writeln!(f, "  signature  {place}: {signer}")?,
                (None, reason) => {
                    let reason = reason.as_deref().unwrap_or_default();
                    writeln!(f, "  ignored    {place}: {reason}")?;
                }
            }
        }
        if let Some(expires) = &self.expires {
            writeln!(f, "  expires    {expires}")?;
        }
        if self.signed {
            let by = self.signers.len();
            writeln!(f, "verified: signed by {by} of those the rule names")
        } else {
            writeln!(f, "accepted unsigned: the rule says insecure: true")
        }
    }
}

/// Says what the policy makes of an image's signatures. An image that would be refused is an error.
pub fn verify(
    source: &Source,
    options: &Options,
    guard: &Guard,
    monitor: &dyn Monitor,
) -> Result<Verification, OpsError> {
    let resolved = cos_image::resolve(source, options, monitor);
    let resolved = resolved.map_err(|error| OpsError::image(source, error))?;
    let version = super::version(&resolved, monitor);
    let image = resolved.source().to_string();
    let rule = guard.policy.require(&name_of(resolved.source()), &image)?;
    let digest = resolved.reference_digest().cloned();
    // Also where the rule asks for none: that is what is looked for here.
    let documents = match (resolved.source(), &digest) {
        (Source::Registry(reference), Some(digest)) => {
            super::documents(reference, digest, options, monitor)?
        }
        _ => Vec::new(),
    };
    let hash = digest.as_ref().map_or([0; 32], sha256);
    let approval = rule.judge(&image, &hash, &documents)?;
    if !guard.allow_stale {
        approval.refuse_stale(&image, guard.now)?;
    }
    let checked = approval.checked.iter().map(|one| LookedAt {
        place: one.place.clone(),
        signer: one.outcome.as_ref().ok().cloned(),
        reason: one.outcome.as_ref().err().cloned(),
    });
    Ok(Verification {
        digest: digest.map(|digest| digest.to_string()),
        version: version.map(|version| version.to_string()),
        rule: approval.rule.clone(),
        place: approval.place.clone(),
        signed: approval.is_signed(),
        checked: checked.collect(),
        signers: approval.signers,
        expires: approval.expires.map(cos_trust::rfc3339),
        image,
    })
}
