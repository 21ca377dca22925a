//! A real registry (Debian's `docker-registry`) on the loopback interface, over TLS and with a
//! password, for as long as a test runs. A machine under QEMU reaches it as [`GUEST_HOST`].

use crate::{process, tools};
use anyhow::{Context as _, bail};
use fs_err as fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How a machine on QEMU's user network sees this one.
pub const GUEST_HOST: &str = "10.0.2.2";
/// Who may read and write.
pub const USER: &str = "fleet";
/// With which password.
pub const PASSWORD: &str = "s3cret";
/// How long the registry may take to start.
const START: Duration = Duration::from_secs(20);

/// The running registry. It is stopped when dropped.
#[derive(Debug)]
pub struct Registry {
    child: Child,
    directory: PathBuf,
    port: u16,
}

impl Registry {
    /// Programs that it takes.
    pub const PROGRAMS: [&str; 4] = ["docker-registry", "htpasswd", "openssl", "skopeo"];

    /// Starts a registry that keeps everything under `directory`.
    pub fn start(directory: &Path) -> anyhow::Result<Registry> {
        fs::create_dir_all(directory)?;
        make_certificate(directory)?;
        let passwords = process::text(
            Command::new(tools::need_tool("htpasswd")?).args(["-Bbn", USER, PASSWORD]),
        )?;
        fs::write(directory.join("htpasswd"), passwords)?;
        let port = free_port()?;
        let at = directory.display();
        fs::write(
            directory.join("config.yml"),
            format!(
                "version: 0.1\nlog: {{level: error}}\n\
                 storage: {{filesystem: {{rootdirectory: '{at}/store'}}}}\n\
                 auth: {{htpasswd: {{realm: test, path: '{at}/htpasswd'}}}}\n\
                 http:\n  addr: 127.0.0.1:{port}\n  \
                 tls: {{certificate: '{at}/cert.pem', key: '{at}/key.pem'}}\n"
            ),
        )?;
        let log = fs::File::create(directory.join("registry.log"))?.into_file();
        let child = Command::new(tools::need_tool("docker-registry")?)
            .arg("serve")
            .arg(directory.join("config.yml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("cannot start docker-registry")?;
        let registry = Registry {
            child,
            directory: directory.to_path_buf(),
            port,
        };
        registry.wait()?;
        Ok(registry)
    }

    fn wait(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if Instant::now() > deadline {
                bail!("the registry on port {} does not answer", self.port);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `NAME` in this registry, as a machine under QEMU names it.
    pub fn guest_reference(&self, name: &str) -> String {
        format!("{GUEST_HOST}:{}/{name}", self.port)
    }

    /// The certificate to trust, PEM.
    pub fn certificate(&self) -> anyhow::Result<String> {
        Ok(fs::read_to_string(self.directory.join("cert.pem"))?)
    }

    /// Credentials as docker and podman keep them.
    pub fn auth_file(&self) -> String {
        // base64 of USER:PASSWORD
        let token = "ZmxlZXQ6czNjcmV0";
        format!(
            r#"{{"auths":{{"{GUEST_HOST}:{}":{{"auth":"{token}"}}}}}}"#,
            self.port
        )
    }

    /// `NAME` in this registry, as this machine names it.
    pub fn reference(&self, name: &str) -> String {
        format!("localhost:{}/{name}", self.port)
    }

    /// The file with the certificate to trust, PEM.
    pub fn certificate_file(&self) -> PathBuf {
        self.directory.join("cert.pem")
    }

    /// A file with credentials for this machine, as docker and podman keep them.
    pub fn local_auth_file(&self) -> anyhow::Result<PathBuf> {
        let path = self.directory.join("auth.json");
        let guest = format!("{GUEST_HOST}:{}", self.port);
        let local = format!("localhost:{}", self.port);
        fs::write(&path, self.auth_file().replace(&guest, &local))?;
        Ok(path)
    }

    /// Puts an image that skopeo can read (`oci:DIR:TAG`, `oci-archive:FILE`) into the registry, its
    /// layers compressed with gzip.
    pub fn push(&self, image: &str, name: &str) -> anyhow::Result<()> {
        process::run(
            Command::new(tools::need_tool("skopeo")?)
                .args(["copy", "--quiet", "--dest-tls-verify=false"])
                .args(["--dest-creds", &format!("{USER}:{PASSWORD}")])
                .arg(image)
                .arg(format!("docker://localhost:{}/{name}", self.port)),
        )
    }
}

/// One that names both the loopback interface and what it looks like from a machine under QEMU.
fn make_certificate(directory: &Path) -> anyhow::Result<()> {
    process::logged(
        Command::new(tools::need_tool("openssl")?)
            .args([
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
            ])
            .args(["-subj", "/CN=localhost", "-addext"])
            .arg(format!(
                "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:{GUEST_HOST}"
            ))
            // Programs that take no authority's certificate for a server's must take this one.
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .arg("-keyout")
            .arg(directory.join("key.pem"))
            .arg("-out")
            .arg(directory.join("cert.pem")),
        &directory.join("openssl.log"),
    )
}

fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no free port on 127.0.0.1")?;
    Ok(listener
        .local_addr()
        .context("a listener has an address")?
        .port())
}

impl Drop for Registry {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("cannot stop the registry: {error}");
        }
    }
}
