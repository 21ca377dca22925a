//! The one copy of the disk that is moved from state to state.

use anyhow::Result;
use cos_testkit::{find_tool, process, tools};
use fs_err::os::unix::fs::FileExt;
use fs_err::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A disk image with a record of what to undo.
#[derive(Debug)]
pub struct WorkingCopy {
    path: PathBuf,
    file: File,
    undo: Vec<(u64, Vec<u8>)>,
}

impl WorkingCopy {
    /// Copies `base`, holes and all, to `path`.
    pub fn new(base: &Path, path: PathBuf) -> Result<Self> {
        copy(base, &path)?;
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        Ok(Self {
            path,
            file,
            undo: Vec::new(),
        })
    }

    /// Where it is, for other programs: they must not change it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// A copy of its own, to be changed at will.
    pub fn copy_to(&self, path: &Path) -> Result<()> {
        copy(&self.path, path)
    }

    /// Writes for good.
    pub(crate) fn write(&self, at: u64, data: &[u8]) -> Result<()> {
        Ok(self.file.write_all_at(data, at)?)
    }

    /// Writes until [`Self::undo`].
    pub(crate) fn try_write(&mut self, at: u64, data: &[u8]) -> Result<()> {
        let mut before = vec![0; data.len()];
        self.file.read_exact_at(&mut before, at)?;
        self.file.write_all_at(data, at)?;
        self.undo.push((at, before));
        Ok(())
    }

    /// Takes everything back that was only tried.
    pub(crate) fn undo(&mut self) -> Result<()> {
        while let Some((at, before)) = self.undo.pop() {
            self.file.write_all_at(&before, at)?;
        }
        Ok(())
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "cp knows about holes and shared blocks"
)]
fn copy(from: &Path, to: &Path) -> Result<()> {
    let cp = find_tool("cp").ok_or_else(|| anyhow::anyhow!(tools::missing("cp")))?;
    let mut command = Command::new(cp);
    command.args(["--sparse=always", "--reflink=auto", "--"]);
    process::output(command.arg(from).arg(to))?;
    Ok(())
}
