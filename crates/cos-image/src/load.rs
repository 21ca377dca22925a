//! From a source to an image: resolve first, then read all layers at once and merge them.

use crate::archive::{Archive, DockerArchive};
use crate::document::{self, Found, Repository};
use crate::layer::decode::{Context, Layer, decode};
use crate::layer::entry::Entry;
use crate::layout::Layout;
use crate::limits::Budget;
use crate::merge::{DirectoryRule, Merger};
use crate::{
    Digest, ImageConfiguration, ImageError, Options, Platform, Selector, Source, directory, engine,
    registry,
};
use cos_events::{Event, Monitor, Task};
use cos_tree::{ContentStore, Metadata, Tree};
use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// An image that was found and not yet read.
pub struct Resolved {
    source: Source,
    origin: Origin,
    layers: Vec<Layer>,
    digest: Option<Digest>,
    reference_digest: Option<Digest>,
    config: Option<ImageConfiguration>,
    platform: Platform,
    annotations: BTreeMap<String, String>,
}

enum Origin {
    Repository(Box<dyn Repository>),
    DockerArchive(DockerArchive),
    Directory(PathBuf),
}

impl Resolved {
    /// What the user named, with its defaults filled in.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Digest of the image's manifest; directories and old archives have none.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Digest of what the reference names: of the index, where there is one. Signatures are on this.
    pub fn reference_digest(&self) -> Option<&Digest> {
        self.reference_digest.as_ref()
    }

    /// The image's configuration; directories have none.
    pub fn config(&self) -> Option<&ImageConfiguration> {
        self.config.as_ref()
    }

    /// What the image is for.
    pub fn platform(&self) -> &Platform {
        &self.platform
    }

    /// Annotations of the image's manifest.
    pub fn annotations(&self) -> &BTreeMap<String, String> {
        &self.annotations
    }

    /// Keeps what is fetched from a registry in a directory, so that a later run need not fetch it again.
    pub fn keep_blobs(&mut self, directory: PathBuf) {
        if let Origin::Repository(repository) = &mut self.origin {
            repository.keep_blobs(directory);
        }
    }

    /// Number of layers.
    pub fn layer_count(&self) -> usize {
        self.layers.len()
    }

    /// Bytes to fetch, where known beforehand.
    pub fn size(&self) -> Option<u64> {
        self.layers
            .iter()
            .try_fold(0_u64, |sum, layer| sum.checked_add(layer.blob.as_ref()?.1))
    }
}

impl fmt::Debug for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolved")
            .field("source", &self.source)
            .field("digest", &self.digest)
            .field("layers", &self.layers)
            .finish_non_exhaustive()
    }
}

/// An image that was read.
#[derive(Debug)]
pub struct Image {
    /// The merged tree of all layers.
    pub tree: Tree,
    /// Where it came from, as [`Source`] writes it.
    pub reference: String,
    /// Digest of its manifest; directories and old archives have none.
    pub digest: Option<Digest>,
    /// Digest of what the reference names: of the index, where there is one.
    pub reference_digest: Option<Digest>,
    /// Its configuration; directories have none.
    pub config: Option<ImageConfiguration>,
    /// What it is for.
    pub platform: Platform,
}

