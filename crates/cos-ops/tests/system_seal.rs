//! What seals an image, published in a real registry, and found there as machines find it.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests run other people's programs and stop at the first surprise"
)]

use cos_efi::{Image, SignatureList, Uki, Vouched};
use cos_events::{Event, Monitor, Silent};
use cos_image::{Digest, Options, Platform, PlatformChoice, Reference, Source};
use cos_ops::build::payload::BuildRequest;
use cos_ops::build::root::build_root;
use cos_ops::root::convert::{CompressionChoice, ImageRequest};
use cos_ops::sealed::{
    Published, SealRequest, SealResult, SealedError, SealingKeys, generate, seal,
};
use cos_ops::trust::{Gate, Guard, generate_key};
use cos_ops::{ErrorKind, OpsError};
use cos_store::Accepted;
use cos_sys::root_path::Root;
use cos_testkit::registry::Registry;
use cos_testkit::tools::{need_tool, need_tools};
use cos_testkit::{TempDir, images, process, skip, temp_dir};
use cos_trust::{Policy, SigningKey};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use uuid::Uuid;

/// 2026-01-01.
const NOW: i64 = 1_767_225_600;

/// systemd's stub for this machine, from the root directory.
fn stub() -> Option<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Some("usr/lib/systemd/boot/efi/linuxx64.efi.stub"),
        "aarch64" => Some("usr/lib/systemd/boot/efi/linuxaa64.efi.stub"),
        _ => None,
    }
}

/// An OCI layout with a tiny image that can be sealed where there is a stub, made by umoci.
fn layout(directory: &Path) -> PathBuf {
    let (tree, layout) = (directory.join("tree"), directory.join("layout"));
    images::tiny(&tree, "1").unwrap();
    if let Some(stub) = stub().filter(|it| Path::new("/").join(it).exists()) {
        fs_err::create_dir_all(tree.join(stub).parent().unwrap()).unwrap();
        fs_err::copy(Path::new("/").join(stub), tree.join(stub)).unwrap();
    }
    let umoci = need_tool("umoci").unwrap();
    let run = |words: &[&str]| process::run(Command::new(&umoci).args(words)).unwrap();
    let image = format!("{}:v1", layout.display());
    run(&["init", "--layout", &layout.display().to_string()]);
    run(&["new", "--image", &image]);
    for top in ["boot", "etc", "usr"] {
        let (from, to) = (tree.join(top).display().to_string(), format!("/{top}"));
        run(&["insert", "--image", &image, &from, &to]);
    }
    layout
}

fn options(directory: &Path) -> Options {
    let platform = PlatformChoice::Prefer(Platform::linux(std::env::consts::ARCH));
    let mut options = Options::new(platform, directory);
    options.registry.backoff = Duration::from_millis(1);
    options
}

fn chain(error: &OpsError) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |it| it.source());
    let texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}

/// A real registry with an image, and keys.
struct Bench {
    directory: TempDir,
    registry: Registry,
}

