//! Sealed systems: their keys, and the programs that are signed with them.

mod error;
mod firmware;
mod keys;
mod loader;
mod programs;

pub use error::SealedError;
pub use keys::{GeneratedKeys, SealingKeys, generate};

pub(crate) use firmware::Firmware;
pub(crate) use loader::Loader;
pub(crate) use programs::{efi_files, entry_title};
