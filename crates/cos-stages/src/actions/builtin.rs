//! What `#cloud-config` keys do that no key of a step does.

use super::files::{absolute, content, owner};
use super::names::{replace, text_of};
use crate::cloud_config::{Builtin, PasswordList, Shutdown, ZONES};
use crate::context::Context;
use crate::error::StepError;
use crate::run::Report;
use crate::schema::{Step, WriteFile};
use cos_accounts::Database;
use cos_sys::root_file::Metadata;
use std::path::{Path, PathBuf};

/// Where scripts are put to be run.
const SCRIPTS: &str = "/run/cos/scripts";
/// Most of a file that is added to, in bytes.
const MAX_APPENDED: u64 = 64 << 20;

pub(super) fn run(builtin: &Builtin, step: &Step, context: &Context<'_>, report: &mut Report<'_>) {
    match builtin {
        Builtin::Script(text) => {
            report.key("script");
            script(text, step, context, report);
        }
        Builtin::Timezone(zone) => {
            report.key("timezone");
            report.take(timezone(zone, context));
        }
        Builtin::Mounts(lines) => {
            report.key("mounts");
            report.take(mounts(lines, context));
        }
        Builtin::CaCertificates { trusted, alone } => {
            report.key("ca_certs");
            certificates(trusted, *alone, context, report);
        }
        Builtin::Passwords(list) => {
            report.key("chpasswd");
            let done = passwords(list, context, report);
            report.take(done);
        }
        Builtin::Append(file) => {
            report.key("write_files");
            report.take(append(file, context));
        }
        Builtin::PowerState(power) => {
            report.key("power_state");
            power_state(power, context, report);
        }
        Builtin::FinalMessage(text) => {
            report.key("final_message");
            report.take(final_message(text, context));
        }
    }
}

fn script(text: &str, step: &Step, context: &Context<'_>, report: &mut Report<'_>) {
    let name = step.name.as_deref().unwrap_or("script");
    let path = PathBuf::from(SCRIPTS).join(name);
    let metadata = Metadata {
        mode: Some(0o700),
        owner: Some(0),
        group: Some(0),
    };
    let written = context
        .root
        .write(&path, text.as_bytes(), &metadata)
        .map_err(|source| StepError::Path {
            what: format!("the script {}", path.display()),
            source,
        });
    if report.take(written).is_none() {
        return;
    }
    let program = path.to_string_lossy().into_owned();
    // Where /run is mounted noexec, as initramfs-tools does, the kernel would not start it.
    let (interpreter, argument) = interpreter(text);
    let arguments = argument.into_iter().chain([program.as_str()]);
    match context.shell.run(interpreter, arguments, &[]) {
        Ok(ran) => {
            report.output(&ran.output);
            if !ran.status.success() {
                report.failed(&StepError::Command {
                    command: "the script".into(),
                    status: ran.status,
                });
            }
        }
        Err(source) => report.failed(&StepError::Start { program, source }),
    }
}

/// The program of a script's first line and the one argument that it may have, as execve(2) takes it.
fn interpreter(text: &str) -> (&str, Option<&str>) {
    let line = text.lines().next().unwrap_or_default();
    let line = line.strip_prefix("#!").unwrap_or_default().trim();
    let (program, argument) = match line.split_once([' ', '\t']) {
        Some((program, argument)) => (program, Some(argument.trim())),
        None => (line, None),
    };
    (
        if program.is_empty() {
            "/bin/sh"
        } else {
            program
        },
        argument,
    )
}

fn timezone(zone: &str, context: &Context<'_>) -> Result<(), StepError> {
    let word = |part: &str| !part.is_empty() && part != ".." && part != ".";
    let place = Path::new(ZONES).join(zone);
    if !zone.split('/').all(word) || !context.root.exists(&place) {
        return Err(StepError::Value(format!(
            "{zone:?} is no time zone of this system; its package is tzdata"
        )));
    }
    let link = Path::new("../usr/share/zoneinfo").join(zone);
    context
        .root
        .symlink(&link, Path::new("/etc/localtime"))
        .map_err(|source| StepError::Path {
            what: "the link /etc/localtime".into(),
            source,
        })?;
    replace(context, "/etc/timezone", &format!("{zone}\n"), 0o644)
}

fn mounts(lines: &[Vec<String>], context: &Context<'_>) -> Result<(), StepError> {
    const DEFAULTS: [&str; 6] = ["", "", "auto", "defaults,nofail", "0", "2"];
    let mut table = text_of(context, "/etc/fstab")?;
    for line in lines {
        if line.len() < 2 || line.len() > DEFAULTS.len() {
            return Err(StepError::Value(
                "a line of mounts is device, directory, and what else fstab(5) has".into(),
            ));
        }
        let field = |at: usize| line.get(at).map_or(DEFAULTS[at], String::as_str);
        if line
            .iter()
            .any(|word| word.is_empty() || word.contains(['\n', ' ', '\t']))
        {
            return Err(StepError::Value(format!("{line:?} is no line of fstab(5)")));
        }
        let place = field(1);
        // What is mounted there is said once: here, at every boot, and in the image perhaps.
        let at = usize::from(place != "none");
        let same = |other: &&str| {
            let other = other.trim_start();
            !other.starts_with('#') && other.split_whitespace().nth(at) == Some(field(at))
        };
        let kept = table.split_inclusive('\n').filter(|other| !same(other));
        table = kept.collect();
        if place != "none" {
            let path = absolute(place)?;
            context
                .root
                .make_directories(&path, &Metadata::default())
                .map_err(|source| StepError::Path {
                    what: format!("the directory {place}"),
                    source,
                })?;
        }
        if !table.is_empty() && !table.ends_with('\n') {
            table.push('\n');
        }
        let fields: Vec<&str> = (0..DEFAULTS.len()).map(field).collect();
        table.push_str(&fields.join(" "));
        table.push('\n');
    }
    replace(context, "/etc/fstab", &table, 0o644)
}