impl Bench {
    /// `None` where there is no stub, and the skip is recorded.
    fn start(test: &str) -> Option<Self> {
        let stub = stub().map(|it| Path::new("/").join(it));
        if !stub.is_some_and(|it| it.exists()) {
            skip(test, "systemd's stub is missing (package systemd-boot-efi)");
            return None;
        }
        need_tools(&Registry::PROGRAMS);
        let directory = temp_dir().unwrap();
        let registry = Registry::start(&directory.path().join("registry")).unwrap();
        let layout = layout(directory.path());
        let image = format!("oci:{}:v1", layout.display());
        registry.push(&image, "me/os:v1").unwrap();
        registry.local_auth_file().unwrap();
        generate(&directory.path().join("keys"), "test", NOW).unwrap();
        let bench = Self {
            directory,
            registry,
        };
        for name in ["ours", "other"] {
            let path = |end: &str| bench.path(&format!("{name}.{end}"));
            generate_key(&path("key"), &path("pub")).unwrap();
        }
        fs_err::create_dir(bench.path("scratch")).unwrap();
        Some(bench)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn reference(&self) -> Reference {
        self.registry.reference("me/os:v1").parse().unwrap()
    }

    fn image(&self) -> ImageRequest {
        let mut options = options(&self.path("scratch"));
        options.registry.ca_files = vec![self.registry.certificate_file()];
        options.registry.credential_files = vec![self.path("registry/auth.json")];
        ImageRequest {
            source: Source::Registry(self.reference()),
            overlays: Vec::new(),
            options,
            gate: Gate::Open,
            compression: CompressionChoice::Auto,
            threads: 2,
            time: None,
        }
    }

    fn request(&self, signing: Option<&str>, now: i64) -> SealRequest {
        let signing = signing.map(|it| self.path(&format!("{it}.key")));
        SealRequest {
            image: self.image(),
            keys: SealingKeys::read(&self.path("keys")).unwrap(),
            signing: signing.map(|path| SigningKey::read(&path).unwrap()),
            with_root: false,
            kernel_arguments: "quiet".to_owned(),
            temp_dir: self.path("scratch"),
            now,
        }
    }

    fn sealed(&self, request: SealRequest) -> SealResult {
        let result = seal(request, &Silent);
        let result = result.unwrap_or_else(|error| unreachable!("{}", chain(&error)));
        let left = fs_err::read_dir(self.path("scratch")).unwrap().count();
        assert_eq!(left, 0, "temporary data was left behind");
        result
    }

    fn gate(&self, lines: &str) -> Gate {
        let name = self.registry.reference("me/os");
        let path = self.path("policy.yaml");
        fs_err::write(&path, format!("images:\n  - match: {name}\n    {lines}\n")).unwrap();
        let root = Root::open(Path::new("/")).unwrap();
        Gate::guarded(Guard::new(Policy::load_file(&root, &path).unwrap()))
    }

    /// Digest of the image's manifest, as skopeo says it.
    fn digest(&self) -> Digest {
        let mut skopeo = Command::new(need_tool("skopeo").unwrap());
        let said = process::text(
            skopeo
                .args(["inspect", "--tls-verify=false", "--format", "{{.Digest}}"])
                .arg("--authfile")
                .arg(self.path("registry/auth.json"))
                .arg(format!("docker://{}", self.reference())),
        );
        said.unwrap().trim().parse().unwrap()
    }

    fn all(&self, gate: &Gate) -> Result<Vec<Published>, OpsError> {
        let options = self.image().options;
        Published::all(&self.reference(), &self.digest(), &options, gate, &Silent)
    }

    fn found(&self, gate: &Gate) -> Result<Published, OpsError> {
        let options = self.image().options;
        Published::find(&self.reference(), &self.digest(), &options, gate, &Silent)
    }

    /// The root image that a conversion on its own makes.
    fn root(&self) -> (PathBuf, String) {
        let output = self.path("root.img");
        let request = BuildRequest {
            image: self.image(),
            kernel_arguments: String::new(),
            temp_dir: Some(self.path("scratch")),
            output: output.clone(),
        };
        let result = build_root(&request, None, &Silent).unwrap();
        (output, result.root_hash)
    }
}

#[test]
fn an_image_is_sealed_found_and_judged() {
    let Some(bench) = Bench::start("an_image_is_sealed_found_and_judged") else {
        return;
    };
    need_tools(&["sbverify"]);
    let ours = bench.gate("keys: [ours.pub]");
    let error = bench.found(&ours).unwrap_err();
    let absent = matches!(error, OpsError::Sealed(SealedError::NotSealed { .. }));
    assert!(absent, "{error}");
    assert!(error.hint().unwrap().contains("cos seal"));

    // Unsigned: of use where nobody is asked, and where the rule says so.
    let unsigned = bench.sealed(bench.request(None, NOW));
    assert_eq!(unsigned.statement.image, bench.digest());
    let error = bench.found(&ours).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{}", chain(&error));
    assert!(bench.found(&Gate::Open).is_ok());
    let by_rule = bench.found(&bench.gate("insecure: true")).unwrap();
    assert_eq!(by_rule.verified.unwrap().accepted, Accepted::UnsignedByRule);

    // Signed later on, by the same seal: the same artifact.
    let ours = bench.gate("keys: [ours.pub]");
    let signed = bench.sealed(bench.request(Some("ours"), NOW + 1000));
    assert_eq!(signed.artifact, unsigned.artifact);
    assert_eq!(signed.statement, unsigned.statement);
    let published = bench.found(&ours).unwrap();
    assert_eq!(published.artifact.to_string(), signed.artifact);
    assert_eq!(published.statement, signed.statement);
    let verified = published.verified.as_ref().unwrap();
    assert_eq!(verified.accepted, Accepted::Signed);
    let error = bench.found(&bench.gate("keys: [other.pub]")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{}", chain(&error));
    assert!(chain(&error).contains(&signed.artifact), "{error}");

    // What is said is what a conversion makes, and the program says it too.
    let (_, root_hash) = bench.root();
    assert_eq!(published.statement.root_hash, root_hash);
    let path = bench.path("system.efi");
    published.save_program(&path, &Silent).unwrap();
    let mut sbverify = Command::new(need_tool("sbverify").unwrap());
    sbverify
        .arg("--cert")
        .arg(bench.path("keys/db.pem"))
        .arg(&path);
    assert!(process::succeeds(&mut sbverify));
    let program = Image::parse(fs_err::read(&path).unwrap()).unwrap();
    let mut db = SignatureList::default();
    let pem = fs_err::read_to_string(bench.path("keys/db.pem")).unwrap();
    db.add(Uuid::nil(), &pem).unwrap();
    let vouched = cos_efi::verify(&program, db.as_bytes(), None).unwrap();
    assert!(matches!(vouched, Vouched::Signed { .. }), "{vouched:?}");
    assert_eq!(
        Uki::from_image(program).unwrap().command_line(),
        format!("cos.sealed cos.roothash={root_hash} console=ttyS0 quiet")
    );
    let error = published
        .save_root(&bench.path("none"), &Silent)
        .unwrap_err();
    let without = matches!(error, OpsError::Sealed(SealedError::NoRoot { .. }));
    assert!(without, "{error}");
}

#[test]
fn the_root_image_is_published_where_it_is_asked_for() {
    let Some(bench) = Bench::start("the_root_image_is_published_where_it_is_asked_for") else {
        return;
    };
    let first = bench.sealed(bench.request(Some("ours"), NOW));
    let with_root = |now| SealRequest {
        with_root: true,
        ..bench.request(Some("ours"), now)
    };
    let second = bench.sealed(with_root(NOW + 5));
    assert_ne!(first.artifact, second.artifact);
    let ours = bench.gate("keys: [ours.pub]");
    // The newest counts, and the other one is still there.
    let all = bench.all(&ours).unwrap();
    let dates: Vec<i64> = all.iter().map(|it| it.statement.date).collect();
    assert_eq!(dates, [NOW + 5, NOW]);
    let again = bench.sealed(with_root(NOW + 9));
    assert_eq!(again.artifact, second.artifact);
    // Where one more would be one too many, nothing is published; what is there can be signed.
    let full = |mut request: SealRequest| {
        request.image.options.limits.artifacts = 2;
        request
    };
    let error = seal(full(bench.request(None, NOW - 5)), &Silent).unwrap_err();
    let too_many = matches!(error, OpsError::Sealed(SealedError::TooMany { .. }));
    assert!(too_many, "{}", chain(&error));
    bench.sealed(full(with_root(NOW + 20)));
    // A clock that stands in the past is no reason for a statement of the future.
    let earlier = bench.sealed(with_root(NOW - 5));
    assert_eq!(earlier.statement.date, NOW - 5);

    let published = bench.found(&ours).unwrap();
    assert!(published.has_root());
    let (root, _) = bench.root();
    let root = fs_err::read(root).unwrap();
    let saved = bench.path("saved.img");
    // A beginning that an earlier try left is gone on with; another one is not believed.
    for start in [&root[..100_000], &[7; 5000], &vec![7; root.len() + 1]] {
        fs_err::write(&saved, start).unwrap();
        published.save_root(&saved, &Silent).unwrap();
        assert!(fs_err::read(&saved).unwrap() == root);
    }
}

/// Asks to stop once a task with this beginning is there.
struct Stopping {
    at: &'static str,
    stop: std::sync::atomic::AtomicBool,
}

impl Monitor for Stopping {
    fn report(&self, event: Event) {
        if matches!(event, Event::Started { label, .. } if label.starts_with(self.at)) {
            self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    }

    fn is_cancelled(&self) -> bool {
        self.stop.load(std::sync::atomic::Ordering::Relaxed)
    }
}

#[test]
fn whoever_stops_it_leaves_nothing_behind() {
    let Some(bench) = Bench::start("whoever_stops_it_leaves_nothing_behind") else {
        return;
    };
    for at in ["sign the system", "send system.efi", "send root.img"] {
        let request = SealRequest {
            with_root: true,
            ..bench.request(Some("ours"), NOW)
        };
        let stopping = Stopping {
            at,
            stop: false.into(),
        };
        let error = seal(request, &stopping).unwrap_err();
        assert_eq!(
            error.kind(),
            ErrorKind::Cancelled,
            "{at}: {}",
            chain(&error)
        );
        let left = fs_err::read_dir(bench.path("scratch")).unwrap().count();
        assert_eq!(left, 0, "{at}");
        assert!(
            bench.found(&Gate::Open).is_err(),
            "{at}: half of it is there"
        );
    }
    bench.sealed(bench.request(Some("ours"), NOW));
    // Without a registry there is nothing beside which it could be.
    let mut request = bench.request(None, NOW);
    request.image.source = format!("dir:{}", bench.path("tree").display())
        .parse()
        .unwrap();
    let error = seal(request, &Silent).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Request, "{error}");
}
