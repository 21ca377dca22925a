//! From tree and spool to image.

mod directory;
mod emit;
mod files;
mod index;
mod inodes;
mod layout;
mod packs;
mod xattrs;

use crate::disk::{self, INODE_SLOT, SuperBlock};
use crate::spool::{Record, Spool, Table};
use crate::{BLOCK_SIZE, Compression, ErofsError, Identity, Options};
use cos_events::{Monitor, Task};
use cos_tree::Tree;
use emit::{Emitter, Sink};
use files::{FilePlan, Files, Placement};
use inodes::Inodes;
use layout::{Layout, Source};
use packs::Packs;
use std::io::{self, BufWriter, Write};
use xxhash_rust::xxh3::Xxh3;

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Bytes of the image: blocks of 4096.
    pub size: u64,
    /// UUID of the file system.
    pub uuid: [u8; 16],
    /// Inodes, hard links counted once.
    pub inodes: u64,
    /// Bytes of file content, that of hard links counted once.
    pub content: u64,
    /// Contents that turned out to be the same as another's.
    pub shared_files: u64,
    /// Small files and file ends that were packed together.
    pub packed_pieces: u64,
}

/// Writes the tree as an EROFS file system to `out`, in order. The tree's contents must be in
/// `spool`; contents there that the tree does not name are left out.
pub fn write(
    tree: &Tree,
    spool: &Spool,
    identity: &Identity,
    out: &mut dyn Write,
    monitor: &dyn Monitor,
) -> Result<Summary, ErofsError> {
    identity.check()?;
    let options = spool.options();
    let table = spool.settled()?;
    let mut files = Files::new(options)?;
    let inodes = Inodes::collect(tree, &table, &mut files, monitor)?;
    if options.shares() {
        files.share(spool, &table)?;
    }
    let packs = Packs::build(&mut files, spool, &table, monitor)?;
    let build_time = identity.build_time.unwrap_or_else(|| inodes.common_time());
    let mut source = Source {
        inodes,
        files,
        packs,
        table: &table,
        options,
    };
    let layout = Layout::compute(&mut source, build_time)?;
    let emitter = Emitter {
        source: &source,
        layout: &layout,
        spool,
    };
    let uuid = match identity.uuid {
        Some(uuid) => uuid,
        None => derive_uuid(&emitter)?,
    };
    let size = u64::from(layout.blocks) * BLOCK_SIZE as u64;
    let task = Task::bytes(monitor, "write root image", Some(size));
    let mut buffered = BufWriter::with_capacity(1 << 20, out);
    let mut sink = Sink::new(&mut buffered);
    sink.write(&superblock(&source, &layout, identity, uuid).encode())?;
    emitter.metadata(&mut sink)?;
    emitter.data(&mut sink, monitor, &task)?;
    buffered.flush().map_err(ErofsError::Write)?;
    task.finish();
    Ok(summary(&source, size, uuid))
}

fn record_of<'t>(table: &'t Table, plan: &FilePlan) -> Result<&'t Record, ErofsError> {
    table
        .by_id(plan.content)
        .ok_or_else(|| ErofsError::UnknownContent {
            path: format!("#{}", plan.content.0),
        })
}

fn superblock(
    source: &Source<'_, '_>,
    layout: &Layout,
    identity: &Identity,
    uuid: [u8; 16],
) -> SuperBlock {
    let uses = |placement| {
        let mut plans = source.files.plans.iter();
        plans.any(|plan| plan.placement == placement)
    };
    let compressed = source.options.compression != Compression::None;
    let mut incompat = 0;
    if compressed {
        incompat |= disk::INCOMPAT_ZERO_PADDING | disk::INCOMPAT_BIG_PCLUSTER;
    }
    if compressed && source.options.packs() {
        incompat |= disk::INCOMPAT_FRAGMENTS;
    }
    if uses(Placement::Sparse) {
        incompat |= disk::INCOMPAT_CHUNKED_FILE;
    }
    let mut volume_name = [0; 16];
    volume_name[..identity.volume_name.len()].copy_from_slice(identity.volume_name.as_bytes());
    let (algorithms, settings) = algorithm_settings(source.options);
    SuperBlock {
        incompat,
        root_nid: (source.inodes.plans[0].position / INODE_SLOT) as u16,
        inodes: source.inodes.plans.len() as u64,
        build_time: layout.build_time,
        blocks: layout.blocks,
        xattr_block: layout.xattr_block,
        uuid,
        volume_name,
        algorithms,
        packed_nid: layout
            .packed
            .map_or(0, |packed| packed.position / INODE_SLOT),
        settings,
    }
}

/// `struct z_erofs_lz4_cfgs` or `z_erofs_zstd_cfgs` with its length in front, and the algorithm's bit.
fn algorithm_settings(options: &Options) -> (u16, Vec<u8>) {
    let mut settings = Vec::new();
    let algorithm = match options.compression {
        Compression::None => return (0, settings),
        Compression::Lz4 => {
            settings.extend_from_slice(&14_u16.to_le_bytes());
            settings.extend_from_slice(&65_535_u16.to_le_bytes());
            let most_blocks = (options.chunk_size / BLOCK_SIZE as u32) as u16;
            settings.extend_from_slice(&most_blocks.to_le_bytes());
            settings.extend_from_slice(&[0; 10]);
            disk::ALGORITHM_LZ4
        }
        Compression::Zstd { .. } => {
            settings.extend_from_slice(&6_u16.to_le_bytes());
            let window_log = options.chunk_size.trailing_zeros() as u8;
            settings.extend_from_slice(&[0, window_log - 10, 0, 0, 0, 0]);
            disk::ALGORITHM_ZSTD
        }
    };
    (1 << algorithm, settings)
}

/// A UUID that follows from the metadata and the digests of all contents.
fn derive_uuid(emitter: &Emitter<'_, '_>) -> Result<[u8; 16], ErofsError> {
    let mut hasher = Hasher(Xxh3::new());
    for plan in &emitter.source.files.plans {
        hasher.0.update(&plan.digest.to_le_bytes());
    }
    let mut buffered = BufWriter::with_capacity(1 << 16, &mut hasher);
    emitter.metadata(&mut Sink::new(&mut buffered))?;
    buffered.flush().map_err(ErofsError::Write)?;
    drop(buffered);
    let mut uuid = hasher.0.digest128().to_be_bytes();
    // RFC 9562 version 8: custom.
    uuid[6] = uuid[6] & 0x0f | 0x80;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    Ok(uuid)
}

struct Hasher(Xxh3);

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn summary(source: &Source<'_, '_>, size: u64, uuid: [u8; 16]) -> Summary {
    let plans = &source.files.plans;
    let content = |plan: &FilePlan| {
        source
            .table
            .by_id(plan.content)
            .map_or(0, |record| record.size)
    };
    Summary {
        size,
        uuid,
        inodes: source.inodes.plans.len() as u64,
        content: plans.iter().map(content).sum(),
        shared_files: plans.iter().filter(|plan| plan.same_as.is_some()).count() as u64,
        packed_pieces: plans.iter().filter(|plan| plan.fragment.is_some()).count() as u64,
    }
}
