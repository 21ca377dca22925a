//! Verdicts over signatures: made by other people's programs, by public signers, and by an authority of
//! the tests' own.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

use cos_sys::root_path::Root;
use cos_testkit::sigstore::{Moment, Sigstore};
use cos_trust::{
    Approval, BUNDLE_TYPE, Document, Policy, PublicKey, SIGNATURE_ANNOTATION, SIMPLE_TYPE, Signer,
    SigningKey, TrustError,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// SHA-256 of "x", the image of the fixtures.
const IMAGE: &str = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
const NAME: &str = "registry.example/os";
const ISSUER: &str = "https://token.example";
const WORKFLOW: &str = "https://git.example/acme/os/release.yaml@refs/tags/";
/// 2026-01-01, and any time at all.
const THEN: i64 = 1_767_225_600;

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name);
    fs_err::read(path).unwrap()
}

fn sha256(hex: &str) -> [u8; 32] {
    hex::decode(hex).unwrap().try_into().unwrap()
}

/// A directory with a policy and what it names.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(&path, bytes).unwrap();
        path
    }

    fn policy(&self, text: &str) -> Result<Policy, TrustError> {
        self.put("etc/cos/policy.yaml", text.as_bytes());
        Policy::load(&Root::open(self.0.path()).unwrap())
    }

    /// The policy with one rule for [`NAME`] with these lines.
    fn rule(&self, lines: &str) -> Policy {
        let lines = lines.replace('\n', "\n    ");
        self.policy(&format!("images:\n  - match: {NAME}\n    {lines}\n"))
            .unwrap()
    }

    fn key(&self, name: &str) -> SigningKey {
        let key = SigningKey::generate().unwrap();
        self.put(
            &format!("etc/cos/{name}"),
            key.public_pem().unwrap().as_bytes(),
        );
        key
    }
}

fn judge(policy: &Policy, documents: &[Document]) -> Result<Approval, TrustError> {
    policy
        .require(NAME, NAME)?
        .judge(NAME, &sha256(IMAGE), documents)
}

/// Why the only document does not count.
fn reason(policy: &Policy, document: &Document) -> String {
    match judge(policy, std::slice::from_ref(document)) {
        Err(TrustError::Unsigned { checked, .. }) => checked[0].outcome.clone().unwrap_err(),
        other => panic!("{other:?}"),
    }
}

fn simple(payload: &[u8], signature: &str) -> Document {
    let annotations = [(SIGNATURE_ANNOTATION.to_owned(), signature.trim().to_owned())];
    Document {
        media_type: SIMPLE_TYPE.to_owned(),
        bytes: payload.to_vec(),
        annotations: annotations.into(),
        place: "a tag".to_owned(),
    }
}

fn bundle(bundle: &Value) -> Document {
    Document {
        media_type: BUNDLE_TYPE.to_owned(),
        bytes: bundle.to_string().into_bytes(),
        annotations: BTreeMap::new(),
        place: "a referrer".to_owned(),
    }
}

fn signed(key: &SigningKey, annotations: &[(&str, &str)]) -> Document {
    let annotations = annotations.iter();
    let annotations = annotations.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    key.simple(NAME, &format!("sha256:{IMAGE}"), &annotations.collect())
        .unwrap()
        .document("a tag")
}

#[test]
fn signatures_of_openssl_with_every_kind_of_key_are_checked() {
    let payload = fixture("payload.json");
    for (key, signatures) in [
        ("p256.pub", &["p256.sig"][..]),
        ("p384.pub", &["p384-sha256.sig", "p384-sha384.sig"]),
        ("ed25519.pub", &["ed25519.sig"]),
        ("rsa.pub", &["rsa-pkcs1.sig", "rsa-pss.sig"]),
    ] {
        let bench = Bench::new();
        bench.put("etc/cos/key.pub", &fixture(key));
        let policy = bench.rule("keys: [key.pub]");
        for name in signatures {
            let signature = String::from_utf8(fixture(name)).unwrap();
            let approval = judge(&policy, &[simple(&payload, &signature)]).unwrap();
            assert_eq!(approval.signers.len(), 1, "{name}");
            // One other bit of what is signed, and it is no signature any more.
            let mut other = payload.clone();
            other[20] ^= 1;
            assert_eq!(
                reason(&policy, &simple(&other, &signature)),
                "no key of the rule made it",
                "{name}"
            );
        }
        for name in ["p256.sig", "p384-sha256.sig", "ed25519.sig", "rsa-pss.sig"] {
            if !signatures.contains(&name) {
                let signature = String::from_utf8(fixture(name)).unwrap();
                reason(&policy, &simple(&payload, &signature));
            }
        }
    }
}

