//! What the tests share: a store in memory, and images made with other people's tools.
#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod layout;
pub(crate) mod listing;

use cos_image::{Options, Platform, PlatformChoice};
use cos_tree::{Content, ContentId, ContentStore, ContentWriter};
use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

/// Keeps contents in memory, holes as zeroes.
#[derive(Debug, Default)]
pub(crate) struct MemoryStore {
    files: Mutex<Vec<Vec<u8>>>,
}

struct MemoryWriter<'s> {
    store: &'s MemoryStore,
    size: u64,
    bytes: Vec<u8>,
}

impl ContentStore for MemoryStore {
    fn create(&self, _path: &[u8], size: u64) -> io::Result<Box<dyn ContentWriter + '_>> {
        Ok(Box::new(MemoryWriter {
            store: self,
            size,
            bytes: Vec::new(),
        }))
    }

    fn open(&self, content: Content) -> io::Result<Box<dyn io::Read + Send + '_>> {
        Ok(Box::new(io::Cursor::new(self.bytes(content))))
    }
}

impl MemoryStore {
    pub(crate) fn bytes(&self, content: Content) -> Vec<u8> {
        self.files.lock().unwrap()[content.id.0 as usize].clone()
    }
}

impl ContentWriter for MemoryWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn hole(&mut self, length: u64) -> io::Result<()> {
        let length = self.bytes.len() + usize::try_from(length).unwrap();
        self.bytes.resize(length, 0);
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<ContentId> {
        if self.bytes.len() as u64 != self.size {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut files = self.store.files.lock().unwrap();
        files.push(self.bytes);
        Ok(ContentId(files.len() as u64 - 1))
    }
}

/// Options for images of no particular platform.
pub(crate) fn options(temp_dir: &Path) -> Options {
    let platform = PlatformChoice::Prefer(Platform::linux(std::env::consts::ARCH));
    let mut options = Options::new(platform, temp_dir);
    options.registry.backoff = std::time::Duration::from_millis(5);
    options
}

/// Whether a program is installed.
pub(crate) fn has(program: &str) -> bool {
    cos_testkit::find_tool(program).is_some()
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs a program that must succeed.
pub(crate) fn run(program: &str, args: &[&str]) -> String {
    #[allow(clippy::disallowed_methods, reason = "tests run other people's tools")]
    let output = Command::new(program).args(args).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {args:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a shell script that must succeed.
pub(crate) fn shell(script: &str) -> String {
    run("bash", &["-euo", "pipefail", "-c", script])
}
