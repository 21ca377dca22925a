//! Debian packages: installed when root, named exactly otherwise.

use anyhow::{Context, bail};
use cos_testkit::{is_root, paths, process, tools};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// Where the package manager's own output goes.
const LOG: &str = "apt.log";

/// Makes sure that the Debian packages of these programs are installed.
pub(crate) fn ensure_tools(programs: &[&str]) -> anyhow::Result<()> {
    let packages: BTreeSet<&str> = programs
        .iter()
        .filter_map(|program| tools::package_of(program))
        .collect();
    ensure(&packages.into_iter().collect::<Vec<_>>())
}

/// Makes sure that these Debian packages are installed: installs the missing ones when root, and
/// otherwise fails with the command that would.
pub(crate) fn ensure(packages: &[&str]) -> anyhow::Result<()> {
    let mut missing = missing_of(packages)?;
    // Twice: to satisfy one package, apt may remove another of these that came from elsewhere.
    for _ in 0..2 {
        if missing.is_empty() {
            return Ok(());
        }
        if !is_root() {
            bail!(
                "these Debian packages are missing; as root: {}",
                install_line(&missing)
            );
        }
        install(&missing)?;
        missing = missing_of(packages)?;
    }
    if missing.is_empty() {
        Ok(())
    } else {
        bail!(
            "apt did not keep these packages together: {}",
            packages.join(" ")
        )
    }
}

/// Like [`ensure`], but what cannot be installed is only said: the tests that need it skip by name.
pub(crate) fn ensure_or_say(packages: &[&str]) {
    if let Err(error) = ensure(packages) {
        eprintln!("warning: {error:#}\nwarning: tests that need them will be skipped");
    }
}

/// The command that installs `packages`, as a user would type it.
fn install_line(packages: &[&str]) -> String {
    format!(
        "apt-get install --no-install-recommends {}",
        packages.join(" ")
    )
}

fn install(packages: &[&str]) -> anyhow::Result<()> {
    println!("     {}", install_line(packages));
    if !lists_are_there() {
        update()?;
    }
    if install_now(packages).is_ok() {
        return Ok(());
    }
    // Stale lists name versions that mirrors have dropped.
    update()?;
    install_now(packages)
}

fn install_now(packages: &[&str]) -> anyhow::Result<()> {
    let mut command = apt_get();
    command
        .args(["install", "--yes", "--no-install-recommends"])
        .args(packages);
    process::logged(&mut command, &paths::target().join(LOG))
}

fn update() -> anyhow::Result<()> {
    process::logged(apt_get().arg("update"), &paths::target().join(LOG))
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["-q", "-o", "DPkg::Lock::Timeout=600"]);
    command
}

fn lists_are_there() -> bool {
    std::fs::read_dir(Path::new("/var/lib/apt/lists")).is_ok_and(|entries| {
        entries
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
    })
}

fn missing_of<'a>(packages: &[&'a str]) -> anyhow::Result<Vec<&'a str>> {
    let said = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${Package} ${db:Status-Status}\n"])
        .args(packages)
        .output()
        .with_context(|| {
            format!(
                "not a Debian system; the programs of these packages are needed: {}",
                packages.join(" ")
            )
        })?;
    // The exit status is that of the least known package: the lines say it for each.
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    Ok(packages
        .iter()
        .copied()
        .filter(|package| !is_installed(&said, package))
        .collect())
}

fn is_installed(said: &str, package: &str) -> bool {
    said.lines()
        .any(|line| line.split_once(' ') == Some((package, "installed")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_installed_packages_count() {
        let said = "buildah installed\nqemu-utils config-files\novmf not-installed\n";
        assert!(is_installed(said, "buildah"));
        assert!(!is_installed(said, "qemu-utils"));
        assert!(!is_installed(said, "ovmf"));
        assert!(!is_installed(said, "build"));
    }

    #[test]
    fn the_command_for_a_user_is_whole() {
        assert_eq!(
            install_line(&["gdisk", "ovmf"]),
            "apt-get install --no-install-recommends gdisk ovmf"
        );
    }
}