#[test]
fn keys_that_are_too_weak_or_of_another_kind_are_no_keys() {
    let bench = Bench::new();
    bench.put("etc/cos/key.pub", &fixture("rsa1024.pub"));
    let policy = format!("images:\n  - match: {NAME}\n    keys: [key.pub]\n");
    let error = bench.policy(&policy).unwrap_err();
    let text = format!("{error}: {}", std::error::Error::source(&error).unwrap());
    assert!(text.contains("policy.yaml:2:"), "{text}");
    assert!(text.contains("1024 bits"), "{text}");
    for not_a_key in [
        "",
        "x",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        bench.put("etc/cos/key.pub", not_a_key.as_bytes());
        assert!(matches!(bench.policy(&policy), Err(TrustError::Key { .. })));
    }
    fs_err::remove_file(bench.0.path().join("etc/cos/key.pub")).unwrap();
    assert!(matches!(
        bench.policy(&policy),
        Err(TrustError::Missing { .. })
    ));
}

#[test]
fn what_cos_signs_is_checked_in_both_forms() {
    let bench = Bench::new();
    let key = bench.key("a.pub");
    let policy = bench.rule("keys: [a.pub]");
    let forms = [
        signed(&key, &[]),
        key.bundle(IMAGE, &BTreeMap::new())
            .unwrap()
            .document("a referrer"),
    ];
    for document in &forms {
        let approval = judge(&policy, std::slice::from_ref(document)).unwrap();
        let Signer::Key { name, fingerprint } = &approval.signers[0] else {
            panic!("{approval:?}");
        };
        assert!(name.ends_with("/etc/cos/a.pub"), "{name}");
        assert!(fingerprint.starts_with("sha256:"));
    }
    // Another key, another image, nothing at all.
    let other = bench.key("other.pub");
    assert!(judge(&bench.rule("keys: [other.pub]"), &forms).is_err());
    drop(other);
    let elsewhere = policy.rules()[0].judge(NAME, &[7; 32], &forms);
    let Err(TrustError::Unsigned { checked, .. }) = elsewhere else {
        panic!("{elsewhere:?}");
    };
    for one in checked {
        let reason = one.outcome.unwrap_err();
        assert!(reason.contains("another image"), "{reason}");
    }
    let nothing = judge(&policy, &[]).unwrap_err();
    assert_eq!(
        nothing.to_string(),
        format!("{NAME} is not signed as rule {NAME} wants it: 0 of 1 signatures")
    );
}

#[test]
fn a_signature_of_the_same_key_for_something_else_is_none() {
    let bench = Bench::new();
    let key = bench.key("a.pub");
    let policy = bench.rule("keys: [a.pub]");
    let document = signed(&key, &[]);
    let retold = |from: &str, to: &str| {
        let text = String::from_utf8(document.bytes.clone()).unwrap();
        let text = text.replace(from, to);
        assert_ne!(text.as_bytes(), document.bytes);
        text
    };
    // Not signed anew: whatever is changed is noticed.
    let changed = Document {
        bytes: retold(
            "cosign container image signature",
            "atomic container signature",
        )
        .into_bytes(),
        ..document.clone()
    };
    assert_eq!(reason(&policy, &changed), "no key of the rule made it");
    let mut unsigned = document.clone();
    unsigned.annotations.clear();
    assert!(reason(&policy, &unsigned).contains("no signature"));
    let mut garbled = document.clone();
    garbled
        .annotations
        .insert(SIGNATURE_ANNOTATION.to_owned(), "%".to_owned());
    assert!(reason(&policy, &garbled).contains("base64"));
    // A bundle that states something else about the image.
    let made = key.bundle(IMAGE, &BTreeMap::new()).unwrap();
    let text = String::from_utf8(made.bytes.clone()).unwrap();
    let mut parsed: Value = serde_json::from_str(&text).unwrap();
    parsed["dsseEnvelope"]["payloadType"] = "text/plain".into();
    assert_eq!(
        reason(&policy, &bundle(&parsed)),
        "no key of the rule made it"
    );
    for media_type in ["application/octet-stream", "text/spdx+json"] {
        let unknown = Document {
            media_type: media_type.to_owned(),
            ..document.clone()
        };
        assert!(reason(&policy, &unknown).contains("no signature that is known"));
    }
}

