//! `packages`, `package_pins`: apt and dpkg themselves, with a repository of this test's own.

use crate::scratch::{Scratch, have, scratch};
use fs_err as fs;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

const PROGRAMS: [&str; 14] = [
    "apt-get",
    "apt-cache",
    "dpkg",
    "dpkg-deb",
    "dpkg-split",
    "dpkg-query",
    "tar",
    "rm",
    "xz",
    "gzip",
    "cat",
    "ldconfig",
    "start-stop-daemon",
    "diff",
];

/// A root that is Debian enough for apt, and knows a repository with two packages.
fn with_apt(test: &str) -> Option<Scratch> {
    if !have(test, &PROGRAMS) {
        return None;
    }
    let scratch = scratch(test)?;
    scratch.programs(&PROGRAMS);
    for method in ["file", "copy", "store"] {
        scratch.copy(&Path::new("/usr/lib/apt/methods").join(method));
    }
    for table in ["cputable", "tupletable", "ostable"] {
        scratch.copy(&Path::new("/usr/share/dpkg").join(table));
    }
    for directory in [
        "var/lib/dpkg/info",
        "var/lib/dpkg/updates",
        "var/lib/apt/lists/partial",
        "var/cache/apt/archives/partial",
        "etc/apt/preferences.d",
        "etc/apt/apt.conf.d",
        "var/log/apt",
    ] {
        fs::create_dir_all(scratch.at(directory)).unwrap();
    }
    scratch.put("var/lib/dpkg/status", "");
    scratch.put(
        "etc/apt/sources.list",
        "deb [trusted=yes] file:/srv/repository ./\n",
    );
    let repository = scratch.at("srv/repository");
    fs::create_dir_all(&repository).unwrap();
    let mut index = String::new();
    for (name, version) in [("tool", "1.0"), ("tool", "2.0"), ("other", "1.0")] {
        package(&repository, name, version, &mut index);
    }
    fs::write(repository.join("Packages"), index).unwrap();
    Some(scratch)
}

/// Builds a package with one file, and adds it to the index.
fn package(repository: &Path, name: &str, version: &str, index: &mut String) {
    let temp = tempfile::tempdir().unwrap();
    let control = format!(
        "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: T <t@example.com>\nDescription: x\n"
    );
    fs::create_dir_all(temp.path().join("DEBIAN")).unwrap();
    fs::write(temp.path().join("DEBIAN/control"), &control).unwrap();
    fs::create_dir_all(temp.path().join("opt")).unwrap();
    fs::write(temp.path().join("opt").join(name), version).unwrap();
    for directory in ["", "DEBIAN", "opt"] {
        let mode = std::fs::Permissions::from_mode(0o755);
        fs::set_permissions(temp.path().join(directory), mode).unwrap();
    }
    let file = format!("{name}_{version}_all.deb");
    let built = Command::new("dpkg-deb")
        .args(["-Zgzip", "--root-owner-group", "--build"])
        .arg(temp.path())
        .arg(repository.join(&file))
        .output()
        .unwrap();
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    let size = fs::metadata(repository.join(&file)).unwrap().len();
    let sum = Command::new("sha256sum")
        .arg(repository.join(&file))
        .output()
        .unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    let sum = sum.split_whitespace().next().unwrap();
    writeln!(
        index,
        "{control}Filename: ./{file}\nSize: {size}\nSHA256: {sum}\n"
    )
    .unwrap();
}

fn version(scratch: &Scratch, name: &str) -> String {
    let output = scratch.try_inside(
        "dpkg-query",
        &["-W", "-f", "${db:Status-Status} ${Version}", name],
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn packages_are_installed_pinned_upgraded_and_removed() {
    let test = "packages_are_installed_pinned_upgraded_and_removed";
    let Some(scratch) = with_apt(test) else {
        return;
    };
    scratch.step("package_pins: {tool: '1.0'}\npackages: {refresh: true, install: [tool, other]}");
    assert_eq!(version(&scratch, "tool"), "installed 1.0");
    assert_eq!(version(&scratch, "other"), "installed 1.0");
    assert_eq!(scratch.text("opt/tool"), "1.0");
    assert_eq!(
        scratch.text("etc/apt/preferences.d/cloud-config"),
        "Package: tool\nPin: version 1.0\nPin-Priority: 1001\n\n"
    );
    // The pin holds when everything is upgraded.
    scratch.step("packages: {upgrade: true}");
    assert_eq!(version(&scratch, "tool"), "installed 1.0");
    scratch.step("package_pins: {tool: '2.0'}\npackages: {install: [tool], remove: [other]}");
    assert_eq!(version(&scratch, "tool"), "installed 2.0");
    assert!(!version(&scratch, "other").starts_with("installed"));
    // Back: what is pinned may be older.
    scratch.step("package_pins: {tool: '1.0'}\npackages: {install: [tool]}");
    assert_eq!(version(&scratch, "tool"), "installed 1.0");
    let said = scratch.failing("packages: {install: [no-such-package], remove: [tool]}");
    assert!(
        said.contains("no-such-package") && said.lines().count() == 1,
        "{said}"
    );
    assert!(
        !version(&scratch, "tool").starts_with("installed"),
        "the rest is done"
    );
    let said = scratch.failing("package_pins: {'a b': '1'}");
    assert!(said.contains("no package and version"), "{said}");
}

#[test]
fn cloud_config_names_versions_beside_packages() {
    let test = "cloud_config_names_versions_beside_packages";
    let Some(scratch) = with_apt(test) else {
        return;
    };
    let document = "#cloud-config\npackage_update: true\npackages: [other, [tool, '1.0']]\n";
    let summary = scratch.run_all(&[document], &["network"]);
    assert!(!summary.failed(), "{summary}");
    assert_eq!(version(&scratch, "tool"), "installed 1.0");
    assert_eq!(version(&scratch, "other"), "installed 1.0");
}

#[test]
fn without_a_package_manager_it_is_said() {
    let Some(scratch) = scratch("without_a_package_manager_it_is_said") else {
        return;
    };
    let said = scratch.failing("packages: {install: [x]}");
    assert!(said.contains("no package manager"), "{said}");
}
