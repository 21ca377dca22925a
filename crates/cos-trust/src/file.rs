//! The files of a policy.

use crate::policy::Rule;
use crate::{Identity, Pattern, Policy, PublicKey, Requirement, TrustError};
use cos_sys::root_path::Root;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;
use std::path::{Path, PathBuf};

use crate::bundle::TrustRoot;

/// The main file.
pub const FILE: &str = "/etc/cos/policy.yaml";
/// Files beside it.
pub const DIRECTORY: &str = "/etc/cos/policy.d";

/// Longest policy or trust root, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// Longest public key, in bytes.
const MAX_KEY: u64 = 64 << 10;
/// Most files of the directory.
const MAX_FILES: usize = 256;
/// Most rules of all files.
const MAX_RULES: usize = 4096;
/// Most keys, and most identities, of one rule.
const MAX_SIGNERS: usize = 64;

/// Which images may run, by their repositories.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "cOS policy")]
struct Document {
    /// The rules. The most specific one that matches a repository counts; of two with the same pattern,
    /// the later one.
    images: Vec<RuleDocument>,
}

/// What is required of the images of some repositories.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RuleDocument {
    /// The repositories, without tag or digest: registry.example.com/os/*. `*` is any characters but a
    /// slash, `**` any number of segments. `local`: images that come from no registry.
    #[schemars(with = "String")]
    r#match: Spanned<String>,
    /// Public keys: PEM files, relative to this file, or PEM itself.
    #[serde(default)]
    keys: Vec<String>,
    /// Identities that a certificate authority of sigstore vouched for.
    #[serde(default)]
    keyless: Vec<IdentityDocument>,
    /// The sigstore trust root (`trusted_root.json`) for `keyless`, relative to this file.
    #[serde(default)]
    trust_root: Option<PathBuf>,
    /// How many of the keys and identities must have signed; 1 unless it is said.
    #[serde(default)]
    threshold: Option<usize>,
    /// Accept the images unsigned.
    #[serde(default)]
    insecure: bool,
}

/// Whom a certificate must be for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct IdentityDocument {
    /// Who knows the identity: the URL of an `OpenID` Connect provider, exactly.
    issuer: String,
    /// The identity: an address or a URL. `*` is any characters but a slash, `**` any characters.
    subject: String,
}

/// The JSON Schema of a policy file, for editors.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Document).to_value()
}

impl Policy {
    /// Reads [`FILE`], then the files of [`DIRECTORY`] that end in `.yaml` in order of their names, with
    /// the keys that they name. Files that are not there say nothing: then every image is refused.
    pub fn load(root: &Root) -> Result<Self, TrustError> {
        let mut policy = Self::default();
        let directory = Path::new(DIRECTORY);
        let failed = |source| TrustError::Read {
            path: directory.to_owned(),
            source,
        };
        policy.read(root, Path::new(FILE), false)?;
        let Some(real) = root.directory(directory).map_err(failed)? else {
            return Ok(policy);
        };
        let entries = std::iter::once(real).flat_map(fs_err::read_dir).flatten();
        let mut names: Vec<PathBuf> = entries
            .flatten()
            .take(MAX_FILES)
            .map(|entry| PathBuf::from(entry.file_name()))
            .filter(|name| {
                name.extension()
                    .is_some_and(|it| it == "yaml" || it == "yml")
            })
            .collect();
        names.sort();
        for name in names {
            policy.read(root, &directory.join(name), true)?;
        }
        Ok(policy)
    }

    /// Reads one file, which is all of the policy.
    pub fn load_file(root: &Root, path: &Path) -> Result<Self, TrustError> {
        let mut policy = Self::default();
        policy.read(root, path, true)?;
        Ok(policy)
    }

    fn read(&mut self, root: &Root, path: &Path, must_exist: bool) -> Result<(), TrustError> {
        let read = root.read(path, MAX_FILE);
        let read = read.map_err(|source| TrustError::Read {
            path: path.to_owned(),
            source,
        })?;
        match read {
            Some(bytes) => self.add(&bytes, path, root),
            None if must_exist => Err(TrustError::Missing {
                place: "policy".to_owned(),
                path: path.to_owned(),
            }),
            None => Ok(()),
        }
    }

    /// Adds the rules of a file with these bytes; the keys it names are read below `root`.
    pub fn add(&mut self, bytes: &[u8], path: &Path, root: &Root) -> Result<(), TrustError> {
        let wrong = |message: String| TrustError::Document {
            path: path.to_owned(),
            message,
        };
        let text = std::str::from_utf8(bytes).map_err(|error| wrong(error.to_string()))?;
        let says_nothing =
            |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
        if text.lines().all(says_nothing) {
            return Ok(());
        }
        let document: Document =
            serde_saphyr::from_str(text).map_err(|error| wrong(error.to_string()))?;
        if self.rules().len() + document.images.len() > MAX_RULES {
            return Err(wrong(format!("there are more than {MAX_RULES} rules")));
        }
        for rule in document.images {
            let files = Files { root, path };
            self.push(rule.check(&files)?);
        }
        Ok(())
    }
}

