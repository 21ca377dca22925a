//! Manifests, indexes and configurations: which layers make up the image that is wanted.

use crate::layer::decode::{Compression, Layer};
use crate::{Digest, ImageError, Options, Platform, PlatformChoice};
use cos_events::Monitor;
use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, ImageManifest, MediaType};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;

/// Where manifests and blobs are fetched from.
pub(crate) trait Repository: Send + Sync {
    /// Fetches a manifest or index.
    fn manifest(
        &self,
        digest: &Digest,
        size: u64,
        monitor: &dyn Monitor,
    ) -> Result<Vec<u8>, ImageError>;

    /// From now on keeps blobs in a directory, where they are fetched from elsewhere.
    fn keep_blobs(&mut self, _directory: PathBuf) {}

    /// Opens a blob.
    fn blob<'r>(
        &'r self,
        digest: &Digest,
        size: u64,
        monitor: &'r dyn Monitor,
    ) -> Result<Box<dyn Read + Send + 'r>, ImageError>;
}

/// The document that a reference names.
pub(crate) struct First {
    pub(crate) bytes: Vec<u8>,
    pub(crate) media_type: Option<String>,
}

/// An image, before its layers are fetched.
pub(crate) struct Found {
    /// Digest of what the reference names: an index, or the manifest itself.
    pub(crate) reference_digest: Digest,
    /// Digest of the manifest.
    pub(crate) digest: Digest,
    pub(crate) config: ImageConfiguration,
    pub(crate) layers: Vec<Layer>,
    /// Those of the manifest.
    pub(crate) annotations: BTreeMap<String, String>,
}

/// Indexes inside indexes.
const MAX_NESTING: usize = 3;

/// Follows indexes down to one manifest, and reads its configuration.
pub(crate) fn resolve(
    repository: &dyn Repository,
    first: First,
    name: &str,
    options: &Options,
    monitor: &dyn Monitor,
) -> Result<Found, ImageError> {
    let reference_digest = Digest::sha256(&first.bytes);
    let mut digest = reference_digest.clone();
    let mut bytes = first.bytes;
    let mut media_type = first.media_type;
    for _ in 0..=MAX_NESTING {
        let manifest = match parse(&bytes, media_type.as_deref(), name)? {
            Document::Manifest(manifest) => manifest,
            Document::Index(index) => {
                let descriptor = choose(index.manifests(), &options.platform, name)?;
                digest = descriptor.digest().try_into()?;
                let size = checked_size(descriptor, options.limits.manifest_size, name)?;
                bytes = repository.manifest(&digest, size, monitor)?;
                check_size(&digest, size, &bytes)?;
                check_digest(format!("manifest {digest}"), &digest, &bytes)?;
                media_type = Some(descriptor.media_type().to_string());
                continue;
            }
        };
        let config = fetch_config(repository, &manifest, options, name, monitor)?;
        check_platform(&config, &options.platform, name)?;
        let layers = layers(&manifest, &config, options, name)?;
        let annotations = manifest.annotations().clone().unwrap_or_default();
        return Ok(Found {
            reference_digest,
            digest,
            config,
            layers,
            annotations: annotations.into_iter().collect(),
        });
    }
    Err(ImageError::NestedIndex { image: name.into() })
}

/// Fails unless `bytes` have that digest.
pub(crate) fn check_digest(
    what: String,
    expected: &Digest,
    bytes: &[u8],
) -> Result<(), ImageError> {
    expected
        .matches(bytes)
        .map_err(|actual| ImageError::WrongDigest {
            what,
            expected: expected.clone(),
            actual,
        })
}

fn check_size(digest: &Digest, expected: u64, bytes: &[u8]) -> Result<(), ImageError> {
    if bytes.len() as u64 == expected {
        Ok(())
    } else {
        Err(ImageError::BlobSize {
            blob: digest.to_string(),
            expected,
            actual: bytes.len() as u64,
        })
    }
}

fn checked_size(descriptor: &Descriptor, limit: u64, name: &str) -> Result<u64, ImageError> {
    if descriptor.size() > limit {
        return Err(ImageError::DocumentTooLarge {
            what: format!("{} of {name}", descriptor.digest()),
            limit,
        });
    }
    Ok(descriptor.size())
}

enum Document {
    Manifest(Box<ImageManifest>),
    Index(Box<ImageIndex>),
}

