//! What can go wrong between a reference and its tree.

use crate::Digest;
use crate::layer::EntryError;
use crate::layer::decode::Compression;
use crate::merge::MergeError;
use crate::source::Engine;
use cos_events::Cancelled;
use cos_sys::tool::ToolError;
use std::error::Error;
use std::io;
use std::path::PathBuf;

/// Why an image could not be read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum ImageError {
    /// The operation was cancelled.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),

    // What the user wrote.
    #[error("{text} is not a digest")]
    BadDigest { text: String },
    #[error("{text} is not a platform")]
    BadPlatform { text: String },
    #[error("{text} is not an image reference: {reason}")]
    BadReference { text: String, reason: &'static str },
    #[error("{text} is not an image source: {reason}")]
    BadSource { text: String, reason: &'static str },
    #[error("{text} is a path, not an image reference")]
    PathAsReference { text: String },
    #[error("{mirror} is not a mirror for {registry}")]
    BadMirror { registry: String, mirror: String },
    #[error("cannot keep what is fetched in {}", .path.display())]
    KeepBlob { path: PathBuf, source: io::Error },

    // Documents.
    #[error("{what} is not valid")]
    Document {
        what: String,
        source: serde_json::Error,
    },
    #[error("{what} is over {limit} bytes")]
    DocumentTooLarge { what: String, limit: u64 },
    #[error("{image} has a manifest of schema version 1")]
    SchemaVersion1 { image: String },
    #[error("{image} has a manifest of unsupported type {media_type}")]
    UnsupportedManifest { image: String, media_type: String },
    #[error("{image} has a manifest that can be read in two ways")]
    AmbiguousManifest { image: String },
    #[error("{image} has an index inside an index inside an index, or one that leads nowhere")]
    NestedIndex { image: String },
    #[error("{image} is no container image: its configuration is of type {media_type}")]
    NotAnImage { image: String, media_type: String },
    #[error("{image} has no image for {wanted}{}", available_list(.available))]
    NoSuchPlatform {
        image: String,
        wanted: String,
        available: Vec<String>,
    },
    #[error("{image} has {count} layers, over the limit of {limit}")]
    TooManyLayers {
        image: String,
        count: usize,
        limit: usize,
    },
    #[error("{image} has {layers} layers, but its configuration lists {diff_ids}")]
    LayerCount {
        image: String,
        layers: usize,
        diff_ids: usize,
    },
    #[error("layer {layer} may not be distributed and is not in the registry")]
    ForeignLayer { layer: String },
    #[error("layer {layer} is of unsupported type {media_type}")]
    UnsupportedLayer { layer: String, media_type: String },

    // Bytes.
    #[error("{what} has digest {actual}, not {expected}")]
    WrongDigest {
        what: String,
        expected: Digest,
        actual: Digest,
    },
    #[error("{blob} has {actual} bytes, not {expected}")]
    BlobSize {
        blob: String,
        expected: u64,
        actual: u64,
    },
    #[error("cannot read {blob}")]
    Blob { blob: String, source: io::Error },
    #[error("cannot decompress layer {layer} as {compression}")]
    Decompress {
        layer: String,
        compression: Compression,
        source: io::Error,
    },
    #[error("layer {layer} is declared with {declared}, but has {found}")]
    CompressionMismatch {
        layer: String,
        declared: Compression,
        found: Compression,
    },
    #[error("layer {layer} is compressed with bzip2 or xz, which images do not use")]
    UnsupportedCompression { layer: String },
    #[error("layer {layer}, {at}")]
    Entry {
        layer: String,
        at: String,
        source: EntryError,
    },
    #[error("cannot apply layer {layer}")]
    Merge { layer: String, source: MergeError },
    #[error("cannot start a thread")]
    Thread { source: io::Error },

    // Registries.
    #[error("cannot reach {url}")]
    Request { url: String, source: ureq::Error },
    #[error("the connection to {url} was lost")]
    Transfer { url: String, source: io::Error },
    #[error("{url} answered {status}{}", .message.as_ref().map(|m| format!(" ({m})")).unwrap_or_default())]
    Status {
        url: String,
        status: u16,
        message: Option<String>,
    },
    #[error("cannot follow {url}: {reason}")]
    Redirect { url: String, reason: &'static str },
    #[error("cannot resume {url}: {reason}")]
    BadRange { url: String, reason: &'static str },
    #[error("{image} has more than {limit} {what}")]
    TooManyReferrers {
        image: String,
        what: &'static str,
        limit: usize,
    },
    #[error("{image} has a list of referrers of more than {limit} pages")]
    EndlessReferrers { image: String, limit: usize },
    #[error("artifact {artifact} cannot be used: {reason}")]
    BadArtifact {
        artifact: String,
        reason: &'static str,
    },
    #[error("cannot write {}", .path.display())]
    SaveBlob { path: PathBuf, source: io::Error },
    #[error("cannot put {what} into {registry}: it does not say where to")]
    NoUploadLocation { what: String, registry: String },
    #[error("{url} is plain HTTP")]
    PlainHttp { url: String },
    #[error("{registry} wants credentials, and there are none")]
    NoCredentials { registry: String },
    #[error("{registry} refuses, and does not say how to log in")]
    UnknownChallenge { registry: String },
    #[error("the token that {registry} names cannot be used")]
    BadToken {
        registry: String,
        source: serde_json::Error,
    },
    #[error("cannot read credentials from {}", .path.display())]
    CredentialFile { path: PathBuf, source: io::Error },
    #[error("the credentials for {key} in {} are not valid", .path.display())]
    BadCredentials { path: PathBuf, key: String },
    #[error("credential helper {helper} failed")]
    CredentialHelper {
        helper: String,
        source: Box<dyn Error + Send + Sync>,
    },
    #[error("cannot use the certificates in {}", .path.display())]
    CaFile {
        path: PathBuf,
        source: Box<dyn Error + Send + Sync>,
    },
    #[error("the proxy's URL is not valid")]
    Proxy { source: ureq::Error },

    // Local sources.
    #[error("cannot read {}", .path.display())]
    ReadLayout { path: PathBuf, source: io::Error },
    #[error("{image} has layout version {version}, not 1")]
    LayoutVersion { image: String, version: String },
    #[error("cannot read archive {}", .path.display())]
    ReadArchive { path: PathBuf, source: io::Error },
    #[error("archive {} is compressed as a whole", .path.display())]
    CompressedArchive { path: PathBuf },
    #[error("archive {} has more than {limit} members", .path.display())]
    TooManyMembers { path: PathBuf, limit: usize },
    #[error("archive {} has no {member}", .path.display())]
    NoSuchMember { path: PathBuf, member: String },
    #[error("there is no {image}{}", available_list(.available))]
    NotInArchive {
        image: String,
        available: Vec<String>,
    },
    #[error("{image} holds several images{}", available_list(.available))]
    SeveralImages {
        image: String,
        available: Vec<String>,
    },
    #[error("cannot read {}", .path.display())]
    ReadDirectory { path: PathBuf, source: io::Error },
    #[error("{} changed while it was read", .path.display())]
    Changing { path: PathBuf },
    #[error("cannot make a temporary file in {}", .directory.display())]
    TempFile {
        directory: PathBuf,
        source: io::Error,
    },
    #[error("{} did not give the image", .engine.command())]
    Engine { engine: Engine, source: ToolError },
}

fn available_list(available: &[String]) -> String {
    if available.is_empty() {
        String::new()
    } else {
        format!(" (there is: {})", available.join(", "))
    }
}

impl ImageError {
    /// A failed read of a blob, or the typed error that the stream wrapped.
    pub(crate) fn blob(blob: String, error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(inner) => inner,
            Err(source) => Self::Blob { blob, source },
        }
    }

    pub(crate) fn entry(layer: String, at: String, source: EntryError) -> Self {
        match source {
            EntryError::Cancelled(cancelled) => cancelled.into(),
            source => Self::Entry { layer, at, source },
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::PathAsReference { text } => {
                format!("did you mean dir:{text}, oci-layout:{text} or oci-archive:{text}?")
            }
            Self::BadPlatform { .. } => "a platform is written like linux/arm64".into(),
            Self::SchemaVersion1 { .. } => {
                "push the image again with a tool of this decade: it is in a format of 2015".into()
            }
            Self::NoSuchPlatform { .. } => {
                "choose another platform, or build the image for this one".into()
            }
            Self::SeveralImages { .. } | Self::NotInArchive { .. } => {
                "name one of them behind a colon: oci-layout:PATH:TAG".into()
            }
            Self::CompressedArchive { .. } => "decompress it first (gunzip, zstd -d)".into(),
            Self::Status { status, url, .. } => return status_hint(*status, url),
            Self::PlainHttp { url } => format!(
                "TLS is required unless the registry is named insecure; name {} if you trust the network to it",
                authority(url)
            ),
            Self::NoCredentials { registry } => login_hint(registry),
            Self::CredentialHelper { helper, .. } => {
                format!(
                    "docker-credential-{helper} must be installed and unlocked, or removed from the configuration"
                )
            }
            Self::Request { source, url } => return request_hint(source, url),
            Self::WrongDigest { .. } | Self::BlobSize { .. } => {
                "the content was changed or damaged on its way; a mirror may be the cause".into()
            }
            Self::ReadDirectory { source, .. }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                "some files are for root only: run as root, or build from a container image".into()
            }
            Self::Changing { .. } => "nothing may write to the directory meanwhile".into(),
            Self::Engine { source, .. } => return source.hint(),
            _ => return None,
        })
    }
}

fn login_hint(registry: &str) -> String {
    format!("log in first: docker login {registry}, or podman login {registry}")
}

fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

fn status_hint(status: u16, url: &str) -> Option<String> {
    Some(match status {
        401 | 403 => format!(
            "the image does not exist, or needs other credentials; {}",
            login_hint(authority(url))
        ),
        404 => "check the repository's name and the tag".into(),
        416 => "the registry's copy is shorter than its manifest says; push the image again".into(),
        429 => "the registry limits how much may be fetched; log in, or wait".into(),
        500..=599 => "the registry has a problem of its own; try again later".into(),
        _ => return None,
    })
}

fn request_hint(source: &ureq::Error, url: &str) -> Option<String> {
    let host = authority(url);
    match source {
        ureq::Error::HostNotFound => Some(format!("{host} is not known to the name service")),
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => Some(format!(
            "if {host} has a certificate of its own authority, give that authority's file; if it speaks plain HTTP, name it insecure"
        )),
        ureq::Error::Rustls(_) | ureq::Error::Tls(_) => Some(format!(
            "if {host} has a certificate of its own authority, give that authority's file"
        )),
        _ => None,
    }
}
