//! The keys of `#cloud-config`, as cloud-init's users know them.

use super::mode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a `#cloud-config` document says beside its stages.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CloudConfig {
    /// Host name, as the key of a step has it. A template. Stage initramfs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Full host name; counts where there is no `hostname`. A template. Stage initramfs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fqdn: Option<String>,
    /// SSH keys of every user in `users`, or of root where there is none: a key, `github:NAME`,
    /// `gitlab:NAME` or a URL. Stage boot; those fetched from elsewhere, stage network.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ssh_authorized_keys: Vec<String>,
    /// Users. Stage boot.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<UserEntry>,
    /// Password of the first of `users`, or of root where there is none: in plain words, or a hash as
    /// crypt(5) has it. Stage boot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Passwords of users. Stage boot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chpasswd: Option<Passwords>,
    /// Whether the SSH server takes passwords: written to /etc/ssh/sshd_config.d/50-cloud-config.conf.
    /// Stage boot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssh_pwauth: Option<bool>,
    /// Files. Stage boot; those with `defer`, stage network.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub write_files: Vec<WriteFile>,
    /// Commands run at every boot, early: a line for the shell, or a list of words that is run as it
    /// is. Templates. Stage fs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bootcmd: Vec<RunCommand>,
    /// Commands run at every boot: a line for the shell, or a list of words that is run as it is.
    /// Templates. Stage boot.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub runcmd: Vec<RunCommand>,
    /// Disks whose last partition is grown. Stage boot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub growpart: Option<Growpart>,
    /// Time servers for systemd-timesyncd. Stage initramfs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ntp: Option<Ntp>,
    /// Time zone, such as Europe/Berlin: /etc/localtime and /etc/timezone. Needs the zone in the
    /// image. Stage initramfs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// Locale, such as en_GB.UTF-8: LANG in /etc/locale.conf and /etc/default/locale. Stage
    /// initramfs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// Lines of /etc/fstab: device, directory, type, options, dump, pass. The last four may be left
    /// out, and are then auto, defaults,nofail, 0 and 2. A line that the file has for the same
    /// directory is replaced. Stage initramfs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Vec<String>>,
    /// Certificate authorities to trust; `ca-certs` is taken too. Needs update-ca-certificates or
    /// update-ca-trust in the image. Stage boot.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-also" = "ca-certs"))]
    pub ca_certs: Option<CaCertificates>,
    /// Packages to install, by the image's package manager: a name, or a list of name and version. The
    /// root has to be writable. Stage network.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<PackageEntry>,
    /// Fetch the lists of packages first. Stage network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package_update: Option<bool>,
    /// Upgrade what is installed. Stage network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package_upgrade: Option<bool>,
    /// Power off or reboot when everything is done. Stage network.after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_state: Option<PowerState>,
    /// Said on the console when everything is done. A template, in which $version, $uptime,
    /// $timestamp and $datasource stand for what they do in cloud-init. Stage network.after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub final_message: Option<String>,
}

/// A user, or the word `default`, which cloud-init's users write and which has no effect.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum UserEntry {
    /// `default`
    Name(String),
    /// A user.
    User(Box<CloudUser>),
}

/// A user.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a key of the documents"
)]
pub struct CloudUser {
    /// Name.
    pub name: String,
    /// Password: a hash as crypt(5) has it, or plain words, which are hashed; `hashed_passwd` is taken
    /// too.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-also" = "hashed_passwd"))]
    pub passwd: Option<String>,
    /// Password in plain words, which is hashed; counts where there is no `passwd`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plain_text_passwd: Option<String>,
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
    /// Further groups: a list, or words with commas between.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Words>,
    /// Make no group of the user's name; the main group is then `users`.
    pub no_user_group: bool,
    /// SSH keys: a key, `github:NAME`, `gitlab:NAME` or a URL.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ssh_authorized_keys: Vec<String>,
    /// Whose keys are fetched: `gh:NAME` from GitHub, `gl:NAME` from GitLab, `lp:NAME` from Launchpad.
    /// Stage network.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ssh_import_id: Vec<String>,
    /// A GitHub name whose keys are fetched. Stage network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coreos_ssh_import_github: Option<String>,
    /// GitHub names whose keys are fetched. Stage network.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub coreos_ssh_import_github_users: Vec<String>,
    /// A URL that keys are fetched from. Stage network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coreos_ssh_import_url: Option<String>,
    /// Rules of sudo, such as `ALL=(ALL) NOPASSWD:ALL`, written to /etc/sudoers.d; false for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sudo: Option<Sudo>,
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

/// A list of words, or one text with commas between.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Words {
    /// `a, b`
    Text(String),
    /// `[a, b]`
    List(Vec<String>),
}

