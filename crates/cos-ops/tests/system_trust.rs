//! Which images a machine takes: every row of what an attacker or a mistake can make of signatures, and
//! that nothing is written where one is refused.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

#[path = "common/machinery.rs"]
mod machinery;

use cos_ops::hooks::NoHooks;
use cos_ops::status::{FloorPlace, FloorStatus};
use cos_ops::trust::{FloorError, Gate, Guard};
use cos_ops::upgrade::{Extent, Outcome};
use cos_ops::{ErrorKind, OpsError};
use cos_store::{Accepted, SignedBy, verify_snapshot};
use cos_sys::root_path::Root;
use cos_testkit::faulty_registry::Faults;
use cos_testkit::sigstore::{Moment, Sigstore};
use cos_testkit::swtpm::{Swtpm, require_swtpm};
use cos_trust::{Policy, Signed, SigningKey};
use machinery::Machinery;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const ISSUER: &str = "https://token.example";
const SUBJECT: &str = "https://git.example/acme/os/release.yaml@refs/tags/v1";
/// The version floor on COS_STATE.
const FLOOR: &str = "cos/version-floor";
/// 2026-01-01.
const THEN: i64 = 1_767_225_600;

/// A machine with version 1, a registry with version 2, and a policy.
struct Bench {
    machinery: Machinery,
    key: SigningKey,
    /// What was there before anything was tried.
    before: BTreeMap<PathBuf, Vec<u8>>,
}

impl Bench {
    /// With a policy that wants the bench's key.
    fn new() -> Self {
        let mut machinery = Machinery::start(64 << 20);
        machinery.retries = 0;
        let key = SigningKey::generate().unwrap();
        let mut bench = Self {
            before: files(&machinery.places.source()),
            machinery,
            key,
        };
        bench.put("key.pub", &bench.key.public_pem().unwrap());
        bench.policy("keys: [key.pub]");
        bench
    }

    fn put(&self, name: &str, text: &str) {
        let directory = self.machinery.directory.path().join("policy");
        fs_err::create_dir_all(&directory).unwrap();
        fs_err::write(directory.join(name), text).unwrap();
    }

    /// Makes this the rule for the registry's image.
    fn policy(&mut self, lines: &str) {
        let name = format!("{}/me/os", self.machinery.server.authority);
        let lines = lines.replace('\n', "\n    ");
        self.whole_policy(&format!("images:\n  - match: {name}\n    {lines}\n"));
    }

    fn whole_policy(&mut self, text: &str) {
        self.put("policy.yaml", text);
        let root = Root::open(Path::new("/")).unwrap();
        let path = self.machinery.directory.path().join("policy/policy.yaml");
        let policy = Policy::load_file(&root, &path).unwrap();
        self.machinery.gate = Gate::guarded(Guard::new(policy));
    }

    fn allow(&mut self, change: impl FnOnce(&mut Guard)) {
        let Gate::Guarded(guard) = &self.machinery.gate else {
            panic!("no guard");
        };
        let mut guard = (**guard).clone();
        change(&mut guard);
        self.machinery.gate = Gate::guarded(guard);
    }

    fn digest(&self) -> String {
        self.machinery.digest()
    }

    fn hex(&self) -> String {
        self.digest()["sha256:".len()..].to_owned()
    }

    fn tag(&self) -> String {
        format!("sha256-{}.sig", self.hex())
    }

    /// A signature by the bench's key over the image, with signed annotations.
    fn signed(&self, annotations: &[(&str, &str)]) -> Signed {
        signed_by(&self.key, &self.digest(), annotations)
    }

