//! How each file's content is stored, and which files are the same.

use super::index::{Extent, Storage};
use crate::codec::Encoder;
use crate::spool::{Chunk, Record, Spool, Table};
use crate::{BLOCK_SIZE, ErofsError, Options};
use cos_tree::ContentId;
use std::collections::HashMap;
use xxhash_rust::xxh3::Xxh3;

/// How a file's bytes are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placement {
    /// One run of blocks; the bytes behind the last whole one may stand behind the inode.
    Flat,
    /// Compressed chunks, one behind the other; the end may be in the packed file.
    Compressed,
    /// A block address for each chunk, so that zero ones take no room.
    Sparse,
    /// Wholly in the packed file.
    Fragment,
}

/// One content, however many inodes have it.
#[derive(Debug, Clone)]
pub(crate) struct FilePlan {
    pub(crate) content: ContentId,
    /// Hash of the first path, which decides where packs end.
    pub(crate) path_hash: u64,
    pub(crate) placement: Placement,
    /// Another file with the same bytes, which stands for this one.
    pub(crate) same_as: Option<u32>,
    /// Digest of all bytes.
    pub(crate) digest: u64,
    /// Where its end, or all of it, is in the packed file.
    pub(crate) fragment: Option<u64>,
    /// Whether the bytes behind the last whole block need a block of their own.
    pub(crate) tail_block: bool,
    /// First block.
    pub(crate) block: u32,
    /// Blocks in all.
    pub(crate) blocks: u32,
}

/// All contents, in the order of their first paths.
pub(crate) struct Files {
    pub(crate) plans: Vec<FilePlan>,
    by_content: HashMap<ContentId, u32>,
    /// What a chunk of zeros compresses to.
    pub(crate) zeros: Vec<u8>,
    options: Options,
}

/// So many files of one digest are compared; digests can be made to collide.
const MAX_COMPARED: usize = 8;

impl Files {
    pub(crate) fn new(options: &Options) -> Result<Self, ErofsError> {
        let mut zeros = Vec::new();
        Encoder::new(options.compression)?
            .compress(&vec![0; options.chunk_size as usize], &mut zeros)?;
        Ok(Self {
            plans: Vec::new(),
            by_content: HashMap::new(),
            zeros,
            options: options.clone(),
        })
    }

    /// The number of a content; a new one is placed.
    pub(crate) fn add(&mut self, content: ContentId, record: &Record, path_hash: u64) -> u32 {
        if let Some(&known) = self.by_content.get(&content) {
            return known;
        }
        let number = self.plans.len() as u32;
        self.by_content.insert(content, number);
        self.plans.push(FilePlan {
            content,
            path_hash,
            placement: self.place(record),
            same_as: None,
            digest: digest(record),
            fragment: None,
            tail_block: false,
            block: crate::disk::NULL_ADDR,
            blocks: 0,
        });
        number
    }

    /// The cheapest way to store a file.
    fn place(&self, record: &Record) -> Placement {
        let packs = self.options.packs() && record.tail.is_some();
        if record.chunk_count() == 0 {
            return if packs {
                Placement::Fragment
            } else {
                Placement::Flat
            };
        }
        let zero_chunks = record.zero_chunks();
        let compressed = record.compressed_chunks();
        if zero_chunks == 0 {
            return match compressed {
                0 => Placement::Flat,
                _ => Placement::Compressed,
            };
        }
        let compressible = !self.zeros.is_empty();
        let sparse_blocks = record.stored_blocks() + record.chunk_count() * 4 / BLOCK_SIZE as u64;
        let compressed_blocks = self
            .extents(record, true)
            .map(|e| u64::from(e.blocks()))
            .sum::<u64>();
        if self.options.holes() && (!compressible || sparse_blocks < compressed_blocks) {
            Placement::Sparse
        } else if compressible {
            Placement::Compressed
        } else {
            Placement::Flat
        }
    }

