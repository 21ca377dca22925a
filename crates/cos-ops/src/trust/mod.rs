//! Whether an image may be used: the one place that all operations pass on their way to it.
//!
//! [`resolve`] asks once what a source names, has the policy judge the signatures over that digest, and
//! hands out a [`Trusted`] image, which is the only thing that can be loaded. What is loaded is by digest
//! what was judged: a registry that answers differently each time gains nothing.

mod floor;
mod keeper;
mod sign;
mod tpm_counter;
mod verify;

pub(crate) use floor::{Floor, FloorQuestion, raise as raise_floor, renew as renew_floor};
pub use keeper::{FloorError, SetBack};
pub(crate) use keeper::{FloorKeeper, Standing, in_step as floor_in_step, vouches};
pub(crate) use sign::sign_digest;
pub use sign::{SignFormat, SignRequest, SignResult, generate_key, sign};
pub use verify::{LookedAt, Verification, verify};

use crate::OpsError;
use cos_events::{Monitor, warn};
use cos_image::{Attachment, Digest, Options, Reference, Resolved, Source};
use cos_store::{Accepted, SignedBy, Verified};
use cos_trust::{Approval, Document, LOCAL, Policy, Rule, Signer, TrustError};
use semver::Version;
use std::sync::Arc;

/// Annotation of an image's manifest, or label of its configuration: its version.
pub const VERSION: &str = "dev.cos.version";

/// Whether somebody has to be asked before an image is used.
#[derive(Debug, Clone)]
pub enum Gate {
    /// Nobody: media are built on a workstation, or the image is what a machine made of itself.
    Open,
    /// The policy.
    Guarded(Arc<Guard>),
}

impl Gate {
    /// A gate with a guard.
    pub fn guarded(guard: Guard) -> Self {
        Self::Guarded(Arc::new(guard))
    }
}

/// The policy, and what the operator allows for this one operation.
#[derive(Debug, Clone)]
pub struct Guard {
    /// The policy.
    pub policy: Policy,
    /// Accept what is not signed as the policy wants it.
    pub allow_unsigned: bool,
    /// Accept signatures that have expired.
    pub allow_stale: bool,
    /// The time, seconds since 1970.
    pub now: i64,
}

impl Guard {
    /// A guard that allows nothing beyond the policy.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            allow_unsigned: false,
            allow_stale: false,
            now: crate::machine::now(),
        }
    }
}

/// An image that may be used.
#[derive(Debug)]
pub struct Trusted {
    resolved: Resolved,
    verified: Option<Verified>,
    version: Option<Version>,
    stale: Option<TrustError>,
}

impl Trusted {
    /// What was resolved.
    pub fn resolved(&self) -> &Resolved {
        &self.resolved
    }

    /// What is known of its signatures; nothing where nobody had to be asked.
    pub fn verified(&self) -> Option<&Verified> {
        self.verified.as_ref()
    }

    /// Its version, where it has one.
    pub fn version(&self) -> Option<&Version> {
        self.version.as_ref()
    }

    /// Whether its signatures have expired, and nobody allowed that.
    pub fn is_stale(&self) -> bool {
        self.stale.is_some()
    }

    /// Refuses an image whose signatures have expired.
    pub fn fresh(mut self) -> Result<Self, OpsError> {
        match self.stale.take() {
            Some(stale) => Err(stale.into()),
            None => Ok(self),
        }
    }

    /// Keeps what is fetched from a registry in a directory.
    pub(crate) fn keep_blobs(&mut self, directory: std::path::PathBuf) {
        self.resolved.keep_blobs(directory);
    }

    pub(crate) fn into_parts(self) -> (Resolved, Option<Verified>, Option<Version>) {
        (self.resolved, self.verified, self.version)
    }
}

/// Finds out what a source names and whether it may be used.
pub fn resolve(
    source: &Source,
    options: &Options,
    gate: &Gate,
    monitor: &dyn Monitor,
) -> Result<Trusted, OpsError> {
    let resolved = cos_image::resolve(source, options, monitor);
    let resolved = resolved.map_err(|error| OpsError::image(source, error))?;
    let version = version(&resolved, monitor);
    let (verified, stale) = match gate {
        Gate::Open => (None, None),
        Gate::Guarded(guard) => {
            let (verified, stale) = guard.check(&resolved, options, monitor)?;
            (Some(verified), stale)
        }
    };
    Ok(Trusted {
        resolved,
        verified,
        version,
        stale,
    })
}

/// The name that rules match: `REGISTRY/REPOSITORY`, or the one of what comes from no registry.
pub(crate) fn name_of(source: &Source) -> String {
    match source {
        Source::Registry(reference) => {
            format!("{}/{}", reference.registry, reference.repository)
        }
        _ => LOCAL.to_owned(),
    }
}

impl Guard {
    fn check(
        &self,
        resolved: &Resolved,
        options: &Options,
        monitor: &dyn Monitor,
    ) -> Result<(Verified, Option<TrustError>), OpsError> {
        let image = resolved.source().to_string();
        let judged = self.judge(resolved, options, monitor);
        self.weigh(judged, &image, monitor)
    }

