//! What the book shows of `cos stage`, `config` and `feature`, as written: each page's documents on a
//! small machine of its own, its commands in order, their output compared.
//!
//! The machine is a directory entered by chroot in namespaces of its own: `/usr` and `/dev` are those of
//! the host, everything that is written is in memory. A document is put where the comment in its first
//! lines says.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at the machine with plain std and stop at the first surprise"
)]

mod common;

use cos_testkit::{find_tool, paths, require_root, skip, temp_dir, tools};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Stands before what each command of a page says.
const MARK: &str = "--8<-- command";

/// Makes the machine below `$1`, under the host name `$2`, and runs what standard input says in it.
const MACHINE: &str = r#"
set -eu
cd "$1"
hostname "$2"
mkdir -p usr dev proc run tmp root var etc home sys
for name in bin sbin lib lib32 lib64 libx32; do
  [ -L "/$name" ] && cp -P "/$name" "$name"
done
mount --rbind /usr usr
mount -o remount,bind,ro usr
mount --rbind /dev dev
mount --rbind /proc proc
mount -t tmpfs none tmp
mkdir -p opt/bin
cp "$3" opt/bin/cos
printf 'root:x:0:0:root:/root:/bin/sh\n' > etc/passwd
printf 'root:*:20000:0:99999:7:::\n' > etc/shadow
printf 'root:x:0:\nsudo:x:27:\n' > etc/group
printf 'root:*::\nsudo:*::\n' > etc/gshadow
printf 'ID=debian\nNAME="Debian GNU/Linux"\nVERSION_ID="13"\n' > etc/os-release
printf '4f8e2d6c9a0b41d7b3c5e6f708192a3b\n' > etc/machine-id
mount --bind "$1/root/cmdline" proc/cmdline
exec chroot . /usr/bin/env -i PATH=/opt/bin:/usr/bin:/usr/sbin:/bin:/sbin HOME=/root LC_ALL=C \
  /bin/sh -c 'cd /root && exec /bin/sh -s'
"#;

/// A block of a page.
struct Block {
    /// What stands behind its opening fence.
    info: String,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut open: Option<Block> = None;
    for line in page.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) => {
                open = Some(Block {
                    info: info.to_owned(),
                    text: String::new(),
                });
            }
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some(block), None) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    found
}

/// Where a document is to be: what a comment in one of its first two lines says.
fn place(block: &Block) -> Option<PathBuf> {
    let comments = block.text.lines().take(2);
    let mut names = comments.filter_map(|line| line.strip_prefix("# "));
    let name = names.find(|name| !name.contains(' '))?;
    Some(Path::new("/root").join(name))
}

/// Commands and what they are shown to say, in order.
fn commands(block: &Block) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for line in block.text.lines() {
        match line.strip_prefix("$ ") {
            Some(command) => found.push((command.to_owned(), String::new())),
            None => {
                let (_, said) = found.last_mut().unwrap();
                writeln!(said, "{line}").unwrap();
            }
        }
    }
    found
}

/// Puts a 0 for what a clock said.
fn without_times(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in text.trim_end().lines() {
        let line = line.trim_end();
        lines.push(if line.starts_with("stage ") && line.ends_with(" s") {
            let (before, _) = line.rsplit_once(" in ").unwrap();
            format!("{before} in 0 s")
        } else if line.trim_start().starts_with("\"duration_ms\":") {
            let (before, _) = line.split_once(':').unwrap();
            format!("{before}: 0,")
        } else {
            line.to_owned()
        });
    }
    lines.join("\n")
}

/// A page as a script: documents are put in place and commands run as a reader goes down the page.
fn script(blocks: &[Block]) -> String {
    let mut script = String::from("exec 2>&1\n_status=0\n");
    for block in blocks {
        match (block.info.as_str(), place(block)) {
            ("yaml" | "yaml,wrong", Some(place)) => {
                let directory = place.parent().unwrap().display();
                let (place, text) = (place.display(), &block.text);
                write!(
                    script,
                    "mkdir -p {directory}\ncat > {place} <<'{MARK}'\n{text}{MARK}\n"
                )
                .unwrap();
            }
            ("console", _) => {
                for (command, _) in commands(block) {
                    // `$?` is that of the command before, and input is not the script.
                    write!(
                        script,
                        "echo '{MARK}'\n(exit $_status)\n{{ {command}\n}} </dev/null\n_status=$?\n"
                    )
                    .unwrap();
                }
            }
            _ => {}
        }
    }
    script
}

