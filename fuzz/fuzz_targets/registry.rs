//! A registry's answers: challenges, tokens, redirects, manifests; and the user's credentials file.
#![no_main]

use cos_events::Silent;
use cos_fuzz::{MemoryFile, Server};
use cos_image::{Options, Platform, PlatformChoice, ProxyConfig, RegistryConfig, Source, resolve};
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::Duration;

static SERVER: LazyLock<Server> = LazyLock::new(|| Server::start(true));

fuzz_target!(|data: &[u8]| {
    let [credentials, script] = cos_fuzz::parts(data);
    SERVER.say(script);
    let file = MemoryFile::of(credentials);
    let here = format!("http://{}", SERVER.authority);
    let mut options = Options::new(
        PlatformChoice::Prefer(Platform::linux("amd64")),
        "/nonexistent",
    );
    options.registry = RegistryConfig {
        credential_files: vec![file.path()],
        helper_path: Some("/nonexistent".into()),
        insecure: BTreeSet::from([SERVER.authority.clone()]),
        system_ca_files: Vec::new(),
        // Wherever the answers lead, it is no further than this machine.
        proxy: ProxyConfig {
            https: Some(here.clone()),
            http: Some(here),
            no_proxy: Vec::new(),
        },
        connect_timeout: Duration::from_secs(2),
        read_timeout: Duration::from_secs(2),
        retries: 0,
        backoff: Duration::ZERO,
        max_backoff: Duration::ZERO,
        ..RegistryConfig::default()
    };
    let source: Source = format!("{}/me/os:v1", SERVER.authority).parse().unwrap();
    if let Err(error) = resolve(&source, &options, &Silent) {
        assert!(!error.to_string().is_empty());
    }
});