    /// Whether the rule of an image's repository accepts something that is beside the image, by the signatures
    /// over its digest. `name` is what it is called in messages.
    pub(crate) fn check_beside(
        &self,
        reference: &Reference,
        digest: &Digest,
        name: &str,
        options: &Options,
        monitor: &dyn Monitor,
    ) -> Result<Verified, OpsError> {
        let source = Source::Registry(reference.clone());
        let rule = self.policy.require(&name_of(&source), name)?;
        let judged = judge_digest(rule, reference, digest, name, options, monitor);
        let (verified, stale) = self.weigh(judged, name, monitor)?;
        match stale {
            Some(stale) => Err(stale.into()),
            None => Ok(verified),
        }
    }

    /// What follows from a verdict, with what the operator allows.
    fn weigh(
        &self,
        judged: Result<Approval, OpsError>,
        image: &str,
        monitor: &dyn Monitor,
    ) -> Result<(Verified, Option<TrustError>), OpsError> {
        let approval = match judged {
            Ok(approval) => approval,
            Err(OpsError::Trust(refusal)) if self.allow_unsigned && refusal.is_refusal() => {
                warn(
                    monitor,
                    format!("used all the same, as was asked: {refusal}"),
                );
                return Ok((by_hand(), None));
            }
            Err(error) => return Err(error),
        };
        if !approval.is_signed() {
            let rule = &approval.rule;
            let text = format!(
                "{image} is used unsigned: rule {rule} of {}",
                approval.place
            );
            warn(monitor, text);
        }
        let stale = approval.refuse_stale(image, self.now).err();
        let stale = stale.filter(|_| !self.allow_stale);
        Ok((record(&approval), stale))
    }

    /// Has the policy judge the signatures over what was resolved.
    fn judge(
        &self,
        resolved: &Resolved,
        options: &Options,
        monitor: &dyn Monitor,
    ) -> Result<Approval, OpsError> {
        let source = resolved.source();
        let image = source.to_string();
        let rule = self.policy.require(&name_of(source), &image)?;
        let (Source::Registry(reference), Some(digest)) = (source, resolved.reference_digest())
        else {
            // Nowhere to ask for signatures, and nothing they could be of.
            return Ok(rule.judge(&image, &[0; 32], &[])?);
        };
        judge_digest(rule, reference, digest, &image, options, monitor)
    }
}

/// Has a rule judge the signatures over a digest.
fn judge_digest(
    rule: &Rule,
    reference: &Reference,
    digest: &Digest,
    image: &str,
    options: &Options,
    monitor: &dyn Monitor,
) -> Result<Approval, OpsError> {
    let documents = if rule.is_insecure() {
        Vec::new()
    } else {
        documents(reference, digest, options, monitor)?
    };
    Ok(rule.judge(image, &sha256(digest), &documents)?)
}

/// The bytes of a digest; those of none where it is of another kind, which nobody signs.
pub(crate) fn sha256(digest: &Digest) -> [u8; 32] {
    hex::decode(digest.hex())
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .unwrap_or([0; 32])
}

/// Fetches the signatures of an image.
pub(crate) fn documents(
    reference: &Reference,
    digest: &Digest,
    options: &Options,
    monitor: &dyn Monitor,
) -> Result<Vec<Document>, OpsError> {
    let fetched = cos_image::signatures(reference, digest, options, monitor);
    let fetched =
        fetched.map_err(|error| OpsError::image(&Source::Registry(reference.clone()), error))?;
    Ok(fetched.into_iter().map(document).collect())
}

pub(crate) fn document(attachment: Attachment) -> Document {
    let Attachment {
        media_type,
        bytes,
        annotations,
        place,
    } = attachment;
    Document {
        media_type,
        bytes,
        annotations,
        place,
    }
}

fn by_hand() -> Verified {
    Verified {
        accepted: Accepted::UnsignedByHand,
        rule: None,
        signers: Vec::new(),
        expires: None,
    }
}

fn record(approval: &Approval) -> Verified {
    let signed_by = |signer: &Signer| match signer {
        Signer::Key { fingerprint, .. } => SignedBy::Key {
            key: fingerprint.clone(),
        },
        Signer::Identity { issuer, subject } => SignedBy::Identity {
            issuer: issuer.clone(),
            subject: subject.clone(),
        },
    };
    Verified {
        accepted: if approval.is_signed() {
            Accepted::Signed
        } else {
            Accepted::UnsignedByRule
        },
        rule: Some(approval.rule.clone()),
        signers: approval.signers.iter().map(signed_by).collect(),
        expires: approval.expires.map(cos_trust::rfc3339),
    }
}

/// The version that an image says it has.
fn version(resolved: &Resolved, monitor: &dyn Monitor) -> Option<Version> {
    let config = resolved
        .config()
        .and_then(|config| config.config().as_ref());
    let labels = config.and_then(|config| config.labels().as_ref());
    let label = labels.and_then(|labels| labels.get(VERSION));
    let text = resolved.annotations().get(VERSION).or(label)?;
    let version = parse_version(text);
    if version.is_none() {
        let source = resolved.source();
        warn(
            monitor,
            format!("{source}: {VERSION} {text:?} is no version"),
        );
    }
    version
}

/// A version; a `v` in front is no part of it.
pub(crate) fn parse_version(text: &str) -> Option<Version> {
    let text = text.trim();
    Version::parse(text.strip_prefix('v').unwrap_or(text)).ok()
}
