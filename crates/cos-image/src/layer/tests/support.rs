//! Tar streams written byte by byte, and a store in memory.

use crate::layer::decode::{Compression, Context, Layer, decode};
use crate::layer::entry::Entry;
use crate::layer::problem::EntryError;
use crate::limits::{Budget, Limits};
use crate::{Digest, ImageError};
use cos_events::{Silent, Task};
use cos_tree::{Content, ContentId, ContentStore, ContentWriter};
use std::io::{self, Read};
use std::sync::Mutex;

/// Keeps contents; holes are zeroes.
#[derive(Default)]
pub(crate) struct Store(pub(crate) Mutex<Vec<Vec<u8>>>);

struct Writer<'s>(&'s Store, Vec<u8>, u64);

impl ContentStore for Store {
    fn create(&self, _: &[u8], size: u64) -> io::Result<Box<dyn ContentWriter + '_>> {
        Ok(Box::new(Writer(self, Vec::new(), size)))
    }

    fn open(&self, content: Content) -> io::Result<Box<dyn Read + Send + '_>> {
        let bytes = self.0.lock().unwrap()[content.id.0 as usize].clone();
        Ok(Box::new(io::Cursor::new(bytes)))
    }
}

impl ContentWriter for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.1.extend_from_slice(bytes);
        Ok(())
    }

    fn hole(&mut self, length: u64) -> io::Result<()> {
        self.1.resize(self.1.len() + length as usize, 0);
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<ContentId> {
        assert_eq!(self.1.len() as u64, self.2);
        let mut files = self.0.0.lock().unwrap();
        files.push(self.1);
        Ok(ContentId(files.len() as u64 - 1))
    }
}

/// A header block, written field by field.
#[derive(Clone)]
pub(crate) struct Block(pub(crate) [u8; 512]);

impl Block {
    pub(crate) fn new(name: &str, flag: u8, size: u64) -> Self {
        let mut block = Self([0; 512]);
        block.put(0, name.as_bytes());
        block.put(100, b"0000644\0");
        block.put(108, b"0000000\0");
        block.put(116, b"0000000\0");
        block.put(124, format!("{size:011o}\0").as_bytes());
        block.put(136, b"00000000000\0");
        block.0[156] = flag;
        block.put(257, b"ustar\x0000");
        block
    }

    pub(crate) fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    pub(crate) fn with(mut self, at: usize, bytes: &[u8]) -> Self {
        self.put(at, bytes);
        self
    }

    pub(crate) fn bytes(mut self) -> Vec<u8> {
        self.put(148, b"        ");
        let sum: u32 = self.0.iter().map(|&b| u32::from(b)).sum();
        self.put(148, format!("{sum:06o}\0 ").as_bytes());
        self.0.to_vec()
    }
}

pub(crate) fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    out.resize(bytes.len().next_multiple_of(512), 0);
    out
}

pub(crate) fn member(name: &str, flag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = Block::new(name, flag, content.len() as u64).bytes();
    out.extend(padded(content));
    out
}

pub(crate) fn linked(name: &str, flag: u8, target: &str) -> Vec<u8> {
    Block::new(name, flag, 0)
        .with(157, target.as_bytes())
        .bytes()
}

pub(crate) fn pax(records: &[(&str, &str)]) -> Vec<u8> {
    member("PaxHeaders/x", b'x', &pax_records(records))
}

pub(crate) fn pax_records(records: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, value) in records {
        let rest = format!(" {key}={value}\n");
        let mut length = rest.len() + 1;
        while length != rest.len() + length.to_string().len() {
            length = rest.len() + length.to_string().len();
        }
        out.extend(format!("{length}{rest}").into_bytes());
    }
    out
}

pub(crate) fn archive(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut out = parts.concat();
    out.extend([0; 1024]);
    out
}

pub(crate) fn read_with(tar: &[u8], limits: &Limits) -> Result<(Vec<Entry>, Store), ImageError> {
    let layer = Layer {
        blob: Some((Digest::sha256(tar), tar.len() as u64)),
        compression: Some(Compression::None),
        diff_id: Digest::sha256(tar),
    };
    read_layer(&layer, tar, limits)
}

pub(crate) fn read_layer(
    layer: &Layer,
    blob: &[u8],
    limits: &Limits,
) -> Result<(Vec<Entry>, Store), ImageError> {
    let store = Store::default();
    let budget = Budget::new(limits);
    let context = Context {
        store: &store,
        budget: &budget,
        monitor: &Silent,
    };
    let task = Task::bytes(&Silent, "test", None);
    let entries = decode(layer, Box::new(blob), context, &task)?;
    Ok((entries, store))
}

pub(crate) fn read(parts: &[Vec<u8>]) -> Result<(Vec<Entry>, Store), ImageError> {
    read_with(&archive(parts), &Limits::default())
}

pub(crate) fn one(parts: &[Vec<u8>]) -> Entry {
    let (mut entries, _) = read(parts).unwrap();
    assert_eq!(entries.len(), 1);
    entries.remove(0)
}

/// Why the stream is refused, and where.
pub(crate) fn refusal(tar: &[u8], limits: &Limits) -> (String, EntryError) {
    match read_with(tar, limits) {
        Err(ImageError::Entry { at, source, layer }) => {
            assert!(layer.starts_with("sha256:"));
            (at, source)
        }
        other => panic!("{:?}", other.map(|(entries, _)| entries)),
    }
}

macro_rules! refuses {
    ($parts:expr, $pattern:pat) => {
        let archive = $crate::layer::tests::support::archive(&$parts);
        let (at, problem) =
            $crate::layer::tests::support::refusal(&archive, &$crate::Limits::default());
        assert!(matches!(problem, $pattern), "{at}: {problem:?}");
    };
}

pub(crate) use refuses;
