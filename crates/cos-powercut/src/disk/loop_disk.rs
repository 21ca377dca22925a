//! A disk of the kernel's: a file behind a loop device, with a device for each partition.

use crate::Part;
use crate::table::by_linux;
use anyhow::{Context, Result, ensure};
use cos_sys::gpt::add_partition;
use cos_testkit::{find_tool, process, tools};
use fs_err::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

/// A file behind a loop device; let go of when dropped.
#[derive(Debug)]
pub struct LoopDisk {
    file: PathBuf,
    node: PathBuf,
    attached: bool,
}

impl LoopDisk {
    /// Attaches a file, and makes the partitions of its table known, if it has one.
    pub fn attach(file: &Path) -> Result<Self> {
        // With -P, detaching forgets the partitions.
        let said = process::text(losetup()?.args(["--find", "--show", "-P"]).arg(file))?;
        let disk = Self {
            file: file.to_owned(),
            node: said.trim().into(),
            attached: true,
        };
        disk.tell()?;
        Ok(disk)
    }

    /// Makes the partitions known that the kernel does not know yet.
    pub fn tell(&self) -> Result<()> {
        let file = OpenOptions::new().read(true).write(true).open(&self.node)?;
        let size = cos_disk::sparse::size_of(&file)?;
        let Ok(table) = cos_sys::gpt::Table::read(&file, size, 512) else {
            return Ok(());
        };
        for entry in table.entries() {
            let node = self.partition(entry.number);
            if node.exists() {
                continue;
            }
            let bytes = (entry.last + 1 - entry.first) * 512;
            add_partition(&file, entry.number, entry.first * 512, bytes)?;
            let deadline = Instant::now() + PATIENCE;
            while !node.exists() {
                ensure!(Instant::now() < deadline, "{} is missing", node.display());
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        Ok(())
    }

    /// The file behind it.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The disk's device node.
    pub fn node(&self) -> &Path {
        &self.node
    }

    /// The device node of a partition.
    pub fn partition(&self, number: u32) -> PathBuf {
        PathBuf::from(format!("{}p{number}", self.node.display()))
    }

    /// Where the partitions are.
    pub fn parts(&self) -> Result<Vec<Part>> {
        parts_of(&self.node)
    }

    /// Lets go of the file, with everything written to it.
    pub fn detach(mut self) -> Result<()> {
        File::open(&self.node)?.sync_all()?;
        // Once, and never again: when it is gone, somebody else may have got its number.
        self.attached = false;
        process::output(losetup()?.arg("--detach").arg(&self.node))?;
        let deadline = Instant::now() + PATIENCE;
        // It stays for as long as somebody has it open.
        while self.is_behind()? {
            ensure!(Instant::now() < deadline, "{} stays", self.node.display());
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Whether the device still has our file behind it.
    fn is_behind(&self) -> Result<bool> {
        let name = self.node.file_name().context("no device")?;
        let path = format!("/sys/block/{}/loop/backing_file", name.to_string_lossy());
        let file = fs_err::read_to_string(path).unwrap_or_default();
        Ok(Path::new(file.trim_end()) == self.file)
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        if self.attached
            && let Ok(mut losetup) = losetup()
        {
            drop(process::output(losetup.arg("--detach").arg(&self.node)));
        }
    }
}

/// Where the partitions of a disk or of its image are.
pub fn parts_of(disk: &Path) -> Result<Vec<Part>> {
    by_linux(&File::open(disk)?, true)
}

#[expect(clippy::disallowed_methods, reason = "it runs other people's program")]
fn losetup() -> Result<Command> {
    let tool = find_tool("losetup").with_context(|| tools::missing("losetup"))?;
    Ok(Command::new(tool))
}