impl Words {
    /// The words one by one.
    pub(crate) fn list(&self) -> Vec<String> {
        match self {
            Self::Text(text) => text
                .split(',')
                .map(|word| word.trim().to_owned())
                .filter(|word| !word.is_empty())
                .collect(),
            Self::List(list) => list.clone(),
        }
    }
}

/// Rules of sudo.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Sudo {
    /// `false`: none.
    None(bool),
    /// One rule, such as `ALL=(ALL) NOPASSWD:ALL`.
    Rule(String),
    /// Several rules.
    Rules(Vec<String>),
}

impl Sudo {
    /// The rules one by one.
    pub(crate) fn rules(&self) -> Vec<String> {
        match self {
            Self::None(_) => Vec::new(),
            Self::Rule(rule) => vec![rule.clone()],
            Self::Rules(rules) => rules.clone(),
        }
    }
}

/// A file.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct WriteFile {
    /// Where: an absolute path. Missing directories are made, 0755 and the owner's.
    pub path: String,
    /// What the file holds. A template, once it is decoded, where it is text.
    pub content: String,
    /// How content is written: b64, base64, gz, gzip, gz+b64, gz+base64, gzip+b64, gzip+base64.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub encoding: String,
    /// Owner and group by name, as user:group: root:root when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Mode, octal: 0644 when left out.
    #[serde(with = "mode", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("x-mode" = true))]
    pub permissions: Option<u32>,
    /// Add to the end of the file, unless it ends so already.
    pub append: bool,
    /// Write late, in stage network.
    pub defer: bool,
}

/// A command: a line for the shell, or the words of it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RunCommand {
    /// For `sh -c`.
    Line(String),
    /// Run as it is.
    Words(Vec<String>),
}

/// A package: its name, or its name and version.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum PackageEntry {
    /// The newest there is.
    Name(String),
    /// `[name, version]`.
    Versioned(Vec<String>),
}

impl PackageEntry {
    /// The package.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Name(name) => name,
            Self::Versioned(words) => words.first().map_or("", String::as_str),
        }
    }

    /// The version, where one is wanted.
    pub(crate) fn version(&self) -> Option<&str> {
        match self {
            Self::Name(_) => None,
            Self::Versioned(words) => words.get(1).map(String::as_str),
        }
    }
}

/// Disks whose last partition is grown.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Growpart {
    /// auto or growpart; off for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Disks, or partitions that stand for their disk, such as /dev/vda. `/` is the disk that the
    /// system booted from, and so is nothing at all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<String>,
    /// Taken and without effect: growth is decided by mode alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore_growroot_disabled: Option<bool>,
}

/// Time servers.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Ntp {
    /// false: leave time servers as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Servers. Without one, here or in `pools`, nothing is written.
    pub servers: Vec<String>,
    /// Pools of servers.
    pub pools: Vec<String>,
    /// Taken and without effect: systemd-timesyncd is what is set up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ntp_client: Option<String>,
}

/// Passwords.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Passwords {
    /// Whether users have to change them at the first login: true when left out, as in cloud-init.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expire: Option<bool>,
    /// Users and passwords.
    pub users: Vec<PasswordEntry>,
    /// Lines or entries `user:password`, the older form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub list: Option<Hashed>,
}

/// Lines `user:password`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Hashed {
    /// One text with a line for each.
    Text(String),
    /// A list.
    List(Vec<String>),
}

/// A user's password.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PasswordEntry {
    /// User.
    pub name: String,
    /// Password, in plain words or a hash as crypt(5) has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// hash or text; what the password looks like decides when left out. RANDOM is refused: nobody
    /// would see the password.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

/// Certificate authorities.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CaCertificates {
    /// Certificates, PEM.
    pub trusted: Vec<String>,
    /// Trust these alone; `remove-defaults` is taken too. Where there is /etc/pki it has no effect,
    /// and warns.
    #[schemars(extend("x-also" = "remove-defaults"))]
    pub remove_defaults: bool,
}

/// What to do with the machine when everything is done.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PowerState {
    /// poweroff, reboot or halt.
    pub mode: String,
    /// now, or minutes from then, as +30.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<String>,
    /// Said to those who are logged in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Taken and without effect: stages have ended by then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u32>,
    /// true, false, or a shell command; nothing happens unless it is true or exits with 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<RunCommand>,
}
