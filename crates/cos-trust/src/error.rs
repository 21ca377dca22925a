//! What can be wrong with a policy, a key or an image's signatures.

use crate::{Checked, LOCAL};
use cos_sys::root_path::RootPathError;
use std::io;
use std::path::PathBuf;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why there is no policy, no key, or no approval.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A file or directory could not be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: RootPathError,
    },
    /// A file that a policy names is not there.
    #[error("{place}: {} is not there", .path.display())]
    Missing {
        /// Where it is named: file, line, column.
        place: String,
        /// Which file.
        path: PathBuf,
    },
    /// A file is not a policy.
    #[error("{}: {message}", .path.display())]
    Document {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        message: String,
    },
    /// A rule of a policy makes no sense.
    #[error("{place}: {message}")]
    Rule {
        /// Where it is: file, line, column.
        place: String,
        /// What is wrong with it.
        message: String,
    },
    /// A public key of a policy cannot be used.
    #[error("{place}: the key {name} cannot be used")]
    Key {
        /// Where it is named: file, line, column.
        place: String,
        /// Which key.
        name: String,
        /// Why.
        source: Cause,
    },
    /// A trust root of a policy cannot be used.
    #[error("{place}: the trust root {} cannot be used", .path.display())]
    TrustRoot {
        /// Where it is named: file, line, column.
        place: String,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: Cause,
    },
    /// No rule of the policy is for the image.
    #[error("no rule of the policy is for {image}")]
    NoRule {
        /// The image.
        image: String,
        /// What a rule for it would match.
        name: String,
    },
    /// The rule wants signatures, and the image has none that it accepts.
    #[error(
        "{image} is not signed as rule {rule} wants it: {} of {wanted} signatures{}",
        .valid, reasons(.checked)
    )]
    Unsigned {
        /// The image.
        image: String,
        /// What the rule matches.
        rule: String,
        /// Accepted signers.
        valid: usize,
        /// Signers that the rule wants.
        wanted: usize,
        /// What was looked at.
        checked: Vec<Checked>,
    },
    /// The image's signatures are past the time that they say themselves.
    #[error(
        "the signatures of {image} expired at {expired}, and the clock reads {now}: what this registry shows may be old"
    )]
    Stale {
        /// The image.
        image: String,
        /// When.
        expired: String,
        /// What the clock reads.
        now: String,
    },
    /// A private key could not be read or made.
    #[error("cannot use the signing key {}", .path.display())]
    SigningKey {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Cause,
    },
    /// A public key could not be written down.
    #[error("cannot write the public key down")]
    PublicKey(#[source] Cause),
    /// A file of a key pair could not be written.
    #[error("cannot write {}", .path.display())]
    WriteKey {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel gave no random bytes.
    #[error("cannot make up a key")]
    Random(#[source] getrandom::Error),
    /// A time that is none.
    #[error("{text:?} is not a time")]
    Time {
        /// What was given.
        text: String,
    },
    /// A payload could not be put into JSON.
    #[error("cannot write the payload of a signature")]
    Payload(#[source] serde_json::Error),
}

/// What is wrong with the signatures that there are, one after the other.
fn reasons(checked: &[Checked]) -> String {
    let mut text = String::new();
    for (index, one) in checked.iter().enumerate() {
        let Err(reason) = &one.outcome else {
            continue;
        };
        let start = if text.is_empty() { " (" } else { "; " };
        // Many signatures by others are one line too.
        if index > 4 {
            text.push_str("; …");
            break;
        }
        text.extend([start, &one.place, ": ", reason]);
    }
    if !text.is_empty() {
        text.push(')');
    }
    text
}

impl TrustError {
    /// Whether it is an image that was refused, and not a policy or a key that cannot be used.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::NoRule { .. } | Self::Unsigned { .. } | Self::Stale { .. }
        )
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoRule { name, .. } => {
                let once = if name == LOCAL {
                    ", or --allow-unsigned for once"
                } else {
                    ""
                };
                format!(
                    "name the keys that sign it in {}, or accept it unsigned{once}; below `images:`\n  \
                     - match: {name}\n    insecure: true",
                    crate::FILE
                )
            }
            Self::Unsigned { .. } => {
                "`cos verify` shows what was looked at; `cos sign` and cosign sign images".to_owned()
            }
            Self::Stale { .. } => {
                "whoever releases it signs it anew from time to time; --allow-stale takes it as it is, \
                 where the clock is wrong, too"
                    .to_owned()
            }
            Self::Time { .. } => {
                "a number of days, as 30d, of hours, as 12h, or a time as 2030-01-31T00:00:00Z".to_owned()
            }
            Self::SigningKey { .. } => {
                "an ECDSA P-256 key in PKCS#8, unencrypted, as `cos keys generate-signing` makes it"
                    .to_owned()
            }
            _ => return None,
        })
    }
}
