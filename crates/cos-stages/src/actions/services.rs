//! `systemctl`, `systemd_firstboot`, `timesyncd`.

use super::names::{replace, text_of};
use crate::context::Context;
use crate::error::StepError;
use crate::run::Report;
use crate::schema::{Step, SystemctlOverride};
use cos_sys::root_file::Metadata;
use std::collections::BTreeMap;
use std::path::Path;

/// Where root's password is while systemd-firstboot runs.
const PASSWORD: &str = "/run/cos/firstboot-password";

/// Our part of systemd-timesyncd's configuration; the name is yip's, so that it replaces its.
const TIMESYNCD: &str = "/etc/systemd/timesyncd.conf.d/10-yip.conf";

pub(super) fn systemctl(step: &Step, context: &Context<'_>, report: &mut Report<'_>) {
    let Some(systemctl) = &step.systemctl else {
        return;
    };
    for one in &systemctl.overrides {
        report.take(write_override(one, context));
    }
    // Drop-ins before units are started: they are meant for that start.
    if context.host.running && !systemctl.overrides.is_empty() {
        call(&["daemon-reload"], context, report);
    }
    for (verb, units) in [
        ("enable", &systemctl.enable),
        ("disable", &systemctl.disable),
        ("mask", &systemctl.mask),
    ] {
        for unit in units {
            call(&[verb, "--", unit], context, report);
        }
    }
    for unit in &systemctl.start {
        if context.host.running {
            // A stage is itself a service that others wait for: waiting for them could never end.
            call(&["start", "--no-block", "--", unit], context, report);
        } else {
            report.warn(format!(
                "{unit} is not started: no services run where this stage does"
            ));
        }
    }
}

fn call(arguments: &[&str], context: &Context<'_>, report: &mut Report<'_>) {
    context.program(("systemctl", "systemd"), arguments, &[], report);
}

fn write_override(one: &SystemctlOverride, context: &Context<'_>) -> Result<(), StepError> {
    let name = one.name.as_deref().filter(|name| !name.is_empty());
    let mut name = name.unwrap_or("override-yip.conf").to_owned();
    let mut unit = one.service.clone();
    let plain = |word: &str| !word.is_empty() && !word.contains('/') && !word.starts_with('.');
    if !plain(&name) || !plain(&unit) {
        return Err(StepError::Value(format!(
            "{unit:?} with the drop-in {name:?} names no unit"
        )));
    }
    if !unit.contains('.') {
        unit.push_str(".service");
    }
    if Path::new(&name)
        .extension()
        .is_none_or(|extension| extension != "conf")
    {
        name.push_str(".conf");
    }
    let text = context.render("override", &one.content)?;
    let path = format!("/etc/systemd/system/{unit}.d/{name}");
    replace(context, &path, &text, 0o644)
}

pub(super) fn firstboot(step: &Step, context: &Context<'_>, report: &mut Report<'_>) {
    if step.systemd_firstboot.is_empty() {
        return;
    }
    let mut arguments = Vec::new();
    for (name, value) in &step.systemd_firstboot {
        let name = name.trim_start_matches('-').to_ascii_lowercase();
        match value.as_str() {
            "true" => arguments.push(format!("--{name}")),
            // Arguments are for everybody to see while a program runs.
            password if name == "root-password" => {
                if report.take(keep_password(password, context)).is_some() {
                    arguments.push(format!("--root-password-file={PASSWORD}"));
                }
            }
            value => arguments.push(format!("--{name}={value}")),
        }
    }
    context.program(("systemd-firstboot", "systemd"), &arguments, &[], report);
    if step
        .systemd_firstboot
        .keys()
        .any(|name| name.contains("password"))
    {
        // In memory, and only root could read it: nothing is lost when it stays.
        let _ = context.root.remove(Path::new(PASSWORD)).ok();
    }
}

fn keep_password(password: &str, context: &Context<'_>) -> Result<(), StepError> {
    let metadata = Metadata {
        mode: Some(0o600),
        owner: Some(0),
        group: Some(0),
    };
    context
        .root
        .write(Path::new(PASSWORD), password.as_bytes(), &metadata)
        .map_err(|source| StepError::Path {
            what: format!("the file {PASSWORD}"),
            source,
        })
}

pub(super) fn timesyncd(step: &Step, context: &Context<'_>, report: &mut Report<'_>) {
    if !step.timesyncd.is_empty() {
        report.take(merge_timesyncd(&step.timesyncd, context));
    }
}

fn merge_timesyncd(
    wanted: &BTreeMap<String, String>,
    context: &Context<'_>,
) -> Result<(), StepError> {
    let text = text_of(context, TIMESYNCD)?;
    let mut keys: BTreeMap<String, String> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
        .collect();
    for (key, value) in wanted {
        if key.contains(['\n', '=', '[']) || value.contains('\n') {
            return Err(StepError::Value(format!("{key:?} is no key of timesyncd")));
        }
        keys.insert(key.clone(), value.clone());
    }
    let lines = keys.iter().map(|(key, value)| format!("{key}={value}\n"));
    let lines = lines.collect::<Vec<_>>().concat();
    replace(context, TIMESYNCD, &format!("[Time]\n{lines}"), 0o644)
}
