//! The book's page about sealing: its commands that publish, as written, against a real registry; and the
//! reference, against what they published.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at files with plain std and stop at the first surprise"
)]

use cos_testkit::registry::{PASSWORD, Registry};
use cos_testkit::tools::{cosign, need_tool, need_tools};
use cos_testkit::{dist, images, paths, process, skip, temp_dir};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

/// What the page calls the repository.
const NAME: &str = "registry.example.com/os";
/// systemd's stub, from the root directory.
const STUB: &str = "usr/lib/systemd/boot/efi/linuxx64.efi.stub";

struct Bench {
    directory: cos_testkit::TempDir,
    registry: Registry,
}

impl Bench {
    fn start() -> Self {
        need_tools(&Registry::PROGRAMS);
        let directory = temp_dir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let registry = Registry::start(&at("registry")).unwrap();
        images::tiny(&at("tree"), "1").unwrap();
        let stub = at("tree").join(STUB);
        std::fs::create_dir_all(stub.parent().unwrap()).unwrap();
        std::fs::copy(Path::new("/").join(STUB), stub).unwrap();
        let image = format!("{}:v1", at("layout").display());
        let umoci = need_tool("umoci").unwrap();
        let run = |words: &[&str]| process::run(Command::new(&umoci).args(words)).unwrap();
        run(&["init", "--layout", &at("layout").display().to_string()]);
        run(&["new", "--image", &image]);
        for top in ["boot", "etc", "usr"] {
            let from = at("tree").join(top).display().to_string();
            run(&["insert", "--image", &image, &from, &format!("/{top}")]);
        }
        let image = format!("oci:{image}");
        registry.push(&image, "os/edge:2").unwrap();
        registry.local_auth_file().unwrap();
        Self {
            directory,
            registry,
        }
    }

    /// Runs a line of the page, as it stands there but for the registry's name.
    fn run(&self, line: &str) -> Output {
        let line = line.replace(NAME, &self.registry.reference("os"));
        let cos = dist::binaries().unwrap().cos;
        let path = format!("{}:/usr/bin:/bin", cos.parent().unwrap().display());
        let auth = self.directory.path().join("registry/auth.json");
        Command::new("sh")
            .args(["-ec", &line])
            .env_clear()
            .env("PATH", path)
            .env("SSL_CERT_FILE", self.registry.certificate_file())
            .env("REGISTRY_AUTH_FILE", auth)
            .current_dir(self.directory.path())
            .output()
            .unwrap()
    }

    fn succeeds(&self, line: &str) -> String {
        let ran = self.run(line);
        let said = [ran.stdout, ran.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert!(ran.status.success(), "{line}: {said}");
        assert!(!said.contains(PASSWORD), "{line}: {said}");
        said
    }

    /// What is published, as skopeo fetches it.
    fn raw(&self, version: &str) -> Value {
        let image = self.registry.reference("os/edge");
        let mut skopeo = Command::new(need_tool("skopeo").unwrap());
        skopeo
            .args(["inspect", "--raw", "--tls-verify=false", "--authfile"])
            .arg(self.directory.path().join("registry/auth.json"))
            .arg(format!("docker://{image}{version}"));
        serde_json::from_str(&process::text(&mut skopeo).unwrap()).unwrap()
    }
}

fn page(path: &str) -> String {
    std::fs::read_to_string(paths::workspace().join("docs/src").join(path)).unwrap()
}

/// The first words of the rows of the tables under a heading.
fn rows<'p>(page: &'p str, heading: &str) -> Vec<&'p str> {
    let (_, rest) = page.split_once(&format!("## {heading}\n")).unwrap();
    let rest = rest.split("\n## ").next().unwrap();
    let cells = rest.lines().filter_map(|line| line.strip_prefix("| `"));
    let cells = cells.map(|line| line.split(" |").next().unwrap());
    let words = cells.flat_map(|cell| cell.split(", "));
    words.map(|word| word.trim_matches('`')).collect()
}

#[test]
fn what_the_book_shows_of_publishing_is_so() {
    const TEST: &str = "what_the_book_shows_of_publishing_is_so";
    if std::env::consts::ARCH != "x86_64" || !Path::new("/").join(STUB).exists() {
        skip(
            TEST,
            &format!("/{STUB} is missing (package systemd-boot-efi)"),
        );
        return;
    }
    let bench = Bench::start();
    let how_to = page("how-to/seal.md");
    let (_, rest) = how_to.split_once("## Publish\n").unwrap();
    let block = rest.split("```text\n").nth(1).unwrap();
    let commands: Vec<&str> = block.split("```").next().unwrap().trim().lines().collect();
    let [generate, seal] = commands[..] else {
        unreachable!("{commands:?}");
    };
    let nowhere = bench.run("cos seal dir:tree --keys keys");
    assert_eq!(nowhere.status.code(), Some(2), "{nowhere:?}");
    bench.succeeds("cos keys generate keys --name 'Example Ltd'");
    bench.succeeds(generate);
    let said = bench.succeeds(seal);
    assert!(said.contains("signed with key "), "{said}");
    let said = bench.succeeds(&format!("cos --json {} --with-root", &seal["cos ".len()..]));
    let last: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    let result = &last["result"];

    // As the reference has it.
    let reference = page("reference/sealed.md");
    let statement = result["statement"].as_object().unwrap();
    let mut fields: Vec<&str> = statement.keys().map(String::as_str).collect();
    let mut shown = rows(&reference, "The statement");
    fields.sort_unstable();
    shown.sort_unstable();
    assert_eq!(shown, fields);
    let artifact = result["artifact"].as_str().unwrap();
    let manifest = bench.raw(&format!("@{artifact}"));
    assert!(reference.contains(manifest["artifactType"].as_str().unwrap()));
    assert_eq!(manifest["subject"]["digest"], statement["image"]);
    let title = |layer: &Value| layer["annotations"]["org.opencontainers.image.title"].clone();
    let layers = manifest["layers"].as_array().unwrap();
    let titles: Vec<Value> = layers.iter().map(title).collect();
    assert_eq!(titles, rows(&reference, "The artifact"));
    for layer in layers {
        assert!(reference.contains(layer["mediaType"].as_str().unwrap()));
    }
    // This registry knows no referrers: both are in the list that stands for them.
    let image = statement["image"].as_str().unwrap();
    let referrers = bench.raw(&format!(":{}", image.replace(':', "-")));
    assert_eq!(referrers["manifests"].as_array().unwrap().len(), 2);
    cosign_finds_it(&bench, artifact);
}

/// cosign takes the signature over what is published.
fn cosign_finds_it(bench: &Bench, artifact: &str) {
    const TEST: &str = "what_the_book_shows_of_publishing_is_so";
    let Some(cosign) = cosign() else {
        skip(TEST, "cosign of Debian 13 could not be fetched");
        return;
    };
    let docker = bench.directory.path().join("docker");
    std::fs::create_dir(&docker).unwrap();
    let auth = bench.directory.path().join("registry/auth.json");
    std::fs::copy(auth, docker.join("config.json")).unwrap();
    let mut verify = Command::new(cosign);
    verify
        .args([
            "verify",
            "--key",
            "release.pub",
            "--insecure-ignore-tlog=true",
        ])
        .args(["--allow-insecure-registry"])
        .arg(format!(
            "{}@{artifact}",
            bench.registry.reference("os/edge")
        ))
        .env("DOCKER_CONFIG", docker)
        .env("HOME", bench.directory.path())
        .current_dir(bench.directory.path());
    process::output(&mut verify).unwrap();
}