    /// Puts signatures where cosign puts them.
    fn attach(&self, signatures: &[Signed]) {
        let layers: Vec<Value> = signatures.iter().map(|it| self.layer(it)).collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "size": 2, "digest": self.machinery.server.add_blob(b"{}")},
            "layers": layers,
        });
        let bytes = manifest.to_string();
        self.machinery
            .server
            .add_manifest(&self.tag(), MANIFEST, bytes.as_bytes());
    }

    fn layer(&self, signed: &Signed) -> Value {
        json!({
            "mediaType": signed.media_type, "size": signed.bytes.len(),
            "digest": self.machinery.server.add_blob(&signed.bytes), "annotations": signed.annotations,
        })
    }

    /// Puts signatures among the referrers, by the tag that stands for their list.
    fn refer(&self, signatures: &[Signed]) {
        let manifests: Vec<Value> = signatures
            .iter()
            .map(|signed| {
                let manifest = json!({
                    "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": signed.media_type,
                    "layers": [self.layer(signed)],
                })
                .to_string();
                let server = &self.machinery.server;
                server.add_manifest("unnamed", MANIFEST, manifest.as_bytes());
                json!({
                    "mediaType": MANIFEST, "size": manifest.len(), "artifactType": signed.media_type,
                    "digest": server.add_blob(manifest.as_bytes()),
                })
            })
            .collect();
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
        let tag = format!("sha256-{}", self.hex());
        let bytes = index.to_string();
        self.machinery
            .server
            .add_manifest(&tag, INDEX, bytes.as_bytes());
    }

    /// The upgrade is refused in every way of asking for it; nothing was written.
    fn refused(&self, name: &str, kind: ErrorKind, wanted: &str) {
        for extent in [Extent::Whole, Extent::Download, Extent::Check] {
            let error = self.machinery.upgrade(extent, &NoHooks).unwrap_err();
            let text = chain(&error);
            assert_eq!(error.kind(), kind, "{name}: {text}");
            assert!(text.contains(wanted), "{name}: {text}");
            self.nothing_written(name);
        }
    }

    fn nothing_written(&self, name: &str) {
        let now = files(&self.machinery.places.source());
        let changed: Vec<&PathBuf> = self
            .before
            .iter()
            .filter(|(path, bytes)| now.get(*path) != Some(*bytes))
            .map(|(path, _)| path)
            .chain(now.keys().filter(|path| !self.before.contains_key(*path)))
            .collect();
        assert_eq!(changed, Vec::<&PathBuf>::new(), "{name}");
    }

    /// The upgrade is done; returns what is kept of the signatures.
    fn accepted(&self) -> cos_store::Verified {
        let result = self.machinery.upgrade(Extent::Whole, &NoHooks);
        let result = result.unwrap_or_else(|error| panic!("{}", chain(&error)));
        assert_eq!(result.outcome, Outcome::Committed);
        let store = self.machinery.store();
        let snapshot = verify_snapshot(&store, &result.snapshot.unwrap()).unwrap();
        assert_eq!(snapshot.digest, Some(self.digest()));
        snapshot.verified.unwrap()
    }
}

fn signed_by(key: &SigningKey, digest: &str, annotations: &[(&str, &str)]) -> Signed {
    let annotations = annotations.iter();
    let annotations = annotations.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    key.simple("me/os", digest, &annotations.collect()).unwrap()
}

fn chain(error: &OpsError) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |it| it.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// Every file below a directory.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs_err::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let bytes = fs_err::read(&path).unwrap();
            found.insert(path, bytes);
        }
    }
    found
}

#[test]
fn the_right_key_under_a_tag_and_as_a_referrer() {
    let bench = Bench::new();
    bench.attach(&[bench.signed(&[])]);
    let verified = bench.accepted();
    assert_eq!(verified.accepted, Accepted::Signed);
    assert!(matches!(&verified.signers[..], [SignedBy::Key { key }] if key.starts_with("sha256:")));
    let rule = verified.rule.unwrap();
    assert!(rule.ends_with("/me/os"), "{rule}");

    let bench = Bench::new();
    let bundle = bench.key.bundle(&bench.hex(), &BTreeMap::new()).unwrap();
    bench.refer(&[bundle]);
    assert_eq!(bench.accepted().accepted, Accepted::Signed);
}

