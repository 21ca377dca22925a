//! The root image of a real image, against an independent unpacker and the kernel.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at the machine with plain std and stop at the first surprise"
)]

mod common;
#[path = "common/compare.rs"]
mod compare;

use common::{cos, source};
use compare::{differences, list};
use cos_testkit::images::{self, Flavor, Suite};
use cos_testkit::{TempDir, find_tool, process, require_root, skip, temp_dir, tools};
use std::path::Path;
use std::process::Command;

/// What boot makes anew, so that the root image has only the directory.
const EMPTIED: [&str; 6] = ["boot", "dev", "proc", "sys", "run", "tmp"];

/// A loop mount that goes away with the value.
struct Mounted(TempDir);

impl Mounted {
    fn new(image: &Path) -> Self {
        let directory = temp_dir().unwrap();
        process::run(
            Command::new("mount")
                .args(["-o", "loop,ro", "-t", "erofs"])
                .arg(image)
                .arg(directory.path()),
        )
        .unwrap();
        Self(directory)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        process::run(Command::new("umount").arg(self.0.path())).unwrap();
    }
}

/// Unpacks an OCI archive with umoci, whole.
fn unpack(archive: &Path, directory: &Path) {
    let layout = format!("{}:latest", directory.join("layout").display());
    let mut copy = Command::new("skopeo");
    copy.args(["--insecure-policy", "copy", "--quiet", &source(archive)]);
    process::run(copy.arg(format!("oci:{layout}"))).unwrap();
    let mut unpack = Command::new("umoci");
    unpack
        .args(["raw", "unpack", "--image", &layout])
        .arg(directory.join("root"));
    process::run(&mut unpack).unwrap();
}

fn check_against_umoci(archive: &Path, compression: &str) {
    let directory = temp_dir().unwrap();
    unpack(archive, directory.path());
    let root = directory.path().join("root.img");
    let sidecar = directory.path().join("root.verity");
    let mut command = cos();
    command.args([
        "image",
        "root",
        &source(archive),
        "--compression",
        compression,
    ]);
    command
        .arg("--output")
        .arg(&root)
        .arg("--verity-sidecar")
        .arg(&sidecar);
    let hash = process::text(&mut command).unwrap();

    let verify = |data: &Path, tree: &Path, more: &[&str]| {
        process::run(
            Command::new("veritysetup")
                .arg("verify")
                .arg(data)
                .arg(tree)
                .arg(&hash)
                .args(more),
        )
        .unwrap();
    };
    verify(&root, &sidecar, &[]);
    if let Some(fsck) = tools::fsck_erofs() {
        process::run(Command::new(fsck).arg(&root)).unwrap();
    } else {
        skip(
            "fsck.erofs of a real root image",
            "no erofs-utils 1.8 to be had",
        );
    }

    let mounted = Mounted::new(&root);
    let expected = list(
        &directory.path().join("root"),
        &EMPTIED,
        &["etc/machine-id"],
    );
    let mut found = list(mounted.0.path(), &EMPTIED, &["etc/machine-id"]);
    // Mount points that the image lacked are made.
    found.retain(|name, _| {
        expected.contains_key(name)
            || !["oem", "usr/local"]
                .iter()
                .any(|made| made.as_bytes() == name)
    });
    let differences = differences(&expected, &found);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert_eq!(
        std::fs::read(mounted.0.path().join("etc/machine-id")).unwrap(),
        b""
    );
}

/// Whether everything that judges is there; if not, the skip is recorded.
fn can_judge(test: &str) -> bool {
    let missing = ["skopeo", "umoci", "veritysetup"]
        .into_iter()
        .find(|tool| find_tool(tool).is_none());
    if let Some(tool) = missing {
        skip(test, &tools::missing(tool));
    }
    missing.is_none() && require_root(test)
}

#[test]
fn the_example_image_is_what_umoci_unpacks() {
    if can_judge("the_example_image_is_what_umoci_unpacks") {
        check_against_umoci(
            &images::example(Suite::Trixie, Flavor::Example).unwrap(),
            "zstd",
        );
    }
}

#[test]
fn the_debian_12_image_is_what_umoci_unpacks() {
    if can_judge("the_debian_12_image_is_what_umoci_unpacks") {
        check_against_umoci(
            &images::debian(Suite::Bookworm, Flavor::Minimal).unwrap(),
            "lz4",
        );
    }
}
