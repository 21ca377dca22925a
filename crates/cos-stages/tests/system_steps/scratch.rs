//! Roots to be changed: with the programs that a test names, copied from this machine together with
//! their libraries, and a user database of their own.

use cos_datasource::{
    DatasourceError, Dmi, Endpoints, Machine, NoGuestInfo, NoMedia, Provider, Request, UserData,
};
use cos_events::{Monitor, Silent};
use cos_http::{HttpClient, HttpConfig};
use cos_stages::{
    Datasources, Host, ImageUnpacker, Loaded, StageError, StepResult, Strictness, Summary, load,
};
use fs_err as fs;
use fs_err::os::unix::fs::symlink;
use std::cell::RefCell;
use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;
use tempfile::TempDir;

pub(crate) const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGHnb6lcNz1DiU1BqJVsuKyyX1gQqRuxXVnB0a3yDn5S me@laptop";

/// [`cos_stages::run`] and its like.
type Act = fn(&Loaded, &[String], &Host<'_>, &mut Summary) -> Result<(), StageError>;

/// A root, and what is told to the engine about it.
pub(crate) struct Scratch {
    pub(crate) temp: TempDir,
    /// Whether the engine is told that services run.
    pub(crate) running: bool,
    /// What was asked to be unpacked.
    pub(crate) unpacked: RefCell<Vec<String>>,
}

/// A root with a shell, if the process is root; otherwise the skip of `test` is recorded.
pub(crate) fn scratch(test: &str) -> Option<Scratch> {
    cos_testkit::require_root(test).then(Scratch::new)
}

/// Whether programs are on this machine; otherwise the skip of `test` is recorded.
pub(crate) fn have(test: &str, programs: &[&str]) -> bool {
    for program in programs {
        if cos_testkit::find_tool(program).is_none() {
            cos_testkit::skip(test, &cos_testkit::tools::missing(program));
            return false;
        }
    }
    true
}

impl Scratch {
    fn new() -> Self {
        let scratch = Self {
            temp: tempfile::tempdir().unwrap(),
            running: false,
            unpacked: RefCell::default(),
        };
        for directory in [
            "usr/bin",
            "usr/sbin",
            "usr/lib",
            "usr/lib64",
            "etc",
            "run",
            "proc",
            "dev",
            "root",
            "home",
        ] {
            fs::create_dir_all(scratch.at(directory)).unwrap();
        }
        fs::create_dir(scratch.at("tmp")).unwrap();
        scratch.set_mode("tmp", 0o1777);
        for directory in ["bin", "sbin", "lib", "lib64"] {
            symlink(format!("usr/{directory}"), scratch.at(directory)).unwrap();
        }
        scratch.put(
            "etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/:/usr/sbin/nologin\n",
        );
        scratch.put(
            "etc/group",
            "root:x:0:\ndaemon:x:1:\nadm:x:4:\nusers:x:100:\n",
        );
        scratch.put(
            "etc/shadow",
            "root:*:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\n",
        );
        scratch.put("etc/gshadow", "root:*::\ndaemon:*::\nadm:*::\nusers:*::\n");
        scratch.set_mode("etc/shadow", 0o640);
        scratch.set_mode("etc/gshadow", 0o640);
        scratch.put(
            "etc/os-release",
            "ID=testos\nNAME=\"Test OS\"\nVERSION_ID=\"12.4\"\n",
        );
        scratch.put("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
        scratch.put(
            "etc/nsswitch.conf",
            "passwd: files\ngroup: files\nshadow: files\n",
        );
        for (name, minor) in [("null", 3), ("urandom", 9)] {
            let node = scratch.at(&format!("dev/{name}"));
            let kind = rustix::fs::FileType::CharacterDevice;
            let number = rustix::fs::makedev(1, minor);
            let mode = rustix::fs::Mode::from_raw_mode(0o666);
            rustix::fs::mknodat(rustix::fs::CWD, &node, kind, mode, number).unwrap();
            scratch.set_mode(&format!("dev/{name}"), 0o666);
        }
        scratch.programs(&["sh"]);
        scratch
    }

    /// A path inside, on this machine.
    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.temp.path().join(path.trim_start_matches('/'))
    }

    /// Gives the root a /proc; in mount namespaces of one's own alone.
    pub(crate) fn mount_proc(&self) {
        let mut command = Command::new("mount");
        let mounted = command
            .args(["-t", "proc", "proc"])
            .arg(self.at("proc"))
            .status();
        assert!(mounted.unwrap().success());
    }

    pub(crate) fn put(&self, path: &str, text: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn set_mode(&self, path: &str, mode: u32) {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(self.at(path), std::fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Copies programs of this machine, each to where it is here, with what ldd(1) says they need.
    pub(crate) fn programs(&self, names: &[&str]) {
        for name in names {
            let found = cos_testkit::tools::need_tool(name).unwrap();
            self.copy(&found);
        }
    }

    /// Copies those of these libraries that this machine has: what programs load only when they
    /// need it is not named by ldd(1).
    pub(crate) fn libraries(&self, names: &[&str]) {
        let said = Command::new("ldconfig").arg("-p").output().unwrap();
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let wanted =
            |line: &&str| names.contains(&line.split_whitespace().next().unwrap_or_default());
        for line in said.lines().filter(wanted) {
            self.copy(Path::new(line.rsplit(" => ").next().unwrap()));
        }
    }

    /// Copies a program, a library or any other file, to the same place.
    pub(crate) fn copy(&self, file: &Path) {
        let target = self.at(file.to_str().unwrap());
        if target.exists() {
            return;
        }
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(file, &target).unwrap();
        let said = Command::new("ldd").arg(file).output().unwrap();
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let libraries = said
            .split_whitespace()
            .filter(|word| word.starts_with('/') && !word.ends_with(':'));
        for library in libraries {
            let target = self.at(library);
            if !target.exists() {
                fs::create_dir_all(target.parent().unwrap()).unwrap();
                fs::copy(library, &target).unwrap();
            }
        }
    }

    /// Runs a line of shell inside, and returns what it says, blanks at its ends left out.
    pub(crate) fn inside(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.try_inside(program, arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {errors}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    pub(crate) fn try_inside(&self, program: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new("chroot");
        command.arg(self.temp.path()).arg(program).args(arguments);
        command.output().unwrap()
    }

    /// Carries out stage `boot` of a document, whatever comes of it.
    pub(crate) fn run(&self, document: &str) -> Summary {
        self.run_all(&[document], &["boot"])
    }

    /// Carries out stages of documents.
    pub(crate) fn run_all(&self, documents: &[&str], stages: &[&str]) -> Summary {
        self.with_engine(documents, stages, cos_stages::run)
    }

    /// What would be done of a document.
    pub(crate) fn preview(&self, document: &str, stages: &[&str]) -> Summary {
        self.with_engine(&[document], stages, cos_stages::preview)
    }

    fn with_engine(&self, documents: &[&str], stages: &[&str], act: Act) -> Summary {
        let mut loaded = Loaded::default();
        for (index, document) in documents.iter().enumerate() {
            let name = format!("{}.yaml", index + 1);
            loaded.append(load(&name, document.as_bytes(), Strictness::Strict));
        }
        assert_eq!(loaded.diagnostics, [], "the documents of tests are right");
        let http = client();
        let stages: Vec<String> = stages.iter().map(|&stage| stage.to_owned()).collect();
        let mut summary = Summary::new(&stages[0]);
        let host = Host {
            root: self.temp.path().to_owned(),
            running: self.running,
            command_line: String::new(),
            environment: vec![("SITE".into(), "lab".into())],
            http: &http,
            datasources: &Attached,
            unpacker: self,
            boot_device: None,
            monitor: &Silent,
        };
        act(&loaded, &stages, &host, &mut summary).unwrap();
        summary
    }

    /// Carries out stage `boot` of a document, of which nothing may fail.
    pub(crate) fn apply(&self, document: &str) -> Summary {
        let summary = self.run(document);
        assert!(!summary.failed(), "{summary}");
        assert!(
            summary
                .steps
                .iter()
                .all(|step| step.result == StepResult::Done),
            "{summary}"
        );
        summary
    }

    /// Carries out one step, written without indentation.
    pub(crate) fn step(&self, keys: &str) -> Summary {
        self.apply(&document(keys))
    }

    /// Carries out one step of which something must fail, and returns what is said of it.
    pub(crate) fn failing(&self, keys: &str) -> String {
        let summary = self.run(&document(keys));
        assert!(summary.failed(), "{summary}");
        let failures = summary.steps.iter().flat_map(|step| &step.failures);
        let lines: Vec<String> = failures
            .map(|failure| format!("{}: {}", failure.key, failure.message))
            .collect();
        lines.join("\n")
    }

    pub(crate) fn text(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap()
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        fs::symlink_metadata(self.at(path)).is_ok()
    }

    /// Mode, owner and group.
    pub(crate) fn metadata(&self, path: &str) -> String {
        let found = fs::symlink_metadata(self.at(path)).unwrap();
        format!(
            "{:04o} {}:{}",
            found.mode() & 0o7777,
            found.uid(),
            found.gid()
        )
    }

    /// Everything below a directory: kind, mode, owner, and a link's text.
    pub(crate) fn tree(&self, path: &str) -> String {
        let mut out = String::new();
        list(&self.at(path), Path::new(""), &mut out);
        out
    }
}

fn list(directory: &Path, shown: &Path, out: &mut String) {
    let mut entries: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, shown) = (entry.path(), shown.join(entry.file_name()));
        let found = fs::symlink_metadata(&path).unwrap();
        let (mode, uid, gid) = (found.mode() & 0o7777, found.uid(), found.gid());
        if found.is_symlink() {
            let target = fs::read_link(&path).unwrap();
            writeln!(out, "{} -> {}", shown.display(), target.display()).unwrap();
            continue;
        }
        let slash = if found.is_dir() { "/" } else { "" };
        writeln!(out, "{}{slash} {mode:04o} {uid}:{gid}", shown.display()).unwrap();
        if found.is_dir() {
            list(&path, &shown, out);
        }
    }
}

/// A document of one step, `keys` being its lines.
pub(crate) fn document(keys: &str) -> String {
    let lines: String = keys.lines().map(|line| format!("      {line}\n")).collect();
    format!("stages:\n  boot:\n    -\n{lines}")
}

fn client() -> HttpClient {
    let config = HttpConfig {
        backoff: Duration::from_millis(1),
        max_backoff: Duration::from_millis(5),
        ..HttpConfig::default()
    };
    HttpClient::new(&config).unwrap()
}

/// The datasources that need no cloud and no medium.
struct Attached;

impl Datasources for Attached {
    fn fetch(
        &self,
        providers: &[Provider],
        file: Option<&Path>,
        http: &HttpClient,
        monitor: &dyn Monitor,
    ) -> Result<UserData, DatasourceError> {
        let request = Request {
            providers,
            deadline: Duration::from_secs(5),
            file,
            endpoints: &Endpoints::default(),
        };
        let machine = Machine {
            dmi: &Dmi::default(),
            command_line: "",
            media: &NoMedia,
            guest_info: &NoGuestInfo,
        };
        cos_datasource::fetch(&request, &machine, http, monitor)
    }
}

impl ImageUnpacker for Scratch {
    fn unpack(
        &self,
        image: &str,
        platform: Option<&str>,
        target: &Path,
        _monitor: &dyn Monitor,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let inside = target.strip_prefix(self.temp.path().canonicalize()?)?;
        let line = format!("{image} {platform:?} {}", inside.display());
        self.unpacked.borrow_mut().push(line);
        if image.contains("missing") {
            return Err("the registry has no such image".into());
        }
        fs::write(target.join("unpacked"), image)?;
        Ok(())
    }
}

/// Runs the calling test once more in namespaces of its own, of mounts, the host name and the
/// network, and there returns true. Outside it returns false, when that has succeeded.
pub(crate) fn in_own_namespaces(test: &str) -> bool {
    const MARK: &str = "COS_TEST_IN_NAMESPACES";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let namespaces = ["--mount", "--uts", "--net", "--propagation", "private"];
    let tried = Command::new("unshare")
        .args(namespaces)
        .arg("true")
        .status();
    if !tried.is_ok_and(|status| status.success()) {
        cos_testkit::skip(test, "needs namespaces of its own (unshare)");
        return false;
    }
    let output = Command::new("unshare")
        .args(namespaces)
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(MARK, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{errors}"
    );
    false
}
