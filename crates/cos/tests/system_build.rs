//! Building media: the same bytes for anybody, nothing left behind, no privileges needed.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at the machine with plain std and stop at the first surprise"
)]

mod common;
#[path = "common/docker.rs"]
mod docker;

use common::{cos, test_image};
use cos_testkit::images::{self, Flavor, Suite};
use cos_testkit::{process, require_root, temp_dir};
use sha2::{Digest as _, Sha256};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

fn digest(path: &Path) -> String {
    let mut hasher = Sha256::new();
    std::io::copy(&mut std::fs::File::open(path).unwrap(), &mut hasher).unwrap();
    hex::encode(hasher.finalize())
}

/// `cos` as nobody, without any privilege to be had, in an empty environment.
fn as_nobody(directory: &Path) -> Command {
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o777)).unwrap();
    let tool = cos().get_program().to_owned();
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--no-new-privs",
        "--bounding-set=-all",
    ]);
    command.arg(tool).env_clear().current_dir(directory);
    command
}

#[test]
fn nobody_builds_the_same_bytes_twice() {
    if !require_root("nobody_builds_the_same_bytes_twice") {
        return;
    }
    let image = test_image(Suite::Trixie);
    for (kind, name) in [("disk", "os.img"), ("disk", "os.qcow2"), ("iso", "os.iso")] {
        let mut digests = Vec::new();
        for threads in ["1", "3"] {
            let directory = temp_dir().unwrap();
            let mut command = as_nobody(directory.path());
            command.args([
                "build",
                kind,
                &image,
                "--output",
                name,
                "--threads",
                threads,
            ]);
            process::run(&mut command).unwrap();
            digests.push(digest(&directory.path().join(name)));
            let left = std::fs::read_dir(directory.path()).unwrap().count();
            assert_eq!(left, 1, "only the result stays in the directory");
        }
        assert_eq!(digests[0], digests[1], "{name}");
    }
}

#[test]
fn an_interrupt_leaves_nothing_behind() {
    let image = test_image(Suite::Trixie);
    for milliseconds in [50, 400, 1200] {
        let directory = temp_dir().unwrap();
        let mut command = cos();
        command
            .args(["build", "disk", &image, "--output"])
            .arg(directory.path().join("os.img"));
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        process::run(Command::new("kill").args(["-INT", &child.id().to_string()])).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), None);
        if status.code() == Some(0) {
            continue;
        }
        assert_eq!(status.code(), Some(130), "after {milliseconds} ms");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}

#[test]
fn a_disk_is_what_other_tools_take_it_for() {
    let directory = temp_dir().unwrap();
    let disk = directory.path().join("os.img");
    process::run(
        cos()
            .args(["build", "disk", &test_image(Suite::Trixie), "--output"])
            .arg(&disk),
    )
    .unwrap();
    let verified = process::text(Command::new("sgdisk").arg("-v").arg(&disk)).unwrap();
    assert!(verified.contains("No problems found"), "{verified}");
    let table = process::text(Command::new("sgdisk").arg("-p").arg(&disk)).unwrap();
    for name in ["bios", "efi", "oem", "recovery", "state", "persistent"] {
        assert!(table.contains(name), "{table}");
    }
}

#[test]
fn lint_finds_nothing_wrong_with_the_test_image() {
    let output = process::output(cos().args(["lint", &test_image(Suite::Trixie)])).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("the image should boot"), "{text}");
    assert!(!text.contains("error ["), "{text}");
}

/// The same image through the engine's own `save` has the same root hash.
#[test]
fn an_image_of_a_local_engine_is_the_image_of_its_archive() {
    if cos_testkit::find_tool("skopeo").is_none() {
        cos_testkit::skip(
            "an_image_of_a_local_engine_is_the_image_of_its_archive",
            &cos_testkit::tools::missing("skopeo"),
        );
        return;
    }
    let directory = temp_dir().unwrap();
    let archive = images::debian(Suite::Trixie, Flavor::Minimal).unwrap();
    docker::install(directory.path(), &archive);
    let path = format!(
        "{}:{}",
        directory.path().display(),
        std::env::var("PATH").unwrap()
    );
    let root_hash = |source: &str| {
        let output = directory.path().join("root.img");
        let mut command = cos();
        command
            .args(["image", "root", source, "--output"])
            .arg(output)
            .env("PATH", &path);
        process::text(&mut command).unwrap()
    };
    assert_eq!(
        root_hash("docker-daemon:my-os"),
        root_hash(&common::source(&archive))
    );
}