#[test]
fn one_key_counts_once_towards_a_threshold_however_it_is_written() {
    let bench = Bench::new();
    let (a, b) = (bench.key("a.pub"), bench.key("b.pub"));
    bench.put("etc/cos/again.pub", a.public_pem().unwrap().as_bytes());
    // The same RSA key with and without its parameters.
    bench.put("etc/cos/rsa.pub", &fixture("rsa.pub"));
    bench.put("etc/cos/rsa2.pub", &fixture("rsa-no-parameters.pub"));
    let impossible = |keys: &str| {
        let text = format!("images:\n  - match: {NAME}\n    keys: {keys}\n    threshold: 2\n");
        bench.policy(&text).unwrap_err().to_string()
    };
    for keys in [
        "[a.pub, again.pub]",
        "[rsa.pub, rsa2.pub]",
        "[a.pub, ./a.pub]",
    ] {
        let error = impossible(keys);
        assert!(
            error.contains("there are 1 different signers"),
            "{keys}: {error}"
        );
    }
    let policy = bench.rule("keys: [a.pub, again.pub, b.pub]\nthreshold: 2");
    let twice = [
        signed(&a, &[]),
        signed(&a, &[("again", "yes")]),
        a.bundle(IMAGE, &BTreeMap::new())
            .unwrap()
            .document("a referrer"),
    ];
    let error = judge(&policy, &twice).unwrap_err();
    assert!(error.to_string().contains("1 of 2 signatures"), "{error}");
    let both = [signed(&a, &[]), signed(&b, &[])];
    assert_eq!(judge(&policy, &both).unwrap().signers.len(), 2);
}

#[test]
fn the_latest_expiry_of_enough_signers_counts() {
    let bench = Bench::new();
    let (a, b) = (bench.key("a.pub"), bench.key("b.pub"));
    let until = |key: &SigningKey, time: &str| signed(key, &[("dev.cos.expires", time)]);
    let one = bench.rule("keys: [a.pub, b.pub]");
    let (early, late) = ("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z");
    let approval = judge(&one, &[until(&a, early), until(&a, late)]).unwrap();
    assert_eq!(approval.expires, Some(cos_trust::time_of(late).unwrap()));
    assert!(approval.refuse_stale(NAME, THEN).is_ok());
    for now in [THEN + 31 * 86400, 1 << 31, 4_102_444_800] {
        let error = approval.refuse_stale(NAME, now).unwrap_err();
        let clock = cos_trust::rfc3339(now);
        assert_eq!(
            error.to_string(),
            format!(
                "the signatures of {NAME} expired at {late}, and the clock reads {clock}: what this \
                 registry shows may be old"
            )
        );
    }
    // A clock that is behind tells nothing.
    assert!(approval.refuse_stale(NAME, 0).is_ok());
    // A signature without an expiry speaks for ever.
    let approval = judge(&one, &[until(&a, early), signed(&b, &[])]).unwrap();
    assert_eq!(approval.expires, None);
    // Where two are wanted, the earlier of the two best.
    let two = bench.rule("keys: [a.pub, b.pub]\nthreshold: 2");
    let approval = judge(&two, &[until(&a, early), until(&b, late)]).unwrap();
    assert_eq!(approval.expires, Some(THEN));
    let bundled = BTreeMap::from([("dev.cos.expires".to_owned(), early.to_owned())]);
    let bundled = a.bundle(IMAGE, &bundled).unwrap().document("a referrer");
    assert_eq!(judge(&one, &[bundled]).unwrap().expires, Some(THEN));
    assert!(reason(&one, &until(&a, "soon")).contains("no time"));
}

