//! The tags of a repository (distribution-spec, "Listing Tags").

use super::client::{self, Client, Get};
use super::mirror::{self, Endpoint};
use crate::reference::is_tag;
use crate::{ImageError, Options, Reference};
use cos_events::Monitor;
use serde::Deserialize;
use ureq::http::header;

/// Tags asked for at once.
const PAGE: usize = 1000;
/// Most pages; a repository with more tags is not a channel anybody can follow.
const MAX_PAGES: usize = 100;

#[derive(Deserialize)]
struct Page {
    tags: Option<Vec<String>>,
}

/// Lists the tags of the repository that `reference` names, from the registry itself: a mirror may be
/// behind.
pub fn list_tags(
    reference: &Reference,
    options: &Options,
    monitor: &dyn Monitor,
) -> Result<Vec<String>, ImageError> {
    let client = Client::new(&options.registry, monitor)?;
    let endpoints = mirror::endpoints(reference, &options.registry.mirrors)?;
    let Some(endpoint) = endpoints.last() else {
        return Ok(Vec::new());
    };
    let mut tags: Vec<String> = Vec::new();
    for _ in 0..MAX_PAGES {
        let last = tags.last().map(|tag| format!("&last={tag}"));
        let rest = format!("tags/list?n={PAGE}{}", last.unwrap_or_default());
        let (page, more) = fetch(&client, endpoint, &rest, options, monitor)?;
        let before = tags.len();
        tags.extend(page.into_iter().filter(|tag| is_tag(tag)));
        if !more || tags.len() == before {
            break;
        }
    }
    Ok(tags)
}

fn fetch(
    client: &Client,
    endpoint: &Endpoint,
    rest: &str,
    options: &Options,
    monitor: &dyn Monitor,
) -> Result<(Vec<String>, bool), ImageError> {
    let url = client.url(endpoint, rest);
    let get = Get {
        url: &url,
        endpoint,
        accept: Some("application/json"),
        range: None,
    };
    let mut response = client.get(&get, monitor)?;
    let more = response.headers().contains_key(header::LINK);
    let bytes = client::read_body(response.body_mut(), &url, options.limits.manifest_size)?;
    let page: Page = serde_json::from_slice(&bytes).map_err(|source| ImageError::Document {
        what: url.clone(),
        source,
    })?;
    Ok((page.tags.unwrap_or_default(), more))
}
