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

/// First sector of a partition, as sgdisk sees it.
fn first_sector(disk: &Path, number: u32) -> u64 {
    let text = process::text(Command::new("sgdisk").arg(format!("-i={number}")).arg(disk)).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("First sector: "))
        .unwrap();
    line.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_disk_is_what_was_asked_for_and_other_tools_say_so() {
    let directory = temp_dir().unwrap();
    let disk = directory.path().join("os.img");
    let config = directory.path().join("user.yaml");
    std::fs::write(&config, "#cloud-config\nhostname: somebody\n").unwrap();
    let mut command = cos();
    command.args([
        "build",
        "disk",
        &test_image(Suite::Trixie),
        "--size",
        "3GiB",
    ]);
    command.args([
        "--partition",
        "oem=128MiB",
        "--kernel-arguments",
        "mitigations=off",
    ]);
    command
        .arg("--cloud-config")
        .arg(&config)
        .arg("--output")
        .arg(&disk);
    process::run(&mut command).unwrap();

    assert_eq!(std::fs::metadata(&disk).unwrap().len(), 3 << 30);
    let verified = process::text(Command::new("sgdisk").arg("-v").arg(&disk)).unwrap();
    assert!(verified.contains("No problems found"), "{verified}");
    let table = process::text(Command::new("sgdisk").arg("-p").arg(&disk)).unwrap();
    for name in ["bios", "efi", "oem", "recovery", "state", "persistent"] {
        assert!(table.contains(name), "{table}");
    }
    assert_eq!(first_sector(&disk, 4) - first_sector(&disk, 3), 128 << 11);

    let debugfs = |partition: u32, request: &str| {
        let offset = first_sector(&disk, partition) * 512;
        let image = format!("{}?offset={offset}", disk.display());
        let tool = cos_testkit::find_tool("debugfs").unwrap();
        process::text(Command::new(tool).args(["-R", request, &image])).unwrap()
    };
    assert_eq!(
        debugfs(3, "cat /90_user.yaml"),
        "#cloud-config\nhostname: somebody"
    );
    let inode = debugfs(3, "stat /90_user.yaml");
    assert!(
        inode.contains("Mode:  0600") && inode.contains("User:     0"),
        "{inode}"
    );
    let state = debugfs(5, "cat /cos/boot.env");
    let id = state
        .lines()
        .find_map(|line| line.strip_prefix("cos_active="))
        .unwrap();
    let fragment = debugfs(5, &format!("cat /cos/snapshots/{id}/boot.cfg"));
    assert!(fragment.contains("mitigations=off"), "{fragment}");
}

#[test]
fn what_cannot_be_is_refused_with_what_to_do() {
    let directory = temp_dir().unwrap();
    let refused = |args: &[&str], code: i32, says: &[&str]| {
        let mut command = cos();
        command
            .args(["build", "disk"])
            .args(args)
            .arg("--output")
            .arg(directory.path().join("os.img"));
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        for text in says {
            assert!(said.contains(text), "{said}");
        }
        assert_eq!(
            std::fs::read_dir(directory.path()).unwrap().count(),
            0,
            "something was left"
        );
    };
    let image = test_image(Suite::Trixie);
    refused(&["./os.tar"], 2, &["./os.tar", "hint:"]);
    refused(&[&image, "--size", "8 gallons"], 2, &["8 gallons", "hint:"]);
    refused(
        &[&image, "--size", "500MiB"],
        2,
        &["are needed", "hint: take a disk of at least"],
    );
    refused(
        &[&image, "--partition", "root=1GiB"],
        2,
        &["\"root\"", "efi, oem, recovery"],
    );
    refused(&[&image, "--compression", "gzip"], 2, &["gzip", "zstd"]);
    refused(&["oci-archive:/nonexistent.tar"], 3, &["/nonexistent.tar"]);
    refused(
        &["dir:/usr/share/doc"],
        3,
        &["cannot be booted", "cos init"],
    );
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
