//! Putting signatures and other artifacts beside an image.

use super::artifact::TITLE;
use super::client::{self, Client, Upload};
use super::mirror::{self, Endpoint};
use super::referrers::referrers_tag;
use super::signatures::signature_tag;
use super::streamed::Streamed;
use super::{ACCEPT, Attachment};
use crate::document::{self, json};
use crate::registry::client::Get;
use crate::{Digest, ImageError, Options, Reference};
use cos_events::{Monitor, Task};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json as value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use ureq::http::Method;

const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
/// What a blob is sent as.
const BYTES: &str = "application/octet-stream";
/// The configuration of what is no image (image-spec, "Guidance for an Empty Descriptor").
const EMPTY: &[u8] = b"{}";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Layers {
    #[serde(default)]
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Manifests {
    #[serde(default)]
    manifests: Vec<Value>,
}

/// An artifact that is to be put beside an image.
#[derive(Debug, Clone)]
pub struct NewArtifact {
    /// What it is.
    pub artifact_type: String,
    /// The manifest that it refers to.
    pub subject: Digest,
    /// Its files.
    pub files: Vec<NewFile>,
    /// Annotations of its manifest.
    pub annotations: BTreeMap<String, String>,
}

/// A file of a new artifact.
#[derive(Debug, Clone)]
pub struct NewFile {
    /// What it is.
    pub media_type: String,
    /// Its annotations, of which one is its name, where it has one.
    pub annotations: BTreeMap<String, String>,
    /// Its bytes.
    pub content: FileContent,
}

/// Where the bytes of a file are.
#[derive(Debug, Clone)]
pub enum FileContent {
    /// Here.
    Bytes(Vec<u8>),
    /// In a file, which is read while it is sent.
    File {
        /// The file.
        path: PathBuf,
        /// Its digest.
        digest: Digest,
        /// How many bytes it has.
        size: u64,
    },
}

impl NewFile {
    /// A file with a name.
    pub fn named(name: &str, media_type: &str, content: FileContent) -> Self {
        Self {
            media_type: media_type.to_owned(),
            annotations: BTreeMap::from([(TITLE.to_owned(), name.to_owned())]),
            content,
        }
    }
}

/// Writes to one repository, of the registry itself.
pub struct Publisher<'p> {
    client: Client,
    endpoint: Endpoint,
    options: &'p Options,
    monitor: &'p dyn Monitor,
}

impl std::fmt::Debug for Publisher<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl<'p> Publisher<'p> {
    /// For the repository of `reference`.
    pub fn new(
        reference: &Reference,
        options: &'p Options,
        monitor: &'p dyn Monitor,
    ) -> Result<Self, ImageError> {
        // A mirror is not where images are published.
        let endpoint = mirror::endpoints(reference, &BTreeMap::new())?.pop();
        let endpoint = endpoint.ok_or_else(|| ImageError::BadReference {
            text: reference.to_string(),
            reason: "it names no registry",
        })?;
        Ok(Self {
            client: Client::new(&options.registry, monitor)?,
            endpoint,
            options,
            monitor,
        })
    }