/// What tells the kinds of document apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    schema_version: Option<u64>,
    media_type: Option<String>,
    manifests: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    config: Option<IgnoredAny>,
    fs_layers: Option<IgnoredAny>,
}

const INDEX_TYPES: &[&str] = &[
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];
const MANIFEST_TYPES: &[&str] = &[
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];
/// What registries say when they do not know.
const GENERIC_TYPES: &[&str] = &[
    "",
    "application/json",
    "application/octet-stream",
    "text/plain",
];

fn parse(bytes: &[u8], declared: Option<&str>, name: &str) -> Result<Document, ImageError> {
    let unsupported = |media_type: &str| ImageError::UnsupportedManifest {
        image: name.into(),
        media_type: media_type.into(),
    };
    let probe: Probe = json(bytes, || format!("manifest of {name}"))?;
    let declared = declared.filter(|declared| !GENERIC_TYPES.contains(declared));
    let version_1 = |media_type: &str| media_type.contains("distribution.manifest.v1");
    if probe.fs_layers.is_some()
        || probe.schema_version == Some(1)
        || declared.is_some_and(version_1)
    {
        return Err(ImageError::SchemaVersion1 { image: name.into() });
    }
    // Two readers must not see two documents in one (CVE-2021-41190).
    let ambiguous = probe.manifests.is_some() && (probe.layers.is_some() || probe.config.is_some());
    let contradicted = match (declared, probe.media_type.as_deref()) {
        (Some(declared), Some(own)) => declared != own,
        _ => false,
    };
    if ambiguous || contradicted {
        return Err(ImageError::AmbiguousManifest { image: name.into() });
    }
    let what = || format!("manifest of {name}");
    match probe.media_type.as_deref().or(declared) {
        Some(kind) if INDEX_TYPES.contains(&kind) => {
            json(bytes, what).map(|index| Document::Index(Box::new(index)))
        }
        Some(kind) if MANIFEST_TYPES.contains(&kind) => {
            json(bytes, what).map(|manifest| Document::Manifest(Box::new(manifest)))
        }
        Some(kind) => Err(unsupported(kind)),
        None if probe.manifests.is_some() => {
            json(bytes, what).map(|index| Document::Index(Box::new(index)))
        }
        None => json(bytes, what).map(|manifest| Document::Manifest(Box::new(manifest))),
    }
}

/// Parses a JSON document that came from outside.
pub(crate) fn json<T: DeserializeOwned>(
    bytes: &[u8],
    what: impl FnOnce() -> String,
) -> Result<T, ImageError> {
    serde_json::from_slice(bytes).map_err(|source| ImageError::Document {
        what: what(),
        source,
    })
}

/// The manifest for a platform; one that names no platform only if it is the only one.
pub(crate) fn choose<'d>(
    manifests: &'d [Descriptor],
    choice: &PlatformChoice,
    name: &str,
) -> Result<&'d Descriptor, ImageError> {
    let wanted = choice.platform();
    let offered = |descriptor: &Descriptor| descriptor.platform().as_ref().map(platform_of);
    let ranked = manifests
        .iter()
        .filter_map(|d| Some((wanted.rank(&offered(d)?)?, d)));
    if let Some((_, best)) = ranked.min_by_key(|(rank, _)| *rank) {
        return Ok(best);
    }
    // Build attestations are listed for the platform `unknown/unknown`.
    let real: Vec<&Descriptor> = manifests
        .iter()
        .filter(|d| offered(d).is_none_or(|platform| platform.os != "unknown"))
        .collect();
    match real[..] {
        [only] if offered(only).is_none() || !choice.is_exact() => Ok(only),
        _ => {
            let platforms = real
                .iter()
                .filter_map(|d| offered(d))
                .map(|p| p.to_string());
            Err(ImageError::NoSuchPlatform {
                image: name.into(),
                wanted: wanted.to_string(),
                available: platforms.collect(),
            })
        }
    }
}

fn platform_of(platform: &oci_spec::image::Platform) -> Platform {
    Platform {
        os: platform.os().to_string(),
        architecture: platform.architecture().to_string(),
        variant: platform
            .variant()
            .clone()
            .filter(|variant| !variant.is_empty()),
    }
}

