//! `packages`, `package_pins`: by the package manager that the image has.

use super::names::replace;
use crate::context::Context;
use crate::error::StepError;
use crate::run::Report;
use crate::schema::{Packages, Step};

/// What is known of a package manager.
struct Manager {
    program: &'static str,
    refresh: &'static [&'static str],
    upgrade: &'static [&'static str],
    install: &'static [&'static str],
    remove: &'static [&'static str],
    /// What stands between a package and its version.
    version: &'static str,
}

/// Nobody is there to be asked about configuration files: those of the machine stay.
const APT_CONFDEF: &str = "-oDpkg::Options::=--force-confdef";
const APT_CONFOLD: &str = "-oDpkg::Options::=--force-confold";
/// Something else of the boot may be at it: seconds to wait.
const APT_LOCK: &str = "-oDPkg::Lock::Timeout=120";

/// In the order in which they are looked for.
const MANAGERS: [Manager; 5] = [
    Manager {
        program: "apt-get",
        refresh: &["-q", "update"],
        upgrade: &["-q", "-y", APT_CONFDEF, APT_CONFOLD, APT_LOCK, "upgrade"],
        // A pinned version may be older than what is there.
        install: &[
            "-q",
            "-y",
            APT_CONFDEF,
            APT_CONFOLD,
            APT_LOCK,
            "--no-install-recommends",
            "--allow-downgrades",
            "install",
            "--",
        ],
        remove: &["-q", "-y", APT_LOCK, "remove", "--"],
        version: "=",
    },
    Manager {
        program: "dnf",
        refresh: &["-y", "makecache"],
        upgrade: &["-y", "upgrade"],
        install: &["-y", "install", "--"],
        remove: &["-y", "remove", "--"],
        version: "-",
    },
    Manager {
        program: "zypper",
        refresh: &["--non-interactive", "refresh"],
        upgrade: &["--non-interactive", "update"],
        install: &["--non-interactive", "install", "--"],
        remove: &["--non-interactive", "remove", "--"],
        version: "=",
    },
    Manager {
        program: "pacman",
        refresh: &["-Sy", "--noconfirm"],
        upgrade: &["-Su", "--noconfirm"],
        install: &["-S", "--noconfirm", "--needed", "--"],
        remove: &["-R", "--noconfirm", "--"],
        version: "=",
    },
    Manager {
        program: "apk",
        refresh: &["update"],
        upgrade: &["upgrade"],
        install: &["add", "--"],
        remove: &["del", "--"],
        version: "=",
    },
];

fn manager(context: &Context<'_>) -> Result<&'static Manager, StepError> {
    MANAGERS
        .iter()
        .find(|manager| context.shell.has(manager.program))
        .ok_or_else(|| {
            StepError::Value(
                "this system has no package manager: put packages into the image".into(),
            )
        })
}

pub(super) fn packages(step: &Step, context: &Context<'_>, report: &mut Report<'_>) {
    let Some(packages) = &step.packages else {
        return;
    };
    let Some(manager) = report.take(manager(context)) else {
        return;
    };
    for arguments in calls(manager, packages, step) {
        let environment = [("DEBIAN_FRONTEND", "noninteractive")];
        let program = (manager.program, manager.program);
        context.program(program, &arguments, &environment, report);
    }
}

/// The calls that do what is asked for.
fn calls(manager: &Manager, packages: &Packages, step: &Step) -> Vec<Vec<String>> {
    let words = |list: &[&str]| -> Vec<String> { list.iter().map(|&word| word.into()).collect() };
    let mut calls = Vec::new();
    if packages.refresh {
        calls.push(words(manager.refresh));
    }
    if packages.upgrade {
        calls.push(words(manager.upgrade));
    }
    if !packages.install.is_empty() {
        let mut call = words(manager.install);
        call.extend(
            packages
                .install
                .iter()
                .map(|name| match step.package_pins.get(name) {
                    Some(version) => format!("{name}{}{version}", manager.version),
                    None => name.clone(),
                }),
        );
        calls.push(call);
    }
    if !packages.remove.is_empty() {
        let mut call = words(manager.remove);
        call.extend(packages.remove.iter().cloned());
        calls.push(call);
    }
    calls
}

pub(super) fn pins(step: &Step, context: &Context<'_>, report: &mut Report<'_>) {
    if step.package_pins.is_empty() {
        return;
    }
    report.take(manager(context).and_then(|manager| pin(manager, step, context)));
}

fn pin(manager: &Manager, step: &Step, context: &Context<'_>) -> Result<(), StepError> {
    for (name, version) in &step.package_pins {
        let word = |text: &str| !text.is_empty() && !text.contains(char::is_whitespace);
        if !word(name) || !word(version) {
            return Err(StepError::Value(format!(
                "{name:?} at {version:?} is no package and version"
            )));
        }
    }
    let pins = step.package_pins.iter();
    match manager.program {
        "apt-get" => {
            let lines = pins.map(|(name, version)| {
                format!("Package: {name}\nPin: version {version}\nPin-Priority: 1001\n\n")
            });
            let text = lines.collect::<Vec<_>>().concat();
            replace(context, "/etc/apt/preferences.d/cloud-config", &text, 0o644)
        }
        "dnf" => {
            let lines = pins.map(|(name, version)| format!("{name}-{version}\n"));
            let text = lines.collect::<Vec<_>>().concat();
            replace(context, "/etc/dnf/plugins/versionlock.list", &text, 0o644)
        }
        // The others keep to a version when it is named at the installation, which it is.
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pinned_packages_are_installed_at_their_version() {
        let packages = Packages {
            install: vec!["a".into(), "b".into()],
            refresh: true,
            ..Packages::default()
        };
        let step = Step {
            package_pins: [("b".to_owned(), "1.2".to_owned())].into(),
            ..Step::default()
        };
        let calls = calls(&MANAGERS[0], &packages, &step);
        assert_eq!(calls[0], ["-q", "update"]);
        assert_eq!(calls[1].last().unwrap(), "b=1.2");
    }
}
