//! Sealed systems: their keys, and the programs that are signed with them.

mod error;
mod keys;
mod programs;

pub use error::SealedError;
pub use keys::{GeneratedKeys, SealingKeys, generate};

pub(crate) use programs::efi_files;
