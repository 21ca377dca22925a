//! The image as a controller's container: what is asked of the machine that is mounted at /host.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests run other people's tools with plain std and stop at the first surprise"
)]

use cos_testkit::{dist, process, require_root, temp_dir};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

/// A machine whose `cos` notes what it is asked for, and what it sees of the container.
fn machine(host: &Path) {
    let write = |path: &str, text: &str| {
        let path = host.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("run/cos/boot.json", "{}");
    write("etc/os-release", "ID=debian\nVERSION=1\n");
    write(
        "usr/bin/cos",
        "#!/bin/sh\necho \"$@\" > /asked\n[ -e /run/cos/container/etc/os-release ] && echo seen >> /asked\nexit 8\n",
    );
    let cos = host.join("usr/bin/cos");
    std::fs::set_permissions(&cos, std::fs::Permissions::from_mode(0o755)).unwrap();
    // What the script needs of this system.
    for name in ["bin", "sbin", "lib", "lib64"] {
        std::os::unix::fs::symlink(format!("usr/{name}"), host.join(name)).unwrap();
    }
    for name in ["lib", "lib64", "bin/sh", "bin/dash"] {
        let (from, to) = (Path::new("/usr").join(name), host.join("usr").join(name));
        if from.is_dir() {
            std::fs::create_dir_all(&to).unwrap();
        } else {
            std::fs::write(&to, "").unwrap();
        }
    }
}

/// Runs `suc-upgrade` in a mount namespace of its own, where the machine has this system's libraries.
fn suc_upgrade(host: &Path, arguments: &str) -> Output {
    let cos = dist::binaries().unwrap().cos;
    let script = format!(
        "for it in lib lib64 bin/sh bin/dash; do mount --bind /usr/$it '{host}'/usr/$it; done; \
         exec '{cos}' suc-upgrade --host '{host}' {arguments}",
        host = host.display(),
        cos = cos.display()
    );
    Command::new("unshare")
        .args(["--mount", "sh", "-ec", &script])
        .output()
        .unwrap()
}

#[test]
fn a_controller_upgrades_the_machine_it_is_on() {
    if !require_root("a_controller_upgrades_the_machine_it_is_on") {
        return;
    }
    let directory = temp_dir().unwrap();
    let host = directory.path().join("host");
    let nothing = suc_upgrade(&host, "");
    assert_ne!(nothing.status.code(), Some(0));
    std::fs::create_dir(&host).unwrap();
    machine(&host);
    let asked = || std::fs::read_to_string(host.join("asked")).unwrap();

    let named = suc_upgrade(&host, "registry.example/os:2 --reboot");
    assert_eq!(named.status.code(), Some(8), "{named:?}");
    assert_eq!(asked(), "upgrade registry.example/os:2 --reboot\n");

    // What runs on the machine is not the container's to say.
    std::fs::remove_file(host.join("asked")).unwrap();
    for lifts in [
        "--allow-unsigned",
        "--policy=/x",
        "--policy /x",
        "--allow-downgrade",
    ] {
        let refused = suc_upgrade(&host, &format!("registry.example/os:2 {lifts}"));
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        assert!(!host.join("asked").exists(), "{lifts}");
    }

    let own = suc_upgrade(&host, "--reboot");
    assert_eq!(own.status.code(), Some(8), "{own:?}");
    assert_eq!(asked(), "upgrade dir:/run/cos/container --reboot\nseen\n");

    process::run(
        Command::new("cp")
            .args(["/etc/os-release"])
            .arg(host.join("etc")),
    )
    .unwrap();
    std::fs::remove_file(host.join("asked")).unwrap();
    let same = suc_upgrade(&host, "");
    assert_eq!(same.status.code(), Some(0), "{same:?}");
    assert!(!host.join("asked").exists());
}
