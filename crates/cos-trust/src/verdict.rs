//! The verdict over an image's signatures.

use crate::bundle::{Maker, Parsed, TrustRoot};
use crate::policy::{Requirement, Rule};
use crate::{Document, Identity, PublicKey, SIMPLE_TYPE, TrustError, expiry, simple};
use serde::Serialize;
use sigstore_verify::types::Artifact;
use std::collections::BTreeMap;
use std::fmt;

/// Longest reason that is kept: it may quote what somebody else wrote.
const MAX_REASON: usize = 300;

/// Who signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Signer {
    /// The holder of a key.
    Key {
        /// SHA-256 of the public key in DER.
        fingerprint: String,
        /// The file that it came from.
        name: String,
    },
    /// Somebody whom a certificate authority vouched for.
    Identity {
        /// Who knows them.
        issuer: String,
        /// Who they are.
        subject: String,
    },
}

impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { fingerprint, name } => write!(f, "key {fingerprint} ({name})"),
            Self::Identity { issuer, subject } => write!(f, "{subject} (known to {issuer})"),
        }
    }
}

/// One signature that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Where it was found.
    pub place: String,
    /// Whose it is, or why it does not count.
    pub outcome: Result<Signer, String>,
}

/// That an image may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// What the rule matches.
    pub rule: String,
    /// Where the rule was said: file, line, column.
    pub place: String,
    /// Who signed; nobody where the rule accepts images unsigned.
    pub signers: Vec<Signer>,
    /// Until when enough of the signatures speak for the image as the newest, seconds since 1970.
    pub expires: Option<i64>,
    /// All signatures that were looked at.
    pub checked: Vec<Checked>,
}

impl Approval {
    /// Whether anybody signed.
    pub fn is_signed(&self) -> bool {
        !self.signers.is_empty()
    }

    /// Refuses where the signatures have expired at `now`, in seconds since 1970.
    pub fn refuse_stale(&self, image: &str, now: i64) -> Result<(), TrustError> {
        match self.expires {
            Some(expires) if expires <= now => Err(TrustError::Stale {
                image: image.to_owned(),
                expired: expiry::rfc3339(expires),
                now: expiry::rfc3339(now),
            }),
            _ => Ok(()),
        }
    }
}

/// What makes two signatures ones of the same signer.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Key([u8; 32]),
    /// By the rule's identity: two tags of one workflow are not two signers.
    Identity(String, String),
}

struct Accepted {
    who: Who,
    signer: Signer,
    expires: Option<i64>,
}

/// What a rule wants of signatures.
struct Wanted<'r> {
    keys: &'r [PublicKey],
    identities: &'r [Identity],
    trust_root: Option<&'r TrustRoot>,
    digest: String,
    sha256: [u8; 32],
}

impl Rule {
    /// Whether the signatures `documents` make an image of digest `sha256` acceptable. `image` is what
    /// the user named, for messages.
    pub fn judge(
        &self,
        image: &str,
        sha256: &[u8; 32],
        documents: &[Document],
    ) -> Result<Approval, TrustError> {
        let approval = |signers, expires, checked| Approval {
            rule: self.pattern().to_string(),
            place: self.place().to_owned(),
            signers,
            expires,
            checked,
        };
        let Requirement::Signed {
            keys,
            identities,
            threshold,
            trust_root,
        } = self.requirement()
        else {
            return Ok(approval(Vec::new(), None, Vec::new()));
        };
        crate::provider::install();
        let wanted = Wanted {
            keys,
            identities,
            trust_root: trust_root.as_ref(),
            digest: format!("sha256:{}", hex::encode(sha256)),
            sha256: *sha256,
        };
        let mut checked = Vec::new();
        // One signer counts once, however often they signed; their latest signature counts.
        let mut signers: BTreeMap<Who, (Signer, Option<i64>)> = BTreeMap::new();
        for document in documents {
            let outcome = wanted.check(document);
            checked.push(Checked {
                place: document.place.clone(),
                outcome: outcome
                    .as_ref()
                    .map(|accepted| accepted.signer.clone())
                    .map_err(|reason| readable(reason)),
            });
            if let Ok(accepted) = outcome {
                let expires = match signers.get(&accepted.who) {
                    Some((_, known)) => later(*known, accepted.expires),
                    None => accepted.expires,
                };
                signers.insert(accepted.who, (accepted.signer, expires));
            }
        }
        if signers.len() < *threshold {
            return Err(TrustError::Unsigned {
                image: image.to_owned(),
                rule: self.pattern().to_string(),
                valid: signers.len(),
                wanted: *threshold,
                checked,
            });
        }
        let mut times: Vec<Option<i64>> = signers.values().map(|(_, expires)| *expires).collect();
        times.sort_by_key(|expires| std::cmp::Reverse(expires.unwrap_or(i64::MAX)));
        let expires = times.get(*threshold - 1).copied().flatten();
        let signers = signers.into_values().map(|(signer, _)| signer).collect();
        Ok(approval(signers, expires, checked))
    }
}

/// The later of two expiries; none is never.
fn later(a: Option<i64>, b: Option<i64>) -> Option<i64> {
    Some(a?.max(b?))
}

/// A reason without what would confuse a terminal.
fn readable(reason: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    reason.chars().map(plain).take(MAX_REASON).collect()
}

impl Wanted<'_> {
    fn check(&self, document: &Document) -> Result<Accepted, String> {
        if document.media_type == SIMPLE_TYPE {
            self.check_simple(document)
        } else if document.is_bundle() {
            let bundle = Parsed::from_json(&document.bytes)?;
            let (maker, expires) =
                bundle.check(&self.sha256, self.keys, self.identities, self.trust_root)?;
            Ok(accepted(maker, expires))
        } else {
            Err(format!(
                "{:?} is no signature that is known here",
                document.media_type
            ))
        }
    }

    fn check_simple(&self, document: &Document) -> Result<Accepted, String> {
        let signature = simple::signature(document)?;
        let key = self
            .keys
            .iter()
            .find(|key| key.verify(&document.bytes, &signature).is_ok());
        let maker = match (key, self.trust_root) {
            (Some(key), _) => Maker::Key(key),
            (None, Some(root)) if simple::has_certificate(document) => {
                let bundle = simple::as_bundle(document)?;
                let artifact = Artifact::from_blob(&document.bytes);
                let (identity, claimed) = root.verify(&bundle, artifact, self.identities)?;
                Maker::Identity(identity, claimed)
            }
            _ => return Err("no key of the rule made it".to_owned()),
        };
        let expires = simple::claims(&document.bytes, &self.digest)?;
        Ok(accepted(maker, expires))
    }
}

fn accepted(maker: Maker<'_>, expires: Option<i64>) -> Accepted {
    let (who, signer) = match maker {
        Maker::Key(key) => (
            Who::Key(key.identity()),
            Signer::Key {
                fingerprint: key.fingerprint(),
                name: key.name().to_owned(),
            },
        ),
        Maker::Identity(wanted, claimed) => (
            Who::Identity(wanted.issuer.clone(), wanted.subject.clone()),
            Signer::Identity {
                issuer: claimed.issuer,
                subject: claimed.subject,
            },
        ),
    };
    Accepted {
        who,
        signer,
        expires,
    }
}
