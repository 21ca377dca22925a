//! One layer's way from blob to entries, on three threads: fetch and hash, inflate, hash and parse.

use super::entry::{Entry, read_entries};
use super::pipe::{PipeReader, PipeWriter, pipe};
use super::problem::EntryError;
use super::tar::{Input, TarReader, skip_by_reading};
use crate::digest::Hasher;
use crate::limits::Budget;
use crate::{Digest, ImageError};
use cos_events::{Monitor, Task};
use cos_tree::ContentStore;
use std::fmt;
use std::io::{self, BufRead, Read};
use std::thread::{Builder, ScopedJoinHandle};

/// How a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, of one or several members.
    Gzip,
    /// Zstandard, zstd:chunked included.
    Zstd,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "no compression",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

/// What is known of a layer before it is read.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    /// Digest and size of the blob; archives of `docker save` have none.
    pub(crate) blob: Option<(Digest, u64)>,
    /// What the media type says, if it says something.
    pub(crate) compression: Option<Compression>,
    /// Digest of the tar stream.
    pub(crate) diff_id: Digest,
}

impl Layer {
    /// The name for messages.
    pub(crate) fn name(&self) -> String {
        match &self.blob {
            Some((digest, _)) => digest.to_string(),
            None => self.diff_id.to_string(),
        }
    }
}

/// Everything around a layer that decoding it needs.
#[derive(Clone, Copy)]
pub(crate) struct Context<'c> {
    pub(crate) store: &'c dyn ContentStore,
    pub(crate) budget: &'c Budget<'c>,
    pub(crate) monitor: &'c dyn Monitor,
}

/// Longest zstd window accepted, as a power of two: 128 MiB, the reference decoder's own default.
const ZSTD_WINDOW_LOG: u32 = 27;
/// A buffer is sent on once it holds this much.
const SEND_AT: usize = 64 << 10;

/// Decodes a layer: contents to the store, entries to the result, every byte hashed twice.
pub(crate) fn decode(
    layer: &Layer,
    blob: Box<dyn Read + Send + '_>,
    context: Context<'_>,
    task: &Task<'_>,
) -> Result<Vec<Entry>, ImageError> {
    let (fetched, compressed) = pipe();
    let (inflated, plain) = pipe();
    std::thread::scope(|scope| {
        let first_stage = Builder::new()
            .name("layer-fetch".into())
            .spawn_scoped(scope, move || {
                fetch(layer, blob, fetched, context.monitor, task)
            })
            .map_err(|source| ImageError::Thread { source })?;
        let second_stage = Builder::new()
            .name("layer-inflate".into())
            .spawn_scoped(scope, move || inflate(layer, compressed, inflated))
            .map_err(|source| ImageError::Thread { source })?;
        let entries = parse(layer, plain, context);
        // A stage that fails cuts the ones behind it off: the first failure is the reason.
        join(first_stage)?;
        join(second_stage)?;
        entries
    })
}

