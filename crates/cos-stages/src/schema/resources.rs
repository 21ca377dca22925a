//! What a step's keys take.

use super::mode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Files whose presence decides.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct IfFiles {
    /// At least one of these is there.
    pub any: Vec<String>,
    /// All of these are there.
    pub all: Vec<String>,
    /// None of these is there.
    pub none: Vec<String>,
}

/// A file.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct File {
    /// Where: an absolute path. Missing directories are made, 0755 and the owner's.
    pub path: String,
    /// Mode, octal: 0644 when left out.
    #[serde(with = "mode", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("x-mode" = true))]
    pub permissions: Option<u32>,
    /// Owner, by number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<u32>,
    /// Group, by number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<u32>,
    /// Owner and group by name, as user or user:group; `owner_string` is taken too.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-also" = "owner_string"))]
    pub ownerstring: Option<String>,
    /// What the file holds. A template, once it is decoded, where it is text.
    pub content: String,
    /// How content is written: b64, base64, gz, gzip, gz+b64, gz+base64, gzip+b64, gzip+base64.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub encoding: String,
}

/// A directory.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Directory {
    /// Where: an absolute path. Missing directories above it are made like it.
    pub path: String,
    /// Mode, octal: 0755 when left out.
    #[serde(with = "mode", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("x-mode" = true))]
    pub permissions: Option<u32>,
    /// Owner, by number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<u32>,
    /// Group, by number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<u32>,
}

/// A file to fetch.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Download {
    /// Where to put it: an absolute path. One that ends with a slash is a directory, and the URL has
    /// the file's name.
    pub path: String,
    /// Where it is: http:// or https://. No template.
    pub url: String,
    /// Mode, octal: 0644 when left out.
    #[serde(with = "mode", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("x-mode" = true))]
    pub permissions: Option<u32>,
    /// Owner, by number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<u32>,
    /// Group, by number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<u32>,
    /// Owner and group by name, as user or user:group; `owner_string` is taken too.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-also" = "owner_string"))]
    pub ownerstring: Option<String>,
    /// Seconds the whole download may take: 600 when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u32>,
}

/// A user, group or password entry.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct EntityStep {
    /// The database file, where it is not the usual one of its kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// YAML with `kind: user`, `group`, `shadow` or `gshadow` and the entry's fields. A template.
    pub entity: String,
}

/// Name servers.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Resolver {
    /// Addresses. Nothing is written without one.
    pub nameservers: Vec<String>,
    /// Domains to search.
    pub search: Vec<String>,
    /// Options, as resolv.conf(5) has them.
    pub options: Vec<String>,
    /// The file: /etc/resolv.conf when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// A user.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a key of the documents"
)]
pub struct User {
    /// Name, where it is not the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Password: a hash as crypt(5) has it, or plain words, which are hashed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passwd: Option<String>,
    /// SSH keys: a key, `github:NAME`, `gitlab:NAME` or a URL.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ssh_authorized_keys: Vec<String>,
    /// Full name, or anything about the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gecos: Option<String>,
    /// Home directory: /home/NAME when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub homedir: Option<String>,
    /// Make no home directory.
    pub no_create_home: bool,
    /// Main group, by name or number; one of the user's own name when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary_group: Option<String>,
    /// Further groups; those that do not exist are left out with a warning.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Make no group of the user's name; the main group is then `users`.
    pub no_user_group: bool,
    /// A system account: a low number, and a home directory only where `homedir` is stated.
    pub system: bool,
    /// Taken and without effect: there is no log of logins to leave the user out of.
    pub no_log_init: bool,
    /// Login shell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<String>,
    /// Lock the password, so that no password is taken; keys still work. false unlocks one that is
    /// there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lock_passwd: Option<bool>,
    /// Number: the owner of the home directory that is there, else the next free one, when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

/// systemd units.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Systemctl {
    /// Units to enable: this first.
    pub enable: Vec<String>,
    /// Units to disable, after those to enable.
    pub disable: Vec<String>,
    /// Units to mask, after those to disable.
    pub mask: Vec<String>,
    /// Units to start: this last, and without waiting for them. In the initrd none is started.
    pub start: Vec<String>,
    /// Drop-ins, written and read before units are enabled and started.
    pub overrides: Vec<SystemctlOverride>,
}