#[test]
fn no_rule_no_signature_a_wrong_key_another_image() {
    let mut bench = Bench::new();
    bench.refused("unsigned", ErrorKind::Refused, "0 of 1 signatures");
    let other = SigningKey::generate().unwrap();
    bench.attach(&[signed_by(&other, &bench.digest(), &[])]);
    bench.refused(
        "wrong key",
        ErrorKind::Refused,
        "no key of the rule made it",
    );
    let elsewhere = format!("sha256:{}", "0".repeat(64));
    bench.attach(&[signed_by(&bench.key, &elsewhere, &[])]);
    bench.refused(
        "another image",
        ErrorKind::Refused,
        "a signature of another image",
    );
    bench.attach(&[bench.signed(&[])]);
    bench.whole_policy("# nothing\n");
    bench.refused("no rule", ErrorKind::Refused, "no rule of the policy");
    bench.whole_policy("images:\n  - {match: other.example/**, insecure: true}\n");
    bench.refused("another rule", ErrorKind::Refused, "no rule of the policy");
    // Said aloud, it is taken, and that is kept.
    bench.policy("insecure: true");
    let verified = bench.accepted();
    assert_eq!(verified.accepted, Accepted::UnsignedByRule);
    assert!(
        verified
            .to_string()
            .starts_with("unsigned, allowed by rule")
    );
}

#[test]
fn by_hand_for_once() {
    let mut bench = Bench::new();
    bench.allow(|guard| guard.allow_unsigned = true);
    let verified = bench.accepted();
    assert_eq!(verified.accepted, Accepted::UnsignedByHand);
    assert_eq!(verified.to_string(), "unsigned, allowed by hand");
}

#[test]
fn a_tag_that_moves_between_requests_gains_nothing() {
    let bench = Bench::new();
    bench.attach(&[bench.signed(&[])]);
    // Another image: the same but for one annotation, so that everything else of it is there.
    let hex = bench.hex();
    let layout = bench.machinery.directory.path().join("layout/blobs/sha256");
    let mut evil: Value =
        serde_json::from_slice(&fs_err::read(layout.join(&hex)).unwrap()).unwrap();
    evil["annotations"] = json!({"evil": "yes"});
    let evil = evil.to_string();
    let server = &bench.machinery.server;
    let evil_digest = server.add_blob(evil.as_bytes());
    server.add_manifest(&evil_digest, MANIFEST, evil.as_bytes());
    let moving = |first: &str, second: &str| Faults {
        moving: vec![first.to_owned(), second.to_owned()],
        ..Faults::default()
    };
    // What is seen first is what is judged.
    server.misbehave(moving(&evil_digest, &bench.digest()));
    let error = bench
        .machinery
        .upgrade(Extent::Whole, &NoHooks)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{}", chain(&error));
    bench.nothing_written("moved to the signed one");
    // And what is judged is what is written, though the tag names the other one by now: now it is the
    // signed one's turn, and the next request gets the other.
    let verified = bench.accepted();
    assert_eq!(verified.accepted, Accepted::Signed);
    let tags = server.requests().into_iter();
    let tags = tags.filter(|it| it.target.ends_with("/manifests/v1"));
    assert_eq!(tags.count(), 2, "one look at the tag for each upgrade");
}

#[test]
fn lists_without_end_too_long_too_large_and_torn() {
    let bench = Bench::new();
    let server = &bench.machinery.server;
    let good = bench.signed(&[]);
    let many: Vec<Signed> = (0..65)
        .map(|number| bench.signed(&[("n", &number.to_string())]))
        .collect();
    bench.attach(&many);
    bench.refused("65 signatures", ErrorKind::Image, "more than 64 signatures");
    let mut large = good.clone();
    large.bytes = vec![b' '; (1 << 20) + 1];
    bench.attach(std::slice::from_ref(&large));
    bench.refused("a large one", ErrorKind::Image, "is over 1048576 bytes");
    // A list that is too large itself.
    let list = format!("{{\"layers\": [{}]}}", " ".repeat(5 << 20));
    server.add_manifest(&bench.tag(), MANIFEST, list.as_bytes());
    bench.refused("a large list", ErrorKind::Image, "is over 4194304 bytes");
    let endless = || Faults {
        endless_referrers: true,
        ..Faults::default()
    };
    // A good one is enough, whatever somebody else put beside it.
    bench.attach(&[large, good.clone()]);
    server.misbehave(endless());
    let checked = bench.machinery.upgrade(Extent::Check, &NoHooks).unwrap();
    assert_eq!(checked.outcome, Outcome::Available);
    server.misbehave(Faults::default());
    bench.attach(std::slice::from_ref(&good));
    let digest = digest_of(&good.bytes);
    server.falsify_blob(&digest, &good.bytes[..40]);
    bench.refused("a torn one", ErrorKind::Image, "has 40 bytes, not");
    let mut other = good.bytes.clone();
    other[50] ^= 1;
    server.falsify_blob(&digest, &other);
    bench.refused("another one", ErrorKind::Image, "has digest");
    server.add_manifest(&bench.tag(), MANIFEST, b"{\"layers\": [{");
    bench.refused("a torn list", ErrorKind::Image, "is not valid");
    server.add_manifest(&bench.tag(), MANIFEST, b"{}");
    server.misbehave(endless());
    bench.refused("endless", ErrorKind::Image, "more than 16 pages");
}