/// Where a distribution keeps certificates that are added, and what makes them count.
const CERTIFICATE_STORES: [(&str, &str, &[&str]); 3] = [
    ("/etc/pki/ca-trust/source/anchors", "update-ca-trust", &[]),
    ("/etc/pki/trust/anchors", "update-ca-certificates", &[]),
    (
        "/usr/local/share/ca-certificates",
        "update-ca-certificates",
        &["--fresh"],
    ),
];

fn certificates(trusted: &[String], alone: bool, context: &Context<'_>, report: &mut Report<'_>) {
    let (directory, program, arguments) = CERTIFICATE_STORES
        .into_iter()
        .find(|(directory, ..)| {
            directory.starts_with("/usr/") || context.root.exists(Path::new(directory))
        })
        .unwrap_or(CERTIFICATE_STORES[2]);
    if alone {
        if directory.starts_with("/usr/") {
            report.take(replace(context, "/etc/ca-certificates.conf", "", 0o644));
        } else {
            report.warn("remove_defaults has no effect: this system keeps no list of them");
        }
    }
    for (index, certificate) in trusted.iter().enumerate() {
        if !certificate.contains("-----BEGIN CERTIFICATE-----") {
            report.failed(&StepError::Value(format!(
                "certificate {} is not PEM",
                index + 1
            )));
            continue;
        }
        let path = format!("{directory}/cloud-config-{}.crt", index + 1);
        let text = certificate.trim_end().to_owned() + "\n";
        report.take(replace(context, &path, &text, 0o644));
    }
    context.program((program, "ca-certificates"), arguments, &[], report);
}

fn passwords(
    list: &PasswordList,
    context: &Context<'_>,
    report: &mut Report<'_>,
) -> Result<(), StepError> {
    let failed = |source| StepError::Accounts { source };
    let mut database = Database::open(context.root).map_err(failed)?;
    for (user, password) in &list.entries {
        let set = database.set_password(user, password, list.expire);
        // One user who is not there does not leave the others with their old passwords.
        report.take(set.map_err(|source| StepError::Account {
            name: user.clone(),
            source,
        }));
    }
    database.save().map_err(failed)
}

/// Adds to a file what is not at its end already: stages run at every boot.
fn append(file: &WriteFile, context: &Context<'_>) -> Result<(), StepError> {
    let path = absolute(&file.path)?;
    let failed = |source| StepError::Path {
        what: format!("the file {}", file.path),
        source,
    };
    let more = content(&file.path, &file.content, &file.encoding, context)?;
    let (owner, group) = owner(file.owner.as_deref(), context)?;
    let there = context.root.read(&path, MAX_APPENDED).map_err(failed)?;
    let mut there = there.unwrap_or_default();
    if there.ends_with(&more) {
        return Ok(());
    }
    there.extend_from_slice(&more);
    let metadata = Metadata {
        mode: file.permissions,
        owner,
        group,
    };
    context.root.write(&path, &there, &metadata).map_err(failed)
}

fn power_state(power: &Shutdown, context: &Context<'_>, report: &mut Report<'_>) {
    if !context.host.running {
        report.warn("nothing is powered off: no services run where this stage does");
        return;
    }
    match power.condition.as_deref() {
        None | Some("true") => {}
        Some("false") => return,
        Some(line) => match context.shell.line(line) {
            Ok(ran) if ran.status.success() => {}
            Ok(_) => return,
            Err(source) => {
                report.failed(&StepError::Start {
                    program: "/bin/sh".into(),
                    source,
                });
                return;
            }
        },
    }
    let how = match power.mode.as_str() {
        "reboot" => "-r",
        "halt" => "-H",
        _ => "-P",
    };
    let mut arguments = vec![how, power.delay.as_str()];
    arguments.extend(power.message.as_deref());
    context.program(("shutdown", "systemd"), &arguments, &[], report);
}

/// A template of the time as cloud-init writes it.
const RFC_2822: &str = r#"{{ now | date "Mon, 02 Jan 2006 15:04:05 +0000" }}"#;

fn final_message(text: &str, context: &Context<'_>) -> Result<(), StepError> {
    let text = context.render("final_message", text)?;
    let uptime = text_of(context, "/proc/uptime")?;
    let uptime = uptime.split(' ').next().unwrap_or_default();
    let source = text_of(context, "/run/config/provider")?;
    let now = context.render("timestamp", RFC_2822)?;
    let text = text
        .replace("$timestamp", &now)
        .replace("$TIMESTAMP", &now)
        .replace("$uptime", uptime)
        .replace("$UPTIME", uptime)
        .replace("$datasource", &source)
        .replace("$DATASOURCE", &source)
        .replace("$version", env!("CARGO_PKG_VERSION"))
        .replace("$VERSION", env!("CARGO_PKG_VERSION"));
    if !context.host.running {
        return Ok(());
    }
    cos_sys::system::kmsg(cos_sys::system::Severity::Warning, "cos", &text).map_err(|source| {
        StepError::Kernel {
            action: "say the final message on the console".into(),
            source,
        }
    })
}
