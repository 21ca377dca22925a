//! What is published beside an image: sealed into a real registry, found by machines, and everything that a
//! registry could make of it.
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
    ARTIFACT_TYPE, Published, SealRequest, SealResult, SealedError, SealingKeys, Statement,
    StatementFile, generate, seal,
};
use cos_ops::trust::{Gate, Guard, generate_key};
use cos_ops::{ErrorKind, OpsError};
use cos_store::{Accepted, FileDigest};
use cos_sys::root_path::Root;
use cos_testkit::faulty_registry::{Faults, Server};
use cos_testkit::registry::Registry;
use cos_testkit::tools::{need_tool, need_tools};
use cos_testkit::{TempDir, images, process, skip, temp_dir};
use cos_trust::{Policy, SigningKey};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use uuid::Uuid;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const TITLE: &str = "org.opencontainers.image.title";
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
    for at in ["hash system.efi", "send system.efi", "send root.img"] {
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

/// A registry in this process, which says what it is told to.
struct Hostile {
    directory: TempDir,
    server: Server,
    key: SigningKey,
    gate: Gate,
    /// Digest of the image.
    image: Digest,
}

const PROGRAM: &[u8] = b"a program, as far as a registry knows";

impl Hostile {
    fn start() -> Self {
        need_tools(&["umoci"]);
        let directory = temp_dir().unwrap();
        let layout = layout(directory.path());
        let server = Server::start(&layout, Faults::default());
        let key = SigningKey::generate().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs_err::write(path("key.pub"), key.public_pem().unwrap()).unwrap();
        let name = format!("{}/me/os", server.authority);
        let policy = format!("images:\n  - match: {name}\n    keys: [key.pub]\n");
        fs_err::write(path("policy.yaml"), policy).unwrap();
        let root = Root::open(Path::new("/")).unwrap();
        let policy = Policy::load_file(&root, &path("policy.yaml")).unwrap();
        let index = fs_err::read(layout.join("index.json")).unwrap();
        let index: Value = serde_json::from_slice(&index).unwrap();
        let image = index["manifests"][0]["digest"].as_str().unwrap();
        Self {
            image: image.parse().unwrap(),
            directory,
            server,
            key,
            gate: Gate::guarded(Guard::new(policy)),
        }
    }

    fn statement(&self) -> Statement {
        let hash = |bytes| {
            let digest = Digest::sha256(bytes);
            digest.hex().parse::<FileDigest>().unwrap()
        };
        Statement {
            version: 1,
            image: self.image.clone(),
            architecture: "amd64".into(),
            format: "cos-root-v1".into(),
            compression: "lz4".into(),
            root_hash: "ab".repeat(32),
            size: 8192,
            hash_offset: 4096,
            kernel: hash(b"kernel"),
            initrd: hash(b"initrd"),
            kernel_arguments: String::new(),
            encrypted: false,
            date: NOW,
            program: StatementFile {
                digest: hash(PROGRAM),
                size: PROGRAM.len() as u64,
            },
            root: None,
        }
    }

    fn file(&self, name: &str, bytes: &[u8]) -> Value {
        json!({
            "mediaType": "application/octet-stream", "size": bytes.len(),
            "digest": self.server.add_blob(bytes), "annotations": {TITLE: name},
        })
    }

    /// The manifest of an artifact that is as it should be.
    fn manifest(&self, statement: &Statement) -> Value {
        json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": ARTIFACT_TYPE,
            "subject": {"mediaType": MANIFEST, "digest": self.image, "size": 1},
            "layers": [
                self.file("statement.json", &statement.to_json().unwrap()),
                self.file("system.efi", PROGRAM),
            ],
        })
    }

    /// Puts a manifest there, signed; returns how a list names it.
    fn signed(&self, manifest: &Value) -> Value {
        let entry = self.unsigned(manifest);
        let digest = entry["digest"].as_str().unwrap();
        let signed = self.key.simple("me/os", digest, &[].into()).unwrap();
        let list = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "layers": [{
                "mediaType": signed.media_type, "size": signed.bytes.len(),
                "digest": self.server.add_blob(&signed.bytes), "annotations": signed.annotations,
            }],
        });
        let tag = format!("{}.sig", digest.replace(':', "-"));
        let bytes = list.to_string();
        self.server.add_manifest(&tag, MANIFEST, bytes.as_bytes());
        entry
    }

    fn unsigned(&self, manifest: &Value) -> Value {
        let bytes = manifest.to_string();
        self.server
            .add_manifest("unnamed", MANIFEST, bytes.as_bytes());
        json!({
            "mediaType": MANIFEST, "size": bytes.len(), "artifactType": ARTIFACT_TYPE,
            "digest": Digest::sha256(bytes.as_bytes()),
        })
    }

    /// Lists these beside the image, under the tag that stands for the list.
    fn list(&self, entries: &[Value]) {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
        let tag = self.image.to_string().replace(':', "-");
        let bytes = index.to_string();
        self.server.add_manifest(&tag, INDEX, bytes.as_bytes());
    }

    fn found(&self) -> Result<Published, OpsError> {
        let reference = format!("{}/me/os:v1", self.server.authority);
        let mut options = options(self.directory.path());
        options.registry.retries = 0;
        options
            .registry
            .insecure
            .insert(self.server.authority.clone());
        let reference = reference.parse().unwrap();
        Published::find(&reference, &self.image, &options, &self.gate, &Silent)
    }

    fn refused(&self, name: &str, kind: ErrorKind, wanted: &str) {
        let error = self.found().unwrap_err();
        let text = chain(&error);
        assert_eq!(error.kind(), kind, "{name}: {text}");
        assert!(text.contains(wanted), "{name}: {text}");
    }

    /// A manifest that is signed, and not as it should be.
    fn wrong(&self, name: &str, wanted: &str, change: impl FnOnce(&mut Value)) {
        let mut manifest = self.manifest(&self.statement());
        change(&mut manifest);
        self.list(&[self.signed(&manifest)]);
        self.refused(name, ErrorKind::Image, wanted);
    }
}

