//! Values of `#cloud-config` as those of steps.

use super::{Builtin, PasswordList, Shutdown};
use crate::schema::{
    CloudUser, ExpandPartition, File, Growpart, Hashed, LayoutDevice, LayoutStep, Passwords,
    PowerState, RunCommand, User, WriteFile,
};
use cos_accounts::{Password, Secret};
use std::collections::BTreeMap;

/// What a `power_state` asks for; otherwise the key that is wrong, and why.
pub(super) fn shutdown(power: &PowerState) -> Result<Builtin, (&'static str, String)> {
    const MODES: [&str; 3] = ["poweroff", "reboot", "halt"];
    if !MODES.contains(&power.mode.as_str()) {
        let message = format!("mode is poweroff, reboot or halt, and not {:?}", power.mode);
        return Err(("mode", message));
    }
    let delay = power.delay.as_deref().unwrap_or("now");
    let minutes = delay.strip_prefix('+').unwrap_or(delay);
    let delay = match minutes.parse::<u32>() {
        Ok(minutes) => format!("+{minutes}"),
        Err(_) if delay == "now" => delay.to_owned(),
        Err(_) => {
            let message = format!("delay is now or minutes, as +30, and not {delay:?}");
            return Err(("delay", message));
        }
    };
    let condition = power.condition.as_ref().map(as_line).transpose();
    Ok(Builtin::PowerState(Shutdown {
        mode: power.mode.clone(),
        delay,
        message: power.message.clone(),
        condition: condition.map_err(|message| ("condition", message))?,
    }))
}

pub(super) fn as_user(user: &CloudUser) -> User {
    User {
        name: None,
        passwd: user.passwd.clone().or(user.plain_text_passwd.clone()),
        ssh_authorized_keys: Vec::new(),
        gecos: user.gecos.clone(),
        homedir: user.homedir.clone(),
        no_create_home: user.no_create_home,
        primary_group: user.primary_group.clone(),
        groups: user
            .groups
            .as_ref()
            .map(crate::schema::Words::list)
            .unwrap_or_default(),
        no_user_group: user.no_user_group,
        system: user.system,
        no_log_init: user.no_log_init,
        shell: user.shell.clone(),
        lock_passwd: user.lock_passwd,
        uid: user.uid.clone(),
    }
}

/// Whether a key has to be fetched.
fn is_remote_key(key: &str) -> bool {
    ["github:", "gitlab:", "https://", "http://"]
        .iter()
        .any(|start| key.starts_with(start))
}

pub(super) fn sort_keys(
    user: &str,
    keys: &[String],
    now: &mut BTreeMap<String, Vec<String>>,
    later: &mut BTreeMap<String, Vec<String>>,
) {
    for key in keys {
        let list = if is_remote_key(key) {
            &mut *later
        } else {
            &mut *now
        };
        list.entry(user.to_owned()).or_default().push(key.clone());
    }
}

pub(super) fn imported_keys(user: &CloudUser) -> Vec<String> {
    let ids = user
        .ssh_import_id
        .iter()
        .map(|id| match id.split_once(':') {
            Some(("gh", name)) => format!("github:{name}"),
            Some(("gl", name)) => format!("gitlab:{name}"),
            Some(("lp", name)) => launchpad(name),
            // ssh-import-id(1): a bare name is one of Launchpad.
            None => launchpad(id),
            // An address, or something that the step refuses.
            Some(_) => id.clone(),
        });
    let github = user
        .coreos_ssh_import_github
        .iter()
        .chain(&user.coreos_ssh_import_github_users)
        .map(|name| format!("github:{name}"));
    ids.chain(github)
        .chain(user.coreos_ssh_import_url.clone())
        .collect()
}

fn launchpad(name: &str) -> String {
    format!("https://launchpad.net/~{name}/+sshkeys")
}

