//! The signatures beside an image: cosign's tag `sha256-HEX.sig`, and referrers (distribution-spec,
//! "Listing Referrers") with their tag `sha256-HEX` where a registry does not know those.
//!
//! Everything is fetched by digest and bounded in number and size. Nothing is believed here: what a
//! signature is worth is another crate's to say.

use super::client::{self, Get};
use super::mirror::Endpoint;
use super::{ACCEPT, RemoteRepository};
use crate::document::{self, json};
use crate::{Digest, ImageError, Options, Reference};
use cos_events::{Monitor, warn};
use serde::Deserialize;
use std::collections::BTreeMap;
use ureq::http::header;

/// Media type of the payloads that cosign signs.
const SIMPLE_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// Artifact types of referrers that are signatures: bundles, and cosign's payloads as referrers.
const ARTIFACT_TYPES: [&str; 2] = [
    "application/vnd.dev.sigstore.bundle",
    "application/vnd.dev.cosign.artifact.sig",
];
/// Media types of layers that are signatures.
const LAYER_TYPES: [&str; 2] = ["application/vnd.dev.sigstore.bundle", SIMPLE_TYPE];
/// Pages of a list of referrers.
const MAX_PAGES: usize = 16;

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

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
    artifact_type: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
}

/// The tag under which cosign keeps the signatures of a digest.
pub(super) fn signature_tag(digest: &Digest) -> String {
    format!("{}-{}.sig", digest.algorithm().name(), digest.hex())
}

/// The tag that stands for the list of referrers where a registry has none.
pub(super) fn referrers_tag(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm().name(), digest.hex())
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
        Some((_, error @ ImageError::TooManySignatures { .. })) => Err(error),
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
        if let Some(bytes) = self.tagged(endpoint, &tag)? {
            let manifest: Manifest = json(&bytes, || format!("manifest {tag}"))?;
            self.layers(endpoint, manifest, &tag)?;
        }
        Ok(())
    }

    fn among_referrers(&mut self, endpoint: &Endpoint) -> Result<(), ImageError> {
        for referrer in self.referrers(endpoint)? {
            self.count(1)?;
            let (bytes, _) = self.by_digest(endpoint, &referrer)?;
            let place = format!("referrer {}", referrer.digest);
            let manifest: Manifest = json(&bytes, || place.clone())?;
            self.layers(endpoint, manifest, &place)?;
        }
        Ok(())
    }

    /// Fails when there are this many more than may be.
    fn count(&self, more: usize) -> Result<(), ImageError> {
        let limit = self.options.limits.signatures;
        if self.found.len().saturating_add(more) > limit {
            return Err(ImageError::TooManySignatures {
                image: format!("{}@{}", self.repository.reference, self.digest),
                limit,
            });
        }
        Ok(())
    }

    /// What a tag names; `None` where there is no such tag.
    fn tagged(&self, endpoint: &Endpoint, tag: &str) -> Result<Option<Vec<u8>>, ImageError> {
        match self.repository.fetch_manifest(endpoint, tag, self.monitor) {
            Ok((bytes, _)) => Ok(Some(bytes)),
            Err(ImageError::Status { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn by_digest(
        &self,
        endpoint: &Endpoint,
        descriptor: &Descriptor,
    ) -> Result<(Vec<u8>, Digest), ImageError> {
        let digest: Digest = descriptor.digest.parse()?;
        let fetched =
            self.repository
                .fetch_manifest(endpoint, &digest.to_string(), self.monitor)?;
        document::check_digest(format!("manifest {digest}"), &digest, &fetched.0)?;
        Ok((fetched.0, digest))
    }

    /// The referrers that are signatures.
    fn referrers(&self, endpoint: &Endpoint) -> Result<Vec<Descriptor>, ImageError> {
        let client = &self.repository.client;
        let mut url = client.url(endpoint, &format!("referrers/{}", self.digest));
        let mut found = Vec::new();
        for page in 0..MAX_PAGES {
            let get = Get {
                url: &url,
                endpoint,
                accept: Some(ACCEPT),
                range: None,
            };
            let mut response = match client.get(&get, self.monitor) {
                Ok(response) => response,
                // Registries that do not know referrers say so in several ways.
                Err(ImageError::Status { status, .. })
                    if page == 0 && matches!(status, 400 | 404 | 405 | 406 | 501) =>
                {
                    return self.tagged_referrers(endpoint);
                }
                Err(error) => return Err(error),
            };
            let link = response.headers().get(header::LINK);
            let link = link.and_then(|value| next_link(value.to_str().ok()?));
            let limit = self.repository.manifest_limit;
            let bytes = client::read_body(response.body_mut(), &url, limit)?;
            let index: Index = json(&bytes, || url.clone())?;
            found.extend(index.manifests.into_iter().filter(is_signature));
            self.count(found.len())?;
            let Some(link) = link else {
                return Ok(found);
            };
            url = client::follow(&client::parse_url(&url)?, &link)?.to_string();
        }
        Err(ImageError::EndlessSignatures {
            image: format!("{}@{}", self.repository.reference, self.digest),
            limit: MAX_PAGES,
        })
    }

    fn tagged_referrers(&self, endpoint: &Endpoint) -> Result<Vec<Descriptor>, ImageError> {
        let tag = referrers_tag(self.digest);
        let Some(bytes) = self.tagged(endpoint, &tag)? else {
            return Ok(Vec::new());
        };
        let index: Index = json(&bytes, || format!("index {tag}"))?;
        let found: Vec<Descriptor> = index.manifests.into_iter().filter(is_signature).collect();
        self.count(found.len())?;
        Ok(found)
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

/// The next page of a `Link` header (RFC 8288).
fn next_link(text: &str) -> Option<String> {
    let (target, parameters) = text.trim().strip_prefix('<')?.split_once('>')?;
    parameters
        .contains("next")
        .then(|| target.to_owned())
        .filter(|target| !target.is_empty())
}

/// Reads what a registry says are the signatures of an image: a manifest, and a list of referrers. For
/// the fuzz target.
#[cfg(feature = "fuzzing")]
pub(crate) fn read_lists(manifest: &[u8], index: &[u8], link: &str) -> usize {
    let what = || "fuzz".to_owned();
    let layers = json::<Manifest>(manifest, what).map_or(0, |it| it.layers.len());
    let referrers = json::<Index>(index, what).map_or(0, |it| {
        it.manifests.iter().filter(|it| is_signature(it)).count()
    });
    layers + referrers + usize::from(next_link(link).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_and_links_are_those_of_others() {
        let digest = Digest::sha256(b"");
        assert!(signature_tag(&digest).starts_with("sha256-e3b0c442"));
        assert!(signature_tag(&digest).ends_with("b855.sig"));
        assert!(referrers_tag(&digest).ends_with("b855"));
        let link = "</v2/a/referrers/sha256:00?n=2&last=x>; rel=\"next\"";
        assert_eq!(
            next_link(link).as_deref(),
            Some("/v2/a/referrers/sha256:00?n=2&last=x")
        );
        for none in ["", "<>; rel=\"next\"", "</x>; rel=\"prev\"", "/x; rel=next"] {
            assert_eq!(next_link(none), None, "{none}");
        }
    }
}