fn digest_of(bytes: &[u8]) -> String {
    cos_image::Digest::sha256(bytes).to_string()
}

#[test]
fn one_key_twice_is_not_two_keys() {
    let mut bench = Bench::new();
    let second = SigningKey::generate().unwrap();
    bench.put("second.pub", &second.public_pem().unwrap());
    bench.put("again.pub", &bench.key.public_pem().unwrap());
    bench.policy("keys: [key.pub, again.pub, second.pub]\nthreshold: 2");
    bench.attach(&[bench.signed(&[]), bench.signed(&[("again", "1")])]);
    bench.refused("one key twice", ErrorKind::Refused, "1 of 2 signatures");
    bench.attach(&[bench.signed(&[]), signed_by(&second, &bench.digest(), &[])]);
    assert_eq!(bench.accepted().signers.len(), 2);
}

#[test]
fn identities_and_the_trust_root_that_vouches_for_them() {
    let mut bench = Bench::new();
    let sigstore = Sigstore::new();
    let keyless = |bench: &mut Bench, subject: &str, end: Option<&str>| {
        bench.put("root.json", &sigstore.trusted_root(end).to_string());
        bench.policy(&format!(
            "trust-root: root.json\nkeyless:\n  - issuer: {ISSUER}\n    subject: {subject}"
        ));
    };
    let at = Moment::at(THEN);
    let identity = sigstore.certify(ISSUER, SUBJECT, at);
    let payload = bench.signed(&[]).bytes;
    let signed = Signed {
        media_type: cos_trust::SIMPLE_TYPE,
        annotations: sigstore.simple(&identity, &payload, at),
        bytes: payload,
    };
    bench.attach(&[signed]);
    keyless(&mut bench, "https://git.example/other/**", None);
    bench.refused(
        "identity mismatch",
        ErrorKind::Refused,
        "may not sign this image",
    );
    keyless(&mut bench, SUBJECT, Some("2025-01-01T00:00:00Z"));
    bench.refused(
        "expired trust root",
        ErrorKind::Refused,
        "0 of 1 signatures",
    );
    keyless(&mut bench, "https://git.example/acme/**", None);
    // Whether the certificate was valid then is for the trust root's log to say, not for this machine's clock.
    for clock in [0, 1 << 31, 4_102_444_800] {
        bench.allow(|guard| guard.now = clock);
        let checked = bench.machinery.upgrade(Extent::Check, &NoHooks).unwrap();
        assert_eq!(checked.outcome, Outcome::Available, "{clock}");
    }
    let verified = bench.accepted();
    let [SignedBy::Identity { issuer, subject }] = &verified.signers[..] else {
        panic!("{verified:?}");
    };
    assert_eq!((issuer.as_str(), subject.as_str()), (ISSUER, SUBJECT));
}

