//! The keys of `#cloud-config` as steps: each in the stage where its users expect its effect.

mod values;

use crate::diagnostic::{Findings, Position};
use crate::document::Document;
use crate::schema::{
    CloudConfig, CloudUser, File, Ntp, PackageEntry, Packages, Step, UserEntry, WriteFile,
};
use crate::yaml::Node;
use cos_accounts::Password;
use std::collections::BTreeMap;
use values::{
    as_file, as_line, as_user, either, imported_keys, layouts, password_list, shutdown, sort_keys,
    sudoers,
};

/// Where the time zones are.
pub(crate) const ZONES: &str = "/usr/share/zoneinfo";

/// What a key of `#cloud-config` asks for that no key of a step does.
#[derive(Debug, Clone)]
pub enum Builtin {
    /// Run a whole script.
    Script(String),
    /// Point /etc/localtime at a zone.
    Timezone(String),
    /// Add lines to /etc/fstab and make their directories.
    Mounts(Vec<Vec<String>>),
    /// Trust certificate authorities.
    CaCertificates {
        /// Certificates, PEM.
        trusted: Vec<String>,
        /// Whether the distribution's own are no longer trusted.
        alone: bool,
    },
    /// Set passwords.
    Passwords(PasswordList),
    /// Add to the end of a file.
    Append(Box<WriteFile>),
    /// Power off, reboot or halt.
    PowerState(Shutdown),
    /// Say something on the console.
    FinalMessage(String),
}

/// The end of a boot.
#[derive(Debug, Clone)]
pub struct Shutdown {
    /// poweroff, reboot or halt.
    pub mode: String,
    /// As shutdown(8) takes it.
    pub delay: String,
    /// For who is logged in.
    pub message: Option<String>,
    /// A line for the shell, or true or false.
    pub condition: Option<String>,
}

/// Users and their new passwords.
#[derive(Clone)]
pub struct PasswordList {
    /// User and password.
    pub entries: Vec<(String, Password)>,
    /// Whether they have to be changed at the first login.
    pub expire: bool,
}

impl std::fmt::Debug for PasswordList {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let users: Vec<&str> = self.entries.iter().map(|(user, _)| user.as_str()).collect();
        f.debug_struct("PasswordList")
            .field("users", &users)
            .field("expire", &self.expire)
            .finish()
    }
}

/// Adds the steps that a document's `#cloud-config` keys stand for.
pub(crate) fn add_steps(
    cloud: &CloudConfig,
    node: &Node,
    document: &mut Document,
    findings: &mut Findings<'_>,
) {
    let mut steps = Steps {
        node,
        document,
        findings,
    };
    steps.identity(cloud);
    steps.users(cloud);
    steps.passwords(cloud);
    steps.files(cloud);
    steps.commands(cloud);
    steps.machine(cloud);
    steps.packages(cloud);
    steps.end(cloud);
}

struct Steps<'d, 'f, 't> {
    node: &'d Node,
    document: &'d mut Document,
    findings: &'f mut Findings<'t>,
}

