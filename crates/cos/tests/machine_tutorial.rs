//! The tutorial's commands, as written, from its Dockerfile to its login prompt.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at the machine with plain std and stop at the first surprise"
)]

#[path = "common/docker.rs"]
mod docker;

use cos_testkit::images::{self, Flavor, Suite};
use cos_testkit::machine::{Builder, Firmware};
use cos_testkit::{find_tool, paths, process, skip, temp_dir, tools};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PAGE: &str = include_str!("../../../docs/src/tutorial/first-machine.md");

/// The shell commands of the page: those before the machine starts, and the one that starts it.
fn commands() -> (String, String) {
    let blocks: Vec<&str> = PAGE
        .split("```sh\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    let (machine, before): (Vec<&str>, Vec<&str>) = blocks
        .iter()
        .partition(|block| block.starts_with("qemu-system"));
    (before.concat(), machine.concat())
}

#[test]
fn the_tutorial_ends_at_a_login_prompt() {
    const TEST: &str = "the_tutorial_ends_at_a_login_prompt";
    let missing = Builder::missing(Firmware::Bios).or_else(|| {
        find_tool("skopeo")
            .is_none()
            .then(|| tools::missing("skopeo"))
    });
    if let Some(reason) = missing {
        skip(TEST, &reason);
        return;
    }
    let archive = images::example(Suite::Trixie, Flavor::Example).unwrap();
    let directory = temp_dir().unwrap();
    docker::install(directory.path(), &archive);
    let path = format!(
        "{}:{}",
        directory.path().display(),
        std::env::var("PATH").unwrap()
    );
    let shell = |script: &str| {
        let mut command = Command::new("bash");
        command
            .args(["-euxo", "pipefail", "-c", script])
            .current_dir(paths::workspace());
        command.env("PATH", &path);
        command
    };
    let (before, machine) = commands();
    assert!(
        before.contains("cos build disk") && before.contains("cos lint"),
        "{before}"
    );
    process::run(&mut shell(&before)).unwrap();

    // `exec`, so that the machine itself is what is killed at the end.
    let mut running = shell(&format!("exec {machine}"));
    let mut child = running
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = read_until(
        &mut child.stdout.take().unwrap(),
        "login:",
        Duration::from_mins(10),
    );
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(said.contains("login:"), "{}", process::tail(&said, 40));
    std::fs::remove_file(paths::workspace().join("out/my-os.img")).unwrap();
    std::fs::remove_file(paths::workspace().join("out/my-os.tar")).unwrap();
}

/// What comes out until `end` is in it, the stream ends, or the time is over.
fn read_until(output: &mut impl std::io::Read, end: &str, timeout: Duration) -> String {
    let deadline = Instant::now() + timeout;
    let mut said = Vec::new();
    let mut buffer = [0; 4096];
    while Instant::now() < deadline {
        let read = output.read(&mut buffer).unwrap();
        said.extend_from_slice(&buffer[..read]);
        if read == 0 || String::from_utf8_lossy(&said).contains(end) {
            break;
        }
    }
    String::from_utf8_lossy(&said).into_owned()
}
