//! The signatures beside an image: under cosign's tag `sha256-HEX.sig`, and among its referrers.
//!
//! Everything is fetched by digest and bounded in number and size. Nothing is believed here: what a
//! signature is worth is another crate's to say.

use super::RemoteRepository;
use super::client::{self, Get};
use super::mirror::Endpoint;
use super::referrers::{Descriptor, Referrers};
use crate::document::{self, json};
use crate::{Digest, ImageError, Options, Reference};
use cos_events::{Monitor, warn};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Media type of the payloads that cosign signs.
const SIMPLE_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// Artifact types of referrers that are signatures: bundles, and cosign's payloads as referrers.
const ARTIFACT_TYPES: [&str; 2] = [
    "application/vnd.dev.sigstore.bundle",
    "application/vnd.dev.cosign.artifact.sig",
];
/// Media types of layers that are signatures.
const LAYER_TYPES: [&str; 2] = ["application/vnd.dev.sigstore.bundle", SIMPLE_TYPE];

/// A document beside an image, as it was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// What it is.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Annotations of its layer.
    pub annotations: BTreeMap<String, String>,
    /// Where it was found, for people.
    pub place: String,
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    layers: Vec<Descriptor>,
}

/// The tag under which cosign keeps the signatures of a digest.
pub(super) fn signature_tag(digest: &Digest) -> String {
    format!("{}-{}.sig", digest.algorithm().name(), digest.hex())
}

/// Fetches the signatures beside what `digest` names in the repository of `reference`, from its mirrors
/// and the registry itself. A host that cannot be asked is told as a warning where another one has some.
pub fn signatures(
    reference: &Reference,
    digest: &Digest,
    options: &Options,
    monitor: &dyn Monitor,
) -> Result<Vec<Attachment>, ImageError> {
    let repository = RemoteRepository::new(reference, options, monitor)?;
    let mut search = Search {
        repository: &repository,
        digest,
        options,
        monitor,
        found: Vec::new(),
    };
    let mut failure = None;
    for endpoint in &repository.endpoints {
        match search.at(endpoint) {
            Ok(()) => {}
            Err(ImageError::Cancelled(cancelled)) => return Err(cancelled.into()),
            Err(error) => failure = Some((endpoint, error)),
        }
    }
    match failure {
        Some((_, error)) if search.found.is_empty() => Err(error),
        // A bound is not a matter of who is asked.
        Some((_, error @ ImageError::TooManyReferrers { .. })) => Err(error),
        Some((endpoint, error)) => {
            let text = format!("{} did not give all signatures: {error}", endpoint.host);
            warn(monitor, text);
            Ok(search.found)
        }
        None => Ok(search.found),
    }
}

struct Search<'s> {
    repository: &'s RemoteRepository,
    digest: &'s Digest,
    options: &'s Options,
    monitor: &'s dyn Monitor,
    found: Vec<Attachment>,
}

