//! What a registry could make of what is published beside an image: every lie is found out, and every list
//! has an end.
#![expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use cos_events::Silent;
use cos_image::{Digest, Options, Platform, PlatformChoice};
use cos_ops::sealed::{ARTIFACT_TYPE, Published, Statement, StatementFile};
use cos_ops::trust::{Gate, Guard};
use cos_ops::{ErrorKind, OpsError};
use cos_store::FileDigest;
use cos_sys::root_path::Root;
use cos_testkit::faulty_registry::{Faults, Server};
use cos_testkit::{TempDir, temp_dir};
use cos_trust::{Policy, SigningKey};
use serde_json::{Value, json};
use std::path::Path;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const TITLE: &str = "org.opencontainers.image.title";
/// 2026-01-01.
const NOW: i64 = 1_767_225_600;

fn chain(error: &OpsError) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |it| it.source());
    let texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.join(": ")
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
        let directory = temp_dir().unwrap();
        // Nobody looks at the image itself.
        let image = Digest::sha256(b"image");
        let index = json!({"manifests": [{"digest": image}]});
        fs_err::write(directory.path().join("index.json"), index.to_string()).unwrap();
        let server = Server::start(directory.path(), Faults::default());
        let key = SigningKey::generate().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs_err::write(path("key.pub"), key.public_pem().unwrap()).unwrap();
        let name = format!("{}/me/os", server.authority);
        let policy = format!("images:\n  - match: {name}\n    keys: [key.pub]\n");
        fs_err::write(path("policy.yaml"), policy).unwrap();
        let root = Root::open(Path::new("/")).unwrap();
        let policy = Policy::load_file(&root, &path("policy.yaml")).unwrap();
        Self {
            image,
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
        let platform = PlatformChoice::Prefer(Platform::linux(std::env::consts::ARCH));
        let mut options = Options::new(platform, self.directory.path());
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
