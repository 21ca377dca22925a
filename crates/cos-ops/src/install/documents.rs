//! Cloud-config for COS_OEM, from files and from the network.

use super::InstallError;
use crate::build::disk::{MAX_CLOUD_CONFIG, cloud_config};
use crate::build::payload::PlacedFile;
use cos_events::Monitor;
use cos_http::{HttpClient, HttpConfig, Request, redact};
use std::io;
use std::path::Path;

/// A cloud-config, read.
#[derive(Clone, PartialEq, Eq)]
pub struct CloudConfig {
    /// Its name, without directories.
    pub name: String,
    /// Its text.
    pub bytes: Vec<u8>,
}

impl std::fmt::Debug for CloudConfig {
    /// Without its text, which may hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CloudConfig")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Reads a cloud-config: a path, or an http or https URL.
pub fn read(
    source: &str,
    http: &HttpConfig,
    monitor: &dyn Monitor,
) -> Result<CloudConfig, InstallError> {
    let bytes = if source.starts_with("http://") || source.starts_with("https://") {
        fetch(source, http, monitor)?
    } else {
        let failed = |source_error| InstallError::CloudConfig {
            path: source.to_owned(),
            source: source_error,
        };
        if fs_err::metadata(source).map_err(failed)?.len() > MAX_CLOUD_CONFIG {
            return Err(failed(io::Error::other("larger than 1 MiB")));
        }
        fs_err::read(source).map_err(failed)?
    };
    Ok(CloudConfig {
        name: name_of(source),
        bytes,
    })
}

fn fetch(url: &str, http: &HttpConfig, monitor: &dyn Monitor) -> Result<Vec<u8>, InstallError> {
    let failed = |source| InstallError::Fetch {
        url: redact(url),
        source,
    };
    let client = HttpClient::new(http).map_err(failed)?;
    let mut request = Request::get(url);
    request.max_bytes = MAX_CLOUD_CONFIG;
    request.monitor = monitor;
    Ok(client.send(&request).map_err(failed)?.body)
}

/// The last part of a path or URL, as a file name that every tool takes; documents are known by the
/// ending `.yaml`.
fn name_of(source: &str) -> String {
    let source = source.split(['?', '#']).next().unwrap_or_default();
    let last = Path::new(source).file_name().unwrap_or_default();
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "._-".contains(c) {
            c
        } else {
            '_'
        }
    };
    let name: String = last
        .to_string_lossy()
        .chars()
        .take(100)
        .map(plain)
        .collect();
    let ending = Path::new(&name)
        .extension()
        .and_then(|ending| ending.to_str());
    if matches!(ending, Some("yaml" | "yml")) {
        name
    } else {
        format!("{name}.yaml")
    }
}

/// The files of COS_OEM, in the order given.
pub(super) fn placed(documents: &[CloudConfig]) -> Vec<PlacedFile> {
    let documents = documents.iter().enumerate();
    documents
        .map(|(index, document)| cloud_config(index, &document.name, document.bytes.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_and_end_as_documents_do() {
        for (source, name) in [
            ("/a/user.yaml", "user.yaml"),
            ("https://h/x/config?token=secret", "config.yaml"),
            ("my file", "my_file.yaml"),
            ("https://h/", "h.yaml"),
        ] {
            assert_eq!(name_of(source), name);
        }
    }
}
