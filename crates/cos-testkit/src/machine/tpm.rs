//! The TPM of a machine: swtpm, which speaks with QEMU over a socket.

use super::builder::{option, words};
use crate::{process, tools};
use anyhow::Context as _;
use fs_err as fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Name of the socket in the machine's directory.
const SOCKET: &str = "tpm.socket";
/// How long swtpm may take to listen.
const START: Duration = Duration::from_secs(20);

/// A TPM, and the program that is it while the machine runs.
#[derive(Debug)]
pub(super) struct Tpm {
    state: PathBuf,
    socket: PathBuf,
    child: Option<Child>,
}

impl Tpm {
    pub(super) fn new(state: PathBuf, directory: &Path) -> Self {
        Self {
            state,
            socket: directory.join(SOCKET),
            child: None,
        }
    }

    /// What QEMU is told of it.
    pub(super) fn arguments(directory: &Path) -> Vec<String> {
        let socket = option(&directory.join(SOCKET).display().to_string());
        let mut arguments = vec![
            "-chardev".to_owned(),
            format!("socket,id=tpm-socket,path={socket}"),
        ];
        arguments.extend(words(
            "-tpmdev emulator,id=tpm,chardev=tpm-socket -device tpm-crb,tpmdev=tpm",
        ));
        arguments
    }

    /// Makes it another TPM, from the next start on.
    pub(super) fn replace(&mut self, state: &Path) {
        self.state = state.to_path_buf();
    }

    /// Switches it on. It ends by itself when QEMU hangs up.
    pub(super) fn start(&mut self) -> anyhow::Result<()> {
        self.stop()?;
        fs::create_dir_all(&self.state)?;
        if self.socket.exists() {
            fs::remove_file(&self.socket)?;
        }
        let mut command = Command::new(tools::need_tool("swtpm")?);
        command
            .args(["socket", "--tpm2", "--terminate", "--tpmstate"])
            .arg(format!("dir={}", self.state.display()))
            .arg("--ctrl")
            .arg(format!("type=unixio,path={}", self.socket.display()))
            .stdin(Stdio::null());
        let child = command
            .spawn()
            .with_context(|| format!("cannot run `{}`", process::display(&command)))?;
        self.child = Some(child);
        let start = Instant::now();
        while !self.socket.exists() {
            anyhow::ensure!(start.elapsed() < START, "swtpm does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself already.
            if child.try_wait().context("cannot wait for swtpm")?.is_none() {
                child.kill().context("cannot stop swtpm")?;
            }
            child.wait().context("cannot wait for swtpm")?;
        }
        Ok(())
    }
}

impl Drop for Tpm {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("{error:#}");
        }
    }
}
