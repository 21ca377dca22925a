//! cosign checks what cOS signed, and cOS what cosign signed, in a real registry with TLS and a password.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests run other people's programs and stop at the first surprise"
)]

use cos_events::Silent;
use cos_image::{Options, Platform, PlatformChoice, Reference, Source};
use cos_ops::OpsError;
use cos_ops::trust::{Guard, SignFormat, SignRequest, Verification, generate_key, sign, verify};
use cos_sys::root_path::Root;
use cos_testkit::registry::{PASSWORD, Registry};
use cos_testkit::tools::{cosign, need_tool, need_tools};
use cos_testkit::{process, skip, temp_dir};
use cos_trust::{Policy, SigningKey, TrustError};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const EXPIRES: &str = "2100-01-01T00:00:00Z";

struct Bench {
    directory: tempfile::TempDir,
    registry: Registry,
    cosign: PathBuf,
}

impl Bench {
    fn start(cosign: PathBuf) -> Self {
        need_tools(&Registry::PROGRAMS);
        let directory = temp_dir().unwrap();
        let registry = Registry::start(&directory.path().join("registry")).unwrap();
        let bench = Self {
            directory,
            registry,
            cosign,
        };
        // An image of nothing, as umoci makes it.
        let layout = bench.path("layout");
        let image = format!("{}:v1", layout.display());
        let umoci = need_tool("umoci").unwrap();
        let run = |words: &[&str]| process::run(Command::new(&umoci).args(words)).unwrap();
        run(&["init", "--layout", &layout.display().to_string()]);
        run(&["new", "--image", &image]);
        bench
            .registry
            .push(&format!("oci:{image}"), "me/os:v1")
            .unwrap();
        let auth = bench.registry.local_auth_file().unwrap();
        fs_err::create_dir(bench.path("docker")).unwrap();
        fs_err::copy(auth, bench.path("docker/config.json")).unwrap();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn reference(&self) -> Reference {
        self.registry.reference("me/os:v1").parse().unwrap()
    }

    fn options(&self) -> Options {
        let platform = PlatformChoice::Prefer(Platform::linux(std::env::consts::ARCH));
        let mut options = Options::new(platform, self.directory.path());
        options.registry.ca_files = vec![self.registry.certificate_file()];
        options.registry.credential_files = vec![self.path("docker/config.json")];
        options
    }

    fn cosign(&self, words: &[&str]) -> Output {
        Command::new(&self.cosign)
            .args(words)
            .env("DOCKER_CONFIG", self.path("docker"))
            .env("COSIGN_PASSWORD", "")
            .env("HOME", self.directory.path())
            .current_dir(self.directory.path())
            .output()
            .unwrap()
    }

    fn cosign_verifies(&self, key: &str, more: &[&str]) -> Output {
        let reference = self.registry.reference("me/os:v1");
        let words = [
            &[
                "verify",
                "--key",
                key,
                "--insecure-ignore-tlog=true",
                "--allow-insecure-registry",
            ],
            more,
            &[&reference],
        ];
        self.cosign(&words.concat())
    }

    /// Has cosign sign the image with its own key.
    fn cosign_signs(&self, digest: &str) {
        let reference = self.registry.reference("me/os");
        let signed = self.cosign(&[
            "sign",
            "--key",
            "theirs.key",
            "--tlog-upload=false",
            "--yes",
            "--allow-insecure-registry",
            "-a",
            "dev.cos.expires=2099-01-01T00:00:00Z",
            &format!("{reference}@{digest}"),
        ]);
        assert!(signed.status.success(), "{signed:?}");
    }

    fn sign(&self, key: &Path, expires: Option<&str>, format: SignFormat) {
        let request = SignRequest {
            reference: self.reference(),
            options: self.options(),
            key: SigningKey::read(key).unwrap(),
            expires: expires.map(|text| cos_trust::time_of(text).unwrap()),
            annotations: BTreeMap::from([("release".to_owned(), "stable".to_owned())]),
            format,
        };
        sign(&request, &Silent).unwrap();
    }

    fn verify(&self, lines: &str) -> Result<Verification, OpsError> {
        let name = self.registry.reference("me/os");
        let policy = self.path("policy.yaml");
        let text = format!("images:\n  - match: {name}\n    {lines}\n");
        fs_err::write(&policy, text).unwrap();
        let root = Root::open(Path::new("/")).unwrap();
        let guard = Guard::new(Policy::load_file(&root, &policy)?);
        let source = Source::Registry(self.reference());
        verify(&source, &self.options(), &guard, &Silent)
    }
}

#[test]
fn cosign_and_cos_check_what_the_other_signed() {
    let Some(cosign) = cosign() else {
        skip(
            "cosign_and_cos_check_what_the_other_signed",
            "cosign of Debian 13 could not be fetched",
        );
        return;
    };
    let bench = Bench::start(cosign);
    let refused = bench.verify("keys: [ours.pub]").unwrap_err();
    assert!(
        matches!(refused, OpsError::Trust(TrustError::Missing { .. })),
        "{refused}"
    );

    let (private, public) = (bench.path("ours.key"), bench.path("ours.pub"));
    generate_key(&private, &public).unwrap();
    assert!(!bench.cosign_verifies("ours.pub", &[]).status.success());
    // Signed anew, the one before is replaced.
    bench.sign(&private, None, SignFormat::Tag);
    bench.sign(&private, Some(EXPIRES), SignFormat::Tag);
    let verification = bench.verify("keys: [ours.pub]").unwrap();
    assert_eq!(verification.checked.len(), 1);
    assert_eq!(verification.expires.as_deref(), Some(EXPIRES));

    let checked = bench.cosign_verifies("ours.pub", &["-a", "release=stable"]);
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    let trouble = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(checked.status.success(), "{trouble}");
    assert!(
        said.contains(&format!("\"dev.cos.expires\":\"{EXPIRES}\"")),
        "{said}"
    );
    assert!(
        said.contains(verification.digest.as_deref().unwrap()),
        "{said}"
    );
    assert!(
        !bench
            .cosign_verifies("ours.pub", &["-a", "release=other"])
            .status
            .success()
    );

    let made = bench.cosign(&["generate-key-pair", "--output-key-prefix", "theirs"]);
    assert!(made.status.success(), "{made:?}");
    assert!(bench.verify("keys: [theirs.pub]").is_err());
    bench.cosign_signs(&verification.digest.unwrap());
    let theirs = bench.verify("keys: [theirs.pub]").unwrap();
    assert_eq!(theirs.expires.as_deref(), Some("2099-01-01T00:00:00Z"));
    assert_eq!((theirs.signers.len(), theirs.checked.len()), (1, 2));
    let both = bench
        .verify("keys: [ours.pub, theirs.pub]\n    threshold: 2")
        .unwrap();
    assert_eq!(both.signers.len(), 2);
    // Signing once more leaves the other's signature alone.
    bench.sign(&private, Some(EXPIRES), SignFormat::Tag);
    assert_eq!(bench.verify("keys: [theirs.pub]").unwrap().checked.len(), 2);
    assert!(bench.cosign_verifies("theirs.pub", &[]).status.success());
}

#[test]
fn a_bundle_is_found_in_a_registry_that_knows_no_referrers() {
    need_tools(&["umoci"]);
    let bench = Bench::start(PathBuf::new());
    let (private, public) = (bench.path("ours.key"), bench.path("ours.pub"));
    generate_key(&private, &public).unwrap();
    bench.sign(&private, Some(EXPIRES), SignFormat::Bundle);
    bench.sign(&private, Some(EXPIRES), SignFormat::Bundle);
    let verification = bench.verify("keys: [ours.pub]").unwrap();
    assert_eq!(verification.checked.len(), 1);
    assert_eq!(verification.expires.as_deref(), Some(EXPIRES));
    let other = bench.path("other");
    generate_key(&other.with_extension("key"), &other.with_extension("pub")).unwrap();
    let error = bench.verify("keys: [other.pub]").unwrap_err();
    assert!(error.hint().unwrap().contains("cos verify"), "{error}");
    // Nothing that failed told a secret.
    assert!(!format!("{error} {error:?}").contains(PASSWORD));
    let wrong = bench.path("docker/config.json");
    let text = fs_err::read_to_string(&wrong).unwrap();
    fs_err::write(&wrong, text.replace("ZmxlZXQ6czNjcmV0", "ZmxlZXQ6d3Jvbmc=")).unwrap();
    let error = bench.verify("keys: [ours.pub]").unwrap_err();
    let text = format!("{error} {error:?} {:?}", error.hint());
    assert!(text.contains("401"), "{text}");
    assert!(
        !text.contains("ZmxlZXQ6d3Jvbmc") && !text.contains("wrong"),
        "{text}"
    );
}
