//! Where an image comes from, as a user writes it.

use crate::reference::is_tag;
use crate::{Digest, ImageError, Reference};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// A container engine on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Docker.
    Docker,
    /// Podman.
    Podman,
}

impl Engine {
    /// The engine's command.
    pub fn command(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }
}

/// Which image of a layout or archive that may hold several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// The only one there is.
    Only,
    /// The one with this tag or name.
    Tag(String),
    /// The one with this digest.
    Digest(Digest),
}

/// Where an image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A registry: `REF`, `oci:REF` or `docker:REF`.
    Registry(Reference),
    /// An OCI image layout directory: `oci-layout:PATH[:TAG|@DIGEST]`.
    OciLayout(PathBuf, Selector),
    /// A tar of an OCI image layout: `oci-archive:PATH[:TAG|@DIGEST]`.
    OciArchive(PathBuf, Selector),
    /// What `docker save` writes: `docker-archive:PATH[:TAG]`.
    DockerArchive(PathBuf, Selector),
    /// A container engine's own storage: `docker-daemon:REF`, `podman:REF`.
    Engine(Engine, String),
    /// A directory of this machine, taken as the tree: `dir:PATH`.
    Directory(PathBuf),
}

/// The prefixes, for messages.
const SCHEMES: &[&str] = &[
    "oci",
    "docker",
    "oci-layout",
    "oci-archive",
    "docker-archive",
    "docker-daemon",
    "podman",
    "dir",
];

impl FromStr for Source {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        if let Some((scheme, rest)) = text.split_once(':')
            && SCHEMES.contains(&scheme)
        {
            return with_scheme(text, scheme, rest);
        }
        let looks_like_path = text.starts_with(['/', '.', '~']);
        if looks_like_path {
            return Err(ImageError::PathAsReference { text: text.into() });
        }
        Ok(Self::Registry(text.parse()?))
    }
}

fn with_scheme(text: &str, scheme: &str, rest: &str) -> Result<Source, ImageError> {
    let bad = |reason: &'static str| ImageError::BadSource {
        text: text.into(),
        reason,
    };
    if rest.is_empty() || rest.contains('\0') {
        return Err(bad("something must follow the colon"));
    }
    match scheme {
        "oci" | "docker" => {
            // `docker://REF` is how skopeo and podman write it.
            let rest = rest.strip_prefix("//").unwrap_or(rest);
            if rest.starts_with(['/', '.']) {
                return Err(ImageError::PathAsReference { text: rest.into() });
            }
            Ok(Source::Registry(rest.parse()?))
        }
        "oci-layout" | "oci-archive" | "docker-archive" => {
            let (path, selector) = split_selector(rest)?;
            if path.as_os_str().is_empty() {
                return Err(bad("the path is empty"));
            }
            Ok(match scheme {
                "oci-layout" => Source::OciLayout(path, selector),
                "oci-archive" => Source::OciArchive(path, selector),
                _ => Source::DockerArchive(path, selector),
            })
        }
        "docker-daemon" | "podman" => {
            // A leading dash would become an option of the engine's command.
            if rest.starts_with('-') || rest.contains(char::is_whitespace) {
                return Err(bad("that cannot be the name of an image"));
            }
            let engine = if scheme == "podman" {
                Engine::Podman
            } else {
                Engine::Docker
            };
            Ok(Source::Engine(engine, rest.into()))
        }
        _ => Ok(Source::Directory(rest.into())),
    }
}

