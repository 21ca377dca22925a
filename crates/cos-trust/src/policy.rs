//! Rules by repository.

use crate::bundle::TrustRoot;
use crate::{Pattern, PublicKey, TrustError};

/// Which images may run. The empty policy accepts none.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    rules: Vec<Rule>,
}

/// What is required of the images of some repositories.
#[derive(Debug, Clone)]
pub struct Rule {
    pattern: Pattern,
    place: String,
    requirement: Requirement,
}

/// What a rule requires.
#[derive(Debug, Clone)]
pub enum Requirement {
    /// Nothing.
    Insecure,
    /// Signatures by some of these.
    Signed {
        /// Keys, each once.
        keys: Vec<PublicKey>,
        /// Identities that the trust root's authorities vouch for.
        identities: Vec<Identity>,
        /// How many of them must have signed, 1 at least.
        threshold: usize,
        /// Who vouches for identities; there where there are any.
        #[doc(hidden)]
        trust_root: Option<TrustRoot>,
    },
}

/// Whom a certificate must be for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Who knows the identity, exactly.
    pub issuer: String,
    /// The identity: `*` is any characters but a slash, `**` any characters.
    pub subject: String,
}

impl Policy {
    /// The rules, in the order in which they were said.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// A rule for any image that wants one key, given in PEM.
    pub fn of_key(pem: &str) -> Result<Rule, TrustError> {
        let place = "the key".to_owned();
        let bad = |message| TrustError::Rule {
            place: place.clone(),
            message,
        };
        let pattern = Pattern::new("**").map_err(bad)?;
        let key = PublicKey::from_pem(pem, &place).map_err(|source| TrustError::Key {
            place: place.clone(),
            name: place.clone(),
            source,
        })?;
        let requirement = Requirement::Signed {
            keys: vec![key],
            identities: Vec::new(),
            threshold: 1,
            trust_root: None,
        };
        Ok(Rule::new(pattern, place, requirement))
    }

    pub(crate) fn push(&mut self, rule: Rule) {
        self.rules.push(rule);
    }

    /// The rule for a repository `REGISTRY/NAME`, or for [`LOCAL`](crate::LOCAL): the most specific one
    /// that matches, and of equal ones the last.
    pub fn rule_for(&self, name: &str) -> Option<&Rule> {
        let matching = self.rules.iter().filter(|rule| rule.pattern.matches(name));
        matching.max_by(|a, b| a.pattern.specificity(&b.pattern))
    }

    /// The same, and an error with what to do where there is none. `image` is what the user named.
    pub fn require(&self, name: &str, image: &str) -> Result<&Rule, TrustError> {
        self.rule_for(name).ok_or_else(|| TrustError::NoRule {
            image: image.to_owned(),
            name: name.to_owned(),
        })
    }
}

impl Rule {
    pub(crate) fn new(pattern: Pattern, place: String, requirement: Requirement) -> Self {
        Self {
            pattern,
            place,
            requirement,
        }
    }

    /// The repositories it is for.
    pub fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// Where it was said: file, line, column.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// What it requires.
    pub fn requirement(&self) -> &Requirement {
        &self.requirement
    }

    /// Whether it accepts images unsigned.
    pub fn is_insecure(&self) -> bool {
        matches!(self.requirement, Requirement::Insecure)
    }
}
