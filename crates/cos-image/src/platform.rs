//! What an image is built for: `linux/amd64`, `linux/arm/v7`.

use crate::ImageError;
use std::fmt;
use std::str::FromStr;

/// Operating system and processor, in the words of Go (`GOOS`, `GOARCH`) as OCI uses them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// Operating system: `linux`.
    pub os: String,
    /// Processor: `amd64`, `arm64`, `riscv64`.
    pub architecture: String,
    /// Version of the processor family: `v7` of `arm`, `v3` of `amd64`.
    pub variant: Option<String>,
}

impl Platform {
    /// Linux on the given processor, by its name in Go, Rust or `uname -m`.
    pub fn linux(architecture: &str) -> Self {
        let (architecture, variant) = match architecture {
            "x86_64" | "x86-64" => ("amd64", None),
            "x86" | "i386" | "i686" => ("386", None),
            "aarch64" => ("arm64", None),
            "armhf" | "armv7l" => ("arm", Some("v7")),
            "armel" | "armv6l" => ("arm", Some("v6")),
            "powerpc64le" => ("ppc64le", None),
            "loongarch64" => ("loong64", None),
            other => (other, None),
        };
        Self {
            os: "linux".into(),
            architecture: architecture.into(),
            variant: variant.map(Into::into),
        }
    }

    /// How well an image made for `offered` runs here: 0 is exact, `None` not at all.
    pub(crate) fn rank(&self, offered: &Self) -> Option<u32> {
        if self.os != offered.os || self.architecture != offered.architecture {
            return None;
        }
        // An older variant runs on a newer processor, never the other way round.
        let level = |platform: &Self| -> Option<u32> {
            match (platform.variant.as_deref(), platform.architecture.as_str()) {
                (None, "arm") => Some(7),
                (None, "arm64") => Some(8),
                (None, _) => Some(1),
                (Some(variant), _) => variant.strip_prefix('v')?.split('.').next()?.parse().ok(),
            }
        };
        match (level(self), level(offered)) {
            (Some(wanted), Some(has)) => wanted.checked_sub(has),
            _ => (self.variant == offered.variant).then_some(0),
        }
    }
}

/// Which platform's image is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlatformChoice {
    /// This one, or none: what a user asks for.
    Exactly(Platform),
    /// This one where there is a choice; an image for one platform only is taken as it is.
    Prefer(Platform),
}

impl PlatformChoice {
    pub(crate) fn platform(&self) -> &Platform {
        match self {
            Self::Exactly(platform) | Self::Prefer(platform) => platform,
        }
    }

    pub(crate) fn is_exact(&self) -> bool {
        matches!(self, Self::Exactly(_))
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Platform {
    type Err = ImageError;

    /// `OS/ARCH[/VARIANT]`, or the processor alone for Linux.
    fn from_str(text: &str) -> Result<Self, ImageError> {
        let word = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
        };
        let parts: Vec<&str> = text.split('/').collect();
        if !parts.iter().all(|part| word(part)) {
            return Err(ImageError::BadPlatform { text: text.into() });
        }
        match parts[..] {
            [architecture] => Ok(Self::linux(architecture)),
            [os, architecture] => Ok(Self {
                os: os.into(),
                ..Self::linux(architecture)
            }),
            [os, architecture, variant] => Ok(Self {
                os: os.into(),
                variant: Some(variant.into()),
                ..Self::linux(architecture)
            }),
            _ => Err(ImageError::BadPlatform { text: text.into() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn platforms_are_named_in_every_common_way() {
        assert_eq!(parse("x86_64").to_string(), "linux/amd64");
        assert_eq!(parse("linux/aarch64").to_string(), "linux/arm64");
        assert_eq!(parse("linux/arm/v6").to_string(), "linux/arm/v6");
        for bad in ["", "linux/", "a/b/c/d", "Linux/amd64", "linux/amd64\n"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_older_variant_runs_on_a_newer_processor_only() {
        assert_eq!(parse("arm/v7").rank(&parse("linux/arm/v7")), None);
        let v7 = parse("linux/arm/v7");
        assert_eq!(v7.rank(&parse("linux/arm/v7")), Some(0));
        assert_eq!(v7.rank(&parse("linux/arm")), Some(0));
        assert_eq!(v7.rank(&parse("linux/arm/v5")), Some(2));
        assert_eq!(parse("linux/arm/v5").rank(&v7), None);
        assert_eq!(parse("arm64").rank(&parse("linux/arm64/v8")), Some(0));
        assert_eq!(parse("amd64").rank(&parse("linux/amd64/v3")), None);
        assert_eq!(parse("linux/amd64/v3").rank(&parse("amd64")), Some(2));
        assert_eq!(parse("amd64").rank(&parse("windows/amd64")), None);
    }
}
