//! Images in registries (OCI distribution-spec).

mod artifact;
mod auth;
mod blob;
mod cache;
mod client;
mod credentials;
mod mirror;
mod push;
mod referrers;
mod signatures;
mod streamed;
mod tags;
mod tls;

use crate::document::{self, Found, Repository};
use crate::{Digest, ImageError, Options, Reference};
#[cfg(feature = "fuzzing")]
pub(crate) use artifact::read_artifact;
pub use artifact::{Artifact, ArtifactFile, artifacts};
pub use push::{FileContent, NewArtifact, NewFile, Publisher};
#[cfg(feature = "fuzzing")]
pub(crate) use signatures::read_lists as read_signature_lists;
pub use signatures::{Attachment, signatures};
pub use tags::list_tags;

use client::{Client, Get};
use cos_events::{Monitor, warn};
use mirror::Endpoint;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

/// How registries are reached.
#[derive(Debug, Clone)]
pub struct RegistryConfig {
    /// Docker's `config.json` and containers' `auth.json` files, in the order they are asked. Missing ones are skipped.
    pub credential_files: Vec<PathBuf>,
    /// Where `docker-credential-*` programs are looked for, colon-separated like `PATH`.
    pub helper_path: Option<OsString>,
    /// For a registry, the mirrors (`HOST[:PORT][/PREFIX]`) asked before it, in order.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// Registries (`HOST[:PORT]`) that are spoken to in plain HTTP. All others: TLS only.
    pub insecure: BTreeSet<String>,
    /// PEM files of certificate authorities to trust besides the public and the system's ones.
    pub ca_files: Vec<PathBuf>,
    /// PEM bundles of the system; the first that exists is read.
    pub system_ca_files: Vec<PathBuf>,
    /// Proxies.
    pub proxy: ProxyConfig,
    /// Longest time to connect.
    pub connect_timeout: Duration,
    /// Longest time without a byte coming in.
    pub read_timeout: Duration,
    /// Attempts after the first, for each request and for each stretch of a download that brings nothing new.
    pub retries: u32,
    /// First pause between attempts; doubles each time.
    pub backoff: Duration,
    /// Longest pause, whatever the registry asks for.
    pub max_backoff: Duration,
    /// Where blobs are kept while and after they are fetched, so that a later run need not fetch them
    /// again. It is the caller's to remove.
    pub kept_blobs: Option<PathBuf>,
}

impl Default for RegistryConfig {
    fn default() -> Self {
        Self {
            credential_files: Vec::new(),
            helper_path: None,
            mirrors: BTreeMap::new(),
            insecure: BTreeSet::new(),
            ca_files: Vec::new(),
            system_ca_files: tls::SYSTEM_CA_FILES.iter().map(PathBuf::from).collect(),
            proxy: ProxyConfig::default(),
            connect_timeout: Duration::from_secs(30),
            read_timeout: Duration::from_mins(1),
            retries: 5,
            backoff: Duration::from_millis(500),
            max_backoff: Duration::from_mins(1),
            kept_blobs: None,
        }
    }
}

/// Proxies, as in `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`.
#[derive(Debug, Clone, Default)]
pub struct ProxyConfig {
    /// URL of the proxy for plain HTTP.
    pub http: Option<String>,
    /// URL of the proxy for HTTPS.
    pub https: Option<String>,
    /// Hosts that are reached directly: `example.com`, `.example.com`, `*`.
    pub no_proxy: Vec<String>,
}

/// Media types of manifests and indexes that are understood, for the `Accept` header.
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// A repository, by way of its mirrors.
pub(crate) struct RemoteRepository {
    client: Client,
    reference: Reference,
    endpoints: Vec<Endpoint>,
    manifest_limit: u64,
    kept_blobs: Option<PathBuf>,
}

/// Asks the registry what a reference is.
pub(crate) fn resolve(
    reference: &Reference,
    options: &Options,
    monitor: &dyn Monitor,
) -> Result<(RemoteRepository, Found), ImageError> {
    let repository = RemoteRepository::new(reference, options, monitor)?;
    let (bytes, media_type) = repository.any_endpoint(monitor, |endpoint| {
        repository.fetch_manifest(endpoint, &reference.version(), monitor)
    })?;
    if let Some(expected) = &reference.digest {
        document::check_digest(format!("manifest of {reference}"), expected, &bytes)?;
    }
    let name = reference.to_string();
    let first = document::First { bytes, media_type };
    let found = document::resolve(&repository, first, &name, options, monitor)?;
    Ok((repository, found))
}