#[test]
fn what_a_registry_shows_is_held_against_the_image_and_itself() {
    let hostile = Hostile::start();
    hostile.refused("nothing", ErrorKind::Image, "is not sealed");
    let good = hostile.manifest(&hostile.statement());
    hostile.list(&[hostile.unsigned(&good)]);
    hostile.refused("unsigned", ErrorKind::Refused, "0 of 1 signatures");
    hostile.list(&[hostile.signed(&good)]);
    assert_eq!(hostile.found().unwrap().statement, hostile.statement());

    let other = Digest::sha256(b"another image");
    let text = "refers to something else";
    hostile.wrong("subject", text, |it| it["subject"]["digest"] = json!(other));
    hostile.wrong("no subject", text, |it| it["subject"] = Value::Null);
    let text = "of another type";
    hostile.wrong("type", text, |it| {
        it["artifactType"] = json!("application/x");
    });
    let about_other = Statement {
        image: other,
        ..hostile.statement()
    };
    let about_other = hostile.file("statement.json", &about_other.to_json().unwrap());
    hostile.wrong("statement", "about another image", |it| {
        it["layers"][0] = about_other;
    });
    let newer = hostile.file("statement.json", b"{\"version\": 7, \"news\": true}");
    hostile.wrong("newer", "has version 7", |it| it["layers"][0] = newer);
    let surplus = hostile.statement().to_json().unwrap();
    let surplus = String::from_utf8(surplus).unwrap();
    let surplus = surplus.replacen('{', "{\"surplus\": 1,", 1);
    let surplus = hostile.file("statement.json", surplus.as_bytes());
    hostile.wrong("surplus", "not as cOS writes it", |it| {
        it["layers"][0] = surplus;
    });
    let huge = hostile.file("statement.json", &vec![b' '; (64 << 10) + 1]);
    hostile.wrong("huge", "over 65536 bytes", |it| it["layers"][0] = huge);
    hostile.wrong("no statement", "has no statement", |it| {
        it["layers"].as_array_mut().unwrap().remove(0);
    });
}