/// Where the files are that a policy names.
struct Files<'f> {
    root: &'f Root,
    /// The policy.
    path: &'f Path,
}

impl Files<'_> {
    /// Reads a file that is named in the policy at `place`; returns where it is, too.
    fn read(&self, name: &Path, limit: u64, place: &str) -> Result<(PathBuf, Vec<u8>), TrustError> {
        let beside = self.path.parent().unwrap_or(Path::new("/"));
        let path = beside.join(name);
        let read = self.root.read(&path, limit);
        match read {
            Ok(Some(bytes)) => Ok((path, bytes)),
            Ok(None) => Err(TrustError::Missing {
                place: place.to_owned(),
                path,
            }),
            Err(source) => Err(TrustError::Read { path, source }),
        }
    }
}

impl RuleDocument {
    fn check(self, files: &Files<'_>) -> Result<Rule, TrustError> {
        let at = self.r#match.referenced;
        let place = format!("{}:{}:{}", files.path.display(), at.line(), at.column());
        let wrong = |message: String| TrustError::Rule {
            place: place.clone(),
            message,
        };
        let pattern = Pattern::new(&self.r#match.value).map_err(&wrong)?;
        let signed = !self.keys.is_empty() || !self.keyless.is_empty();
        if self.insecure && (signed || self.threshold.is_some() || self.trust_root.is_some()) {
            return Err(wrong(format!(
                "{pattern}: insecure: true stands alone; signatures would not be looked at"
            )));
        }
        if !self.insecure && !signed {
            return Err(wrong(format!(
                "{pattern}: it says neither keys nor keyless nor insecure: true"
            )));
        }
        if self.insecure {
            return Ok(Rule::new(pattern, place, Requirement::Insecure));
        }
        if self.keys.len() > MAX_SIGNERS || self.keyless.len() > MAX_SIGNERS {
            return Err(wrong(format!("{pattern}: more than {MAX_SIGNERS} signers")));
        }
        let keys = keys(&self.keys, files, &place)?;
        let identities = identities(self.keyless).map_err(&wrong)?;
        let trust_root = match (&self.trust_root, identities.is_empty()) {
            (Some(path), false) => Some(trust_root(path, files, &place)?),
            (None, true) => None,
            (None, false) => {
                return Err(wrong(format!(
                    "{pattern}: keyless needs a trust-root, the trusted_root.json of its sigstore"
                )));
            }
            (Some(_), true) => {
                return Err(wrong(format!(
                    "{pattern}: a trust-root is for keyless only"
                )));
            }
        };
        let threshold = self.threshold.unwrap_or(1);
        let most = keys.len() + identities.len();
        if threshold == 0 || threshold > most {
            return Err(wrong(format!(
                "{pattern}: threshold {threshold} cannot be: there are {most} different signers"
            )));
        }
        let requirement = Requirement::Signed {
            keys,
            identities,
            threshold,
            trust_root,
        };
        Ok(Rule::new(pattern, place, requirement))
    }
}

/// The keys, each once.
fn keys(named: &[String], files: &Files<'_>, place: &str) -> Result<Vec<PublicKey>, TrustError> {
    let mut keys: Vec<PublicKey> = Vec::new();
    for text in named {
        let (name, pem) = if text.trim_start().starts_with("-----BEGIN") {
            ("in the policy".to_owned(), text.clone())
        } else {
            let (path, bytes) = files.read(Path::new(text), MAX_KEY, place)?;
            (
                path.display().to_string(),
                String::from_utf8_lossy(&bytes).into_owned(),
            )
        };
        let key = PublicKey::from_pem(&pem, &name).map_err(|source| TrustError::Key {
            place: place.to_owned(),
            name,
            source,
        })?;
        if !keys.iter().any(|known| known.is_same(&key)) {
            keys.push(key);
        }
    }
    Ok(keys)
}

fn identities(documents: Vec<IdentityDocument>) -> Result<Vec<Identity>, String> {
    let mut identities: Vec<Identity> = Vec::new();
    for document in documents {
        let IdentityDocument { issuer, subject } = document;
        if issuer.is_empty() || issuer.contains('*') {
            return Err(format!(
                "issuer {issuer:?} must be one issuer, word for word"
            ));
        }
        // With nothing but wildcards, everybody whom the issuer knows could sign.
        if subject.chars().all(|c| matches!(c, '*' | '/')) {
            return Err(format!("subject {subject:?} is everybody; say who signs"));
        }
        let identity = Identity { issuer, subject };
        if !identities.contains(&identity) {
            identities.push(identity);
        }
    }
    Ok(identities)
}

fn trust_root(name: &Path, files: &Files<'_>, place: &str) -> Result<TrustRoot, TrustError> {
    let (path, bytes) = files.read(name, MAX_FILE, place)?;
    TrustRoot::from_json(&bytes).map_err(|source| TrustError::TrustRoot {
        place: place.to_owned(),
        path,
        source,
    })
}
