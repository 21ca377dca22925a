//! Doors for the fuzz targets, which feed bytes to the parts that read what comes from outside.

use crate::document::{self, First, Repository};
use crate::layer::decode::{Context, Layer, decode};
use crate::layer::entry::read_content;
use crate::layer::tar::{Input, MemberKind, TarReader};
use crate::limits::Budget;
use crate::merge::{DirectoryRule, Merger};
use crate::{Digest, ImageError, Limits, Options};
use cos_events::{Monitor, Silent, Task};
use cos_tree::{Content, ContentId, ContentStore, ContentWriter, Metadata, Tree, Xattrs};
use std::io::{self, Cursor, Read};
use std::sync::Mutex;

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
        let layer = layer(blob);
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

fn layer(blob: &[u8]) -> Layer {
    Layer {
        blob: Some((Digest::sha256(blob), blob.len() as u64)),
        compression: None,
        diff_id: Digest::sha256(blob),
    }
}

/// One member of a layer as the reader understands it, before anything is made of its path.
#[derive(Debug)]
pub struct LayerMember {
    /// The path as it is in the archive.
    pub path: Vec<u8>,
    /// `-` file, `d` directory, `l` symbolic link, `h` hard link, `c` and `b` devices, `p` FIFO.
    pub kind: char,
    /// Target of a link.
    pub link: Vec<u8>,
    /// Permissions, with set-user-ID and the like.
    pub permissions: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds since 1970.
    pub mtime: i64,
    /// Major number of a device.
    pub major: u32,
    /// Minor number of a device.
    pub minor: u32,
    /// Extended attributes.
    pub xattrs: Xattrs,
    /// A file's bytes, holes as zeroes.
    pub content: Vec<u8>,
    /// How many of them are a hole at the end.
    pub hole: u64,
}

/// Lists an uncompressed layer that is accepted as a whole, paths and all.
pub fn list_layer(blob: &[u8], limits: &Limits) -> Result<Vec<LayerMember>, ImageError> {
    merge_layers(&[blob], &Memory::default(), limits).or_else(|error| match error {
        // Links to what only another layer has.
        ImageError::Merge { .. } => Ok(Tree::new(Metadata::default_directory(0))),
        other => Err(other),
    })?;
    let layer = layer(blob);
    let refuse = |at, problem| ImageError::entry(layer.name(), at, problem);
    let budget = Budget::new(limits);
    let mut tar = TarReader::new(Cursor::new(blob), limits);
    let mut members = Vec::new();
    while let Some(member) = tar
        .next()
        .map_err(|error| refuse(error.at, error.problem))?
    {
        let memory = Memory::default();
        let hole = member.sparse.as_ref().map_or(0, |map| {
            let end = map
                .segments
                .last()
                .map_or(0, |(offset, length)| offset + length);
            map.size - end
        });
        if member.kind == MemberKind::File {
            read_content(&mut tar, &member.path, &member, &memory, &budget, &Silent)
                .map_err(|problem| refuse("content".into(), problem))?;
        }
        members.push(LayerMember {
            path: member.path,
            kind: match member.kind {
                MemberKind::File => '-',
                MemberKind::HardLink => 'h',
                MemberKind::Symlink => 'l',
                MemberKind::CharDevice => 'c',
                MemberKind::BlockDevice => 'b',
                MemberKind::Directory => 'd',
                MemberKind::Fifo => 'p',
            },
            link: member.link,
            permissions: member.permissions,
            uid: member.uid,
            gid: member.gid,
            mtime: member.mtime,
            major: member.major,
            minor: member.minor,
            xattrs: member.xattrs,
            hole,
            content: memory.0.into_inner().unwrap_or_default(),
        });
    }
    Ok(members)
}

impl Input for Cursor<&[u8]> {
    fn skip(&mut self, length: u64) -> io::Result<()> {
        crate::layer::tar::skip_by_reading(self, length)
    }
}

/// Keeps the last content.
#[derive(Debug, Default)]
struct Memory(Mutex<Vec<u8>>);

struct Kept<'m> {
    memory: &'m Memory,
    bytes: Vec<u8>,
}

impl ContentStore for Memory {
    fn create(&self, _path: &[u8], _size: u64) -> io::Result<Box<dyn ContentWriter + '_>> {
        Ok(Box::new(Kept {
            memory: self,
            bytes: Vec::new(),
        }))
    }

    fn open(&self, _content: Content) -> io::Result<Box<dyn Read + Send + '_>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl ContentWriter for Kept<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn hole(&mut self, length: u64) -> io::Result<()> {
        let length = self.bytes.len() + usize::try_from(length).map_err(io::Error::other)?;
        self.bytes.resize(length, 0);
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<ContentId> {
        *self
            .memory
            .0
            .lock()
            .map_err(|error| io::Error::other(error.to_string()))? = self.bytes;
        Ok(ContentId(0))
    }
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

/// Reads the manifest of an artifact beside an image; the number of files found.
pub fn read_artifact(manifest: &[u8]) -> usize {
    crate::registry::read_artifact(manifest)
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