/// The platform that an image's configuration names.
pub(crate) fn config_platform(config: &ImageConfiguration) -> Platform {
    Platform {
        os: config.os().to_string(),
        architecture: config.architecture().to_string(),
        variant: config
            .variant()
            .clone()
            .filter(|variant| !variant.is_empty()),
    }
}

pub(crate) fn check_platform(
    config: &ImageConfiguration,
    choice: &PlatformChoice,
    name: &str,
) -> Result<(), ImageError> {
    let platform = config_platform(config);
    let wanted = choice.platform();
    if !choice.is_exact() || wanted.rank(&platform).is_some() {
        return Ok(());
    }
    Err(ImageError::NoSuchPlatform {
        image: name.into(),
        wanted: wanted.to_string(),
        available: vec![platform.to_string()],
    })
}

fn fetch_config(
    repository: &dyn Repository,
    manifest: &ImageManifest,
    options: &Options,
    name: &str,
    monitor: &dyn Monitor,
) -> Result<ImageConfiguration, ImageError> {
    let descriptor = manifest.config();
    let kind = descriptor.media_type().to_string();
    if !matches!(
        kind.as_str(),
        "application/vnd.oci.image.config.v1+json"
            | "application/vnd.docker.container.image.v1+json"
    ) {
        return Err(ImageError::NotAnImage {
            image: name.into(),
            media_type: kind,
        });
    }
    let size = checked_size(descriptor, options.limits.config_size, name)?;
    let digest = Digest::try_from(descriptor.digest())?;
    let mut bytes = Vec::new();
    let mut blob = repository.blob(&digest, size, monitor)?.take(size + 1);
    blob.read_to_end(&mut bytes)
        .map_err(|error| ImageError::blob(digest.to_string(), error))?;
    check_size(&digest, size, &bytes)?;
    check_digest(format!("configuration of {name}"), &digest, &bytes)?;
    json(&bytes, || format!("configuration of {name}"))
}

fn layers(
    manifest: &ImageManifest,
    config: &ImageConfiguration,
    options: &Options,
    name: &str,
) -> Result<Vec<Layer>, ImageError> {
    let diff_ids = diff_ids(config, manifest.layers().len(), options, name)?;
    manifest
        .layers()
        .iter()
        .zip(diff_ids)
        .map(|(descriptor, diff_id)| {
            Ok(Layer {
                blob: Some((descriptor.digest().try_into()?, descriptor.size())),
                compression: compression(descriptor)?,
                diff_id,
            })
        })
        .collect()
}

/// The digests of the layers' tar streams, one for each of `count` layers.
pub(crate) fn diff_ids(
    config: &ImageConfiguration,
    count: usize,
    options: &Options,
    name: &str,
) -> Result<Vec<Digest>, ImageError> {
    let limit = options.limits.layers;
    let diff_ids = config.rootfs().diff_ids();
    if count > limit {
        return Err(ImageError::TooManyLayers {
            image: name.into(),
            count,
            limit,
        });
    }
    if diff_ids.len() != count {
        return Err(ImageError::LayerCount {
            image: name.into(),
            layers: count,
            diff_ids: diff_ids.len(),
        });
    }
    diff_ids.iter().map(|text| text.parse()).collect()
}

/// What a layer's media type says about its compression. `None`: a type that leaves it open.
fn compression(descriptor: &Descriptor) -> Result<Option<Compression>, ImageError> {
    let kind = match descriptor.media_type() {
        MediaType::Other(other) => other.clone(),
        known => known.to_string(),
    };
    match kind.as_str() {
        "application/vnd.oci.image.layer.v1.tar" => Ok(Some(Compression::None)),
        "application/vnd.oci.image.layer.v1.tar+gzip"
        | "application/vnd.docker.image.rootfs.diff.tar.gzip" => Ok(Some(Compression::Gzip)),
        "application/vnd.oci.image.layer.v1.tar+zstd"
        | "application/vnd.docker.image.rootfs.diff.tar.zstd" => Ok(Some(Compression::Zstd)),
        "application/vnd.docker.image.rootfs.diff.tar" => Ok(None),
        foreign if foreign.contains("nondistributable") || foreign.contains("rootfs.foreign") => {
            Err(ImageError::ForeignLayer {
                layer: descriptor.digest().to_string(),
            })
        }
        _ => Err(ImageError::UnsupportedLayer {
            layer: descriptor.digest().to_string(),
            media_type: kind,
        }),
    }
}

#[cfg(test)]
mod tests;
