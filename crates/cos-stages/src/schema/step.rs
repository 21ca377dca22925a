//! Stages and steps.

use super::resources::{
    DatasourceStep, Directory, Download, EntityStep, File, GitStep, IfFiles, LayoutStep, Packages,
    Resolver, Systemctl, UnpackImage, User,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Steps by stage: the documents of yip.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct YipDocument {
    /// Name of the document, in plans and summaries. The file's name when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether unknown keys in this document are errors at boot too, and not only warnings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strict: Option<bool>,
    /// Steps by stage. Stages of the boot: pre-rootfs, rootfs, initramfs, fs, boot, network,
    /// reconcile; each also with .before and .after. Any other name is a stage for who asks for it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub stages: BTreeMap<String, Vec<Step>>,
}

/// One step of a stage. Its keys run in a fixed order: `dns`, `downloads`, `git`,
/// `ensure_entities`, `directories`, `files`, `commands`, `delete_entities`, `hostname`, `sysctl`,
/// `users`, `authorized_keys`, `modules`, `timesyncd`, `systemctl`, `environment`,
/// `systemd_firstboot`, `datasource`, `layout`, `package_pins`, `packages`, `unpack_images`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Step {
    /// Name of the step, in plans and summaries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A shell command; the step runs when it exits with 0. A template.
    #[serde(rename = "if", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Regular expression; the step runs where the host name matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Regular expression; the step runs where the ID or NAME of /etc/os-release matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub only_os: Option<String>,
    /// Regular expression; the step runs where `VERSION_ID` of /etc/os-release matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub only_os_version: Option<String>,
    /// Regular expression; the step runs where the architecture matches, named as OCI does (amd64,
    /// arm64).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub only_arch: Option<String>,
    /// The step runs where this manages services: systemd or openrc.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub only_service_manager: Option<String>,
    /// The step runs where files are there, or are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub if_files: Option<IfFiles>,
    /// Steps of the same stage that this one runs after, in whichever document they are. Steps of one
    /// document run in its order anyway; a step with `after` waits for those named, and for nothing
    /// else.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Dependency>,
    /// Name servers, written to /etc/resolv.conf in place of what is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns: Option<Resolver>,
    /// Files fetched over HTTP or HTTPS, again at every run of the step; put in place when complete.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub downloads: Vec<Download>,
    /// A git repository, cloned or brought up to date. Needs git in the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git: Option<GitStep>,
    /// Lines of passwd, shadow, group and gshadow made, or changed to be as stated.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ensure_entities: Vec<EntityStep>,
    /// Directories, made where they are missing; mode and owner of those that are there are set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub directories: Vec<Directory>,
    /// Files, written whole or not at all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<File>,
    /// Shell commands, each run by `sh -c`. Later ones run after an earlier one failed. Templates.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
    /// Lines of passwd, shadow, group and gshadow removed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub delete_entities: Vec<EntityStep>,
    /// Host name, written to /etc/hostname and /etc/hosts, and set at once on a running system. A
    /// template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Kernel parameters, such as `net.ipv4.ip_forward: 1`. Set until the reboot.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctl: BTreeMap<String, String>,
    /// Users by name, made or changed. A user that exists gets every field that is stated.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub users: BTreeMap<String, User>,
    /// SSH keys by user: a key, `github:NAME`, `gitlab:NAME` or a URL. The user has to be there.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub authorized_keys: BTreeMap<String, Vec<String>>,
    /// Kernel modules to load, each with its parameters behind it: `bonding mode=1`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<String>,
    /// Keys of the section `[Time]` of systemd-timesyncd, such as NTP, merged into
    /// /etc/systemd/timesyncd.conf.d/10-yip.conf.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub timesyncd: BTreeMap<String, String>,
    /// systemd units to enable, disable, mask or start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub systemctl: Option<Systemctl>,
    /// Environment variables, merged into `environment_file`. Values are templates.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// The file that environment is written to: /etc/environment when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment_file: Option<String>,
    /// Options of systemd-firstboot, by name without dashes; the value true gives a bare option.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub systemd_firstboot: BTreeMap<String, String>,
    /// Where user-data is looked for. What is found is kept, and counts as a document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub datasource: Option<DatasourceStep>,
    /// Partitions of a disk with a GUID partition table: others are added, then the last one grows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layout: Option<LayoutStep>,
    /// Versions that packages are held at, by package: written down for apt-get and dnf, and named
    /// when `packages` of the same step installs them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub package_pins: BTreeMap<String, String>,
    /// Packages, by the image's own package manager: apt-get, dnf, zypper, pacman or apk. The root has
    /// to be writable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packages: Option<Packages>,
    /// Container images whose trees are laid into directories.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unpack_images: Vec<UnpackImage>,
}

/// A step to wait for.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Dependency {
    /// `DOCUMENT.STEP`, or the step's name alone where only one has it.
    pub name: String,
}
