//! Artifacts beside an image: manifests that refer to it, with files that have names.
//!
//! Nothing is believed here but digests: what an artifact is worth is another crate's to say.

use super::referrers::{Descriptor, Referrers};
use super::{RemoteRepository, mirror::Endpoint};
use crate::digest::Hasher;
use crate::document::{self, Repository as _, json};
use crate::{Digest, ImageError, Options, Reference};
use cos_events::{Monitor, Task, warn};
use fs_err::{File, OpenOptions};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Write as _};
use std::path::Path;
use std::sync::Arc;

/// Annotation with the name of a file (image-spec, "Pre-Defined Annotation Keys").
pub(super) const TITLE: &str = "org.opencontainers.image.title";
/// Files of one artifact.
const MAX_FILES: usize = 16;
const CHUNK: usize = 256 << 10;

/// A manifest that refers to another one.
#[derive(Debug, Clone)]
pub struct Artifact {
    /// Digest of its manifest.
    pub digest: Digest,
    /// Its files, each of another name.
    pub files: Vec<ArtifactFile>,
    /// Annotations of its manifest.
    pub annotations: BTreeMap<String, String>,
}

/// A file of an artifact, not fetched yet.
#[derive(Clone)]
pub struct ArtifactFile {
    repository: Arc<RemoteRepository>,
    /// Its name.
    pub name: String,
    /// What it is.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// How many bytes it has.
    pub size: u64,
}

impl fmt::Debug for ArtifactFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArtifactFile")
            .field("name", &self.name)
            .field("digest", &self.digest)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    artifact_type: Option<String>,
    subject: Option<Subject>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Subject {
    digest: String,
}

/// Fetches the manifests of this type that refer to `digest` in the repository of `reference`, from its mirrors
/// and the registry itself, in the order in which they are listed. Each is by itself: one that cannot be used
/// does not hide the others. A host that cannot be asked is told as a warning where another one has some.
pub fn artifacts(
    reference: &Reference,
    digest: &Digest,
    artifact_type: &str,
    options: &Options,
    monitor: &dyn Monitor,
) -> Result<Vec<Result<Artifact, ImageError>>, ImageError> {
    let repository = Arc::new(RemoteRepository::new(reference, options, monitor)?);
    let referrers = Referrers {
        repository: &repository,
        digest,
        what: "artifacts of one type",
        limit: options.limits.artifacts,
        monitor,
    };
    let mut listed: Vec<(&Endpoint, Descriptor)> = Vec::new();
    let mut failure = None;
    let wanted = |it: &Descriptor| it.artifact_type.as_deref() == Some(artifact_type);
    for endpoint in &repository.endpoints {
        match referrers.list(endpoint, 0, &wanted) {
            Ok(found) => {
                for one in found {
                    if !listed.iter().any(|(_, known)| known.digest == one.digest) {
                        listed.push((endpoint, one));
                    }
                }
            }
            Err(ImageError::Cancelled(cancelled)) => return Err(cancelled.into()),
            Err(error) => failure = Some((endpoint, error)),
        }
    }
    match failure {
        Some((_, error)) if listed.is_empty() => return Err(error),
        // A bound is not a matter of who is asked.
        Some((_, error @ ImageError::TooManyReferrers { .. })) => return Err(error),
        Some((endpoint, error)) => {
            let text = format!("{} did not list all artifacts: {error}", endpoint.host);
            warn(monitor, text);
        }
        None => {}
    }
    referrers.count(listed.len())?;
    let mut read = Vec::new();
    for (endpoint, descriptor) in listed {
        let artifact = fetch(
            &repository,
            endpoint,
            &descriptor,
            artifact_type,
            digest,
            monitor,
        );
        match artifact {
            Err(ImageError::Cancelled(cancelled)) => return Err(cancelled.into()),
            Err(error) if error.is_transient() => return Err(error),
            artifact => read.push(artifact),
        }
    }
    Ok(read)
}

fn fetch(
    repository: &Arc<RemoteRepository>,
    endpoint: &Endpoint,
    descriptor: &Descriptor,
    artifact_type: &str,
    subject: &Digest,
    monitor: &dyn Monitor,
) -> Result<Artifact, ImageError> {
    let digest: Digest = descriptor.digest.parse()?;
    let bytes = repository.by_digest(endpoint, &digest, monitor)?;
    let manifest = read(&bytes, &digest, artifact_type, subject)?;
    let mut files: Vec<ArtifactFile> = Vec::new();
    for layer in manifest.layers {
        let bad = |reason| bad(&digest, reason);
        let name = layer.annotations.unwrap_or_default().remove(TITLE);
        let name = name.ok_or_else(|| bad("it has a file without a name"))?;
        if files.iter().any(|it| it.name == name) {
            return Err(bad("it has two files of one name"));
        }
        files.push(ArtifactFile {
            repository: repository.clone(),
            name,
            media_type: layer.media_type,
            digest: layer.digest.parse()?,
            size: layer.size,
        });
    }
    Ok(Artifact {
        digest,
        files,
        annotations: manifest.annotations,
    })
}

fn bad(digest: &Digest, reason: &'static str) -> ImageError {
    ImageError::BadArtifact {
        artifact: digest.to_string(),
        reason,
    }
}

