//! The programs that encrypt and unlock: the image's own, which `cos init` put into the initrd.

use super::EncryptionError;
use cos_sys::tool::{Tool, ToolError};
use rustix::rand::GetRandomFlags;
use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

/// Where systemd-cryptsetup is when it is not where programs are.
const SYSTEMD: [&str; 2] = ["/usr/lib/systemd", "/lib/systemd"];
/// Bytes of a key that nobody types.
const KEY: usize = 64;

/// The programs, each looked up once.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) cryptsetup: Tool,
    /// systemd-cryptsetup: what unlocks by a TPM.
    pub(super) attach: Tool,
    /// systemd-cryptenroll
    pub(super) enroll: Tool,
    /// mke2fs
    pub(super) format: Tool,
    /// systemd-ask-password
    pub(super) ask: Tool,
}

impl Programs {
    pub(super) fn find() -> Result<Self, EncryptionError> {
        let attach = find("systemd-cryptsetup", "systemd-cryptsetup").or_else(|missing| {
            SYSTEMD
                .iter()
                .find_map(|at| find(&format!("{at}/systemd-cryptsetup"), "systemd").ok())
                .ok_or(missing)
        })?;
        Ok(Self {
            cryptsetup: find("cryptsetup", "cryptsetup-bin")?,
            attach,
            enroll: find("systemd-cryptenroll", "systemd-cryptsetup")?,
            format: find("mke2fs", "e2fsprogs")?,
            ask: find("systemd-ask-password", "systemd")?,
        })
    }
}

fn find(name: &str, package: &str) -> Result<Tool, EncryptionError> {
    Tool::find(name, package, None).map_err(|_| EncryptionError::NoTool {
        name: name.to_owned(),
        package: package.to_owned(),
    })
}

/// Runs a program with these bytes as its input. It is no error when it fails.
pub(super) fn run_with_input<I, S>(
    tool: &Tool,
    arguments: I,
    input: &[u8],
) -> Result<Output, EncryptionError>
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let failed = |source| {
        EncryptionError::Tool(ToolError::Start {
            program: tool.path().to_owned(),
            source,
        })
    };
    let mut command = tool.command();
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends without reading says why by its exit code.
        let _says_so_itself = stdin.write_all(input);
    }
    child.wait_with_output().map_err(failed)
}

/// A key of random bytes in a file, which goes away with it.
#[derive(Debug)]
pub(super) struct PassingKey {
    pub(super) path: PathBuf,
}

impl PassingKey {
    /// Makes one in a directory that must be in memory.
    pub(super) fn make(directory: &Path) -> Result<Self, EncryptionError> {
        let key = Self {
            path: directory.join("passing.key"),
        };
        write_secret(&key.path, &random_key()?)?;
        Ok(key)
    }
}

impl Drop for PassingKey {
    fn drop(&mut self) {
        // In memory, and of no use once its slot is gone.
        let _nothing_to_be_done = fs_err::remove_file(&self.path);
    }
}

/// Random bytes for a key.
pub(super) fn random_key() -> Result<[u8; KEY], EncryptionError> {
    let mut bytes = [0; KEY];
    let mut filled = 0;
    while filled < bytes.len() {
        filled += rustix::rand::getrandom(&mut bytes[filled..], GetRandomFlags::empty()).map_err(
            |errno| EncryptionError::Files {
                path: "getrandom(2)".into(),
                source: errno.into(),
            },
        )?;
    }
    Ok(bytes)
}

/// Writes a file that root alone reads, and has it on the disk.
pub(super) fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), EncryptionError> {
    use fs_err::os::unix::fs::OpenOptionsExt as _;
    let mut options = fs_err::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options.open(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(|source| EncryptionError::Files {
        path: path.to_owned(),
        source,
    })
}