#[test]
fn public_signers_are_known_by_the_public_root() {
    let bench = Bench::new();
    bench.put("etc/cos/root.json", &fixture("public-good.json"));
    let blob: Value = serde_json::from_slice(&fixture("public-blob.sigstore.json")).unwrap();
    // SHA-256 of public-blob.txt, which stands for a manifest here.
    let digest = sha256("e194b99df6639501325c5f44da79fe3a8efae6f239bd79443a19787e06fb1764");
    let rule = |subject: &str| {
        bench.rule(&format!(
            "trust-root: root.json\nkeyless:\n  - issuer: https://github.com/login/oauth\n    subject: \"{subject}\""
        ))
    };
    let policy = rule("*@gmail.com");
    let approval = policy.rules()[0]
        .judge(NAME, &digest, &[bundle(&blob)])
        .unwrap();
    let Signer::Identity { issuer, subject } = &approval.signers[0] else {
        panic!("{approval:?}");
    };
    assert_eq!(issuer, "https://github.com/login/oauth");
    assert!(subject.ends_with("@gmail.com"));
    // Somebody else, another image.
    for (policy, digest) in [(rule("*@example.com"), digest), (policy, sha256(IMAGE))] {
        let refused = policy.rules()[0].judge(NAME, &digest, &[bundle(&blob)]);
        assert!(
            matches!(refused, Err(TrustError::Unsigned { .. })),
            "{refused:?}"
        );
    }
    // A statement about the right content, by whom the rule names, that says something else.
    let text = fixture("public-attestation.sigstore.json");
    let attestation: Value = serde_json::from_slice(&text).unwrap();
    let policy = bench.rule(
        "trust-root: root.json\nkeyless:\n  - issuer: https://token.actions.githubusercontent.com\n    subject: https://github.com/prefix-dev/**",
    );
    let digest = sha256("54303491a8418fbed24344b513546182c29b43bf282ceb433af65e2299f9271f");
    let refused = policy.rules()[0].judge(NAME, &digest, &[bundle(&attestation)]);
    let Err(TrustError::Unsigned { checked, .. }) = refused else {
        panic!("{refused:?}");
    };
    let reason = checked[0].outcome.clone().unwrap_err();
    assert!(
        reason.contains("something else than that the image is signed"),
        "{reason}"
    );
}

/// A sigstore, and the policy that knows it.
fn keyless(bench: &Bench, sigstore: &Sigstore, end: Option<&str>) -> Policy {
    let root = sigstore.trusted_root(end).to_string();
    bench.put("etc/cos/root.json", root.as_bytes());
    bench.rule(&format!(
        "trust-root: root.json\nkeyless:\n  - issuer: {ISSUER}\n    subject: {WORKFLOW}*"
    ))
}

fn payload() -> Vec<u8> {
    fixture("payload.json")
}

fn simple_by(sigstore: &Sigstore, issuer: &str, subject: &str, at: Moment) -> Document {
    let identity = sigstore.certify(issuer, subject, at);
    Document {
        annotations: sigstore.simple(&identity, &payload(), at),
        ..simple(&payload(), "")
    }
}

fn statement(predicate: &str, digest: &str) -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {"sha256": digest}}],
        "predicateType": predicate,
        "predicate": {},
    })
}

#[test]
fn identities_are_checked_to_the_letter() {
    let bench = Bench::new();
    let sigstore = Sigstore::new();
    let policy = keyless(&bench, &sigstore, None);
    let at = Moment::at(THEN);
    let tag = format!("{WORKFLOW}v1.2.3");
    let good = simple_by(&sigstore, ISSUER, &tag, at);
    let approval = judge(&policy, std::slice::from_ref(&good)).unwrap();
    assert_eq!(
        approval.signers,
        [Signer::Identity {
            issuer: ISSUER.to_owned(),
            subject: tag.clone()
        }]
    );
    let sign = "https://sigstore.dev/cosign/sign/v1";
    let identity = sigstore.certify(ISSUER, &tag, at);
    let stated = |predicate: &str, digest: &str| {
        bundle(&sigstore.statement(&identity, &statement(predicate, digest), at))
    };
    judge(&policy, &[stated(sign, IMAGE)]).unwrap();
    assert!(
        reason(&policy, &stated("https://slsa.dev/provenance/v1", IMAGE))
            .contains("something else")
    );
    reason(&policy, &stated(sign, &"0".repeat(64)));
    for (issuer, subject) in [
        ("https://evil.example", tag.as_str()),
        (
            ISSUER,
            "https://git.example/evil/os/release.yaml@refs/tags/v1",
        ),
        (ISSUER, &format!("{WORKFLOW}v1/../../evil")),
    ] {
        let other = simple_by(&sigstore, issuer, subject, at);
        let reason = reason(&policy, &other);
        assert!(reason.contains("may not sign"), "{reason}");
    }
    // The same name, vouched for by somebody else.
    let reason = reason(&policy, &simple_by(&Sigstore::new(), ISSUER, &tag, at));
    assert!(!reason.is_empty());
}

