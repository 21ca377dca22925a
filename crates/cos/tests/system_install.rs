//! `cos install` and `cos reset` as a user types them: refusals, and what a kill leaves.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at the machine with plain std and stop at the first surprise"
)]

mod common;

use common::cos;
use cos_testkit::{find_tool, images, process, require_root, skip, temp_dir, tools};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A place with an image and a file in the place of a disk.
struct Bench {
    directory: cos_testkit::TempDir,
}

impl Bench {
    fn new() -> Self {
        let directory = temp_dir().unwrap();
        images::tiny(&directory.path().join("image"), "1").unwrap();
        let disk = std::fs::File::create(directory.path().join("disk.img")).unwrap();
        disk.set_len(3 << 30).unwrap();
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `cos install` of the image, with temporary data beside it.
    fn install(&self) -> Command {
        let mut command = cos();
        command
            .args([
                "--json",
                "install",
                "--firmware",
                "efi",
                "--allow-unsigned",
                "--image",
            ])
            .arg(format!("dir:{}", self.path("image").display()))
            .arg("--temp-dir")
            .arg(self.directory.path());
        command
    }
}

/// Exit code and everything that was said.
fn said(command: &mut Command) -> (i32, String) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap(),
        String::from_utf8(text).unwrap(),
    )
}

#[test]
fn an_installation_that_is_killed_is_no_deployment() {
    let name = "an_installation_that_is_killed_is_no_deployment";
    if !require_root(name) {
        return;
    }
    let Some(sgdisk) = find_tool("sgdisk") else {
        return skip(name, &tools::missing("sgdisk"));
    };
    let bench = Bench::new();
    let disk = bench.path("disk.img");
    // Without --force, as a second person would try it: a loop device is a disk.
    let node = process::text(
        Command::new("losetup")
            .args(["-f", "--show", "-P"])
            .arg(&disk),
    );
    let attached = Attached(node.unwrap().trim().to_owned());
    let node = attached.0.as_str();
    let moments = [
        "write the boot loader",
        "write COS_RECOVERY",
        "write COS_STATE",
        "write COS_PERSISTENT",
        "flush the disk",
        "read COS_STATE back",
    ];
    for moment in moments {
        kill_at(bench.install().arg(node), moment);
        let table = Command::new(&sgdisk).arg("-p").arg(node).output().unwrap();
        let table = String::from_utf8_lossy(&table.stdout).into_owned();
        assert!(!table.contains("state"), "{moment}: {table}");
        let (code, text) = said(bench.install().arg("--dry-run").arg(node));
        assert_eq!(code, 0, "{moment}: {text}");
        assert!(text.contains("was not finished"), "{moment}: {text}");
    }
    let (code, text) = said(bench.install().arg(node));
    assert_eq!(code, 0, "{text}");
    process::run(Command::new(&sgdisk).arg("-v").arg(node)).unwrap();
    let (code, text) = said(bench.install().arg(node));
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("holds a cOS deployment"), "{text}");
}

/// A loop device, gone with the test.
struct Attached(String);

impl Drop for Attached {
    fn drop(&mut self) {
        drop(Command::new("losetup").args(["-d", &self.0]).output());
    }
}

/// Runs a command that speaks JSON and kills it as soon as a task begins.
fn kill_at(command: &mut Command, moment: &str) {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut events = BufReader::new(child.stdout.take().unwrap()).lines();
    let begun = events.any(|line| line.is_ok_and(|line| line.contains(moment)));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(begun, "there was no moment {moment:?}");
}

#[test]
fn what_cannot_be_is_refused_with_its_exit_code() {
    if !require_root("what_cannot_be_is_refused_with_its_exit_code") {
        return;
    }
    let bench = Bench::new();
    let disk = bench.path("disk.img");
    let disk = disk.to_str().unwrap();
    let refused = |arguments: &[&str], code: i32, says: &str| {
        let (found, text) = said(bench.install().args(arguments));
        assert_eq!(found, code, "{text}");
        assert!(text.contains(says), "{text}");
    };
    refused(&[disk], 2, "is a file, no disk");
    refused(&["/dev/no-such-disk", "--force"], 2, "/dev/no-such-disk");
    refused(&[], 2, "name one: cos install");
    refused(&[disk, "--force", "--partition", "state=1MiB"], 2, "state");
    refused(
        &[disk, "--force", "--extra-partition", "efi=1GiB"],
        2,
        "\\\"efi\\\"",
    );
    refused(&[disk, "--force", "--filesystem", "oem=xfs"], 2, "oem=xfs");
    refused(&[disk, "--force", "--no-format"], 2, "has no partition efi");
    refused(&[disk, "--cloud-config", "/nonexistent"], 2, "/nonexistent");
    std::fs::remove_file(bench.path("image/boot/vmlinuz")).unwrap();
    refused(&[disk, "--force"], 3, "holds no kernel");
    let file = bench.path("install.yaml");
    std::fs::write(&file, "force: true\ndevise: /dev/vda\n").unwrap();
    refused(&["--config", file.to_str().unwrap()], 2, "line 2");
    let length = std::fs::metadata(disk).unwrap();
    assert_eq!(
        std::os::unix::fs::MetadataExt::blocks(&length),
        0,
        "written"
    );

    let (code, text) = said(cos().args(["--json", "install", disk]));
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("--image"), "{text}");
    let (code, text) = said(cos().args(["--json", "reset", "--force"]));
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("not booted by cOS"), "{text}");
}

#[test]
fn a_file_says_what_flags_do_not() {
    if !require_root("a_file_says_what_flags_do_not") {
        return;
    }
    let bench = Bench::new();
    let file = bench.path("install.yaml");
    let text = format!(
        "device: {}\nforce: true\npartitions: {{oem: 80MiB, state: 300MiB}}\nextraPartitions:\n\
         - {{name: data, size: 100MiB, label: DATA}}\n",
        bench.path("disk.img").display()
    );
    std::fs::write(&file, text).unwrap();
    let mut command = bench.install();
    command.arg("--config").arg(&file);
    command.args(["--dry-run", "--partition", "oem=90MiB"]);
    let (code, text) = said(&mut command);
    assert_eq!(code, 0, "{text}");
    for part in [
        r#""label":"COS_OEM","name":"oem","number":3,"size":94371840"#,
        r#""label":"COS_STATE","name":"state","number":5,"size":314572800"#,
        r#""label":"DATA","name":"data","number":6,"size":104857600"#,
        r#""number":7"#,
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn only_root_changes_a_machine() {
    if !require_root("only_root_changes_a_machine") {
        return;
    }
    let directory = temp_dir().unwrap();
    let tool = directory.path().join("cos");
    std::fs::copy(Path::new(cos().get_program()), &tool).unwrap();
    for path in [directory.path(), &tool] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    for verb in [["install", "/dev/no-such-disk"], ["reset", "--force"]] {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        let (code, text) = said(command.arg(&tool).args(verb));
        assert_eq!(code, 4, "{text}");
        assert!(text.contains("only root can do this"), "{text}");
    }
}
