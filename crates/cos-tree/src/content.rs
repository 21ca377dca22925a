//! Where the bytes of regular files are kept while an image streams past.

use std::io;

/// Names the bytes of one regular file inside the [`ContentStore`] that took them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentId(pub u64);

/// The bytes of a regular file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// Length in bytes, holes included.
    pub size: u64,
    /// Where the bytes are.
    pub id: ContentId,
}

/// Takes file contents as layers are read, in whatever order they come, from any thread.
///
/// Layers are read before it is known which of their files survive the merge, so contents may be
/// stored that no tree refers to in the end.
pub trait ContentStore: Sync {
    /// Starts taking the content of the file at `path` (no leading slash), `size` bytes long. The
    /// path is a hint for how to keep the bytes, not an identity: two layers may both bring it.
    fn create(&self, path: &[u8], size: u64) -> io::Result<Box<dyn ContentWriter + '_>>;

    /// Reads content back.
    fn open(&self, content: Content) -> io::Result<Box<dyn io::Read + Send + '_>>;
}

/// Takes the bytes of one file, in order.
pub trait ContentWriter {
    /// Takes the next bytes.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Takes the next `length` bytes, all zero (a hole of a sparse file).
    fn hole(&mut self, length: u64) -> io::Result<()>;

    /// Ends the file. Fails with [`io::ErrorKind::InvalidData`] unless exactly the announced size came.
    fn finish(self: Box<Self>) -> io::Result<ContentId>;
}
