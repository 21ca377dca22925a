//! A registry on the loopback interface, for as long as a benchmark runs.

use anyhow::{Context, bail};
use cos_testkit::tools;
use fs_err as fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long the registry may take to start.
const START: Duration = Duration::from_secs(20);

/// The running registry. It is stopped when dropped.
#[derive(Debug)]
pub(super) struct Registry {
    child: Child,
    /// `127.0.0.1:PORT`.
    pub(super) address: String,
}

impl Registry {
    /// Starts a registry over plain HTTP that keeps everything under `directory`.
    pub(super) fn start(directory: &Path) -> anyhow::Result<Registry> {
        fs::create_dir_all(directory)?;
        let address = free_address()?;
        let storage = directory.join("storage");
        let settings = directory.join("config.yml");
        fs::write(
            &settings,
            format!(
                "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
                 storage: {{filesystem: {{rootdirectory: '{}'}}}}\nhttp: {{addr: '{address}'}}\n",
                storage.display()
            ),
        )?;
        let log = fs::File::create(directory.join("registry.log"))?.into_file();
        let child = Command::new(tools::need_tool("docker-registry")?)
            .arg("serve")
            .arg(&settings)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("cannot start docker-registry")?;
        let registry = Registry { child, address };
        registry.wait()?;
        Ok(registry)
    }

    fn wait(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START;
        while TcpStream::connect(&self.address).is_err() {
            if Instant::now() > deadline {
                bail!("the registry on {} does not answer", self.address);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("cannot stop the registry: {error}");
        }
    }
}

/// An address nobody listens on.
fn free_address() -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no free port on 127.0.0.1")?;
    Ok(listener
        .local_addr()
        .context("a listener has an address")?
        .to_string())
}
