//! Versions of an image in a registry, signed, and machines that follow it.

use crate::images::{self, AddedFile, Flavor, Suite, Versions};
use crate::registry::Registry;
use crate::{dist, process, tools};
use fs_err as fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Name of the image in the registry.
const NAME: &str = "fleet/os";

/// A registry with versions `v1` and `v2` of the lean test image; `stable`, the tag that machines follow, is `v2`.
#[derive(Debug)]
pub struct Fleet {
    /// The versions, as they were made.
    pub versions: Versions,
    /// Where machines get them.
    pub registry: Registry,
    /// How often a machine tries to boot what is on trial.
    pub tries: u32,
    /// The prefix of the key pair that versions are signed with.
    key: PathBuf,
}

impl Fleet {
    /// Starts the registry, with everything that it needs under `directory`.
    pub fn start(directory: &Path) -> anyhow::Result<Self> {
        let archive = images::debian(Suite::Trixie, Flavor::Minimal)?;
        let versions = Versions::begin(&archive, &directory.join("versions"))?;
        let registry = Registry::start(&directory.join("registry"))?;
        let key = directory.join("fleet");
        process::run(
            cos()?
                .args(["keys", "generate-signing", "--output"])
                .arg(&key),
        )?;
        let fleet = Self {
            versions,
            registry,
            tries: 1,
            key,
        };
        fleet.add("v1", &[AddedFile::text("etc/fleet-version", "1\n")])?;
        fleet.add("v2", &[AddedFile::text("etc/fleet-version", "2\n")])?;
        fleet.release("v2")?;
        Ok(fleet)
    }

    /// Adds a version, and signs it.
    pub fn add(&self, tag: &str, files: &[AddedFile<'_>]) -> anyhow::Result<()> {
        self.add_unsigned(tag, files)?;
        process::run(
            cos()?
                .args(["sign", &self.registry.reference(&format!("{NAME}:{tag}"))])
                .arg("--key")
                .arg(self.key.with_extension("key"))
                .arg("--ca-certificate")
                .arg(self.registry.certificate_file())
                .arg("--auth-file")
                .arg(self.registry.local_auth_file()?),
        )
    }

    /// Seals a version with the keys in a directory, and signs that.
    pub fn seal(&self, tag: &str, keys: &Path, more: &[&str]) -> anyhow::Result<()> {
        process::run(
            cos()?
                .args(["seal", &self.registry.reference(&format!("{NAME}:{tag}"))])
                .args(more)
                .arg("--keys")
                .arg(keys)
                .arg("--key")
                .arg(self.key.with_extension("key"))
                .arg("--ca-certificate")
                .arg(self.registry.certificate_file())
                .arg("--auth-file")
                .arg(self.registry.local_auth_file()?),
        )
    }

    /// Adds a version that nobody signed.
    pub fn add_unsigned(&self, tag: &str, files: &[AddedFile<'_>]) -> anyhow::Result<()> {
        self.versions.add(tag, files)?;
        let image = self.versions.skopeo_name(tag);
        self.registry.push(&image, &format!("{NAME}:{tag}"))
    }

    /// Makes a version what machines follow.
    pub fn release(&self, tag: &str) -> anyhow::Result<()> {
        let image = self.versions.skopeo_name(tag);
        self.registry.push(&image, &format!("{NAME}:stable"))
    }

    /// A version as a machine names it.
    pub fn reference(&self, tag: &str) -> String {
        self.registry.guest_reference(&format!("{NAME}:{tag}"))
    }

    /// Digest of a version's manifest in the registry, as another tool says it.
    pub fn digest(&self, tag: &str) -> anyhow::Result<String> {
        let port = self.registry.port();
        let said = process::text(
            Command::new(tools::need_tool("skopeo")?)
                .args(["inspect", "--tls-verify=false", "--format", "{{.Digest}}"])
                .args(["--creds", "fleet:s3cret"])
                .arg(format!("docker://localhost:{port}/{NAME}:{tag}")),
        )?;
        Ok(said.trim().to_owned())
    }

    /// A disk with `v1`, of a machine of this fleet.
    pub fn build_disk(&self, directory: &Path) -> anyhow::Result<PathBuf> {
        let disk = directory.join("disk.img");
        let oem = directory.join("fleet.yaml");
        fs::write(&oem, self.cloud_config()?)?;
        process::run(
            cos()?
                .args(["build", "disk", &self.versions.source("v1"), "--output"])
                .arg(&disk)
                .arg("--cloud-config")
                .arg(&oem),
        )?;
        Ok(disk)
    }

    /// What makes a machine part of the fleet: network, what to follow, whom to trust, credentials.
    pub fn cloud_config(&self) -> anyhow::Result<String> {
        let indent = |text: &str| text.trim_end().replace('\n', "\n            ");
        Ok(format!(
            r"name: fleet
stages:
  initramfs:
    - name: member
      systemctl:
        enable: [systemd-networkd]
      users:
        ada:
          shell: /bin/bash
      files:
        - path: /etc/cos/config.d/fleet.yaml
          permissions: 0600
          content: |
            upgrade:
              source: {source}
            boot:
              tries: {tries}
            registry:
              caCertificates: [/etc/cos/fleet.pem]
              authFile: /etc/cos/auth.json
        - path: /etc/cos/policy.yaml
          permissions: 0644
          content: |
            images:
              - match: {name}
                keys: [fleet.pub]
        - path: /etc/cos/fleet.pub
          permissions: 0644
          content: |
            {key}
        - path: /etc/cos/fleet.pem
          permissions: 0644
          content: |
            {certificate}
        - path: /etc/cos/auth.json
          permissions: 0600
          content: |
            {auth}
",
            name = self.registry.guest_reference(NAME),
            tries = self.tries,
            key = indent(&fs::read_to_string(self.key.with_extension("pub"))?),
            source = self.reference("stable"),
            certificate = indent(&self.registry.certificate()?),
            auth = self.registry.auth_file(),
        ))
    }
}

/// The static binary that users get.
fn cos() -> anyhow::Result<Command> {
    Ok(Command::new(dist::binaries()?.cos))
}
