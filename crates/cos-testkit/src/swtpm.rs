//! A TPM 2.0 in software: swtpm.

use crate::{find_tool, process, tools};
use anyhow::{Context, bail};
use fs_err as fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// It is there within as long, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A TPM that was powered on; off when dropped. Its memory is in a directory.
#[derive(Debug)]
pub struct Swtpm {
    child: Child,
    socket: PathBuf,
}

impl Swtpm {
    /// Powers it on, with what `directory` has of it.
    pub fn start(directory: &Path) -> anyhow::Result<Self> {
        let socket = directory.join("tpm");
        let control = directory.join("tpm.ctrl");
        for path in [&socket, &control] {
            if fs::symlink_metadata(path).is_ok() {
                fs::remove_file(path)?;
            }
        }
        let child = Command::new(tools::need_tool("swtpm")?)
            .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
            .arg("--tpmstate")
            .arg(format!("dir={}", directory.display()))
            .arg("--server")
            .arg(format!("type=unixio,path={}", socket.display()))
            .arg("--ctrl")
            .arg(format!("type=unixio,path={}", control.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start swtpm")?;
        let mut swtpm = Self { child, socket };
        swtpm.wait()?;
        Ok(swtpm)
    }

    fn wait(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if fs::symlink_metadata(&self.socket).is_ok() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("swtpm ended: {status}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("swtpm has no socket yet")
    }

    /// Where it answers, one at a time.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What a program of tpm2-tools says of it.
    pub fn tpm2(&self, program: &str, arguments: &[&str]) -> anyhow::Result<Vec<u8>> {
        let program = tools::need_tool(program)?;
        let mut command = Command::new(program);
        let tcti = format!("swtpm:path={}", self.socket.display());
        command.args(arguments).env("TPM2TOOLS_TCTI", tcti);
        Ok(process::output(&mut command)?.stdout)
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("cannot stop swtpm: {error}");
        }
    }
}

/// Whether there is what a test with a TPM needs; if not, records the skip of test `name`.
pub fn require_swtpm(name: &str) -> bool {
    let programs = ["swtpm", "tpm2_nvread", "tpm2_rc_decode"];
    let missing = programs.iter().find(|tool| find_tool(tool).is_none());
    if let Some(missing) = missing {
        crate::skip(name, &tools::missing(missing));
    }
    missing.is_none()
}