/// Reads the manifest of an artifact of this type that refers to `subject`.
fn read(
    bytes: &[u8],
    digest: &Digest,
    artifact_type: &str,
    subject: &Digest,
) -> Result<Manifest, ImageError> {
    let manifest: Manifest = json(bytes, || format!("artifact {digest}"))?;
    if manifest.artifact_type.as_deref() != Some(artifact_type) {
        return Err(bad(digest, "it is of another type than it is listed with"));
    }
    let about = manifest.subject.as_ref().map(|it| it.digest.as_str());
    if about != Some(subject.to_string().as_str()) {
        return Err(bad(digest, "it refers to something else"));
    }
    if manifest.layers.len() > MAX_FILES {
        return Err(bad(digest, "it has too many files"));
    }
    Ok(manifest)
}

impl Artifact {
    /// The file of this name.
    pub fn file(&self, name: &str) -> Option<&ArtifactFile> {
        self.files.iter().find(|file| file.name == name)
    }
}

impl ArtifactFile {
    /// The whole file, which may have `limit` bytes.
    pub fn bytes(&self, limit: u64, monitor: &dyn Monitor) -> Result<Vec<u8>, ImageError> {
        self.bounded(limit)?;
        let mut bytes = Vec::new();
        let mut reader = self.repository.blob(&self.digest, self.size, monitor)?;
        reader.read_to_end(&mut bytes).map_err(|it| self.lost(it))?;
        self.complete(bytes.len() as u64)?;
        document::check_digest(self.name.clone(), &self.digest, &bytes)?;
        Ok(bytes)
    }

    /// Fetches the file, which may have `limit` bytes, to `path`. What is there already is taken for the
    /// beginning that an earlier try left, and believed as little as what is fetched. When the line is cut or
    /// the user stops it, what came stays there for the next try; what is wrong is removed.
    pub fn save(&self, path: &Path, limit: u64, monitor: &dyn Monitor) -> Result<(), ImageError> {
        self.bounded(limit)?;
        loop {
            let resumed = fs_err::metadata(path).is_ok_and(|it| it.len() > 0);
            let error = match self.save_once(path, monitor) {
                Ok(()) => return Ok(()),
                Err(error @ ImageError::Cancelled(_)) => return Err(error),
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => error,
            };
            fs_err::remove_file(path).map_err(|source| write_failed(path, source))?;
            // The beginning may be at fault, once.
            if !resumed || !matches!(error, ImageError::WrongDigest { .. }) {
                return Err(error);
            }
        }
    }

    fn save_once(&self, path: &Path, monitor: &dyn Monitor) -> Result<(), ImageError> {
        let failed = |source| write_failed(path, source);
        let mut file = open(path, self.size).map_err(failed)?;
        let task = Task::bytes(monitor, format!("fetch {}", self.name), Some(self.size));
        let mut hasher = Hasher::new(self.digest.algorithm());
        let mut buffer = vec![0; CHUNK];
        let mut done = 0;
        loop {
            monitor.checkpoint()?;
            match file.read(&mut buffer).map_err(failed)? {
                0 => break,
                read => {
                    hasher.update(&buffer[..read]);
                    done += read as u64;
                    task.advance(read as u64);
                }
            }
        }
        let mut reader = self
            .repository
            .open_blob(&self.digest, self.size, done, monitor)?;
        loop {
            monitor.checkpoint()?;
            match reader.read(&mut buffer).map_err(|it| self.lost(it))? {
                0 => break,
                read => {
                    hasher.update(&buffer[..read]);
                    done += read as u64;
                    file.write_all(&buffer[..read]).map_err(failed)?;
                    task.advance(read as u64);
                }
            }
        }
        self.complete(done)?;
        let actual = hasher.finish();
        if actual != self.digest {
            return Err(ImageError::WrongDigest {
                what: self.name.clone(),
                expected: self.digest.clone(),
                actual,
            });
        }
        file.sync_all().map_err(failed)?;
        task.finish();
        Ok(())
    }

    fn bounded(&self, limit: u64) -> Result<(), ImageError> {
        if self.size <= limit {
            return Ok(());
        }
        Err(ImageError::DocumentTooLarge {
            what: self.name.clone(),
            limit,
        })
    }

    fn complete(&self, actual: u64) -> Result<(), ImageError> {
        if actual == self.size {
            return Ok(());
        }
        Err(ImageError::BlobSize {
            blob: self.name.clone(),
            expected: self.size,
            actual,
        })
    }

    fn lost(&self, error: io::Error) -> ImageError {
        ImageError::blob(self.name.clone(), error)
    }
}

fn open(path: &Path, size: u64) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let file = options.open(path)?;
    if file.metadata()?.len() > size {
        file.set_len(0)?;
    }
    Ok(file)
}

fn write_failed(path: &Path, source: io::Error) -> ImageError {
    ImageError::SaveBlob {
        path: path.to_path_buf(),
        source,
    }
}

/// Reads a manifest as one of an artifact; the number of its files. For the fuzz target.
#[cfg(feature = "fuzzing")]
pub(crate) fn read_artifact(bytes: &[u8]) -> usize {
    let digest = Digest::sha256(b"");
    let read = read(bytes, &digest, "application/vnd.example", &digest);
    read.map_or(0, |manifest| manifest.layers.len())
}