#[test]
fn times_and_log_entries_must_fit_the_certificate() {
    let bench = Bench::new();
    let sigstore = Sigstore::new();
    let policy = keyless(&bench, &sigstore, None);
    let tag = format!("{WORKFLOW}v1");
    let late = Moment {
        certified: THEN,
        signed: THEN + 3600,
    };
    reason(&policy, &simple_by(&sigstore, ISSUER, &tag, late));
    let future = Moment::at(4_000_000_000);
    reason(&policy, &simple_by(&sigstore, ISSUER, &tag, future));
    let good = simple_by(&sigstore, ISSUER, &tag, Moment::at(THEN));
    judge(&policy, std::slice::from_ref(&good)).unwrap();
    // Without the log's word, and with its word about another signature.
    let log = "dev.sigstore.cosign/bundle";
    let mut silent = good.clone();
    silent.annotations.remove(log);
    assert!(reason(&policy, &silent).contains("transparency log"));
    let other = simple_by(&sigstore, ISSUER, &tag, Moment::at(THEN));
    let mut borrowed = good.clone();
    let entry = other.annotations[log].clone();
    borrowed.annotations.insert(log.to_owned(), entry);
    reason(&policy, &borrowed);
    for garbage in ["", "{}", "null", "[1]", "{\"SignedEntryTimestamp\":\"\"}"] {
        let mut garbled = good.clone();
        garbled
            .annotations
            .insert(log.to_owned(), garbage.to_owned());
        reason(&policy, &garbled);
    }
}

#[test]
fn an_expired_trust_root_vouches_for_nobody_after_its_end() {
    let bench = Bench::new();
    let sigstore = Sigstore::new();
    let document = simple_by(
        &sigstore,
        ISSUER,
        &format!("{WORKFLOW}v1"),
        Moment::at(THEN),
    );
    let expired = keyless(&bench, &sigstore, Some("2025-06-01T00:00:00Z"));
    reason(&expired, &document);
    // What was signed before the end stays signed.
    let ended = keyless(&bench, &sigstore, Some("2026-06-01T00:00:00Z"));
    judge(&ended, &[document]).unwrap();
    let text = format!(
        "images:\n  - match: {NAME}\n    trust-root: root.json\n    keyless: [{{issuer: {ISSUER}, subject: a}}]\n"
    );
    for broken in ["", "{}", "{\"certificateAuthorities\": []}"] {
        bench.put("etc/cos/root.json", broken.as_bytes());
        assert!(
            matches!(bench.policy(&text), Err(TrustError::TrustRoot { .. })),
            "{broken}"
        );
    }
}

#[test]
fn keys_and_identities_add_up_to_a_threshold() {
    let bench = Bench::new();
    let sigstore = Sigstore::new();
    let key = bench.key("a.pub");
    keyless(&bench, &sigstore, None);
    let policy = bench.rule(&format!(
        "keys: [a.pub]\ntrust-root: root.json\nthreshold: 2\nkeyless:\n  - issuer: {ISSUER}\n    subject: {WORKFLOW}*"
    ));
    let at = Moment::at(THEN);
    let [one, two] =
        ["v1", "v2"].map(|tag| simple_by(&sigstore, ISSUER, &format!("{WORKFLOW}{tag}"), at));
    // Two tags of one workflow are one signer.
    assert!(judge(&policy, &[one.clone(), two]).is_err());
    assert_eq!(
        judge(&policy, &[one, signed(&key, &[])])
            .unwrap()
            .signers
            .len(),
        2
    );
}

#[test]
fn keys_of_others_are_read_and_secrets_stay_secret() {
    let bench = Bench::new();
    let path = bench.put("p256.key", &fixture("p256.key"));
    let key = SigningKey::read(&path).unwrap();
    assert_eq!(key.public_pem().unwrap().into_bytes(), fixture("p256.pub"));
    let shown = format!("{key:?}");
    assert_eq!(shown, "SigningKey(…)");
    // Twice the same signature: nothing of it is left to chance.
    assert_eq!(signed(&key, &[]), signed(&key, &[]));
    for (name, content) in [
        ("empty", ""),
        (
            "text",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        ),
        (
            "encrypted",
            "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nAAAA\n",
        ),
    ] {
        let path = bench.put(name, content.as_bytes());
        let error = SigningKey::read(&path).unwrap_err();
        assert!(error.hint().unwrap().contains("generate-signing"));
    }
    let (private, public) = (
        bench.0.path().join("new.key"),
        bench.0.path().join("new.pub"),
    );
    key.write(&private, &public).unwrap();
    let mode = fs_err::metadata(&private).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    assert!(SigningKey::read(&private).is_ok());
    // Never over a key that is there.
    assert!(matches!(
        key.write(&private, &public),
        Err(TrustError::WriteKey { .. })
    ));
    let name = PublicKey::from_pem(&key.public_pem().unwrap(), "mine").unwrap();
    assert_eq!(name.name(), "mine");
}