#[test]
fn a_channel_that_stands_still_is_told() {
    let mut bench = Bench::new();
    let (past, future) = ("2026-01-01T00:00:00Z", "2100-01-01T00:00:00Z");
    bench.attach(&[bench.signed(&[("dev.cos.expires", past)])]);
    let checked = bench.machinery.upgrade(Extent::Check, &NoHooks).unwrap();
    assert_eq!(
        (checked.outcome, checked.expires.as_deref()),
        (Outcome::Stale, Some(past))
    );
    for extent in [Extent::Whole, Extent::Download] {
        let error = bench.machinery.upgrade(extent, &NoHooks).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert!(error.to_string().contains(past), "{error}");
        bench.nothing_written("expired");
    }
    // Signed anew, it is fresh again.
    let anew = [
        bench.signed(&[("dev.cos.expires", past)]),
        bench.signed(&[("dev.cos.expires", future)]),
    ];
    bench.attach(&anew);
    let checked = bench.machinery.upgrade(Extent::Check, &NoHooks).unwrap();
    assert_eq!(checked.outcome, Outcome::Available);
    bench.attach(&anew[..1]);
    bench.allow(|guard| guard.allow_stale = true);
    assert_eq!(bench.accepted().expires.as_deref(), Some(past));
    // Also where the machine runs the image already: that is how standing still looks.
    bench.allow(|guard| guard.allow_stale = false);
    let checked = bench.machinery.upgrade(Extent::Check, &NoHooks).unwrap();
    assert_eq!(checked.outcome, Outcome::Stale);
}

#[test]
fn signatures_expire_by_a_clock_that_jumps() {
    let mut bench = Bench::new();
    let expires = "2027-06-01T00:00:00Z";
    bench.attach(&[bench.signed(&[("dev.cos.expires", expires)])]);
    for (clock, reads) in [
        (1 << 31, "2038-01-19T03:14:08Z"),
        (4_102_444_800, "2100-01-01T00:00:00Z"),
    ] {
        bench.allow(|guard| guard.now = clock);
        let checked = bench.machinery.upgrade(Extent::Check, &NoHooks).unwrap();
        assert_eq!(checked.outcome, Outcome::Stale, "{reads}");
        let error = bench
            .machinery
            .upgrade(Extent::Whole, &NoHooks)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        let wanted = format!("expired at {expires}, and the clock reads {reads}");
        assert!(error.to_string().contains(&wanted), "{error}");
        bench.nothing_written(reads);
    }
    // Back again, nothing is left of it. What was fresh when it was downloaded is applied whatever the clock reads
    // then: somebody may have waited for a night.
    bench.allow(|guard| guard.now = 0);
    let staged = bench.machinery.upgrade(Extent::Download, &NoHooks).unwrap();
    assert_eq!(staged.outcome, Outcome::Staged);
    bench.allow(|guard| guard.now = 4_102_444_800);
    let applied = bench.machinery.upgrade(Extent::Apply, &NoHooks).unwrap();
    assert_eq!(
        (applied.outcome, applied.expires.as_deref()),
        (Outcome::Committed, Some(expires))
    );
}

#[test]
fn below_what_was_good_nothing_is_deployed_unasked() {
    let mut bench = Bench::new();
    bench.policy("insecure: true");
    let store = bench.machinery.store();
    bench.machinery.commit(&bench.machinery.state());
    store.set_version_floor("2.1.0").unwrap();
    bench.before = files(&bench.machinery.places.source());
    bench.refused("no version", ErrorKind::Refused, "says no version");
    bench.machinery.release("2.0.9");
    bench.refused(
        "downgrade",
        ErrorKind::Refused,
        "is version 2.0.9, and version 2.1.0 was good",
    );
    bench.machinery.allow_downgrade = true;
    bench.accepted();
    // From there on, that is the floor.
    assert_eq!(store.version_floor().unwrap().as_deref(), Some("2.0.9"));
    bench.machinery.allow_downgrade = false;
    bench.machinery.release("v2.0.10");
    let checked = bench.machinery.upgrade(Extent::Check, &NoHooks).unwrap();
    assert_eq!(checked.outcome, Outcome::Available);
}

fn by_tpm(version: &str) -> FloorStatus {
    FloorStatus {
        version: version.to_owned(),
        place: FloorPlace::Tpm,
    }
}