/// Finds out what a source names. Of a registry, only manifests and the configuration are fetched; an
/// engine's image is saved to a temporary file.
pub fn resolve(
    source: &Source,
    options: &Options,
    monitor: &dyn Monitor,
) -> Result<Resolved, ImageError> {
    let archive =
        |path: &Path, temporary| Archive::open_file(path, temporary, &options.limits, monitor);
    match source {
        Source::Registry(reference) => {
            let (repository, found) = registry::resolve(reference, options, monitor)?;
            Ok(from_repository(source, Box::new(repository), found))
        }
        Source::OciLayout(path, selector) => {
            let layout = Layout::Directory(path.clone());
            from_layout(source, layout, selector, options, monitor)
        }
        Source::OciArchive(path, selector) => {
            let layout = Layout::Archive(archive(path, None)?);
            from_layout(source, layout, selector, options, monitor)
        }
        Source::DockerArchive(path, selector) => {
            from_archive(source, archive(path, None)?, selector, options, monitor)
        }
        Source::Engine(engine, name) => {
            let file = engine::save(*engine, name, options, monitor)?;
            let path = file.to_path_buf();
            let archive = archive(&path, Some(file))?;
            from_archive(source, archive, &Selector::Only, options, monitor)
        }
        Source::Directory(path) => Ok(Resolved {
            source: source.clone(),
            origin: Origin::Directory(path.clone()),
            layers: Vec::new(),
            digest: None,
            reference_digest: None,
            config: None,
            platform: options.platform.platform().clone(),
            annotations: BTreeMap::new(),
        }),
    }
}

fn from_repository(source: &Source, repository: Box<dyn Repository>, found: Found) -> Resolved {
    Resolved {
        source: source.clone(),
        origin: Origin::Repository(repository),
        layers: found.layers,
        digest: Some(found.digest),
        reference_digest: Some(found.reference_digest),
        platform: document::config_platform(&found.config),
        config: Some(found.config),
        annotations: found.annotations,
    }
}

fn from_layout(
    source: &Source,
    layout: Layout,
    selector: &Selector,
    options: &Options,
    monitor: &dyn Monitor,
) -> Result<Resolved, ImageError> {
    let found = layout.resolve(selector, &source.to_string(), options, monitor)?;
    Ok(from_repository(source, Box::new(layout), found))
}

/// Newer versions of `docker save` write an OCI layout with Docker's `manifest.json` beside it.
fn from_archive(
    source: &Source,
    archive: Archive,
    selector: &Selector,
    options: &Options,
    monitor: &dyn Monitor,
) -> Result<Resolved, ImageError> {
    if archive.contains(b"oci-layout") && archive.contains(b"index.json") {
        return from_layout(source, Layout::Archive(archive), selector, options, monitor);
    }
    let name = source.to_string();
    let (archive, config, layers) = DockerArchive::resolve(archive, selector, &name, options)?;
    Ok(Resolved {
        source: source.clone(),
        origin: Origin::DockerArchive(archive),
        layers,
        digest: None,
        reference_digest: None,
        platform: document::config_platform(&config),
        config: Some(config),
        annotations: BTreeMap::new(),
    })
}

/// Reads an image: file contents to `store`, everything else into the tree.
pub fn load(
    resolved: Resolved,
    store: &dyn ContentStore,
    options: &Options,
    monitor: &dyn Monitor,
) -> Result<Image, ImageError> {
    let layers = match &resolved.origin {
        Origin::Directory(path) => {
            let entries = directory::read_directory(path, store, &options.limits, monitor)?;
            vec![(path.display().to_string(), entries)]
        }
        _ => read_layers(&resolved, store, options, monitor)?,
    };
    let mut tree = Tree::new(Metadata::default_directory(0));
    let mut merger = Merger::new(&mut tree, &options.limits, DirectoryRule::Replace);
    for (layer, entries) in layers {
        monitor.checkpoint()?;
        merger
            .apply(entries)
            .map_err(|source| ImageError::Merge { layer, source })?;
    }
    Ok(Image {
        tree,
        reference: resolved.source.to_string(),
        digest: resolved.digest,
        reference_digest: resolved.reference_digest,
        config: resolved.config,
        platform: resolved.platform,
    })
}

/// Passes everything on, and asks to stop as soon as one layer has failed.
struct UntilFailure<'m> {
    monitor: &'m dyn Monitor,
    failed: AtomicBool,
}

impl Monitor for UntilFailure<'_> {
    fn report(&self, event: Event) {
        self.monitor.report(event);
    }

    fn is_cancelled(&self) -> bool {
        self.failed.load(Ordering::Relaxed) || self.monitor.is_cancelled()
    }
}

