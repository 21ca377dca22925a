//! Sealed systems: their keys, the programs that are signed with them, and what is published beside an image
//! for machines that take nothing else.

mod error;
mod firmware;
mod keys;
mod loader;
mod programs;
mod publish;
mod published;
mod seals;
mod statement;

pub use error::SealedError;
pub use keys::{GeneratedKeys, SealingKeys, generate};
pub use publish::{SealRequest, SealResult, seal};
pub use published::{ARTIFACT_TYPE, Published};
pub use statement::{Statement, StatementError, StatementFile};

pub(crate) use firmware::Firmware;
pub(crate) use loader::Loader;
pub(crate) use programs::{efi_files, entry_title};
pub(crate) use seals::{Seal, Seals};