    /// The extents of a compressed file, its tail being in the packed file or not.
    pub(crate) fn extents<'r>(
        &'r self,
        record: &'r Record,
        packed: bool,
    ) -> impl Iterator<Item = Extent> + 'r {
        let chunks = record.all_chunks().map(|(length, chunk)| Extent {
            length,
            storage: self.storage(length, chunk),
        });
        let tail = record.tail.map(|tail| Extent {
            length: tail.length,
            storage: if packed {
                Storage::Fragment
            } else {
                Storage::Plain
            },
        });
        chunks.chain(tail)
    }

    fn storage(&self, length: u32, chunk: Option<&Chunk>) -> Storage {
        let stored = match chunk {
            Some(chunk) => chunk.stored,
            None => self.zeros.len() as u32,
        };
        if stored < length {
            Storage::Compressed(stored.div_ceil(BLOCK_SIZE as u32))
        } else {
            Storage::Plain
        }
    }

    /// Finds files with the same bytes; only the first of them is stored.
    pub(crate) fn share(&mut self, spool: &Spool, table: &Table) -> Result<(), ErofsError> {
        let mut first_of: HashMap<u64, Vec<u32>> = HashMap::new();
        for number in 0..self.plans.len() {
            let candidates = first_of.entry(self.plans[number].digest).or_default();
            let ours = self.record(table, number as u32)?;
            let mut same = None;
            for &other in candidates.iter().take(MAX_COMPARED) {
                if equal(spool, ours, self.record(table, other)?)? {
                    same = Some(other);
                    break;
                }
            }
            match same {
                Some(other) => self.plans[number].same_as = Some(other),
                None => candidates.push(number as u32),
            }
        }
        Ok(())
    }

    /// The file that stands for this one.
    pub(crate) fn canonical(&self, number: u32) -> &FilePlan {
        let plan = &self.plans[number as usize];
        plan.same_as
            .map_or(plan, |other| &self.plans[other as usize])
    }

    /// An inode of this file has not all of its last bytes behind it.
    pub(crate) fn require_tail_block(&mut self, number: u32) {
        let number = self.plans[number as usize].same_as.unwrap_or(number);
        self.plans[number as usize].tail_block = true;
    }

    /// What the spool has of a file.
    pub(crate) fn record<'t>(
        &self,
        table: &'t Table,
        number: u32,
    ) -> Result<&'t Record, ErofsError> {
        super::record_of(table, &self.plans[number as usize])
    }
}

/// Equal for equal contents stored under the same options.
fn digest(record: &Record) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(&record.size.to_le_bytes());
    for chunk in &record.chunks {
        hasher.update(&chunk.index.to_le_bytes());
        hasher.update(&chunk.digest.to_le_bytes());
    }
    hasher.update(&record.tail.map_or(0, |tail| tail.digest).to_le_bytes());
    hasher.digest()
}

/// Whether two files are stored as the same bytes.
fn equal(spool: &Spool, a: &Record, b: &Record) -> Result<bool, ErofsError> {
    let tail_length = |record: &Record| record.tail.map(|tail| tail.length);
    let alike = a.size == b.size
        && a.chunks.len() == b.chunks.len()
        && tail_length(a) == tail_length(b)
        && std::iter::zip(&a.chunks, &b.chunks)
            .all(|(a, b)| a.index == b.index && a.stored == b.stored);
    if !alike {
        return Ok(false);
    }
    let places = |record: &Record| {
        let chunks = record
            .chunks
            .iter()
            .map(|chunk| (chunk.offset, chunk.stored));
        chunks
            .chain(record.tail.map(|tail| (tail.offset, tail.length)))
            .collect::<Vec<_>>()
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for ((offset, length), (other, _)) in std::iter::zip(places(a), places(b)) {
        ours.resize(length as usize, 0);
        theirs.resize(length as usize, 0);
        spool.read_at(&mut ours, offset)?;
        spool.read_at(&mut theirs, other)?;
        if ours != theirs {
            return Ok(false);
        }
    }
    Ok(true)
}
