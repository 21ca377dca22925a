//! How much an image may ask of whoever reads it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bounds on what an image may bring. Sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Layers of one image.
    pub layers: usize,
    /// Entries of all layers together; also bounds the nodes of the merged tree.
    pub entries: u64,
    /// Size of one file, holes included.
    pub file_size: u64,
    /// Sizes of all files together, holes included; and, apart, all decompressed bytes of all layers.
    pub total_size: u64,
    /// Decompressed bytes for each byte of a compressed layer, from `free_expansion` on. What gzip can do at
    /// best is 1032.
    pub expansion: u64,
    /// Decompressed bytes of a layer that are never too many for its size.
    pub free_expansion: u64,
    /// Length of a path, and of a link's target.
    pub path_length: usize,
    /// Names along a path.
    pub depth: usize,
    /// One PAX header, or one GNU long name.
    pub header_size: u64,
    /// Extended attributes of one file.
    pub xattrs: usize,
    /// Names and values of one file's extended attributes together.
    pub xattr_size: usize,
    /// Data segments of one sparse file.
    pub sparse_segments: usize,
    /// Memory for the names and attributes of all entries together.
    pub metadata_size: u64,
    /// A manifest or an index.
    pub manifest_size: u64,
    /// An image configuration.
    pub config_size: u64,
    /// Members of an image archive's outer tar.
    pub archive_members: usize,
    /// Signatures of one image.
    pub signatures: usize,
    /// Artifacts of one type that refer to one image.
    pub artifacts: usize,
    /// One signature, with what belongs to it.
    pub signature_size: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            layers: 500,
            entries: 4_000_000,
            file_size: 1 << 40,
            total_size: 4 << 40,
            expansion: 1100,
            free_expansion: 1 << 30,
            path_length: 4096,
            depth: 256,
            header_size: 1 << 20,
            xattrs: 256,
            xattr_size: 128 << 10,
            sparse_segments: 100_000,
            metadata_size: 2 << 30,
            manifest_size: 4 << 20,
            config_size: 8 << 20,
            archive_members: 100_000,
            signatures: 64,
            artifacts: 16,
            signature_size: 1 << 20,
        }
    }
}

/// Which bound shared by all layers was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exhausted {
    pub(crate) what: &'static str,
    pub(crate) limit: u64,
}

/// What is used of the bounds that all layers share.
#[derive(Debug)]
pub(crate) struct Budget<'l> {
    pub(crate) limits: &'l Limits,
    entries: AtomicU64,
    content: AtomicU64,
    stream: AtomicU64,
    metadata: AtomicU64,
}

impl<'l> Budget<'l> {
    pub(crate) fn new(limits: &'l Limits) -> Self {
        Self {
            limits,
            entries: AtomicU64::new(0),
            content: AtomicU64::new(0),
            stream: AtomicU64::new(0),
            metadata: AtomicU64::new(0),
        }
    }

    /// One more entry, whose names and attributes take `metadata` bytes.
    pub(crate) fn take_entry(&self, metadata: u64) -> Result<(), Exhausted> {
        take(&self.entries, 1, self.limits.entries, "entries")?;
        // The entry itself costs about as much as a short path.
        let bytes = metadata.saturating_add(128);
        take(
            &self.metadata,
            bytes,
            self.limits.metadata_size,
            "bytes of names and attributes",
        )
    }

    /// A file of `size` bytes.
    pub(crate) fn take_content(&self, size: u64) -> Result<(), Exhausted> {
        take(
            &self.content,
            size,
            self.limits.total_size,
            "bytes of files",
        )
    }

    /// `size` more decompressed bytes.
    pub(crate) fn take_stream(&self, size: u64) -> Result<(), Exhausted> {
        take(
            &self.stream,
            size,
            self.limits.total_size,
            "decompressed bytes",
        )
    }
}

fn take(used: &AtomicU64, amount: u64, limit: u64, what: &'static str) -> Result<(), Exhausted> {
    let add = |used: u64| used.checked_add(amount).filter(|&sum| sum <= limit);
    match used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add) {
        Ok(_) => Ok(()),
        Err(_) => Err(Exhausted { what, limit }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_shared_and_exact() {
        let limits = Limits {
            total_size: 10,
            ..Limits::default()
        };
        let budget = Budget::new(&limits);
        assert!(budget.take_content(6).is_ok());
        assert!(budget.take_content(4).is_ok());
        let over = budget.take_content(1).unwrap_err();
        assert_eq!((over.what, over.limit), ("bytes of files", 10));
        assert!(budget.take_content(0).is_ok());
        assert!(budget.take_content(u64::MAX).is_err());
    }
}