/// The file of sudo's rules for a user.
pub(super) fn sudoers(user: &CloudUser) -> Option<File> {
    let rules = user.sudo.as_ref()?.rules();
    let text: String = rules
        .iter()
        .flat_map(|rule| rule.lines())
        .filter(|rule| !rule.trim().is_empty())
        .map(|rule| format!("{} {rule}\n", user.name))
        .collect::<Vec<_>>()
        .concat();
    // sudo leaves out files whose names have a dot.
    let safe = user.name.replace(['.', '/'], "_");
    (!text.is_empty()).then(|| File {
        path: format!("/etc/sudoers.d/90-cloud-config-{safe}"),
        content: text,
        permissions: Some(0o440),
        owner: Some(0),
        group: Some(0),
        ..File::default()
    })
}

pub(super) fn either(password: &str) -> Password {
    Password::HashOrPlain(Secret::new(password))
}

pub(super) fn password_list(passwords: &Passwords) -> Result<PasswordList, String> {
    const RANDOM: &str = "chpasswd: random passwords are not made: nobody would see them";
    let mut entries = Vec::new();
    for entry in &passwords.users {
        let secret = || match &entry.password {
            Some(password) => Ok(Secret::new(password)),
            None => Err(format!("chpasswd: {} has no password", entry.name)),
        };
        let password = match entry
            .kind
            .as_deref()
            .map(str::to_ascii_lowercase)
            .as_deref()
        {
            None => Password::HashOrPlain(secret()?),
            Some("hash") => Password::Hash(secret()?),
            Some("text") => Password::Plain(secret()?),
            Some("random") => return Err(RANDOM.into()),
            Some(other) => {
                return Err(format!("chpasswd: type is hash or text, and not {other:?}"));
            }
        };
        entries.push((entry.name.clone(), password));
    }
    let lines: Vec<&str> = match &passwords.list {
        Some(Hashed::Text(text)) => text.lines().collect(),
        Some(Hashed::List(list)) => list.iter().map(String::as_str).collect(),
        None => Vec::new(),
    };
    for line in lines.into_iter().filter(|line| !line.trim().is_empty()) {
        let (user, password) = line
            .trim()
            .split_once(':')
            .ok_or("chpasswd: an entry of list is not USER:PASSWORD")?;
        if ["R", "RANDOM"].contains(&password) {
            return Err(RANDOM.into());
        }
        entries.push((user.to_owned(), either(password)));
    }
    Ok(PasswordList {
        entries,
        expire: passwords.expire.unwrap_or(true),
    })
}

pub(super) fn as_file(file: &WriteFile) -> File {
    File {
        path: file.path.clone(),
        permissions: file.permissions,
        ownerstring: file.owner.clone(),
        content: file.content.clone(),
        encoding: match file.encoding.as_str() {
            "text/plain" => String::new(),
            other => other.to_owned(),
        },
        ..File::default()
    }
}

pub(super) fn as_line(command: &RunCommand) -> Result<String, String> {
    match command {
        RunCommand::Line(line) => Ok(line.clone()),
        RunCommand::Words(words) => shlex::try_join(words.iter().map(String::as_str))
            .map_err(|_| "a word holds a NUL character".to_owned()),
    }
}

pub(super) fn layouts(growpart: &Growpart) -> Vec<LayoutStep> {
    if growpart
        .mode
        .as_deref()
        .is_some_and(|mode| mode.eq_ignore_ascii_case("off") || mode.eq_ignore_ascii_case("false"))
    {
        return Vec::new();
    }
    let whole = |device| LayoutStep {
        device,
        expand_partition: Some(ExpandPartition { size: 0 }),
        add_partitions: Vec::new(),
    };
    if growpart.devices.is_empty() {
        return vec![whole(None)];
    }
    let device = |path: &String| match path.as_str() {
        "/" => None,
        path => Some(LayoutDevice {
            path: Some(path.to_owned()),
            ..LayoutDevice::default()
        }),
    };
    growpart
        .devices
        .iter()
        .map(|path| whole(device(path)))
        .collect()
}
