//! Roots made from the host's user database, and the programs that judge what became of them.

use cos_accounts::{Database, UserOutcome, UserSpec};
use cos_sys::root_path::Root;
use fs_err as fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Everything that `useradd(8)` looks at.
const FILES: [&str; 6] = [
    "passwd",
    "group",
    "shadow",
    "gshadow",
    "login.defs",
    "default/useradd",
];

pub struct HostRoot {
    pub temp: TempDir,
    pub root: Root,
}

impl HostRoot {
    pub fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let etc = temp.path().join("etc");
        fs::create_dir_all(etc.join("default")).unwrap();
        fs::create_dir_all(etc.join("skel/.config/deep")).unwrap();
        fs::create_dir(temp.path().join("home")).unwrap();
        fs::create_dir(temp.path().join("proc")).unwrap();
        // A program that changes its root may be told to log there.
        fs::create_dir_all(temp.path().join("var/log")).unwrap();
        for file in FILES {
            fs::copy(Path::new("/etc").join(file), etc.join(file)).unwrap();
        }
        fs::write(etc.join("skel/.profile"), "umask 022\n").unwrap();
        fs::write(etc.join("skel/.config/deep/file"), "x").unwrap();
        fs_err::os::unix::fs::symlink("/etc/shadow", etc.join("skel/.link")).unwrap();
        set_mode(&etc.join("skel/.config"), 0o750);
        Self {
            root: Root::open(temp.path()).unwrap(),
            temp,
        }
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.temp.path().join(path)
    }

    pub fn text(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    pub fn edit<T>(&self, edit: impl FnOnce(&mut Database<'_>) -> T) -> T {
        let mut database = Database::open(&self.root).unwrap();
        let result = edit(&mut database);
        database.save().unwrap();
        result
    }

    pub fn ensure(&self, spec: &UserSpec) -> UserOutcome {
        self.edit(|database| database.ensure_user(spec).unwrap())
    }

    /// Runs a program of the `passwd` package on this root; it must succeed. Where it cannot see
    /// `/proc`, `useradd(8)` cannot set the modes of directories: it gets one, for itself only.
    pub fn run(&self, program: &str, arguments: &[&str]) {
        let output = Command::new("unshare")
            .args([
                "--mount",
                "sh",
                "-c",
                "mount --bind /proc \"$0/proc\" && exec \"$@\"",
            ])
            .arg(self.temp.path())
            .args([program, "--root"])
            .arg(self.temp.path())
            .args(arguments)
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    }

    /// What `pwck(8)` and `grpck(8)` find wrong.
    pub fn complaints(&self) -> String {
        let mut complaints = String::new();
        for arguments in [
            ["pwck", "-r", "-q", "-R"].as_slice(),
            &["grpck", "-r", "-R"],
        ] {
            let output = Command::new(arguments[0])
                .args(&arguments[1..])
                .arg(self.temp.path())
                .output()
                .unwrap();
            complaints += &String::from_utf8_lossy(&output.stdout);
            complaints += &String::from_utf8_lossy(&output.stderr);
        }
        complaints
    }

    /// The four files, and all homes with owners, modes and contents.
    pub fn state(&self) -> String {
        let mut lines = Vec::new();
        for file in ["passwd", "shadow", "group", "gshadow"] {
            let path = self.path("etc").join(file);
            let found = fs::metadata(&path).unwrap();
            let (mode, uid, gid) = (found.mode(), found.uid(), found.gid());
            lines.push(format!("== {file} {mode:o} {uid}:{gid}"));
            lines.push(fs::read_to_string(&path).unwrap());
        }
        list(&self.path("home"), Path::new("/home"), &mut lines);
        lines.join("\n")
    }
}

fn list(directory: &Path, shown: &Path, lines: &mut Vec<String>) {
    let mut entries: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    entries.sort_by_key(fs_err::DirEntry::file_name);
    for entry in entries {
        let (path, shown) = (entry.path(), shown.join(entry.file_name()));
        let found = fs::symlink_metadata(&path).unwrap();
        let content = if found.is_symlink() {
            fs::read_link(&path).unwrap().display().to_string()
        } else if found.is_file() {
            fs::read_to_string(&path).unwrap()
        } else {
            String::new()
        };
        let (mode, uid, gid) = (found.mode(), found.uid(), found.gid());
        lines.push(format!(
            "{} {mode:o} {uid}:{gid} {content:?}",
            shown.display()
        ));
        if found.is_dir() {
            list(&path, &shown, lines);
        }
    }
}

pub fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

pub fn chown(path: &Path, uid: u32, gid: u32) {
    std::os::unix::fs::lchown(path, Some(uid), Some(gid)).unwrap();
}

/// Whether the process is root and the programs are there; if not, records that `test` is skipped,
/// where `cargo xtask test` reads it.
pub fn can_run(test: &str, programs: &[&str]) -> bool {
    if !rustix::process::geteuid().is_root() {
        skip(test, "needs root");
        return false;
    }
    for program in programs {
        if Command::new(program).arg("--help").output().is_err() {
            skip(test, &format!("{program} is not installed"));
            return false;
        }
    }
    true
}

/// Whether the programs can be given a `/proc`; if not, records that `test` is skipped.
pub fn can_mount(test: &str) -> bool {
    let tried = Command::new("unshare").args(["--mount", "true"]).output();
    let can = tried.is_ok_and(|output| output.status.success());
    if !can {
        skip(test, "needs a mount namespace of its own");
    }
    can
}

fn skip(test: &str, reason: &str) {
    let Some(log) = std::env::var_os("COS_SKIP_LOG") else {
        let line = format!("SKIPPED {test}: {reason}\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        return;
    };
    let mut log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(PathBuf::from(log))
        .unwrap();
    log.write_all(format!("{test}\t{reason}\n").as_bytes())
        .unwrap();
}
