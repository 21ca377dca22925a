//! One builder at a time, also between processes.

use anyhow::Context;
use fs_err as fs;
use std::path::Path;

/// Held while something shared is built; released when dropped.
#[derive(Debug)]
pub(crate) struct Lock(
    #[expect(dead_code, reason = "closing the file releases the lock")] std::fs::File,
);

impl Lock {
    /// Waits until no other process holds the lock file `path`.
    pub(crate) fn wait(path: &Path) -> anyhow::Result<Lock> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)?
            .into_file();
        file.lock()
            .with_context(|| format!("cannot lock {}", path.display()))?;
        Ok(Lock(file))
    }
}