fn join<T>(handle: ScopedJoinHandle<'_, T>) -> T {
    match handle.join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Reads and hashes the blob. Stops quietly when nobody reads on: the reader knows why.
fn fetch(
    layer: &Layer,
    mut blob: Box<dyn Read + Send + '_>,
    out: PipeWriter,
    monitor: &dyn Monitor,
    task: &Task<'_>,
) -> Result<(), ImageError> {
    let mut hasher = layer
        .blob
        .as_ref()
        .map(|(digest, _)| Hasher::new(digest.algorithm()));
    let mut total = 0_u64;
    loop {
        monitor.checkpoint()?;
        let mut buffer = out.buffer();
        let length =
            fill(&mut blob, &mut buffer, SEND_AT).map_err(|e| ImageError::blob(layer.name(), e))?;
        if length == 0 {
            break;
        }
        total += length as u64;
        if let Some((_, size)) = &layer.blob
            && total > *size
        {
            return Err(ImageError::BlobSize {
                blob: layer.name(),
                expected: *size,
                actual: total,
            });
        }
        if let Some(hasher) = &mut hasher {
            hasher.update(&buffer[..length]);
        }
        task.advance(length as u64);
        if out.send(buffer, length).is_err() {
            return Ok(());
        }
    }
    if let (Some((digest, size)), Some(hasher)) = (&layer.blob, hasher) {
        check_blob(digest, *size, total, hasher.finish())?;
    }
    // Nobody there to take the end: the reader knows why.
    drop(out.end());
    Ok(())
}

fn check_blob(digest: &Digest, size: u64, total: u64, actual: Digest) -> Result<(), ImageError> {
    if total != size {
        return Err(ImageError::BlobSize {
            blob: digest.to_string(),
            expected: size,
            actual: total,
        });
    }
    if actual != *digest {
        return Err(ImageError::WrongDigest {
            what: "blob".into(),
            expected: digest.clone(),
            actual,
        });
    }
    Ok(())
}

/// Reads until `buffer` holds at least `enough` bytes, or the end.
fn fill(input: &mut dyn Read, buffer: &mut [u8], enough: usize) -> io::Result<usize> {
    let mut length = 0;
    while length < enough {
        match input.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// Decompresses by what the first bytes are, if the media type does not contradict.
fn inflate(layer: &Layer, mut input: PipeReader, out: PipeWriter) -> Result<(), ImageError> {
    let failed = |compression: Compression| {
        move |source: io::Error| ImageError::Decompress {
            layer: layer.name(),
            compression,
            source,
        }
    };
    // The fetching stage fills buffers well over these few bytes, or is at its end.
    let Ok(start) = input.fill_buf() else {
        // Cut off by the stage before, which says why.
        return Ok(());
    };
    let found = detect(start).ok_or_else(|| ImageError::UnsupportedCompression {
        layer: layer.name(),
    })?;
    if let Some(declared) = layer.compression
        && declared != found
    {
        return Err(ImageError::CompressionMismatch {
            layer: layer.name(),
            declared,
            found,
        });
    }
    match found {
        Compression::None => pump(&mut input, out).map_err(failed(found)),
        Compression::Gzip => {
            pump(&mut flate2::bufread::MultiGzDecoder::new(input), out).map_err(failed(found))
        }
        Compression::Zstd => {
            let mut decoder =
                zstd::stream::read::Decoder::with_buffer(input).map_err(failed(found))?;
            decoder
                .window_log_max(ZSTD_WINDOW_LOG)
                .map_err(failed(found))?;
            pump(&mut decoder, out).map_err(failed(found))
        }
    }
}

/// The compression by magic number; `None` for those that images do not use.
pub(crate) fn detect(start: &[u8]) -> Option<Compression> {
    match start {
        [0x1f, 0x8b, ..] => Some(Compression::Gzip),
        // A frame, or a skippable one, as zstd:chunked and pzstd may put first.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            Some(Compression::Zstd)
        }
        [b'B', b'Z', b'h', ..] | [0xfd, b'7', b'z', b'X', b'Z', ..] => None,
        _ => Some(Compression::None),
    }
}

fn pump(input: &mut dyn Read, out: PipeWriter) -> io::Result<()> {
    loop {
        let mut buffer = out.buffer();
        let enough = buffer.len();
        let length = fill(input, &mut buffer, enough)?;
        if length == 0 {
            // Nobody there to take the end: the reader knows why.
            drop(out.end());
            return Ok(());
        }
        if out.send(buffer, length).is_err() {
            return Ok(());
        }
    }
}

/// A plain tar stream, hashed as it arrives.
struct Plain<'c> {
    pipe: PipeReader,
    hasher: Hasher,
    budget: &'c Budget<'c>,
    /// Bytes so far, and how many there may be.
    length: u64,
    limit: u64,
}

impl Read for Plain<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(out.len());
        out[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Plain<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let Self {
            pipe,
            hasher,
            budget,
            length,
            limit,
        } = self;
        pipe.fill(|buffer| {
            hasher.update(buffer);
            *length += buffer.len() as u64;
            if *length > *limit {
                return Err(io::Error::other(EntryError::Expansion {
                    limit: *limit,
                    ratio: budget.limits.expansion,
                }));
            }
            budget
                .take_stream(buffer.len() as u64)
                .map_err(|exhausted| io::Error::other(EntryError::from(exhausted)))
        })
    }

    fn consume(&mut self, amount: usize) {
        self.pipe.consume(amount);
    }
}

impl Input for Plain<'_> {
    fn skip(&mut self, length: u64) -> io::Result<()> {
        skip_by_reading(self, length)
    }
}

fn parse(layer: &Layer, pipe: PipeReader, context: Context<'_>) -> Result<Vec<Entry>, ImageError> {
    let refuse = |at: String, problem| ImageError::entry(layer.name(), at, problem);
    let limits = context.budget.limits;
    let plain = Plain {
        pipe,
        hasher: Hasher::new(layer.diff_id.algorithm()),
        budget: context.budget,
        length: 0,
        limit: layer.blob.as_ref().map_or(u64::MAX, |(_, size)| {
            size.saturating_mul(limits.expansion)
                .max(limits.free_expansion)
        }),
    };
    let mut tar = TarReader::new(plain, context.budget.limits);
    let entries = read_entries(&mut tar, context.store, context.budget, context.monitor)
        .map_err(|error| refuse(error.at, error.problem))?;
    // What follows the archive's end is padding, but the digest covers it.
    let mut plain = tar.into_input();
    loop {
        let length = plain
            .fill_buf()
            .map_err(|e| refuse("end of the archive".into(), EntryError::read(e)))?
            .len();
        if length == 0 {
            break;
        }
        context.monitor.checkpoint()?;
        plain.consume(length);
    }
    let actual = plain.hasher.finish();
    if actual == layer.diff_id {
        Ok(entries)
    } else {
        Err(ImageError::WrongDigest {
            what: format!("tar stream of layer {}", layer.name()),
            expected: layer.diff_id.clone(),
            actual,
        })
    }
}