/// `PATH`, `PATH:TAG`, `PATH:NAME:TAG` or `PATH@DIGEST`. The path ends at the first colon of its last component.
fn split_selector(text: &str) -> Result<(PathBuf, Selector), ImageError> {
    if let Some((path, digest)) = text.rsplit_once('@')
        && digest.starts_with("sha")
    {
        return Ok((path.into(), Selector::Digest(digest.parse()?)));
    }
    // The tag may itself be a full name with slashes: `x.tar:quay.io/me/os:1`.
    let Some((path, name)) = text.split_once(':') else {
        return Ok((text.into(), Selector::Only));
    };
    if is_tag(name) || name.parse::<Reference>().is_ok() {
        return Ok((path.into(), Selector::Tag(name.into())));
    }
    Err(ImageError::BadSource {
        text: text.into(),
        reason: "what follows the path's colon is neither a tag nor an image name",
    })
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Only => Ok(()),
            Self::Tag(tag) => write!(f, ":{tag}"),
            Self::Digest(digest) => write!(f, "@{digest}"),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => {
                let text = reference.to_string();
                // A registry may be called like a scheme: dir:5000/app.
                let ambiguous = text
                    .split_once(':')
                    .is_some_and(|(host, _)| SCHEMES.contains(&host));
                let scheme = if ambiguous { "oci:" } else { "" };
                write!(f, "{scheme}{text}")
            }
            Self::OciLayout(path, selector) => {
                write!(f, "oci-layout:{}{selector}", path.display())
            }
            Self::OciArchive(path, selector) => {
                write!(f, "oci-archive:{}{selector}", path.display())
            }
            Self::DockerArchive(path, selector) => {
                write!(f, "docker-archive:{}{selector}", path.display())
            }
            Self::Engine(Engine::Docker, name) => write!(f, "docker-daemon:{name}"),
            Self::Engine(Engine::Podman, name) => write!(f, "podman:{name}"),
            Self::Directory(path) => write!(f, "dir:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Source {
        text.parse().unwrap()
    }

    #[test]
    fn a_registry_called_like_a_scheme_stays_one() {
        let source = parse("oci:dir:5000/app");
        assert_eq!(source.to_string(), "oci:dir:5000/app:latest");
        assert_eq!(parse(&source.to_string()), source);
    }

    #[test]
    fn every_scheme_is_read() {
        assert_eq!(parse("debian"), parse("oci:debian"));
        assert_eq!(parse("debian"), parse("docker://debian"));
        assert!(matches!(parse("localhost:5000/os"), Source::Registry(_)));
        assert_eq!(
            parse("oci-layout:./out:v1"),
            Source::OciLayout("./out".into(), Selector::Tag("v1".into()))
        );
        assert_eq!(
            parse("oci-archive:/x.tar"),
            Source::OciArchive("/x.tar".into(), Selector::Only)
        );
        assert_eq!(
            parse("docker-archive:x.tar:quay.io/me/os:1"),
            Source::DockerArchive("x.tar".into(), Selector::Tag("quay.io/me/os:1".into()))
        );
        assert_eq!(
            parse("podman:os"),
            Source::Engine(Engine::Podman, "os".into())
        );
        assert_eq!(
            parse("dir:/srv/root"),
            Source::Directory("/srv/root".into())
        );
        let digest = Digest::sha256(b"");
        assert_eq!(
            parse(&format!("oci-layout:a@{digest}")),
            Source::OciLayout("a".into(), Selector::Digest(digest))
        );
    }

    #[test]
    fn every_source_is_written_as_it_is_read() {
        for text in [
            "oci-layout:a:b",
            "oci-archive:a",
            "docker-daemon:x:1",
            "podman:x",
            "dir:/y",
        ] {
            assert_eq!(parse(text).to_string(), text);
        }
    }

    #[test]
    fn a_path_without_a_scheme_gets_a_hint() {
        for text in ["./rootfs", "/srv/x", "../y", "oci:./x", "~/x"] {
            let error = text.parse::<Source>().unwrap_err();
            assert!(error.hint().unwrap().contains("dir:"), "{text}");
        }
        for text in [
            "dir:",
            "podman:--help",
            "docker-daemon:a b",
            "oci-layout::x",
            "oci-archive:a:/b",
        ] {
            assert!(text.parse::<Source>().is_err(), "{text}");
        }
    }
}