impl RemoteRepository {
    fn new(
        reference: &Reference,
        options: &Options,
        monitor: &dyn Monitor,
    ) -> Result<Self, ImageError> {
        Ok(Self {
            client: Client::new(&options.registry, monitor)?,
            endpoints: mirror::endpoints(reference, &options.registry.mirrors)?,
            reference: reference.clone(),
            manifest_limit: options.limits.manifest_size,
            kept_blobs: options.registry.kept_blobs.clone(),
        })
    }

    /// Tries the mirrors, then the registry itself; its error is the one that counts.
    fn any_endpoint<T>(
        &self,
        monitor: &dyn Monitor,
        mut attempt: impl FnMut(&Endpoint) -> Result<T, ImageError>,
    ) -> Result<T, ImageError> {
        let mut result = Err(ImageError::BadReference {
            text: self.reference.to_string(),
            reason: "it names no registry",
        });
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            result = attempt(endpoint);
            match &result {
                Ok(_) | Err(ImageError::Cancelled(_)) => break,
                Err(error) if index + 1 < self.endpoints.len() => {
                    warn(
                        monitor,
                        format!("mirror {} did not help: {error}", endpoint.host),
                    );
                }
                Err(_) => {}
            }
        }
        result
    }

    fn fetch_manifest(
        &self,
        endpoint: &Endpoint,
        version: &str,
        monitor: &dyn Monitor,
    ) -> Result<(Vec<u8>, Option<String>), ImageError> {
        let url = self.client.url(endpoint, &format!("manifests/{version}"));
        let get = Get {
            url: &url,
            endpoint,
            accept: Some(ACCEPT),
            range: None,
        };
        let mut response = self.client.get(&get, monitor)?;
        let header = |name: &str| {
            let value = response.headers().get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        let media_type = header("content-type").map(|value| {
            value
                .split(';')
                .next()
                .unwrap_or_default()
                .trim()
                .to_owned()
        });
        let digest = header("docker-content-digest");
        let bytes = client::read_body(response.body_mut(), &url, self.manifest_limit)?;
        if let Some(digest) = digest {
            document::check_digest(format!("manifest at {url}"), &digest.parse()?, &bytes)?;
        }
        Ok((bytes, media_type))
    }

    /// What a tag names; `None` where there is no such tag.
    fn tagged(
        &self,
        endpoint: &Endpoint,
        tag: &str,
        monitor: &dyn Monitor,
    ) -> Result<Option<Vec<u8>>, ImageError> {
        match self.fetch_manifest(endpoint, tag, monitor) {
            Ok((bytes, _)) => Ok(Some(bytes)),
            Err(ImageError::Status { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn by_digest(
        &self,
        endpoint: &Endpoint,
        digest: &Digest,
        monitor: &dyn Monitor,
    ) -> Result<Vec<u8>, ImageError> {
        let (bytes, _) = self.fetch_manifest(endpoint, &digest.to_string(), monitor)?;
        document::check_digest(format!("manifest {digest}"), digest, &bytes)?;
        Ok(bytes)
    }

    /// Opens a blob behind its first `offset` bytes.
    fn open_blob<'r>(
        &'r self,
        digest: &Digest,
        size: u64,
        offset: u64,
        monitor: &'r dyn Monitor,
    ) -> Result<blob::BlobReader<'r>, ImageError> {
        self.any_endpoint(monitor, |endpoint| {
            let url = self.client.url(endpoint, &format!("blobs/{digest}"));
            let place = (endpoint.clone(), url);
            blob::BlobReader::open(&self.client, place, size, offset, monitor)
        })
    }
}

impl Repository for RemoteRepository {
    fn manifest(
        &self,
        digest: &Digest,
        _size: u64,
        monitor: &dyn Monitor,
    ) -> Result<Vec<u8>, ImageError> {
        self.any_endpoint(monitor, |endpoint| {
            self.by_digest(endpoint, digest, monitor)
        })
    }

    fn keep_blobs(&mut self, directory: PathBuf) {
        self.kept_blobs = Some(directory);
    }

    fn blob<'r>(
        &'r self,
        digest: &Digest,
        size: u64,
        monitor: &'r dyn Monitor,
    ) -> Result<Box<dyn Read + Send + 'r>, ImageError> {
        let open = |offset: u64| self.open_blob(digest, size, offset, monitor);
        let Some(directory) = &self.kept_blobs else {
            return Ok(Box::new(open(0)?));
        };
        let unusable = |source| ImageError::KeepBlob {
            path: directory.clone(),
            source,
        };
        let (file, there) = cache::open(directory, digest, size).map_err(unusable)?;
        let reader = cache::KeptBlob::new(file, there, open(there)?, monitor).map_err(unusable)?;
        Ok(Box::new(reader))
    }
}
