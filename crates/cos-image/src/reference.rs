//! Names of images in registries, as Docker's users write them.

use crate::{Digest, ImageError};
use std::fmt;
use std::str::FromStr;

/// Where an image without a registry in its name comes from.
const DEFAULT_REGISTRY: &str = "docker.io";
/// Longest repository name that the reference grammar allows (distribution/reference).
const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;

/// An image in a registry: `host[:port]/repository[:tag][@digest]`, with Docker's defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Registry, with its port if it has one.
    pub registry: String,
    /// Repository within the registry.
    pub repository: String,
    /// Tag; `latest` when neither tag nor digest was given.
    pub tag: Option<String>,
    /// Digest; decides over the tag.
    pub digest: Option<Digest>,
}

impl Reference {
    /// What is asked of the registry: the digest if there is one, else the tag.
    pub fn version(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".into(),
        }
    }

    /// The same repository, another digest.
    #[must_use]
    pub fn at(&self, digest: Digest) -> Self {
        Self {
            digest: Some(digest),
            ..self.clone()
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for Reference {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        let bad = |reason: &'static str| ImageError::BadReference {
            text: text.into(),
            reason,
        };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse()?)),
            None => (text, None),
        };
        // A colon after the last slash starts a tag; before it, a port.
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if name.is_empty() {
            return Err(bad("it has no name"));
        }
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(bad(
                "the tag may hold letters, digits, `_`, `.`, `-`, 128 at most",
            ));
        }
        let (registry, repository) = split_registry(name);
        if !is_registry(registry) {
            return Err(bad("the registry is not a host name with an optional port"));
        }
        if !repository.split('/').all(is_repository_component) {
            return Err(bad(
                "the repository may hold lower-case letters and digits, separated by `.`, `_`, `-` and `/`",
            ));
        }
        let repository = if registry == DEFAULT_REGISTRY && !repository.contains('/') {
            format!("library/{repository}")
        } else {
            repository.into()
        };
        if repository.len() > MAX_NAME {
            return Err(bad("the repository is longer than 255 characters"));
        }
        let tag = match (tag, &digest) {
            (None, None) => Some("latest".into()),
            (tag, _) => tag.map(Into::into),
        };
        Ok(Self {
            registry: registry.into(),
            repository,
            tag,
            digest,
        })
    }
}

/// The first part is a registry when it cannot be the first part of a repository.
fn split_registry(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some(("index.docker.io", rest)) => (DEFAULT_REGISTRY, rest),
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (first, rest)
        }
        _ => (DEFAULT_REGISTRY, name),
    }
}

/// A host name, an IPv4 address or a bracketed IPv6 address, and maybe a port.
pub(crate) fn is_registry(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, rest)) if address.parse::<std::net::Ipv6Addr>().is_ok() => {
                match rest.strip_prefix(':') {
                    Some(port) => (None, Some(port)),
                    None if rest.is_empty() => (None, None),
                    None => return false,
                }
            }
            _ => return false,
        },
        None => match text.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(text), None),
        },
    };
    let digits = |port: &str| port.bytes().all(|b| b.is_ascii_digit());
    port.is_none_or(|port| digits(port) && port.parse::<u16>().is_ok_and(|port| port != 0))
        && host.is_none_or(|host| host.len() <= 253 && host.split('.').all(is_host_label))
}

fn is_host_label(label: &str) -> bool {
    let plain = label
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'-');
    (1..=63).contains(&label.len()) && plain && !label.starts_with('-') && !label.ends_with('-')
}

/// `[a-z0-9]+` joined by `.`, `_`, `__` or any number of `-`.
fn is_repository_component(part: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = part.as_bytes();
    let ends = bytes.first().copied().is_some_and(alphanumeric)
        && bytes.last().copied().is_some_and(alphanumeric);
    let separators_allowed = part
        .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .all(|gap| matches!(gap, "" | "." | "_" | "__") || gap.bytes().all(|b| b == b'-'));
    ends && separators_allowed
}

pub(crate) fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (1..=MAX_TAG).contains(&tag.len())
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn familiar_names_are_completed() {
        for (text, full) in [
            ("debian", "docker.io/library/debian:latest"),
            ("debian:trixie", "docker.io/library/debian:trixie"),
            ("me/os", "docker.io/me/os:latest"),
            ("index.docker.io/debian", "docker.io/library/debian:latest"),
            ("localhost/os", "localhost/os:latest"),
            ("localhost:5000/os:1", "localhost:5000/os:1"),
            ("quay.io/a/b__c/d-e.f:V1.2_3", "quay.io/a/b__c/d-e.f:V1.2_3"),
            ("[::1]:5000/os", "[::1]:5000/os:latest"),
            ("127.0.0.1:5000/os", "127.0.0.1:5000/os:latest"),
        ] {
            assert_eq!(
                text.parse::<Reference>().unwrap().to_string(),
                full,
                "{text}"
            );
        }
        let pinned: Reference = format!("debian:12@{DIGEST}").parse().unwrap();
        assert_eq!(pinned.version(), DIGEST);
        let pinned: Reference = format!("debian@{DIGEST}").parse().unwrap();
        assert_eq!(
            pinned.to_string(),
            format!("docker.io/library/debian@{DIGEST}")
        );
    }

    #[test]
    fn the_length_counts_with_what_is_filled_in() {
        let longest = "a".repeat(MAX_NAME - "library/".len());
        let reference: Reference = longest.parse().unwrap();
        assert_eq!(
            reference.to_string().parse::<Reference>().unwrap(),
            reference
        );
        let error = format!("{longest}a").parse::<Reference>().unwrap_err();
        assert!(error.to_string().contains("255"), "{error}");
    }

    #[test]
    fn broken_names_are_refused() {
        for text in [
            "",
            ":tag",
            "@",
            "Debian",
            "debian:",
            "debian:-a",
            "debian@sha256:00",
            "a//b",
            "a/",
            "/a",
            "a/.b",
            "a/b..c",
            "a/b___c",
            "a/../b",
            "host.example:0/a",
            "host.example:99999/a",
            "ho st.example/a",
            "-host.example/a",
            "[::g]/a",
            "a.example/b?x=1",
            "a.example/b#x",
            "a.example/b\n",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_survives_being_written_out(text in "[a-zA-Z0-9./:@_-]{0,40}") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string().parse::<Reference>().unwrap(), reference);
            }
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in ".{0,64}") {
            let parsed = text.parse::<Reference>();
            prop_assert!(parsed.is_err() || text.is_ascii());
        }
    }
}
