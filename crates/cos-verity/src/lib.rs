//! The dm-verity hash tree of a root image: written while the data streams past, read back, checked.
//!
//! The format is what `veritysetup format --hash-offset` writes (cryptsetup `lib/verity`): a
//! 512-byte superblock in a block of its own at the start of the *hash area*, then the levels of the
//! tree, root side first. Fixed here: SHA-256, hash type 1, blocks of 4096 bytes on both sides, and
//! one constant [`SALT`], because the same data must give the same root hash everywhere.

mod error;
mod geometry;
mod hash;
mod superblock;
mod table;
mod verify;
mod writer;

pub use error::VerityError;
pub use hash::RootHash;
pub use superblock::{Superblock, read_superblock};
pub use table::TableParameters;
pub use verify::{verify, verify_detached};
pub use writer::{HashingWriter, Verity};

/// Bytes in a data block and in a hash block.
pub const BLOCK_SIZE: usize = 4096;

/// Bytes of a SHA-256 digest.
pub const DIGEST_SIZE: usize = 32;

/// The salt of every tree: SHA-256 of `cos-root-v1`.
pub const SALT: [u8; 32] = [
    0xfb, 0xa9, 0xb3, 0x7f, 0x7c, 0xef, 0xff, 0x86, 0x30, 0x8b, 0x34, 0x81, 0xde, 0x78, 0x32, 0x5a,
    0xae, 0xb3, 0xda, 0xbf, 0xbc, 0xb7, 0x2d, 0x28, 0x3b, 0x87, 0xd5, 0xfe, 0x5c, 0x9d, 0x16, 0x45,
];
