//! Registries: a real one (TLS, basic auth, plain HTTP), and one that misbehaves on purpose.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking, as tests do"
)]

mod support;

use base64::Engine as _;
use cos_events::Silent;
use cos_image::{Image, ImageError, Options, Source, load, resolve};
use cos_testkit::faulty_registry::{Faults, Server};
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::layout::{self, Pack};
use support::{MemoryStore, has, listing, options, shell};

fn pull(reference: &str, options: &Options) -> Result<(Image, MemoryStore), ImageError> {
    let source: Source = reference.parse()?;
    let store = MemoryStore::default();
    let resolved = resolve(&source, options, &Silent)?;
    let image = load(resolved, &store, options, &Silent)?;
    Ok((image, store))
}

/// A layout with two layers; the larger does not compress.
fn image(dir: &Path) -> PathBuf {
    let layer = |name: &str, size: usize| {
        let mut builder = tar::Builder::new(Vec::new());
        let mut state = 0x9e37_79b9_u32;
        let mut noise = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as u8
        };
        let content: Vec<u8> = (0..size).map(|_| noise()).collect();
        let mut header = tar::Header::new_gnu();
        header.set_size(size as u64);
        header.set_mode(0o644);
        builder
            .append_data(&mut header, name, &content[..])
            .unwrap();
        builder.into_inner().unwrap()
    };
    let layout = dir.join("layout");
    let layers = [
        (layer("large", 3_000_000), Pack::Gzip),
        (layer("small", 5000), Pack::Gzip),
    ];
    layout::write(&layout, &layers);
    layout
}

fn expected(layout: &Path, options: &Options) -> std::collections::BTreeMap<String, String> {
    let (image, store) = pull(&format!("oci-layout:{}", layout.display()), options).unwrap();
    listing::of_tree(&image.tree, &store)
}

struct Faulty {
    temp: tempfile::TempDir,
    layout: PathBuf,
    server: Server,
    options: Options,
}

fn faulty(faults: Faults) -> Faulty {
    let temp = tempfile::tempdir().unwrap();
    let layout = image(temp.path());
    let server = Server::start(&layout, faults);
    let mut options = options(temp.path());
    options.registry.insecure = BTreeSet::from([server.authority.clone()]);
    options.registry.retries = 3;
    Faulty {
        temp,
        layout,
        server,
        options,
    }
}

impl Faulty {
    fn pull(&self) -> Result<(Image, MemoryStore), ImageError> {
        pull(
            &format!("{}/me/os:v1", self.server.authority),
            &self.options,
        )
    }

    fn assert_good(&self) {
        let (image, store) = self.pull().unwrap();
        let ours = listing::of_tree(&image.tree, &store);
        listing::assert_same(&ours, &expected(&self.layout, &self.options));
    }

    fn ranges(&self) -> Vec<String> {
        let requests = self.server.requests();
        requests
            .iter()
            .filter_map(|r| r.headers.get("range").cloned())
            .collect()
    }
}

#[test]
fn a_lost_connection_is_resumed_where_it_was_lost() {
    let faulty = faulty(Faults {
        drop_after: Some((700_000, 3)),
        ..Faults::default()
    });
    faulty.assert_good();
    let ranges = faulty.ranges();
    assert_eq!(ranges.len(), 3);
    assert!(
        ranges.iter().all(|range| !range.ends_with('-')),
        "{ranges:?}"
    );
}

#[test]
fn a_registry_without_ranges_sends_again() {
    let faulty = faulty(Faults {
        drop_after: Some((700_000, 1)),
        ignore_range: true,
        ..Faults::default()
    });
    faulty.assert_good();
    assert_eq!(faulty.ranges().len(), 1);
}

#[test]
fn a_range_from_elsewhere_is_refused() {
    let faulty = faulty(Faults {
        drop_after: Some((700_000, 1)),
        wrong_range: true,
        ..Faults::default()
    });
    assert!(matches!(faulty.pull(), Err(ImageError::BadRange { .. })));
}

