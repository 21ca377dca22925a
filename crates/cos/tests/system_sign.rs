//! The book's page about signing, from an empty directory: its commands against a real registry, and what
//! they leave behind.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at files with plain std and stop at the first surprise"
)]

use cos_testkit::registry::{PASSWORD, Registry};
use cos_testkit::tools::{need_tool, need_tools};
use cos_testkit::{dist, paths, process, temp_dir};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What the page calls the repository.
const NAME: &str = "registry.example.com/os";
const REFUSED: i32 = 10;

struct Bench {
    directory: cos_testkit::TempDir,
    registry: Registry,
}

impl Bench {
    /// An image of nothing under the tags that the page names.
    fn start() -> Self {
        need_tools(&Registry::PROGRAMS);
        let directory = temp_dir().unwrap();
        let registry = Registry::start(&directory.path().join("registry")).unwrap();
        let layout = directory.path().join("layout");
        let image = format!("{}:v1", layout.display());
        let umoci = need_tool("umoci").unwrap();
        let run = |words: &[&str]| process::run(Command::new(&umoci).args(words)).unwrap();
        run(&["init", "--layout", &layout.display().to_string()]);
        run(&["new", "--image", &image]);
        run(&[
            "config",
            "--config.label",
            "dev.cos.version=2.1.0",
            "--image",
            &image,
        ]);
        for tag in ["2", "stable"] {
            let name = format!("os/edge:{tag}");
            registry.push(&format!("oci:{image}"), &name).unwrap();
        }
        registry.local_auth_file().unwrap();
        Self {
            directory,
            registry,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs a line of the page, as it stands there but for the registry's name.
    fn run(&self, line: &str) -> Output {
        let line = line.replace(NAME, &self.registry.reference("os"));
        let cos = dist::binaries().unwrap().cos;
        Command::new("sh")
            .args(["-ec", &line])
            .env_clear()
            .env(
                "PATH",
                format!("{}:/usr/bin:/bin", cos.parent().unwrap().display()),
            )
            .env("SSL_CERT_FILE", self.registry.certificate_file())
            .env("REGISTRY_AUTH_FILE", self.path("registry/auth.json"))
            .current_dir(self.directory.path())
            .output()
            .unwrap()
    }

    fn succeeds(&self, line: &str) -> String {
        let ran = self.run(line);
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&ran.stdout),
            String::from_utf8_lossy(&ran.stderr)
        );
        assert!(ran.status.success(), "{line}: {said}");
        assert!(!said.contains(PASSWORD), "{line}: {said}");
        said
    }

    fn refused(&self, line: &str) -> String {
        let ran = self.run(line);
        assert_eq!(ran.status.code(), Some(REFUSED), "{line}: {ran:?}");
        String::from_utf8_lossy(&ran.stderr).into_owned()
    }
}

fn page() -> String {
    std::fs::read_to_string(paths::workspace().join("docs/src/how-to/trust.md")).unwrap()
}

/// The page's commands, without what a `#` says behind them.
fn commands(page: &str) -> Vec<String> {
    let blocks = page.split("```sh\n").skip(1);
    let blocks = blocks.map(|rest| rest.split_once("```").unwrap().0);
    let lines = blocks.flat_map(str::lines);
    let lines = lines.map(|line| line.split(" # ").next().unwrap().trim());
    lines.map(str::to_owned).collect()
}

/// The block that begins with this line.
fn block<'p>(page: &'p str, first: &str) -> &'p str {
    let (_, rest) = page.split_once(&format!("```text\n{first}\n")).unwrap();
    rest.split_once("```").unwrap().0
}

#[test]
fn what_the_book_shows_of_signing_is_so() {
    let bench = Bench::start();
    let page = page();
    let commands = commands(&page);
    let [generate, sign, verify, expiring] = &commands[..] else {
        unreachable!("{commands:?}");
    };
    bench.succeeds(generate);
    let mode = |name: &str| {
        let metadata = std::fs::metadata(bench.path(name)).unwrap();
        metadata.permissions().mode() & 0o7777
    };
    assert_eq!((mode("release.key"), mode("release.pub")), (0o600, 0o644));
    assert!(
        !bench.run(generate).status.success(),
        "a key was overwritten"
    );

    // What the page's Dockerfile does.
    std::fs::create_dir(bench.path("keys")).unwrap();
    std::fs::copy(bench.path("release.pub"), bench.path("keys/release.pub")).unwrap();
    let policy = block(&page, "# policy.yaml").replace(NAME, &bench.registry.reference("os"));
    std::fs::write(bench.path("policy.yaml"), policy).unwrap();
    let listed = bench.succeeds("cos policy check policy.yaml");
    assert!(listed.contains("1 of 1 must have signed"), "{listed}");

    let said = bench.refused(verify);
    assert!(
        said.contains("0 of 1 signatures") && said.contains("hint:"),
        "{said}"
    );
    bench.succeeds(sign);
    let said = bench.succeeds(verify);
    for wanted in [
        "version    2.1.0",
        "policy.yaml:2:12",
        "verified: signed by 1",
        "keys/release.pub",
    ] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    bench.succeeds(expiring);
    let said = bench.succeeds(&format!(
        "cos --json verify {NAME}/edge:stable --policy policy.yaml"
    ));
    let last: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert!(
        last["result"]["expires"].as_str().unwrap().ends_with('Z'),
        "{last}"
    );
    assert_eq!(
        last["result"]["checked"].as_array().unwrap().len(),
        1,
        "{last}"
    );

    bench.succeeds(&format!(
        "cos sign {NAME}/edge:2 --key release.key --expires 2020-01-01T00:00:00Z"
    ));
    let said = bench.refused(verify);
    assert!(said.contains("expired at 2020-01-01T00:00:00Z"), "{said}");
    bench.succeeds(&format!("{verify} --allow-stale"));
    nothing_tells_the_secret(&bench, &["registry"]);
}

#[test]
fn media_are_made_of_signed_images_where_a_policy_is_named() {
    let bench = Bench::start();
    let policy = format!(
        "images:\n  - match: {}\n    insecure: true\n",
        bench.registry.reference("other")
    );
    std::fs::write(bench.path("policy.yaml"), policy).unwrap();
    let said = bench.refused(&format!(
        "cos image root {NAME}/edge:2 --output root.img --policy policy.yaml"
    ));
    let name = bench.registry.reference("os/edge");
    assert!(
        said.contains(&format!("  - match: {name}\n    insecure: true")),
        "{said}"
    );
    assert!(!bench.path("root.img").exists());
    bench.succeeds(&format!("cos image root {NAME}/edge:2 --output root.img"));
    assert!(bench.path("root.img").exists());
    let wrong = bench.run("cos policy check none.yaml");
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
}

/// No file but those of `owners` holds the registry's password or the private key.
fn nothing_tells_the_secret(bench: &Bench, owners: &[&str]) {
    let key = std::fs::read_to_string(bench.path("release.key")).unwrap();
    let key = key.lines().nth(1).unwrap();
    let found = holding(bench.directory.path(), &[key, PASSWORD, "ZmxlZXQ6czNjcmV0"]);
    for path in found {
        let name = path.strip_prefix(bench.directory.path()).unwrap();
        let first = name.components().next().unwrap().as_os_str();
        let is_owner = owners.iter().any(|owner| first == *owner) || first == "release.key";
        assert!(is_owner, "{}", path.display());
    }
}

fn holding(directory: &Path, secrets: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holding(&path, secrets));
        } else {
            let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            if secrets.iter().any(|secret| text.contains(secret)) {
                found.push(path);
            }
        }
    }
    found
}