/// A drop-in of a unit.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SystemctlOverride {
    /// The unit; .service when it has no suffix.
    pub service: String,
    /// What the drop-in holds. A template.
    pub content: String,
    /// File name: override-yip.conf when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Where user-data comes from.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DatasourceStep {
    /// Which are asked: those of cdrom, nocloud, config-drive, vmware and file first, in the order
    /// named; then those of aws, gcp, azure, openstack, digitalocean, hetzner, vultr, scaleway, packet
    /// and metaldata, together.
    pub providers: Vec<String>,
    /// Directory the user-data is kept in: /run/config when left out. With the provider file, the
    /// file it is read from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// File name of what later stages read: userdata.yaml when left out. Beside it, as userdata, lies
    /// what came, whatever it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub userdata_name: Option<String>,
    /// Whether having no user-data is no failure.
    pub optional: bool,
}

/// Partitions of a disk.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LayoutStep {
    /// Which disk: the one this system booted from when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<LayoutDevice>,
    /// Grow the last partition and the file system on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expand_partition: Option<ExpandPartition>,
    /// Partitions to add behind the last. One whose label exists is left as it is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub add_partitions: Vec<AddPartition>,
}

/// A disk.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LayoutDevice {
    /// The disk that holds the file system, or else the partition, with this label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The disk, such as /dev/vda, or a link to it below /dev/disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Write a new, empty partition table where the disk has none and holds nothing else.
    pub init_disk: bool,
    /// GUID of the new table; a random one when left out, or when this is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_name: Option<String>,
}

/// How far the last partition grows.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ExpandPartition {
    /// MiB the partition has afterwards; 0: all that is free.
    pub size: u64,
}

/// A partition to add.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AddPartition {
    /// Label of the file system, by which the partition is known. Without one, `pLabel` is.
    #[serde(rename = "fsLabel")]
    pub fs_label: String,
    /// MiB; 0: all that is free, for the last of the list alone.
    pub size: u64,
    /// Name of the partition.
    #[serde(rename = "pLabel", skip_serializing_if = "Option::is_none")]
    pub partition_label: Option<String>,
    /// ext2, ext3, ext4, xfs, btrfs, vfat or swap: ext4 when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filesystem: Option<String>,
    /// An EFI system partition, which wants vfat.
    pub bootable: bool,
}

/// A git repository.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GitStep {
    /// Where it is cloned from.
    pub url: String,
    /// Where it is cloned to.
    pub path: String,
    /// Branch: master when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Clone this branch alone.
    pub branch_only: bool,
    /// Credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<GitAuthentication>,
}

/// Credentials for git.
#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GitAuthentication {
    /// User: git when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Password or token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// SSH key, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private_key: Option<String>,
    /// Take any SSH host key, where `public_key` says none.
    pub insecure: bool,
    /// SSH key of the host: a line of `known_hosts`, host name first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
}

impl std::fmt::Debug for GitAuthentication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GitAuthentication(***)")
    }
}

/// Packages.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Packages {
    /// Packages to install.
    pub install: Vec<String>,
    /// Packages to remove.
    pub remove: Vec<String>,
    /// Fetch the lists of packages first.
    pub refresh: bool,
    /// Upgrade what is installed.
    pub upgrade: bool,
}

/// An image to unpack.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct UnpackImage {
    /// The image, in any form that `cos build` takes.
    pub source: String,
    /// The directory its tree is laid into. What is there already and not in the image stays.
    pub target: String,
    /// os/architecture, such as linux/arm64: this machine's when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
}