#[test]
fn a_connection_that_is_always_lost_is_given_up() {
    let faulty = faulty(Faults {
        drop_after: Some((10, u32::MAX)),
        ..Faults::default()
    });
    assert!(matches!(faulty.pull(), Err(ImageError::Transfer { .. })));
}

#[test]
fn a_busy_registry_is_asked_again() {
    faulty(Faults {
        unavailable: 3,
        ..Faults::default()
    })
    .assert_good();
    let busy = faulty(Faults {
        unavailable: 4,
        ..Faults::default()
    });
    assert!(matches!(
        busy.pull(),
        Err(ImageError::Status { status: 503, .. })
    ));
}

#[test]
fn damaged_blobs_are_refused() {
    let faulty = faulty(Faults {
        corrupt: true,
        ..Faults::default()
    });
    let error = faulty.pull().unwrap_err();
    assert!(matches!(error, ImageError::WrongDigest { .. }), "{error}");
    assert!(error.hint().is_some());
}

#[test]
fn tokens_are_fetched_with_what_the_user_has() {
    for (entry, check) in [
        (None, "/token?service=test&scope=repository:me/os:pull"),
        (Some(r#"{"auth":"bWU6c2VjcmV0"}"#), "account=me"),
        (
            Some(r#"{"identitytoken":"refresh me"}"#),
            "refresh_token=refresh+me|refresh_token=refresh%20me",
        ),
    ] {
        let mut faulty = faulty(Faults {
            token: Some("t0ken"),
            ..Faults::default()
        });
        if let Some(entry) = entry {
            let path = faulty.temp.path().join("auth.json");
            let json = format!(
                r#"{{"auths":{{"{}/me":{entry}}}}}"#,
                faulty.server.authority
            );
            fs_err::write(&path, json).unwrap();
            faulty.options.registry.credential_files = vec![path];
        }
        faulty.assert_good();
        let requests = faulty.server.requests();
        let tokens: Vec<_> = requests
            .iter()
            .filter(|r| r.target.starts_with("/token"))
            .collect();
        assert_eq!(tokens.len(), 1, "one token serves all requests");
        let seen = format!("{} {}", tokens[0].target, tokens[0].body);
        assert!(check.split('|').any(|part| seen.contains(part)), "{seen}");
        assert_eq!(tokens[0].method == "POST", check.contains("refresh"));
        let basic = tokens[0].headers.get("authorization");
        let secret = base64::engine::general_purpose::STANDARD.encode("me:secret");
        assert_eq!(
            basic.is_some_and(|value| value.contains(&secret)),
            check.contains("account")
        );
    }
}

#[test]
fn credentials_stay_with_the_registry_when_it_redirects() {
    let temp = tempfile::tempdir().unwrap();
    let elsewhere = Server::start(&image(temp.path()), Faults::default());
    let mut faulty = faulty(Faults {
        token: Some("t0ken"),
        redirect: Some(elsewhere.authority.clone()),
        ..Faults::default()
    });
    // Redirected to plain HTTP on a host that was not named insecure.
    assert!(matches!(faulty.pull(), Err(ImageError::PlainHttp { .. })));
    assert!(elsewhere.requests().is_empty());
    faulty
        .options
        .registry
        .insecure
        .insert(elsewhere.authority.clone());
    faulty.assert_good();
    let requests = elsewhere.requests();
    assert_eq!(requests.len(), 3);
    assert!(
        requests
            .iter()
            .all(|r| !r.headers.contains_key("authorization")),
        "{requests:?}"
    );
}

/// A registry that sends us to a host which then asks for credentials gets none of ours for it.
#[test]
fn a_host_that_a_registry_sends_us_to_cannot_ask_for_credentials() {
    let temp = tempfile::tempdir().unwrap();
    let greedy = Server::start(
        &image(temp.path()),
        Faults {
            greedy: true,
            ..Faults::default()
        },
    );
    let mut faulty = faulty(Faults {
        redirect: Some(greedy.authority.clone()),
        ..Faults::default()
    });
    let registry = &mut faulty.options.registry;
    registry.insecure.insert(greedy.authority.clone());
    let path = faulty.temp.path().join("auth.json");
    let host = &faulty.server.authority;
    let json = format!(r#"{{"auths":{{"{host}":{{"auth":"bWU6c2VjcmV0"}}}}}}"#);
    fs_err::write(&path, json).unwrap();
    registry.credential_files = vec![path];
    let error = faulty.pull().unwrap_err();
    assert!(
        matches!(error, ImageError::Status { status: 401, .. }),
        "{error}"
    );
    for request in greedy.requests().iter().chain(&faulty.server.requests()) {
        assert!(
            !request.headers.contains_key("authorization"),
            "{request:?}"
        );
    }
    for text in [format!("{error}"), format!("{error:?}")] {
        assert!(!text.contains("secret") && !text.contains("bWU6"), "{text}");
    }
}

#[test]
fn mirrors_are_tried_before_the_registry() {
    let faulty_mirror = faulty(Faults {
        status: Some(500),
        ..Faults::default()
    });
    let good_mirror = faulty(Faults::default());
    let mut options = good_mirror.options.clone();
    options.registry.retries = 0;
    options
        .registry
        .insecure
        .insert(faulty_mirror.server.authority.clone());
    let mirrors = vec![
        faulty_mirror.server.authority.clone(),
        good_mirror.server.authority.clone(),
    ];
    options
        .registry
        .mirrors
        .insert("registry.invalid".into(), mirrors);
    let (image, store) = pull("registry.invalid/me/os:v1", &options).unwrap();
    let ours = listing::of_tree(&image.tree, &store);
    listing::assert_same(&ours, &expected(&good_mirror.layout, &options));
    assert!(!faulty_mirror.server.requests().is_empty());
    assert_eq!(image.reference, "registry.invalid/me/os:v1");
}

#[test]
fn refusals_say_what_to_do() {
    for (status, word) in [
        (401, "log in"),
        (403, "log in"),
        (404, "tag"),
        (416, "shorter"),
        (429, "limits"),
    ] {
        let mut faulty = faulty(Faults {
            status: Some(status),
            ..Faults::default()
        });
        faulty.options.registry.retries = 0;
        let error = faulty.pull().unwrap_err();
        // Without a challenge there is no way to answer a 401.
        let text = match &error {
            ImageError::UnknownChallenge { .. } => continue,
            error => format!("{error}: {}", error.hint().unwrap_or_default()),
        };
        assert!(
            text.contains(word) && text.contains("DENIED: go away"),
            "{text}"
        );
    }
}

#[test]
fn plain_http_is_only_spoken_when_named() {
    let mut faulty = faulty(Faults::default());
    faulty.options.registry.insecure.clear();
    faulty.options.registry.retries = 0;
    let error = faulty.pull().unwrap_err();
    assert!(matches!(error, ImageError::Request { .. }), "{error}");
}

/// A registry process that ends with the test.
struct Registry {
    child: Child,
    authority: String,
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Registry {
    fn start(dir: &Path, extra: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let authority = format!("localhost:{port}");
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}/store}}}}\n{extra}\nhttp:\n  addr: 127.0.0.1:{port}\n",
            dir.display()
        );
        let config = if extra.contains("htpasswd") {
            format!(
                "{config}  tls: {{certificate: {0}/cert.pem, key: {0}/key.pem}}\n",
                dir.display()
            )
        } else {
            config
        };
        let path = dir.join("config.yml");
        fs_err::write(&path, config).unwrap();
        #[allow(clippy::disallowed_methods, reason = "tests run other people's tools")]
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let registry = Self { child, authority };
        let deadline = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "the registry does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        registry
    }
}

