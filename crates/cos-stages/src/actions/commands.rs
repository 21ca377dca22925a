//! `commands`, `sysctl`, `modules`.

use crate::condition::shortened;
use crate::context::Context;
use crate::error::StepError;
use crate::run::Report;
use crate::schema::Step;
use cos_sys::root_file::Metadata;
use std::path::Path;

pub(super) fn commands(step: &Step, context: &Context<'_>, report: &mut Report<'_>) {
    for command in &step.commands {
        if context.host.monitor.checkpoint().is_err() {
            report.failed(&StepError::Value("stopped before the end".into()));
            return;
        }
        let Some(line) = report.take(context.render("command", command)) else {
            continue;
        };
        match context.shell.line(&line) {
            Ok(ran) => {
                report.output(&ran.output);
                if !ran.status.success() {
                    report.failed(&StepError::Command {
                        command: shortened(&line),
                        status: ran.status,
                    });
                }
            }
            Err(source) => report.failed(&StepError::Start {
                program: "/bin/sh".into(),
                source,
            }),
        }
    }
}

pub(super) fn sysctl(step: &Step, context: &Context<'_>, report: &mut Report<'_>) {
    for (name, value) in &step.sysctl {
        report.take(set(name, value, context));
    }
}

fn set(name: &str, value: &str, context: &Context<'_>) -> Result<(), StepError> {
    let relative = place(name);
    if relative
        .split('/')
        .any(|part| part.is_empty() || part == "..")
    {
        return Err(StepError::Value(format!(
            "{name} names no kernel parameter"
        )));
    }
    let path = Path::new("/proc/sys").join(&relative);
    if !context.root.exists(&path) {
        return Err(StepError::Value(format!(
            "this kernel has no parameter {name}"
        )));
    }
    context
        .root
        .write(&path, format!("{value}\n").as_bytes(), &Metadata::default())
        .map_err(|source| StepError::Path {
            what: format!("the kernel parameter {name} {value}"),
            source,
        })
}

/// sysctl(8): with a slash first, slashes part the name and dots are its own, as in
/// `net/ipv4/conf/eth0.10/forwarding`.
fn place(name: &str) -> String {
    match name.find(['.', '/']) {
        Some(at) if name[at..].starts_with('/') => name.to_owned(),
        _ => name
            .chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect(),
    }
}

pub(super) fn modules(step: &Step, context: &Context<'_>, report: &mut Report<'_>) {
    for module in &step.modules {
        let words: Vec<String> = shlex::Shlex::new(module).collect();
        if words.is_empty() || words[0].starts_with('-') {
            report.failed(&StepError::Value(format!("{module:?} is no module")));
            continue;
        }
        context.program(("modprobe", "kmod"), &words, &[], report);
    }
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn parameters_are_found_as_sysctl_finds_them() {
        assert_eq!(place("net.ipv4.ip_forward"), "net/ipv4/ip_forward");
        assert_eq!(place("net/ipv4/conf/eth0.10/x"), "net/ipv4/conf/eth0.10/x");
        assert_eq!(place("net.ipv4.conf.eth0/10.x"), "net/ipv4/conf/eth0.10/x");
    }
}
