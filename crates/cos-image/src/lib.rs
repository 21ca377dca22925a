//! OCI images: from a reference to the merged file tree, in one stream.
//!
//! [`resolve`] finds out what a [`Source`] names (digest, platform, layers) without fetching
//! layers; [`load`] fetches, checks, decompresses and reads the layers in parallel, hands file
//! contents to a [`ContentStore`], and merges the rest into a [`Tree`]. Nothing is unpacked to
//! disk, and no layer is held in memory or kept.

mod archive;
mod digest;
mod directory;
mod document;
mod engine;
mod error;
#[cfg(any(feature = "fuzzing", test))]
pub mod fuzzing;
#[cfg(test)]
mod hostile;
mod layer;
mod layout;
mod limits;
mod load;
mod merge;
mod platform;
mod reference;
mod registry;
mod source;

pub use digest::{Algorithm, Digest};
pub use directory::overlay_directory;
pub use error::ImageError;
pub use layer::EntryError;
pub use layer::decode::Compression;
pub use limits::Limits;
pub use load::{Image, Resolved, load, resolve};
pub use merge::MergeError;
pub use oci_spec::image::ImageConfiguration;
pub use platform::{Platform, PlatformChoice};
pub use reference::Reference;
pub use registry::{
    Artifact, ArtifactFile, Attachment, FileContent, NewArtifact, NewFile, ProxyConfig, Publisher,
    RegistryConfig, artifacts, list_tags, signatures,
};
pub use source::{Engine, Selector, Source};

use std::ffi::OsString;
use std::path::PathBuf;

#[expect(unused_imports, reason = "named in the documentation above")]
use cos_tree::{ContentStore, Tree};

/// How images are read.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which image of an index is wanted.
    pub platform: PlatformChoice,
    /// Where an engine's image is kept while it is read.
    pub temp_dir: PathBuf,
    /// Where `docker` and `podman` are looked for, colon-separated like `PATH`.
    pub tool_path: Option<OsString>,
    /// Bounds on what an image may bring.
    pub limits: Limits,
    /// How registries are reached.
    pub registry: RegistryConfig,
    /// Layers read at once; `None` lets the number of processors decide.
    pub parallel_layers: Option<usize>,
}

impl Options {
    /// Defaults for a platform.
    pub fn new(platform: PlatformChoice, temp_dir: impl Into<PathBuf>) -> Self {
        Self {
            platform,
            temp_dir: temp_dir.into(),
            tool_path: None,
            limits: Limits::default(),
            registry: RegistryConfig::default(),
            parallel_layers: None,
        }
    }
}