fn registry_ready(test: &str) -> bool {
    for program in ["docker-registry", "skopeo", "htpasswd", "openssl"] {
        if !has(program) {
            cos_testkit::skip(test, &format!("{program} is not installed"));
            return false;
        }
    }
    true
}

#[test]
fn a_real_registry_over_plain_http() {
    if !registry_ready("a_real_registry_over_plain_http") {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    let layout = image(dir);
    let registry = Registry::start(dir, "");
    let host = &registry.authority;
    shell(&format!(
        "cd {d}; skopeo copy -q --dest-tls-verify=false oci:layout:latest docker://{host}/me/os:oci
        skopeo copy -q --dest-tls-verify=false -f v2s2 oci:layout:latest docker://{host}/me/os:docker",
        d = dir.display()
    ));
    let mut options = options(dir);
    options.registry.retries = 0;
    assert!(pull(&format!("{host}/me/os:oci"), &options).is_err());
    options.registry.insecure.insert(host.clone());
    let expected = expected(&layout, &options);
    let mut digests = BTreeSet::new();
    for tag in ["oci", "docker"] {
        let (image, store) = pull(&format!("{host}/me/os:{tag}"), &options).unwrap();
        listing::assert_same(&listing::of_tree(&image.tree, &store), &expected);
        let theirs = shell(&format!(
            "skopeo inspect --tls-verify=false --format '{{{{.Digest}}}}' docker://{host}/me/os:{tag}"
        ));
        assert_eq!(image.digest.as_ref().unwrap().to_string(), theirs.trim());
        let pinned = format!("{host}/me/os@{}", theirs.trim());
        assert_eq!(pull(&pinned, &options).unwrap().0.digest, image.digest);
        digests.insert(image.digest);
    }
    assert_eq!(digests.len(), 2);
    let missing = pull(&format!("{host}/me/os:none"), &options).unwrap_err();
    assert!(
        matches!(missing, ImageError::Status { status: 404, .. }),
        "{missing}"
    );
}

#[test]
fn a_real_registry_over_tls_with_a_password() {
    if !registry_ready("a_real_registry_over_tls_with_a_password") {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    let layout = image(dir);
    shell(&format!(
        "cd {}; htpasswd -Bbn me secret > htpasswd
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost \
        -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE \
        -keyout key.pem -out cert.pem 2>/dev/null",
        dir.display()
    ));
    let auth = format!(
        "auth: {{htpasswd: {{realm: test, path: {}/htpasswd}}}}",
        dir.display()
    );
    let registry = Registry::start(dir, &auth);
    let host = &registry.authority;
    shell(&format!(
        "cd {}; skopeo copy -q --dest-tls-verify=false --dest-creds me:secret oci:layout:latest docker://{host}/me/os:v1
        skopeo login --tls-verify=false --authfile auth.json -u me -p secret {host}",
        dir.display()
    ));
    let reference = format!("{host}/me/os:v1");
    let mut options = options(dir);
    options.registry.retries = 0;
    let untrusted = pull(&reference, &options).unwrap_err();
    assert!(
        matches!(untrusted, ImageError::Request { .. }),
        "{untrusted}"
    );
    assert!(
        untrusted.hint().unwrap().contains("certificate"),
        "{untrusted:?}"
    );
    options.registry.ca_files = vec![dir.join("cert.pem")];
    // No bundle of the system's: the built-in roots and the one named are enough.
    options.registry.system_ca_files.clear();
    let anonymous = pull(&reference, &options).unwrap_err();
    assert!(
        matches!(anonymous, ImageError::NoCredentials { .. }),
        "{anonymous}"
    );
    options.registry.credential_files = vec![dir.join("auth.json")];
    let (image, store) = pull(&reference, &options).unwrap();
    listing::assert_same(
        &listing::of_tree(&image.tree, &store),
        &expected(&layout, &options),
    );
    fs_err::write(
        dir.join("wrong.json"),
        format!(r#"{{"auths":{{"{host}":{{"username":"me","password":"no"}}}}}}"#),
    )
    .unwrap();
    options.registry.credential_files = vec![dir.join("wrong.json")];
    let wrong = pull(&reference, &options).unwrap_err();
    assert!(
        matches!(wrong, ImageError::Status { status: 401, .. }),
        "{wrong}"
    );
}