    /// Puts a signature under cosign's tag for `digest`, beside those that are there but for the ones
    /// that `replaces` picks. Returns the digest of the manifest that the tag names now.
    pub fn add_signature(
        &self,
        digest: &Digest,
        signature: &Attachment,
        replaces: &dyn Fn(&Attachment) -> bool,
    ) -> Result<Digest, ImageError> {
        let tag = signature_tag(digest);
        let mut layers: Vec<Descriptor> = Vec::new();
        if let Some(bytes) = self.manifest(&tag)? {
            let present: Layers = json(&bytes, || format!("manifest {tag}"))?;
            for layer in present.layers {
                let limit = self.options.limits.signatures;
                if layers.len() >= limit {
                    let image = format!("{}@{digest}", self.endpoint.repository);
                    return Err(ImageError::TooManyReferrers {
                        image,
                        what: "signatures",
                        limit,
                    });
                }
                let bytes = match self.fetch(&layer) {
                    Ok(bytes) => bytes,
                    Err(error @ ImageError::Cancelled(_)) => return Err(error),
                    Err(error) if error.is_transient() => return Err(error),
                    // Somebody else's, and broken: not ours to judge, nor to stop us.
                    Err(_) => {
                        layers.push(layer);
                        continue;
                    }
                };
                let attachment = Attachment {
                    media_type: layer.media_type.clone(),
                    bytes,
                    annotations: layer.annotations.clone(),
                    place: String::new(),
                };
                if !replaces(&attachment) {
                    layers.push(layer);
                }
            }
        }
        layers.push(self.layer(signature)?);
        let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.digest.as_str()).collect();
        let never = "0001-01-01T00:00:00Z";
        let history = vec![value!({"created": never}); layers.len()];
        let config = value!({
            "architecture": "", "os": "", "created": never, "config": {}, "history": history,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = config.to_string().into_bytes();
        let manifest = value!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": self.blob(CONFIG_TYPE, &config)?,
            "layers": layers,
        });
        let manifest = manifest.to_string().into_bytes();
        self.put_manifest(&tag, MANIFEST_TYPE, &manifest)?;
        Ok(Digest::sha256(&manifest))
    }

    /// Puts an artifact beside the image that it refers to; where the registry does not know referrers, into
    /// the list that stands for them. Returns its manifest's digest; the same artifact has the same.
    pub fn add_referrer(&self, artifact: &NewArtifact) -> Result<Digest, ImageError> {
        let layers = artifact.files.iter().map(|file| self.file(file));
        let layers = layers.collect::<Result<Vec<_>, _>>()?;
        let (kind, annotations) = (&artifact.artifact_type, &artifact.annotations);
        let manifest = value!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "artifactType": kind,
            "config": self.blob(EMPTY_TYPE, EMPTY)?,
            "layers": layers,
            "subject": self.describe(&artifact.subject)?,
            "annotations": annotations,
        });
        let manifest = manifest.to_string().into_bytes();
        let own = Digest::sha256(&manifest);
        let knows = self.put_manifest(&own.to_string(), MANIFEST_TYPE, &manifest)?;
        if !knows {
            let descriptor = Descriptor {
                media_type: MANIFEST_TYPE.to_owned(),
                digest: own.to_string(),
                size: manifest.len() as u64,
                artifact_type: Some(kind.clone()),
                annotations: annotations.clone(),
            };
            self.list_referrer(&artifact.subject, &descriptor)?;
        }
        Ok(own)
    }

    /// Adds to the list that stands for referrers (distribution-spec, "Referrers Tag Schema").
    fn list_referrer(&self, digest: &Digest, descriptor: &Descriptor) -> Result<(), ImageError> {
        let tag = referrers_tag(digest);
        let mut manifests = match self.manifest(&tag)? {
            Some(bytes) => json::<Manifests>(&bytes, || format!("index {tag}"))?.manifests,
            None => Vec::new(),
        };
        let is_it = |it: &Value| it["digest"] == descriptor.digest.as_str();
        if manifests.iter().any(is_it) {
            return Ok(());
        }
        manifests.push(value!(descriptor));
        let index = value!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests});
        self.put_manifest(&tag, INDEX_TYPE, index.to_string().as_bytes())?;
        Ok(())
    }

    /// What a manifest's descriptor says of it.
    fn describe(&self, digest: &Digest) -> Result<Descriptor, ImageError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Typed {
            media_type: Option<String>,
        }
        let name = digest.to_string();
        let bytes = self.manifest(&name)?.unwrap_or_default();
        document::check_digest(format!("manifest {digest}"), digest, &bytes)?;
        let typed: Typed = json(&bytes, || format!("manifest {digest}"))?;
        let media_type = typed.media_type.as_deref().unwrap_or(MANIFEST_TYPE);
        Ok(describe(media_type, digest, bytes.len() as u64))
    }

    fn layer(&self, attachment: &Attachment) -> Result<Descriptor, ImageError> {
        let descriptor = self.blob(&attachment.media_type, &attachment.bytes)?;
        Ok(Descriptor {
            annotations: attachment.annotations.clone(),
            ..descriptor
        })
    }

    fn file(&self, file: &NewFile) -> Result<Descriptor, ImageError> {
        let descriptor = match &file.content {
            FileContent::Bytes(bytes) => self.blob(&file.media_type, bytes)?,
            FileContent::File { path, digest, size } => {
                self.send_file(path, digest, *size)?;
                describe(&file.media_type, digest, *size)
            }
        };
        Ok(Descriptor {
            annotations: file.annotations.clone(),
            ..descriptor
        })
    }

    /// What a tag or digest names; `None` where it names nothing.
    fn manifest(&self, version: &str) -> Result<Option<Vec<u8>>, ImageError> {
        let url = self
            .client
            .url(&self.endpoint, &format!("manifests/{version}"));
        match self.read(&url, Some(ACCEPT), self.options.limits.manifest_size) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(ImageError::Status { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn fetch(&self, layer: &Descriptor) -> Result<Vec<u8>, ImageError> {
        let digest: Digest = layer.digest.parse()?;
        let url = self.client.url(&self.endpoint, &format!("blobs/{digest}"));
        let bytes = self.read(&url, None, self.options.limits.signature_size)?;
        document::check_digest(format!("signature {digest}"), &digest, &bytes)?;
        Ok(bytes)
    }

    fn read(&self, url: &str, accept: Option<&str>, limit: u64) -> Result<Vec<u8>, ImageError> {
        let get = Get {
            url,
            endpoint: &self.endpoint,
            accept,
            range: None,
        };
        let mut response = self.client.get(&get, self.monitor)?;
        client::read_body(response.body_mut(), url, limit)
    }

    /// Puts a blob, unless it is there.
    fn blob(&self, media_type: &str, bytes: &[u8]) -> Result<Descriptor, ImageError> {
        let digest = Digest::sha256(bytes);
        if !self.has(&digest)? {
            let location = self.upload_place(&digest)?;
            self.send(Method::PUT, &location, BYTES, bytes)?;
        }
        Ok(describe(media_type, &digest, bytes.len() as u64))
    }

    /// Puts a blob that is in a file, unless it is there. When the line is cut it is sent anew from its
    /// beginning, to another place: what a registry kept of the first try is its secret.
    fn send_file(&self, path: &Path, digest: &Digest, size: u64) -> Result<(), ImageError> {
        if self.has(digest)? {
            return Ok(());
        }
        let name = path.file_name().unwrap_or(path.as_os_str());
        let label = format!("send {}", name.to_string_lossy());
        let mut attempt = 0;
        loop {
            let location = self.upload_place(digest)?;
            let task = Task::bytes(self.monitor, label.as_str(), Some(size));
            let file = Streamed {
                path,
                size,
                task: &task,
                monitor: self.monitor,
            };
            let place = (location.as_str(), &self.endpoint);
            let error = match self.client.upload_file(place, BYTES, &file, self.monitor) {
                Ok(()) => {
                    task.finish();
                    return Ok(());
                }
                Err(error) => error,
            };
            attempt += 1;
            if !error.is_transient() || attempt > self.client.retries {
                return Err(error);
            }
            drop(task);
            self.client.pause(attempt, None, self.monitor)?;
        }
    }

    fn has(&self, digest: &Digest) -> Result<bool, ImageError> {
        let url = self.client.url(&self.endpoint, &format!("blobs/{digest}"));
        self.client.exists(&url, &self.endpoint, self.monitor)
    }

    /// Where a blob is to be sent.
    fn upload_place(&self, digest: &Digest) -> Result<String, ImageError> {
        let url = self.client.url(&self.endpoint, "blobs/uploads/");
        let (_, location) = self.send(Method::POST, &url, BYTES, &[])?;
        let location = location.ok_or_else(|| ImageError::NoUploadLocation {
            what: format!("blob {digest}"),
            registry: self.endpoint.host.clone(),
        })?;
        let separator = if location.contains('?') { '&' } else { '?' };
        Ok(format!("{location}{separator}digest={digest}"))
    }

    /// Puts a manifest; whether the registry knows that it refers to another one.
    fn put_manifest(
        &self,
        version: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<bool, ImageError> {
        let url = self
            .client
            .url(&self.endpoint, &format!("manifests/{version}"));
        let (knows, _) = self.send(Method::PUT, &url, media_type, bytes)?;
        Ok(knows)
    }

    fn send(
        &self,
        method: Method,
        url: &str,
        content_type: &str,
        body: &[u8],
    ) -> Result<(bool, Option<String>), ImageError> {
        let upload = Upload {
            method,
            url,
            endpoint: &self.endpoint,
            content_type,
            body,
        };
        let (response, location) = self.client.upload(&upload, self.monitor)?;
        Ok((response.headers().contains_key("oci-subject"), location))
    }
}

fn describe(media_type: &str, digest: &Digest, size: u64) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: digest.to_string(),
        size,
        artifact_type: None,
        annotations: BTreeMap::new(),
    }
}
