//! The moments of an operation at which a machine may have something of its own done.

mod chroot;
mod stages;

pub use chroot::changed;
pub use stages::StageHooks;

use cos_verity::Verity;
use std::error::Error;
use std::path::{Path, PathBuf};

/// Why a hook failed. Before the commit, that ends the operation.
pub type HookError = Box<dyn Error + Send + Sync>;

/// The root image of a snapshot that is about to be written.
#[derive(Debug, Clone, Copy)]
pub struct RootImage<'r> {
    /// The EROFS file system with its hash tree behind it.
    pub path: &'r Path,
    /// Root hash, hexadecimal.
    pub root_hash: &'r str,
    /// Where the hash tree's superblock is, bytes.
    pub hash_offset: u64,
    /// An empty directory for what takes its place; gone after the operation.
    pub scratch: &'r Path,
}

/// A root image that takes the place of the one before it.
#[derive(Debug, Clone)]
pub struct NewRoot {
    /// Where it is, hash tree behind it.
    pub path: PathBuf,
    /// Its hash tree.
    pub verity: Verity,
}

/// What is done at the moments of one operation X (`install`, `upgrade`, `reset`).
pub trait Hooks: Sync {
    /// `before-X`: nothing was changed yet.
    fn before(&self) -> Result<(), HookError>;

    /// `after-X-chroot`: the new root is there, and is not written to the disk yet. `Some` when it was
    /// changed.
    fn after_chroot(&self, root: &RootImage<'_>) -> Result<Option<NewRoot>, HookError>;

    /// `after-X`: all is written and read back, and does not count yet.
    fn after(&self) -> Result<(), HookError>;

    /// `post-X`: it counts. Failing is no more than a warning.
    fn post(&self) -> Result<(), HookError>;
}

/// Nothing is done.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHooks;

impl Hooks for NoHooks {
    fn before(&self) -> Result<(), HookError> {
        Ok(())
    }

    fn after_chroot(&self, _: &RootImage<'_>) -> Result<Option<NewRoot>, HookError> {
        Ok(None)
    }

    fn after(&self) -> Result<(), HookError> {
        Ok(())
    }

    fn post(&self) -> Result<(), HookError> {
        Ok(())
    }
}
