//! Which images may run on a machine.
//!
//! A [`Policy`] says for repositories what is required of their images: public keys, identities that a
//! certificate authority of sigstore vouched for, several of them together, or nothing, said aloud. The
//! most specific [`Rule`] for a repository is the one that counts. [`Rule::judge`] looks at signature
//! [`Document`]s over one digest and gives an [`Approval`] or says why not.
//!
//! Everything here is a function of bytes: nothing is fetched, and no signature service is asked.
//! Signatures are those of cosign: "simple signing" payloads, and sigstore bundles.

mod bundle;
mod document;
mod error;
mod expiry;
mod file;
mod key;
mod pattern;
mod policy;
mod provider;
mod signing;
mod simple;
mod verdict;

pub use document::{ANNOTATION_EXPIRES, BUNDLE_TYPE, Document, SIGNATURE_ANNOTATION, SIMPLE_TYPE};
pub use error::TrustError;
pub use expiry::{duration, rfc3339, time_of};
pub use file::{DIRECTORY, FILE, schema};
pub use key::PublicKey;
pub use pattern::{LOCAL, Pattern};
pub use policy::{Identity, Policy, Requirement, Rule};
pub use signing::{PREDICATE_TYPE, Signed, SigningKey};
pub use verdict::{Approval, Checked, Signer};
