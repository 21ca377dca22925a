//! Which image an upgrade is to.

use crate::OpsError;
use cos_config::Config;
use cos_events::Monitor;
use cos_image::{Options, Reference, Source};
use cos_store::Snapshot;
use semver::{Version, VersionReq};

/// What to upgrade to.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// The image, as it was asked for.
    pub source: Option<Source>,
    /// Which of the versions of its repository, as it was asked for.
    pub version: Option<VersionReq>,
    /// Whether later upgrades follow this one.
    pub follow: bool,
}

/// The image to upgrade to, and what the snapshot is to say that later upgrades follow. In this order:
/// what is asked for, what the running snapshot was switched to, the configuration, and the image that
/// the running snapshot came from, if that is in a registry.
pub(super) fn find(
    wanted: &Wanted,
    config: &Config,
    running: Option<&Snapshot>,
    options: &Options,
    monitor: &dyn Monitor,
) -> Result<(Source, Option<String>), OpsError> {
    let handed_on = running.and_then(|it| it.follows.clone());
    let parse = |text: &str| -> Result<Source, OpsError> {
        text.parse().map_err(|source| OpsError::Image {
            image: text.to_owned(),
            source: Box::new(source),
        })
    };
    let (source, rule) = if let Some(source) = &wanted.source {
        (source.clone(), wanted.version.clone())
    } else if let Some(text) = &handed_on {
        (parse(text)?, wanted.version.clone())
    } else if let Some(text) = &config.upgrade_source.value {
        let rule = wanted.version.clone();
        (
            parse(text)?,
            rule.or_else(|| config.upgrade_version.value.clone()),
        )
    } else {
        let source = running.map(|it| parse(&it.source)).transpose()?;
        let registry = source.filter(|source| matches!(source, Source::Registry(_)));
        (registry.ok_or(OpsError::NoSource)?, wanted.version.clone())
    };
    let follows = match &wanted.source {
        Some(source) if wanted.follow => Some(source.to_string()),
        _ => handed_on,
    };
    match (source, rule) {
        (Source::Registry(reference), Some(rule)) => {
            let tag = newest(&reference, &rule, options, monitor)?;
            let reference = Reference {
                tag: Some(tag),
                digest: None,
                ..reference
            };
            Ok((Source::Registry(reference), follows))
        }
        (source, Some(_)) => Err(OpsError::NotAChannel {
            source_name: source.to_string(),
        }),
        (source, None) => Ok((source, follows)),
    }
}

fn newest(
    reference: &Reference,
    rule: &VersionReq,
    options: &Options,
    monitor: &dyn Monitor,
) -> Result<String, OpsError> {
    let tags = cos_image::list_tags(reference, options, monitor);
    let tags =
        tags.map_err(|error| OpsError::image(&Source::Registry(reference.clone()), error))?;
    pick(&tags, rule).ok_or_else(|| OpsError::NoVersion {
        repository: format!("{}/{}", reference.registry, reference.repository),
        rule: rule.to_string(),
        tags: tags.len(),
    })
}

/// The tag with the highest version that the rule allows. A `v` in front is no part of the version.
fn pick(tags: &[String], rule: &VersionReq) -> Option<String> {
    let versions = tags.iter().filter_map(|tag| {
        let version = Version::parse(tag.strip_prefix('v').unwrap_or(tag)).ok()?;
        rule.matches(&version).then_some((version, tag))
    });
    versions.max().map(|(_, tag)| tag.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_version_that_the_rule_allows_is_taken() {
        let tags = ["latest", "v1.9.0", "1.10.0", "1.10.0-rc1", "2.0.0", "1.2"];
        let tags: Vec<String> = tags.iter().map(ToString::to_string).collect();
        let pick = |rule: &str| pick(&tags, &VersionReq::parse(rule).unwrap());
        assert_eq!(pick(">=1.2, <2").as_deref(), Some("1.10.0"));
        assert_eq!(pick("~1.9").as_deref(), Some("v1.9.0"));
        assert_eq!(pick("*").as_deref(), Some("2.0.0"));
        assert_eq!(pick(">=3"), None);
    }
}
