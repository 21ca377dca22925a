//! What the tests of providers share.
#![expect(clippy::unwrap_used, reason = "a test's helper")]
#![allow(dead_code, reason = "no test file needs all of it")]

use cos_datasource::{
    DatasourceError, Dmi, Endpoints, Machine, Media, MediaError, Medium, MediumDescription,
    NoGuestInfo, NoMedia, Provider, Request, UserData, fetch,
};
use cos_events::Silent;
use cos_http::{HttpClient, HttpConfig};
use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) const CONFIG: &[u8] = b"#cloud-config\nhostname: x\n";
pub(crate) const KEY: &str = "ssh-ed25519 AAAAC3Nza me@home";

pub(crate) fn client() -> HttpClient {
    let config = HttpConfig {
        backoff: Duration::from_millis(1),
        max_backoff: Duration::from_millis(5),
        ..HttpConfig::default()
    };
    HttpClient::new(&config).unwrap()
}

/// Everybody at one address, as on the link-local one.
pub(crate) fn all_at(base: &str) -> Endpoints {
    let base = || base.to_owned();
    Endpoints {
        aws: base(),
        gcp: base(),
        azure: base(),
        openstack: base(),
        digitalocean: base(),
        hetzner: base(),
        vultr: base(),
        scaleway: base(),
        scaleway_ports: if cos_testkit::is_root() {
            512..=1023
        } else {
            20000..=20999
        },
        packet: vec![base()],
        metaldata: base(),
    }
}

/// The firmware of a machine with these fields.
pub(crate) fn firmware(fields: &[(&str, &str)]) -> Dmi {
    let temp = tempfile::tempdir().unwrap();
    for (name, value) in fields {
        fs_err::write(temp.path().join(name), value).unwrap();
    }
    Dmi::read_at(temp.path())
}

pub(crate) fn machine(dmi: &Dmi) -> Machine<'_> {
    Machine {
        dmi,
        command_line: "ro quiet",
        media: &NoMedia,
        guest_info: &NoGuestInfo,
    }
}

/// Asks providers on a machine that nothing is known of.
pub(crate) fn ask(
    providers: &[Provider],
    endpoints: &Endpoints,
) -> Result<UserData, DatasourceError> {
    ask_within(providers, endpoints, Duration::from_mins(5))
}

pub(crate) fn ask_within(
    providers: &[Provider],
    endpoints: &Endpoints,
    deadline: Duration,
) -> Result<UserData, DatasourceError> {
    let request = Request {
        providers,
        deadline,
        file: None,
        endpoints,
    };
    fetch(&request, &machine(&Dmi::default()), &client(), &Silent)
}

/// A medium made of a map.
#[derive(Clone)]
pub(crate) struct Tray {
    pub(crate) description: MediumDescription,
    pub(crate) files: BTreeMap<&'static str, Vec<u8>>,
}

impl Tray {
    pub(crate) fn new(label: &str, optical: bool, files: &[(&'static str, &[u8])]) -> Self {
        let description = MediumDescription {
            name: "/dev/sr9".into(),
            label: Some(label.to_owned()),
            kind: "iso9660",
            optical,
        };
        let files = files.iter().map(|(name, bytes)| (*name, bytes.to_vec()));
        Self {
            description,
            files: files.collect(),
        }
    }
}

impl Medium for Tray {
    fn description(&self) -> &MediumDescription {
        &self.description
    }

    fn read(&mut self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, MediaError> {
        let bytes = self.files.get(path);
        if bytes.is_some_and(|bytes| bytes.len() as u64 > limit) {
            return Err(MediaError::Read {
                path: path.to_owned(),
                medium: "tray".into(),
                source: "too large".into(),
            });
        }
        Ok(bytes.cloned())
    }
}

pub(crate) struct Trays(pub(crate) Vec<Tray>);

impl Media for Trays {
    fn find(
        &self,
        wanted: &dyn Fn(&MediumDescription) -> bool,
    ) -> Result<Vec<Box<dyn Medium>>, MediaError> {
        let found = self.0.iter().filter(|tray| wanted(&tray.description));
        Ok(found
            .map(|tray| Box::new(tray.clone()) as Box<dyn Medium>)
            .collect())
    }
}