/// Runs a script on a new machine, and returns what was said after each mark.
fn run(hostname: &str, script: &str) -> Vec<String> {
    let directory = temp_dir().unwrap();
    let machine = directory.path();
    std::fs::create_dir_all(machine.join("root")).unwrap();
    std::fs::write(machine.join("root/cmdline"), "root=none quiet\n").unwrap();
    let cos = common::cos().get_program().to_owned();
    let mut child = Command::new("unshare")
        .args(["--mount", "--uts", "--net", "--propagation", "private"])
        .args(["sh", "-c", MACHINE, "sh"])
        .arg(machine)
        .arg(hostname)
        .arg(cos)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A machine that could not be made reads nothing; what it said is shown below.
    drop(std::io::Write::write_all(
        &mut child.stdin.take().unwrap(),
        script.as_bytes(),
    ));
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let trouble = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{trouble}{said}");
    let mark = format!("{MARK}\n");
    said.split(&mark).skip(1).map(str::to_owned).collect()
}

/// Runs everything a page shows, on a machine called `hostname`. Returns how many commands that were.
fn page(name: &str, hostname: &str) -> usize {
    let path = paths::workspace().join("docs/src").join(name);
    let blocks = blocks(&std::fs::read_to_string(&path).unwrap());
    let consoles = blocks.iter().filter(|block| block.info == "console");
    let shown: Vec<(String, String)> = consoles.flat_map(commands).collect();
    let said = run(hostname, &script(&blocks));
    assert_eq!(said.len(), shown.len(), "{name}: {said:?}");
    for ((command, shown), said) in shown.iter().zip(said) {
        assert_eq!(
            without_times(&said),
            without_times(shown),
            "{name}: {command}"
        );
    }
    shown.len()
}

/// Whether the machine can be made here; if not, `test` is skipped.
fn can_run(test: &str, programs: &[&str]) -> bool {
    if !require_root(test) {
        return false;
    }
    let missing = ["unshare", "chroot", "hostname"]
        .iter()
        .chain(programs)
        .find(|program| find_tool(program).is_none());
    if let Some(program) = missing {
        skip(test, &tools::missing(program));
    }
    missing.is_none()
}

#[test]
fn users() {
    if can_run("users", &[]) {
        assert!(page("how-to/users.md", "edge-1") >= 3);
    }
}

#[test]
fn network() {
    if can_run("network", &[]) {
        assert!(page("how-to/network.md", "edge-1") >= 3);
    }
}

#[test]
fn services() {
    if can_run("services", &[]) {
        assert!(page("how-to/services.md", "server-1") >= 1);
    }
}

#[test]
fn features() {
    if can_run("features", &[]) {
        assert!(page("how-to/features.md", "edge-1") >= 4);
    }
}

#[test]
fn scripts() {
    if can_run("scripts", &[]) {
        assert!(page("how-to/scripts.md", "edge-1") >= 1);
    }
}

#[test]
fn user_data() {
    if can_run("user_data", &["xorriso", "blkid"]) {
        assert!(page("how-to/user-data.md", "edge-1") >= 3);
    }
}

#[test]
fn check_documents() {
    if can_run("check_documents", &["jq"]) {
        assert!(page("how-to/check-documents.md", "edge-1") >= 5);
    }
}

#[test]
fn stage_results() {
    if can_run("stage_results", &["jq"]) {
        assert!(page("how-to/stage-results.md", "edge-1") >= 3);
    }
}

/// No page shows a command that none of the tests above runs.
#[test]
fn every_page_with_commands_is_run() {
    let tests = include_str!("system_docs.rs");
    let book = paths::workspace().join("docs/src");
    for directory in ["how-to", "reference", "explanation"] {
        for entry in std::fs::read_dir(book.join(directory)).unwrap() {
            let path = entry.unwrap().path();
            let shown = blocks(&std::fs::read_to_string(&path).unwrap());
            let has_commands = shown.iter().any(|block| block.info == "console");
            let name = path.strip_prefix(&book).unwrap().display().to_string();
            assert!(!has_commands || tests.contains(&name), "{name}");
        }
    }
}
