//! Small files and file ends, compressed together as parts of one *packed file*.

use super::files::{Files, Placement};
use super::index::{Extent, Storage};
use crate::codec::Encoder;
use crate::spool::{Spool, Table, Tail};
use crate::{BLOCK_SIZE, ErofsError, Options};
use cos_events::Monitor;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// One part of the packed file, compressed by itself.
#[derive(Debug, Clone)]
pub(crate) struct Pack {
    pieces: Vec<Piece>,
    /// Bytes, whole blocks; what no piece fills is zero.
    length: u32,
    /// Offset of what is stored in the spool.
    pub(crate) offset: u64,
    /// Bytes stored; as many as the length when it did not compress.
    pub(crate) stored: u32,
}

/// What goes into a pack: a small file or the end of a larger one.
#[derive(Debug, Clone, Copy)]
struct Piece {
    /// Offset in the spool.
    source: u64,
    /// Offset in the pack.
    at: u32,
    length: u32,
}

impl Pack {
    pub(crate) fn extent(&self) -> Extent {
        let storage = if self.stored < self.length {
            Storage::Compressed(self.stored.div_ceil(BLOCK_SIZE as u32))
        } else {
            Storage::Plain
        };
        Extent {
            length: self.length,
            storage,
        }
    }
}

/// The packed file.
#[derive(Debug, Default)]
pub(crate) struct Packs {
    pub(crate) packs: Vec<Pack>,
    pub(crate) size: u64,
}

/// In a file's compact map, a tail's place in the packed file has 32 bits.
const MAX_TAIL_OFFSET: u64 = u32::MAX as u64;

/// One pack in so many pieces ends early, at a path that its hash picks.
const CUT_ONE_IN: u64 = 8;

impl Packs {
    /// Gives every piece its place and compresses all packs. A pack ends when the next piece would
    /// make it longer than a chunk, or, once it is half as long, before a path whose hash says so: so
    /// packs behind a changed file soon begin where they did before.
    pub(crate) fn build(
        files: &mut Files,
        spool: &Spool,
        table: &Table,
        monitor: &dyn Monitor,
    ) -> Result<Self, ErofsError> {
        let options = spool.options();
        let mut packs = Self::default();
        for number in 0..files.plans.len() {
            let plan = &files.plans[number];
            let packed = matches!(plan.placement, Placement::Fragment | Placement::Compressed);
            if !options.packs() || !packed || plan.same_as.is_some() {
                continue;
            }
            if let Some(tail) = files.record(table, number as u32)?.tail {
                let whole = plan.placement == Placement::Fragment;
                files.plans[number].fragment = packs.place(tail, whole, plan.path_hash, options);
            }
        }
        packs.end_pack();
        packs.compress(spool, monitor)?;
        Ok(packs)
    }

    /// Adds a piece; returns its offset in the packed file. A tail beyond the reach of its map is left
    /// to be stored by itself.
    fn place(&mut self, tail: Tail, whole: bool, path_hash: u64, options: &Options) -> Option<u64> {
        if !whole && self.size + u64::from(options.chunk_size) > MAX_TAIL_OFFSET {
            return None;
        }
        // A tail below a block is mapped as a whole one: what stands behind it shows in memory maps.
        let room = if whole {
            tail.length
        } else {
            tail.length.max(BLOCK_SIZE as u32)
        };
        let filled = self.packs.last().map_or(0, |pack| pack.length);
        let full = filled + room > options.chunk_size;
        let cut = filled >= options.chunk_size / 2 && path_hash.is_multiple_of(CUT_ONE_IN);
        if self.packs.is_empty() || full || cut {
            self.end_pack();
            self.packs.push(Pack {
                pieces: Vec::new(),
                length: 0,
                offset: 0,
                stored: 0,
            });
        }
        let offset = self.size + u64::from(self.packs.last().map_or(0, |pack| pack.length));
        if let Some(pack) = self.packs.last_mut() {
            pack.pieces.push(Piece {
                source: tail.offset,
                at: pack.length,
                length: tail.length,
            });
            pack.length += room;
        }
        Some(offset)
    }

    fn end_pack(&mut self) {
        if let Some(pack) = self.packs.last_mut() {
            pack.length = pack.length.next_multiple_of(BLOCK_SIZE as u32);
            self.size += u64::from(pack.length);
        }
    }

    fn compress(&mut self, spool: &Spool, monitor: &dyn Monitor) -> Result<(), ErofsError> {
        let next = AtomicUsize::new(0);
        let results = Mutex::new(Vec::new());
        let packs = &self.packs;
        let work = || -> Result<(), ErofsError> {
            let mut encoder = Encoder::new(spool.options().compression)?;
            let (mut data, mut output) = (Vec::new(), Vec::new());
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(pack) = packs.get(number) else {
                    return Ok(());
                };
                monitor.checkpoint()?;
                gather(spool, pack, &mut data)?;
                let compressed = encoder.compress(&data, &mut output)?;
                let bytes = if compressed { &output } else { &data };
                let stored = (number, spool.append(bytes)?, bytes.len() as u32);
                let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                results.push(stored);
            }
        };
        std::thread::scope(|scope| {
            let helpers: Vec<_> = (1..spool.options().threads)
                .map(|_| scope.spawn(work))
                .collect();
            let mine = work();
            let theirs = helpers.into_iter().map(|helper| match helper.join() {
                Ok(result) => result,
                Err(_) => Err(ErofsError::Thread(std::io::Error::other(
                    "a thread ended early",
                ))),
            });
            theirs.fold(mine, Result::and)
        })?;
        for (number, offset, stored) in results.into_inner().unwrap_or_else(PoisonError::into_inner)
        {
            self.packs[number].offset = offset;
            self.packs[number].stored = stored;
        }
        spool.flush()
    }
}

/// The bytes of a pack.
fn gather(spool: &Spool, pack: &Pack, data: &mut Vec<u8>) -> Result<(), ErofsError> {
    data.clear();
    data.resize(pack.length as usize, 0);
    for piece in &pack.pieces {
        let at = piece.at as usize;
        spool.read_at(&mut data[at..at + piece.length as usize], piece.source)?;
    }
    Ok(())
}
