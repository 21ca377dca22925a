//! Versions of an image in a registry, and machines that follow it.

use super::cos;
use cos_testkit::images::{self, AddedFile, Flavor, Suite, Versions};
use cos_testkit::machine::Machine;
use cos_testkit::process;
use cos_testkit::registry::Registry;
use cos_testkit::tools::need_tool;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Name of the image in the registry, and the tag that machines follow.
const NAME: &str = "fleet/os";

/// A registry with versions `v1` and `v2` of the lean test image; `stable` is `v2`.
pub(crate) struct Fleet {
    pub(crate) versions: Versions,
    pub(crate) registry: Registry,
    /// The prefix of the key pair that versions are signed with.
    key: PathBuf,
}

impl Fleet {
    pub(crate) fn start(directory: &Path) -> anyhow::Result<Self> {
        let archive = images::debian(Suite::Trixie, Flavor::Minimal)?;
        let versions = Versions::begin(&archive, &directory.join("versions"))?;
        let registry = Registry::start(&directory.join("registry"))?;
        let key = directory.join("fleet");
        process::run(
            cos()
                .args(["keys", "generate-signing", "--output"])
                .arg(&key),
        )?;
        let fleet = Self {
            versions,
            registry,
            key,
        };
        fleet.add("v1", &[AddedFile::text("etc/fleet-version", "1\n")])?;
        fleet.add("v2", &[AddedFile::text("etc/fleet-version", "2\n")])?;
        fleet.release("v2")?;
        Ok(fleet)
    }

    /// Adds a version, and signs it.
    pub(crate) fn add(&self, tag: &str, files: &[AddedFile<'_>]) -> anyhow::Result<()> {
        self.add_unsigned(tag, files)?;
        process::run(
            cos()
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
    pub(crate) fn seal(&self, tag: &str, keys: &Path, more: &[&str]) -> anyhow::Result<()> {
        process::run(
            cos()
                .args(["seal", &self.registry.reference(&format!("{NAME}:{tag}"))])
                .args(more)
                .arg("--keys")
                .arg(keys)
                .arg("--key")
                .arg(self.key.with_extension("key"))
                .arg("--allow-unsigned")
                .arg("--ca-certificate")
                .arg(self.registry.certificate_file())
                .arg("--auth-file")
                .arg(self.registry.local_auth_file()?),
        )
    }

    /// Adds a version that nobody signed.
    pub(crate) fn add_unsigned(&self, tag: &str, files: &[AddedFile<'_>]) -> anyhow::Result<()> {
        self.versions.add(tag, files)?;
        let image = self.versions.skopeo_name(tag);
        self.registry.push(&image, &format!("{NAME}:{tag}"))
    }

    /// Makes a version what machines follow.
    pub(crate) fn release(&self, tag: &str) -> anyhow::Result<()> {
        let image = self.versions.skopeo_name(tag);
        self.registry.push(&image, &format!("{NAME}:stable"))
    }

    /// A version as a machine names it.
    pub(crate) fn reference(&self, tag: &str) -> String {
        self.registry.guest_reference(&format!("{NAME}:{tag}"))
    }

    /// Digest of a version's manifest in the registry, as another tool says it.
    pub(crate) fn digest(&self, tag: &str) -> anyhow::Result<String> {
        let port = self.registry.port();
        let said = process::text(
            Command::new(need_tool("skopeo")?)
                .args(["inspect", "--tls-verify=false", "--format", "{{.Digest}}"])
                .args(["--creds", "fleet:s3cret"])
                .arg(format!("docker://localhost:{port}/{NAME}:{tag}")),
        )?;
        Ok(said.trim().to_owned())
    }

    /// What makes a machine part of the fleet: network, what to follow, whom to trust, credentials.
    pub(crate) fn cloud_config(&self) -> String {
        let indent = |text: &str| text.replace('\n', "\n            ");
        format!(
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
              tries: 1
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
            key = indent(
                std::fs::read_to_string(self.key.with_extension("pub"))
                    .unwrap_or_default()
                    .trim_end()
            ),
            source = self.reference("stable"),
            certificate = indent(self.registry.certificate().unwrap_or_default().trim_end()),
            auth = self.registry.auth_file(),
        )
    }
}

/// `cos status --json` of a machine.
pub(crate) fn status(machine: &mut Machine) -> Value {
    let said = machine.check("cos status --json").unwrap();
    let last = said.lines().last().unwrap_or_default();
    let value: Value = serde_json::from_str(last).unwrap();
    value["result"].clone()
}
