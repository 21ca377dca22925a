//! What refers to a manifest (distribution-spec, "Listing Referrers"): the registry's list, or the tag
//! `sha256-HEX` that stands for it where a registry has none.

use super::client::{self, Get};
use super::mirror::Endpoint;
use super::{ACCEPT, RemoteRepository};
use crate::document::json;
use crate::{Digest, ImageError};
use cos_events::Monitor;
use serde::Deserialize;
use std::collections::BTreeMap;
use ureq::http::header;

/// Pages of a list of referrers.
const MAX_PAGES: usize = 16;

/// What is said of a manifest or a file by whoever lists it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub(super) media_type: String,
    pub(super) digest: String,
    pub(super) size: u64,
    pub(super) artifact_type: Option<String>,
    pub(super) annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
pub(super) struct Index {
    #[serde(default)]
    pub(super) manifests: Vec<Descriptor>,
}

/// The tag that stands for the list of referrers where a registry has none.
pub(super) fn referrers_tag(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm().name(), digest.hex())
}

/// Lists what refers to a manifest.
pub(super) struct Referrers<'r> {
    pub(super) repository: &'r RemoteRepository,
    pub(super) digest: &'r Digest,
    /// What is looked for, for messages: `signatures`.
    pub(super) what: &'static str,
    /// How many of them there may be.
    pub(super) limit: usize,
    pub(super) monitor: &'r dyn Monitor,
}

impl Referrers<'_> {
    /// Those of one host's referrers that are wanted; there are `have` from elsewhere.
    pub(super) fn list(
        &self,
        endpoint: &Endpoint,
        have: usize,
        wanted: &dyn Fn(&Descriptor) -> bool,
    ) -> Result<Vec<Descriptor>, ImageError> {
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
                    return self.tagged(endpoint, have, wanted);
                }
                Err(error) => return Err(error),
            };
            let link = response.headers().get(header::LINK);
            let link = link.and_then(|value| next_link(value.to_str().ok()?));
            let limit = self.repository.manifest_limit;
            let bytes = client::read_body(response.body_mut(), &url, limit)?;
            let index: Index = json(&bytes, || url.clone())?;
            found.extend(index.manifests.into_iter().filter(wanted));
            self.count(have + found.len())?;
            let Some(link) = link else {
                return Ok(found);
            };
            url = client::follow(&client::parse_url(&url)?, &link)?.to_string();
        }
        Err(ImageError::EndlessReferrers {
            image: self.image(),
            limit: MAX_PAGES,
        })
    }

    fn tagged(
        &self,
        endpoint: &Endpoint,
        have: usize,
        wanted: &dyn Fn(&Descriptor) -> bool,
    ) -> Result<Vec<Descriptor>, ImageError> {
        let tag = referrers_tag(self.digest);
        let Some(bytes) = self.repository.tagged(endpoint, &tag, self.monitor)? else {
            return Ok(Vec::new());
        };
        let index: Index = json(&bytes, || format!("index {tag}"))?;
        let found: Vec<Descriptor> = index.manifests.into_iter().filter(wanted).collect();
        self.count(have + found.len())?;
        Ok(found)
    }

    /// Fails when there are this many and so many may not be.
    pub(super) fn count(&self, number: usize) -> Result<(), ImageError> {
        if number > self.limit {
            return Err(ImageError::TooManyReferrers {
                image: self.image(),
                what: self.what,
                limit: self.limit,
            });
        }
        Ok(())
    }

    fn image(&self) -> String {
        format!("{}@{}", self.repository.reference, self.digest)
    }
}

/// The next page of a `Link` header (RFC 8288).
pub(super) fn next_link(text: &str) -> Option<String> {
    let (target, parameters) = text.trim().strip_prefix('<')?.split_once('>')?;
    parameters
        .contains("next")
        .then(|| target.to_owned())
        .filter(|target| !target.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_the_next_page_are_those_of_others() {
        assert!(referrers_tag(&Digest::sha256(b"")).ends_with("b855"));
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
