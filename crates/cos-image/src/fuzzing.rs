//! Doors for the fuzz targets, which feed bytes to the parts that read what comes from outside.

use crate::document::{self, First, Repository};
use crate::layer::decode::{Context, Layer, decode};
use crate::limits::Budget;
use crate::merge::{DirectoryRule, Merger};
use crate::{Digest, ImageError, Limits, Options};
use cos_events::{Monitor, Silent, Task};
use cos_tree::{ContentStore, Metadata, Tree};
use std::io::{Cursor, Read};

/// Reads blobs as layers, bottom first, and merges them.
pub fn merge_layers(
    blobs: &[&[u8]],
    store: &dyn ContentStore,
    limits: &Limits,
) -> Result<Tree, ImageError> {
    let budget = Budget::new(limits);
    let mut tree = Tree::new(Metadata::default_directory(0));
    let mut merger = Merger::new(&mut tree, limits, DirectoryRule::Replace);
    for blob in blobs {
        let layer = Layer {
            blob: Some((Digest::sha256(blob), blob.len() as u64)),
            compression: None,
            diff_id: Digest::sha256(blob),
        };
        let context = Context {
            store,
            budget: &budget,
            monitor: &Silent,
        };
        let task = Task::bytes(&Silent, "fuzz", None);
        let entries = decode(&layer, Box::new(*blob), context, &task)?;
        merger.apply(entries).map_err(|source| ImageError::Merge {
            layer: layer.name(),
            source,
        })?;
    }
    Ok(tree)
}

/// Everything that a document refers to is this one configuration.
struct OneConfig<'c>(&'c [u8]);

impl Repository for OneConfig<'_> {
    fn manifest(&self, _: &Digest, _: u64, _: &dyn Monitor) -> Result<Vec<u8>, ImageError> {
        Ok(self.0.to_vec())
    }

    fn blob<'r>(
        &'r self,
        _: &Digest,
        _: u64,
        _: &'r dyn Monitor,
    ) -> Result<Box<dyn Read + Send + 'r>, ImageError> {
        Ok(Box::new(Cursor::new(self.0)))
    }
}

/// Reads what a registry says are the signatures of an image; the number of entries found.
pub fn read_signature_lists(manifest: &[u8], index: &[u8], link: &str) -> usize {
    crate::registry::read_signature_lists(manifest, index, link)
}

/// Reads a manifest or index whose configuration has these bytes; the number of layers found.
pub fn read_documents(
    manifest: &[u8],
    config: &[u8],
    options: &Options,
) -> Result<usize, ImageError> {
    let first = First {
        bytes: manifest.to_vec(),
        media_type: None,
    };
    let found = document::resolve(&OneConfig(config), first, "fuzz", options, &Silent)?;
    Ok(found.layers.len())
}