type LayerResult = Result<Vec<Entry>, ImageError>;

/// Reads all layers, several at once, the largest first.
fn read_layers(
    resolved: &Resolved,
    store: &dyn ContentStore,
    options: &Options,
    monitor: &dyn Monitor,
) -> Result<Vec<(String, Vec<Entry>)>, ImageError> {
    let budget = Budget::new(&options.limits);
    let watch = UntilFailure {
        monitor,
        failed: AtomicBool::new(false),
    };
    let context = Context {
        store,
        budget: &budget,
        monitor: &watch,
    };
    let mut order: Vec<usize> = (0..resolved.layers.len()).collect();
    let size = |index: usize| {
        resolved.layers[index]
            .blob
            .as_ref()
            .map_or(0, |(_, size)| *size)
    };
    order.sort_by_key(|&index| std::cmp::Reverse(size(index)));
    let results: Vec<Mutex<Option<LayerResult>>> = order.iter().map(|_| Mutex::new(None)).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(&index) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            let result = read_layer(resolved, index, context);
            if result.is_err() {
                watch.failed.store(true, Ordering::Relaxed);
            }
            let mut slot = results[index]
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *slot = Some(result);
        }
    };
    std::thread::scope(|scope| {
        // This thread is one of the workers.
        for _ in 1..workers(options, order.len()) {
            let builder = std::thread::Builder::new().name("layer".into());
            builder
                .spawn_scoped(scope, work)
                .map_err(|source| ImageError::Thread { source })?;
        }
        work();
        Ok::<(), ImageError>(())
    })?;
    monitor.checkpoint()?;
    collect(&resolved.layers, results)
}

/// All entries, or the reason of the first layer that failed by itself and not because of another.
fn collect(
    layers: &[Layer],
    results: Vec<Mutex<Option<LayerResult>>>,
) -> Result<Vec<(String, Vec<Entry>)>, ImageError> {
    let mut entries = Vec::with_capacity(layers.len());
    let mut cancelled = None;
    for (layer, result) in layers.iter().zip(results) {
        match result.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(Ok(read)) => entries.push((layer.name(), read)),
            Some(Err(ImageError::Cancelled(reason))) => cancelled = Some(reason),
            Some(Err(error)) => return Err(error),
            None => cancelled = Some(cos_events::Cancelled),
        }
    }
    match cancelled {
        Some(reason) => Err(reason.into()),
        None => Ok(entries),
    }
}

/// Each worker keeps about two processors busy; more than a few connections do not help either.
fn workers(options: &Options, layers: usize) -> usize {
    let default = || {
        std::thread::available_parallelism()
            .map_or(2, usize::from)
            .min(4)
    };
    options
        .parallel_layers
        .unwrap_or_else(default)
        .clamp(1, layers.max(1))
}

fn read_layer(resolved: &Resolved, index: usize, context: Context<'_>) -> LayerResult {
    context.monitor.checkpoint()?;
    let layer = &resolved.layers[index];
    let short = match &layer.blob {
        Some((digest, _)) => digest.short(),
        None => layer.diff_id.short(),
    };
    let (blob, size): (Box<dyn Read + Send + '_>, u64) = match (&resolved.origin, &layer.blob) {
        (Origin::Repository(repository), Some((digest, size))) => {
            (repository.blob(digest, *size, context.monitor)?, *size)
        }
        (Origin::DockerArchive(archive), _) => {
            let (reader, size) = archive.layer(index)?;
            (reader, size)
        }
        // A repository's layers have blobs, and a directory has no layers.
        _ => (Box::new(std::io::empty()), 0),
    };
    let task = Task::bytes(context.monitor, format!("read layer {short}"), Some(size));
    let entries = decode(layer, blob, context, &task)?;
    task.finish();
    Ok(entries)
}