impl Steps<'_, '_, '_> {
    /// Where a key stands.
    fn at(&self, key: &str) -> Position {
        match &self.node.value {
            crate::yaml::Value::Mapping(entries) => entries
                .iter()
                .find(|entry| entry.key == key)
                .map_or(self.node.at, |entry| entry.at),
            _ => self.node.at,
        }
    }

    fn step(&mut self, stage: &str, key: &str, step: Step) {
        let at = self.at(key);
        let step = Step {
            name: Some(key.to_owned()),
            ..step
        };
        self.document.push(stage, step, None, at);
    }

    fn builtin(&mut self, stage: &str, key: &str, builtin: Builtin) {
        let at = self.at(key);
        let step = Step {
            name: Some(key.to_owned()),
            ..Step::default()
        };
        self.document.push(stage, step, Some(builtin), at);
    }

    fn identity(&mut self, cloud: &CloudConfig) {
        let key = if cloud.hostname.is_some() {
            "hostname"
        } else {
            "fqdn"
        };
        if let Some(name) = cloud.hostname.as_ref().or(cloud.fqdn.as_ref()) {
            let step = Step {
                hostname: Some(name.clone()),
                ..Step::default()
            };
            self.step("initramfs", key, step);
        }
        if let Some(zone) = &cloud.timezone {
            self.builtin("initramfs", "timezone", Builtin::Timezone(zone.clone()));
        }
        if let Some(locale) = &cloud.locale {
            // systemd and Fedora read the first, Debian's login the second.
            for file in ["/etc/locale.conf", "/etc/default/locale"] {
                let step = Step {
                    environment: BTreeMap::from([("LANG".to_owned(), locale.clone())]),
                    environment_file: Some(file.to_owned()),
                    ..Step::default()
                };
                self.step("initramfs", "locale", step);
            }
        }
        if let Some(ntp) = &cloud.ntp {
            self.ntp(ntp);
        }
    }

    fn ntp(&mut self, ntp: &Ntp) {
        let servers: Vec<&str> = ntp
            .servers
            .iter()
            .chain(&ntp.pools)
            .map(String::as_str)
            .collect();
        if ntp.enabled == Some(false) || servers.is_empty() {
            return;
        }
        let step = Step {
            timesyncd: BTreeMap::from([("NTP".to_owned(), servers.join(" "))]),
            ..Step::default()
        };
        self.step("initramfs", "ntp", step);
    }

    fn users(&mut self, cloud: &CloudConfig) {
        let users: Vec<&CloudUser> = cloud
            .users
            .iter()
            .filter_map(|entry| match entry {
                UserEntry::User(user) => Some(&**user),
                UserEntry::Name(name) => {
                    if name != "default" {
                        let message = format!("the user {name:?} is only named, not described");
                        self.findings.add(
                            crate::diagnostic::Severity::Warning,
                            self.at("users"),
                            message,
                            Some("write `- name: NAME` and what the user shall have".into()),
                        );
                    }
                    None
                }
            })
            .collect();
        let mut local = BTreeMap::new();
        let mut now: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut later: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for user in &users {
            local.insert(user.name.clone(), as_user(user));
            sort_keys(&user.name, &user.ssh_authorized_keys, &mut now, &mut later);
            let imported = imported_keys(user);
            if !imported.is_empty() {
                later.entry(user.name.clone()).or_default().extend(imported);
            }
        }
        let everyone: Vec<&str> = if users.is_empty() {
            vec!["root"]
        } else {
            users.iter().map(|user| user.name.as_str()).collect()
        };
        for name in everyone {
            sort_keys(name, &cloud.ssh_authorized_keys, &mut now, &mut later);
        }
        let key = if users.is_empty() {
            "ssh_authorized_keys"
        } else {
            "users"
        };
        if !local.is_empty() || !now.is_empty() {
            let step = Step {
                users: local,
                authorized_keys: now,
                files: users.iter().filter_map(|user| sudoers(user)).collect(),
                ..Step::default()
            };
            self.step("boot", key, step);
        }
        if !later.is_empty() {
            let step = Step {
                authorized_keys: later,
                ..Step::default()
            };
            self.step("network", key, step);
        }
    }

    fn passwords(&mut self, cloud: &CloudConfig) {
        if let Some(password) = &cloud.password {
            let user = cloud.users.iter().find_map(|entry| match entry {
                UserEntry::User(user) => Some(user.name.clone()),
                UserEntry::Name(_) => None,
            });
            let list = PasswordList {
                entries: vec![(user.unwrap_or_else(|| "root".into()), either(password))],
                expire: false,
            };
            self.builtin("boot", "password", Builtin::Passwords(list));
        }
        if let Some(passwords) = &cloud.chpasswd {
            match password_list(passwords) {
                Ok(list) => self.builtin("boot", "chpasswd", Builtin::Passwords(list)),
                Err(message) => {
                    let at = self.at("chpasswd");
                    self.findings.error(at, message);
                }
            }
        }
        if let Some(allowed) = cloud.ssh_pwauth {
            let word = if allowed { "yes" } else { "no" };
            let file = File {
                path: "/etc/ssh/sshd_config.d/50-cloud-config.conf".into(),
                content: format!("PasswordAuthentication {word}\n"),
                permissions: Some(0o600),
                ..File::default()
            };
            let step = Step {
                files: vec![file],
                ..Step::default()
            };
            self.step("boot", "ssh_pwauth", step);
        }
    }

    fn files(&mut self, cloud: &CloudConfig) {
        for (defer, stage) in [(false, "boot"), (true, "network")] {
            let mut files = Vec::new();
            for file in cloud.write_files.iter().filter(|file| file.defer == defer) {
                if file.append {
                    let append = Builtin::Append(Box::new(file.clone()));
                    self.builtin(stage, "write_files", append);
                } else {
                    files.push(as_file(file));
                }
            }
            if !files.is_empty() {
                let step = Step {
                    files,
                    ..Step::default()
                };
                self.step(stage, "write_files", step);
            }
        }
    }

    fn commands(&mut self, cloud: &CloudConfig) {
        for (stage, key, commands) in [
            ("fs", "bootcmd", &cloud.bootcmd),
            ("boot", "runcmd", &cloud.runcmd),
        ] {
            let mut lines = Vec::new();
            for command in commands {
                match as_line(command) {
                    Ok(line) => lines.push(line),
                    Err(message) => {
                        let at = self.at(key);
                        self.findings.error(at, format!("{key}: {message}"));
                    }
                }
            }
            if !lines.is_empty() {
                let step = Step {
                    commands: lines,
                    ..Step::default()
                };
                self.step(stage, key, step);
            }
        }
    }

    fn machine(&mut self, cloud: &CloudConfig) {
        if let Some(growpart) = &cloud.growpart {
            for layout in layouts(growpart) {
                let step = Step {
                    layout: Some(layout),
                    ..Step::default()
                };
                self.step("boot", "growpart", step);
            }
        }
        if !cloud.mounts.is_empty() {
            let mounts = Builtin::Mounts(cloud.mounts.clone());
            self.builtin("initramfs", "mounts", mounts);
        }
        if let Some(certificates) = &cloud.ca_certs {
            let certificates = Builtin::CaCertificates {
                trusted: certificates.trusted.clone(),
                alone: certificates.remove_defaults,
            };
            self.builtin("boot", "ca_certs", certificates);
        }
    }

    fn packages(&mut self, cloud: &CloudConfig) {
        let refresh = cloud.package_update == Some(true);
        let upgrade = cloud.package_upgrade == Some(true);
        if cloud.packages.is_empty() && !refresh && !upgrade {
            return;
        }
        let packages = Packages {
            install: cloud
                .packages
                .iter()
                .map(|one| one.name().to_owned())
                .collect(),
            remove: Vec::new(),
            refresh,
            upgrade,
        };
        let pinned = |one: &PackageEntry| Some((one.name().to_owned(), one.version()?.to_owned()));
        let step = Step {
            packages: Some(packages),
            package_pins: cloud.packages.iter().filter_map(pinned).collect(),
            ..Step::default()
        };
        self.step("network", "packages", step);
    }

    fn end(&mut self, cloud: &CloudConfig) {
        if let Some(message) = &cloud.final_message {
            let message = Builtin::FinalMessage(message.clone());
            self.builtin("network.after", "final_message", message);
        }
        if let Some(power) = &cloud.power_state {
            match shutdown(power) {
                Ok(power) => self.builtin("network.after", "power_state", power),
                Err((key, message)) => {
                    let at = self.at("power_state");
                    let within = self.node.get("power_state").and_then(|node| node.get(key));
                    let at = within.map_or(at, |node| node.at);
                    self.findings.error(at, format!("power_state: {message}"));
                }
            }
        }
    }
}