#[test]
fn a_floor_that_was_set_back_is_told_by_the_tpm() {
    if !require_swtpm("a_floor_that_was_set_back_is_told_by_the_tpm") {
        return;
    }
    let mut bench = Bench::new();
    bench.policy("insecure: true");
    // The machine's places have its TPM here.
    let swtpm = Swtpm::start(bench.machinery.directory.path()).unwrap();
    let path = bench.machinery.places.source().join(FLOOR);
    let good_boot = |bench: &Bench, version: &str| bench.machinery.good_boot(version).floor_problem;
    assert_eq!(good_boot(&bench, "1.0.0"), None);
    let old = fs_err::read(&path).unwrap();
    assert_eq!(good_boot(&bench, "2.1.0"), None);
    // The number is the one that others see in the TPM.
    let count = swtpm.tpm2("tpm2_nvread", &["0x01a34f53"]).unwrap();
    let count = u64::from_be_bytes(count.try_into().unwrap());
    let now = fs_err::read_to_string(&path).unwrap();
    assert!(
        now.starts_with(&format!("2.1.0\ncounter {count}\nseal ")),
        "{now}"
    );
    let status = bench.machinery.status();
    assert_eq!(status.version_floor, Some(by_tpm("2.1.0")));
    bench.before = files(&bench.machinery.places.source());
    bench.machinery.release("2.0.9");
    bench.refused("downgrade", ErrorKind::Refused, "version 2.1.0 was good");
    // What would have been taken with the old floor; also what is higher than both.
    let rewritten = now.replace("2.1.0", "1.0.0").into_bytes();
    for image in ["2.0.9", "3.0.0"] {
        bench.machinery.release(image);
        for file in [Some(&old), Some(&rewritten), None] {
            bench.machinery.put(FLOOR, file.map(Vec::as_slice));
            let problem = good_boot(&bench, "1.0.0").unwrap();
            assert!(problem.contains("was set back"), "{problem}");
            bench.before = files(&bench.machinery.places.source());
            bench.refused("set back", ErrorKind::Refused, "was set back");
            let status = bench.machinery.status();
            let told = |problem: &String| problem.contains("was set back");
            assert!(!status.well && status.problems.iter().any(told));
            bench.machinery.put(FLOOR, Some(now.as_bytes()));
        }
    }
    a_new_floor(&mut bench);
    drop(swtpm);
    without_the_tpm(&mut bench);
}

/// After somebody asked for it.
fn a_new_floor(bench: &mut Bench) {
    bench.machinery.put(FLOOR, None);
    bench.machinery.release("2.0.9");
    bench.machinery.allow_downgrade = true;
    bench.accepted();
    bench.machinery.allow_downgrade = false;
    assert_eq!(
        bench.machinery.status().version_floor,
        Some(by_tpm("2.0.9"))
    );
    bench.machinery.release("2.0.8");
    bench.before = files(&bench.machinery.places.source());
    bench.refused("below", ErrorKind::Refused, "version 2.0.9 was good");
}

/// The floor may be any file then.
fn without_the_tpm(bench: &mut Bench) {
    bench.machinery.release("3.0.0");
    let error = bench
        .machinery
        .upgrade(Extent::Check, &NoHooks)
        .unwrap_err();
    assert!(
        matches!(error, OpsError::Floor(FloorError::Unproven(_))),
        "{error}"
    );
    bench.machinery.allow_downgrade = true;
    bench.machinery.upgrade(Extent::Whole, &NoHooks).unwrap();
    let path = bench.machinery.places.source().join(FLOOR);
    assert_eq!(fs_err::read_to_string(path).unwrap(), "3.0.0\n");
}

#[test]
fn what_was_downloaded_was_judged() {
    let mut bench = Bench::new();
    bench.attach(&[bench.signed(&[])]);
    let gate = std::mem::replace(&mut bench.machinery.gate, Gate::Open);
    let staged = bench.machinery.upgrade(Extent::Download, &NoHooks).unwrap();
    assert_eq!(staged.outcome, Outcome::Staged);
    let state = bench.machinery.state();
    bench.machinery.gate = gate;
    let error = bench
        .machinery
        .upgrade(Extent::Apply, &NoHooks)
        .unwrap_err();
    assert!(matches!(error, OpsError::NotVerified { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert_eq!(bench.machinery.state(), state);
    // Where the policy is asked now, it may be applied.
    let result = bench.machinery.upgrade(Extent::Whole, &NoHooks).unwrap();
    assert_eq!(result.outcome, Outcome::Committed);
}
