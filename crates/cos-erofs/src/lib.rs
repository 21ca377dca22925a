//! Writes the root image: a file tree as one EROFS file system.
//!
//! Two phases, both parallel, neither ever unpacking the tree:
//!
//! 1. While layers stream past, file contents go into a [`Spool`], which compresses them in
//!    fixed-size pieces on worker threads into an unlinked temporary file.
//! 2. When the merged tree is known, [`write()`] computes the whole layout and writes the image from
//!    its first byte to its last, each byte once, to anything that takes bytes.
//!
//! The on-disk format is that of Linux `fs/erofs/erofs_fs.h`. The same tree, contents and options give
//! the same bytes, whatever the number of threads or the order in which contents came; [`FORMAT`]
//! names these bytes and changes when they do.
//!
//! # Layout
//!
//! Superblock, inodes (with inline attributes, link targets and block maps) in the order of a walk
//! through the tree, shared attributes, directories, file data in the order of first paths, and last
//! the *packed file*: small files and file tails, compressed together. All of a file's own data depends on
//! its content alone, so changing one file changes its own data, its inode, and the pack that holds its
//! end if it has one; packs begin at paths chosen by hash, so the others stay as they were. What
//! comes behind a piece that grew or shrank by a block moves by that block, unchanged, and the
//! addresses in later inodes with it.

mod codec;
mod disk;
mod error;
mod options;
mod spool;
mod superblock;
mod write;

pub use error::ErofsError;
pub use options::{Compression, Identity, KernelVersion, Options};
pub use spool::Spool;
pub use superblock::{Superblock, read_superblock};
pub use write::{Summary, write};

/// Name of the exact bytes that this crate writes.
pub const FORMAT: &str = "cos-root-v1";

/// Bytes in a block.
pub const BLOCK_SIZE: usize = 4096;
