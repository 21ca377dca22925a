//! What the metadata services of clouds answer.
#![no_main]

use cos_datasource::{Dmi, Endpoints, Machine, NoGuestInfo, NoMedia, Provider, Request, fetch};
use cos_events::Silent;
use cos_fuzz::Server;
use cos_http::{HttpClient, HttpConfig};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use std::time::Duration;

/// All but Scaleway, which is asked from ports of its own, of which there are too few.
const PROVIDERS: [Provider; 9] = [
    Provider::Aws,
    Provider::Gcp,
    Provider::Azure,
    Provider::OpenStack,
    Provider::DigitalOcean,
    Provider::Hetzner,
    Provider::Vultr,
    Provider::Packet,
    Provider::Metaldata,
];

/// Redirects could lead anywhere.
static SERVER: LazyLock<Server> = LazyLock::new(|| Server::start(false));

static HTTP: LazyLock<HttpClient> = LazyLock::new(|| {
    let config = HttpConfig {
        backoff: Duration::ZERO,
        max_backoff: Duration::ZERO,
        ..HttpConfig::default()
    };
    HttpClient::new(&config).unwrap()
});

fn endpoints() -> Endpoints {
    let base = || format!("http://{}", SERVER.authority);
    Endpoints {
        aws: base(),
        gcp: base(),
        azure: base(),
        openstack: base(),
        digitalocean: base(),
        hetzner: base(),
        vultr: base(),
        packet: vec![base()],
        metaldata: base(),
        ..Endpoints::default()
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((provider, script)) = data.split_first() else {
        return;
    };
    SERVER.say(script);
    let request = Request {
        providers: &[PROVIDERS[usize::from(*provider) % PROVIDERS.len()]],
        deadline: Duration::from_secs(5),
        file: None,
        endpoints: &endpoints(),
    };
    let machine = Machine {
        dmi: &Dmi::default(),
        command_line: "",
        media: &NoMedia,
        guest_info: &NoGuestInfo,
    };
    match fetch(&request, &machine, &HTTP, &Silent) {
        Ok(data) => assert!(!data.is_empty()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
