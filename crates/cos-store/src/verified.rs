//! What was known of an image's signatures when its snapshot was made.

use serde::{Deserialize, Serialize};
use std::fmt;

/// On what grounds an image was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Accepted {
    /// It is signed as a rule of the policy wants it.
    Signed,
    /// A rule of the policy accepts it unsigned.
    UnsignedByRule,
    /// Somebody accepted it unsigned for this one operation.
    UnsignedByHand,
}

/// Who signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", untagged)]
pub enum SignedBy {
    /// The holder of a key.
    Key {
        /// SHA-256 of the public key in DER.
        key: String,
    },
    /// Somebody whom a certificate authority vouched for.
    Identity {
        /// Who knows them.
        issuer: String,
        /// Who they are.
        subject: String,
    },
}

impl fmt::Display for SignedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { key } => write!(f, "key {key}"),
            Self::Identity { subject, .. } => f.write_str(subject),
        }
    }
}

/// What was known of an image's signatures when its snapshot was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verified {
    /// On what grounds it was accepted.
    pub accepted: Accepted,
    /// What the rule of the policy matches; absent where no rule counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Who signed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signers: Vec<SignedBy>,
    /// Until when the signatures speak for the image as the newest, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = self.rule.as_deref().unwrap_or("none");
        match self.accepted {
            Accepted::Signed => {
                let signers: Vec<String> = self.signers.iter().map(ToString::to_string).collect();
                write!(f, "signed by {} (rule {rule})", signers.join(", "))
            }
            Accepted::UnsignedByRule => write!(f, "unsigned, allowed by rule {rule}"),
            Accepted::UnsignedByHand => f.write_str("unsigned, allowed by hand"),
        }
    }
}
