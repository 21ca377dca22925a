//! Stores that check sizes and keep nothing.

use cos_tree::{Content, ContentId, ContentStore, ContentWriter};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// A store that checks sizes and keeps nothing.
pub struct Discard;

struct Writer {
    expected: u64,
    written: u64,
}

impl ContentStore for Discard {
    fn create(&self, _path: &[u8], size: u64) -> io::Result<Box<dyn ContentWriter + '_>> {
        Ok(Box::new(Writer {
            expected: size,
            written: 0,
        }))
    }

    fn open(&self, _content: Content) -> io::Result<Box<dyn io::Read + Send + '_>> {
        Ok(Box::new(io::empty()))
    }
}

impl ContentWriter for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn hole(&mut self, length: u64) -> io::Result<()> {
        self.written += length;
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<ContentId> {
        assert_eq!(self.written, self.expected);
        Ok(ContentId(0))
    }
}

/// A store that keeps nothing and counts.
#[derive(Default)]
pub struct Count(pub AtomicU64);

struct Counting<'c> {
    sum: &'c AtomicU64,
    inner: Writer,
}

impl ContentStore for Count {
    fn create(&self, _path: &[u8], size: u64) -> io::Result<Box<dyn ContentWriter + '_>> {
        let inner = Writer {
            expected: size,
            written: 0,
        };
        Ok(Box::new(Counting {
            sum: &self.0,
            inner,
        }))
    }

    fn open(&self, _content: Content) -> io::Result<Box<dyn io::Read + Send + '_>> {
        Ok(Box::new(io::empty()))
    }
}

impl ContentWriter for Counting<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sum.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.inner.write(bytes)
    }

    fn hole(&mut self, length: u64) -> io::Result<()> {
        self.inner.hole(length)
    }

    fn finish(self: Box<Self>) -> io::Result<ContentId> {
        Box::new(self.inner).finish()
    }
}
