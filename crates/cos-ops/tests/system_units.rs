//! The units that `cos init` brings, judged by systemd itself.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at files with plain std and stop at the first surprise"
)]

use cos_ops::init::{InitOptions, Step, plan};
use cos_testkit::find_tool;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

/// Where this machine keeps systemd's own units, which ours are ordered against.
const SYSTEM: &str = "usr/lib/systemd/system";

fn write(root: &Path, path: &str, mode: u32, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A root with systemd's units, and what `cos init` puts into a Debian image.
fn prepare(root: &Path) {
    write(root, "etc/os-release", 0o644, "ID=debian\n");
    write(root, "usr/lib/modules/6.12.1/vmlinuz", 0o644, "");
    write(root, "usr/lib/grub/x86_64-efi/moddep.lst", 0o644, "");
    for program in ["cos", "cos-init", "dracut", "grub-mkimage"] {
        write(root, &format!("usr/bin/{program}"), 0o755, "");
    }
    for entry in fs::read_dir(Path::new("/").join(SYSTEM)).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_file() {
            let text = fs::read_to_string(entry.path()).unwrap();
            let name = entry.file_name().into_string().unwrap();
            write(root, &format!("{SYSTEM}/{name}"), 0o644, &text);
        }
    }
    let options = InitOptions {
        root: root.to_owned(),
        kernel: None,
        machine: "x86_64".into(),
    };
    for step in plan(&options).unwrap().steps {
        match step {
            Step::Write { path, mode, text } => write(root, &path, mode, &text),
            Step::Link { path, target } if path.starts_with("usr/lib/systemd") => {
                let path = root.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                symlink(target, path).unwrap();
            }
            _ => {}
        }
    }
}

/// What systemd complains of in the units that the boot starts.
fn complaints(root: &Path) -> String {
    let mut command = Command::new(find_tool("systemd-analyze").unwrap());
    command
        .arg(format!("--root={}", root.display()))
        .args(["verify", "multi-user.target", "emergency.service"])
        .args(["cos-boot-deadline.timer", "cos-setup-reconcile.timer"]);
    let ended = command.output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    let ours = |line: &&str| line.contains("cos-") || line.contains("cycle");
    let lines: Vec<&str> = said.lines().filter(ours).collect();
    lines.join("\n")
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    const NAME: &str = "systemd_finds_nothing_wrong_with_the_units";
    if find_tool("systemd-analyze").is_none() {
        cos_testkit::skip(NAME, &cos_testkit::tools::missing("systemd-analyze"));
        return;
    }
    let temp = cos_testkit::temp_dir().unwrap();
    prepare(temp.path());
    assert_eq!(complaints(temp.path()), "");
    // And it would: with default dependencies, the mark would wait for what waits for it.
    let good = format!("{SYSTEM}/cos-boot-good.service");
    let text = fs::read_to_string(temp.path().join(&good)).unwrap();
    let text = text.replace("DefaultDependencies=no\n", "");
    write(temp.path(), &good, 0o644, &text);
    let said = complaints(temp.path());
    assert!(said.contains("cycle"), "{said}");
}