#[test]
fn the_files_are_those_of_the_statement() {
    let hostile = Hostile::start();
    let program = hostile.file("system.efi", b"another program");
    hostile.wrong("program", "not the one of its statement", |it| {
        it["layers"][1] = program;
    });
    hostile.wrong("size", "not the one of its statement", |it| {
        it["layers"][1]["size"] = json!(1_u64 << 40);
    });
    hostile.wrong("twice", "two files of one name", |it| {
        it["layers"][1]["annotations"][TITLE] = json!("statement.json");
    });
    hostile.wrong("nameless", "a file without a name", |it| {
        it["layers"][1]["annotations"] = json!({});
    });
    hostile.wrong("many files", "too many files", |it| {
        it["layers"] = json!(vec![it["layers"][0].clone(); 17]);
    });
    let rooted = Statement {
        root: Some(StatementFile {
            digest: FileDigest([1; 32]),
            size: 8192,
        }),
        ..hostile.statement()
    };
    let rooted = hostile.file("statement.json", &rooted.to_json().unwrap());
    hostile.wrong("no root", "its root image", |it| it["layers"][0] = rooted);
}

#[test]
fn lists_are_bounded_and_read_to_their_end() {
    let hostile = Hostile::start();
    let good = hostile.signed(&hostile.manifest(&hostile.statement()));
    let numbered = |n: i64| {
        let statement = Statement {
            date: NOW + n,
            ..hostile.statement()
        };
        hostile.signed(&hostile.manifest(&statement))
    };
    let entries: Vec<Value> = (0..17).map(numbered).collect();
    hostile.list(&entries[..16]);
    assert_eq!(hostile.found().unwrap().statement.date, NOW + 15);
    hostile.list(&entries);
    hostile.refused("17", ErrorKind::Image, "more than 16 artifacts");
    hostile.server.misbehave(Faults {
        endless_referrers: true,
        ..Faults::default()
    });
    hostile.refused("endless", ErrorKind::Image, "more than 16 pages");
    hostile.server.misbehave(Faults::default());

    // A registry that knows referrers lists them in pages, with others among them.
    let page = |entries: &[Value]| {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
        index.to_string().into_bytes()
    };
    let mut foreign = good.clone();
    foreign["artifactType"] = json!("application/vnd.example.other");
    let pages = vec![page(&[foreign]), page(&entries[..1]), page(&entries[1..3])];
    let image = hostile.image.to_string();
    hostile.server.list_referrers(&image, pages);
    assert_eq!(hostile.found().unwrap().statement.date, NOW + 2);
    hostile
        .server
        .list_referrers(&image, vec![b"{\"manifests\": 7}".to_vec()]);
    hostile.refused("no list", ErrorKind::Image, "is not valid");
}

#[test]
fn what_is_fetched_is_what_was_signed_and_the_rest_hides_nothing() {
    let hostile = Hostile::start();
    let good = hostile.signed(&hostile.manifest(&hostile.statement()));
    let altered = {
        let mut entry = good.clone();
        entry["digest"] = json!(Digest::sha256(b"not there"));
        entry
    };
    hostile.list(std::slice::from_ref(&altered));
    hostile.refused("not there", ErrorKind::Image, "answered 404");
    hostile.list(&[
        altered,
        json!({"mediaType": MANIFEST, "digest": "x", "size": 1}),
        good.clone(),
    ]);
    let published = hostile.found().unwrap();
    hostile.list(std::slice::from_ref(&good));
    // The statement is the signed one, or none.
    let bytes = hostile.statement().to_json().unwrap();
    let later = String::from_utf8(bytes.clone()).unwrap();
    let later = later.replace(&"ab".repeat(32), &"cd".repeat(32));
    let digest = Digest::sha256(&bytes).to_string();
    hostile.server.falsify_blob(&digest, later.as_bytes());
    hostile.refused("altered", ErrorKind::Image, "has digest");
    hostile.server.falsify_blob(&digest, &bytes[..100]);
    hostile.refused("torn", ErrorKind::Image, "bytes, not");
    hostile.server.falsify_blob(&digest, &bytes);
    // So is the program, and what is wrong does not stay.
    let path = hostile.directory.path().join("program");
    published.save_program(&path, &Silent).unwrap();
    assert_eq!(fs_err::read(&path).unwrap(), PROGRAM);
    fs_err::remove_file(&path).unwrap();
    let mut wrong = PROGRAM.to_vec();
    wrong[3] ^= 1;
    let digest = Digest::sha256(PROGRAM).to_string();
    for bytes in [wrong, [PROGRAM, b"more"].concat()] {
        hostile.server.falsify_blob(&digest, &bytes);
        let error = published.save_program(&path, &Silent).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Image, "{}", chain(&error));
        assert!(!path.exists(), "{}", chain(&error));
    }
}
