//! Signatures beside an image, as a registry could send them: payloads, bundles, certificates, log
//! entries. None that is not about the image is ever accepted.
#![no_main]

use cos_sys::root_path::Root;
use cos_trust::{BUNDLE_TYPE, Document, Policy, Rule, SIMPLE_TYPE};
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

/// SHA-256 of "x": the image that the fixtures are about.
const IMAGE: &str = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("../../crates/cos-trust/tests/fixtures/", $name))
    };
}

static RULE: LazyLock<Rule> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    let files: [(&str, &[u8]); 5] = [
        ("p256.pub", fixture!("p256.pub")),
        ("p384.pub", fixture!("p384.pub")),
        ("ed25519.pub", fixture!("ed25519.pub")),
        ("rsa.pub", fixture!("rsa.pub")),
        ("root.json", fixture!("public-good.json")),
    ];
    for (name, bytes) in files {
        fs_err::write(directory.path().join(name), bytes).unwrap();
    }
    let policy = "images:\n  - match: \"**\"\n    keys: [p256.pub, p384.pub, ed25519.pub, rsa.pub]\n    \
        trust-root: root.json\n    keyless: [{issuer: https://token.example, subject: a}]\n";
    let mut read = Policy::default();
    let root = Root::open(directory.path()).unwrap();
    read.add(policy.as_bytes(), Path::new("/policy.yaml"), &root)
        .unwrap();
    read.rules()[0].clone()
});

fuzz_target!(|data: &[u8]| {
    let [bytes, signature, certificate, log] = cos_fuzz::parts(data);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut sha256 = [0; 32];
    for (index, byte) in sha256.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&IMAGE[2 * index..2 * index + 2], 16).unwrap();
    }
    let simple = Document {
        media_type: SIMPLE_TYPE.to_owned(),
        bytes: bytes.to_vec(),
        annotations: BTreeMap::from([
            (
                "dev.cosignproject.cosign/signature".to_owned(),
                text(signature),
            ),
            (
                "dev.sigstore.cosign/certificate".to_owned(),
                text(certificate),
            ),
            ("dev.sigstore.cosign/bundle".to_owned(), text(log)),
        ]),
        place: "a tag".to_owned(),
    };
    let bundle = Document {
        media_type: BUNDLE_TYPE.to_owned(),
        ..simple.clone()
    };
    match RULE.judge("fuzz", &sha256, std::slice::from_ref(&simple)) {
        Ok(approval) => {
            assert!(approval.is_signed());
            assert!(bytes.windows(IMAGE.len()).any(|it| it == IMAGE.as_bytes()));
        }
        Err(error) => assert!(error.is_refusal()),
    }
    if let Err(error) = RULE.judge("fuzz", &sha256, &[bundle]) {
        assert!(error.is_refusal());
    }
});