impl Search<'_> {
    fn at(&mut self, endpoint: &Endpoint) -> Result<(), ImageError> {
        // Neither place hides what is in the other.
        let tagged = self.under_tag(endpoint);
        self.among_referrers(endpoint)?;
        tagged
    }

    fn under_tag(&mut self, endpoint: &Endpoint) -> Result<(), ImageError> {
        let tag = signature_tag(self.digest);
        let repository = self.repository;
        if let Some(bytes) = repository.tagged(endpoint, &tag, self.monitor)? {
            let manifest: Manifest = json(&bytes, || format!("manifest {tag}"))?;
            self.layers(endpoint, manifest, &tag)?;
        }
        Ok(())
    }

    fn among_referrers(&mut self, endpoint: &Endpoint) -> Result<(), ImageError> {
        let referrers = self.referrers();
        for referrer in referrers.list(endpoint, self.found.len(), &is_signature)? {
            self.count(1)?;
            let digest: Digest = referrer.digest.parse()?;
            let bytes = self.repository.by_digest(endpoint, &digest, self.monitor)?;
            let place = format!("referrer {digest}");
            let manifest: Manifest = json(&bytes, || place.clone())?;
            self.layers(endpoint, manifest, &place)?;
        }
        Ok(())
    }

    fn referrers(&self) -> Referrers<'_> {
        Referrers {
            repository: self.repository,
            digest: self.digest,
            what: "signatures",
            limit: self.options.limits.signatures,
            monitor: self.monitor,
        }
    }

    /// Fails when there are this many more than may be.
    fn count(&self, more: usize) -> Result<(), ImageError> {
        self.referrers()
            .count(self.found.len().saturating_add(more))
    }

    /// Fetches those layers of a manifest that are signatures.
    fn layers(
        &mut self,
        endpoint: &Endpoint,
        manifest: Manifest,
        place: &str,
    ) -> Result<(), ImageError> {
        let is_signature = |layer: &Descriptor| {
            LAYER_TYPES
                .iter()
                .any(|it| layer.media_type.starts_with(it))
        };
        let layers: Vec<Descriptor> = manifest.layers.into_iter().filter(is_signature).collect();
        self.count(layers.len())?;
        // One that is broken does not hide those behind it.
        let mut broken = None;
        for layer in layers {
            let fetched = layer.digest.parse().and_then(|digest: Digest| {
                let bytes = self.blob(endpoint, &digest, layer.size)?;
                Ok((digest, bytes))
            });
            let (digest, bytes) = match fetched {
                Ok(fetched) => fetched,
                Err(error @ ImageError::Cancelled(_)) => return Err(error),
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => {
                    broken = broken.or(Some(error));
                    continue;
                }
            };
            let attachment = Attachment {
                media_type: layer.media_type,
                bytes,
                annotations: layer.annotations.unwrap_or_default(),
                place: format!("{place}, {}", digest.short()),
            };
            // The same from a mirror and from the registry is one.
            let known = |it: &Attachment| {
                it.bytes == attachment.bytes && it.annotations == attachment.annotations
            };
            if !self.found.iter().any(known) {
                self.found.push(attachment);
            }
        }
        broken.map_or(Ok(()), Err)
    }

    fn blob(&self, endpoint: &Endpoint, digest: &Digest, size: u64) -> Result<Vec<u8>, ImageError> {
        let limit = self.options.limits.signature_size;
        if size > limit {
            return Err(ImageError::DocumentTooLarge {
                what: format!("signature {digest}"),
                limit,
            });
        }
        let client = &self.repository.client;
        let url = client.url(endpoint, &format!("blobs/{digest}"));
        let get = Get {
            url: &url,
            endpoint,
            accept: None,
            range: None,
        };
        let mut response = client.get(&get, self.monitor)?;
        let bytes = client::read_body(response.body_mut(), &url, limit)?;
        if bytes.len() as u64 != size {
            return Err(ImageError::BlobSize {
                blob: digest.to_string(),
                expected: size,
                actual: bytes.len() as u64,
            });
        }
        document::check_digest(format!("signature {digest}"), digest, &bytes)?;
        Ok(bytes)
    }
}

/// Whether a referrer is a signature; one that does not say what it is may be.
fn is_signature(referrer: &Descriptor) -> bool {
    match &referrer.artifact_type {
        Some(kind) => ARTIFACT_TYPES.iter().any(|it| kind.starts_with(it)),
        None => true,
    }
}

/// Reads what a registry says are the signatures of an image: a manifest, and a list of referrers. For
/// the fuzz target.
#[cfg(feature = "fuzzing")]
pub(crate) fn read_lists(manifest: &[u8], index: &[u8], link: &str) -> usize {
    let what = || "fuzz".to_owned();
    let layers = json::<Manifest>(manifest, what).map_or(0, |it| it.layers.len());
    let referrers = json::<super::referrers::Index>(index, what).map_or(0, |it| {
        it.manifests.iter().filter(|it| is_signature(it)).count()
    });
    layers + referrers + usize::from(super::referrers::next_link(link).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_those_of_others() {
        let tag = signature_tag(&Digest::sha256(b""));
        assert!(tag.starts_with("sha256-e3b0c442") && tag.ends_with("b855.sig"));
    }
}
