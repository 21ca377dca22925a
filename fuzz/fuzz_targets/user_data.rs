//! User-data and metadata that are attached to the machine: a medium's files, VMware's guestinfo.
#![no_main]

use cos_datasource::{
    DEFAULT_DEADLINE, Dmi, Endpoints, GuestInfo, Machine, Media, MediaError, Medium,
    MediumDescription, NoMedia, Provider, Refusal, Request, USER_DATA_LIMIT, UserData, fetch,
};
use cos_events::Silent;
use cos_http::{HttpClient, HttpConfig};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

/// The files by their places in the input.
const FILES: [&str; 7] = [
    "user-data",
    "meta-data",
    "vendor-data",
    "network-config",
    "openstack/latest/meta_data.json",
    "openstack/latest/network_data.json",
    "ec2/latest/meta-data.json",
];
const GUEST_INFO: [&str; 7] = [
    "userdata",
    "metadata",
    "vendordata",
    "userdata.encoding",
    "metadata.encoding",
    "vendordata.encoding",
    "hostname",
];

static HTTP: LazyLock<HttpClient> =
    LazyLock::new(|| HttpClient::new(&HttpConfig::default()).unwrap());

#[derive(Clone)]
struct Tray<'d> {
    about: MediumDescription,
    parts: [&'d [u8]; 7],
}

impl Media for Tray<'_> {
    fn find<'a>(
        &'a self,
        wanted: &dyn Fn(&MediumDescription) -> bool,
    ) -> Result<Vec<Box<dyn Medium + 'a>>, MediaError> {
        let found = wanted(&self.about).then(|| Box::new(self.clone()) as Box<dyn Medium + 'a>);
        Ok(found.into_iter().collect())
    }
}

impl Medium for Tray<'_> {
    fn description(&self) -> &MediumDescription {
        &self.about
    }

    fn read(&mut self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, MediaError> {
        let place = FILES.iter().position(|name| *name == path);
        let bytes = place
            .map(|place| self.parts[place])
            .filter(|bytes| !bytes.is_empty());
        Ok(bytes.map(|bytes| bytes[..bytes.len().min(limit as usize)].to_vec()))
    }
}

impl GuestInfo for Tray<'_> {
    fn get(&self, name: &str) -> Result<Option<String>, Refusal> {
        let place = GUEST_INFO.iter().position(|known| *known == name);
        let bytes = place
            .map(|place| self.parts[place])
            .filter(|bytes| !bytes.is_empty());
        Ok(bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
    }
}

fn check(data: &UserData) {
    assert!(!data.is_empty());
    assert!(
        data.ssh_keys
            .iter()
            .all(|key| !key.contains(char::is_control))
    );
    let texts = [&data.hostname, &data.instance_id];
    for text in texts.into_iter().flatten().chain(data.metadata.values()) {
        assert!(!text.contains(char::is_control));
    }
    for document in [&data.user_data, &data.vendor_data].into_iter().flatten() {
        assert!(document.len() as u64 <= USER_DATA_LIMIT);
    }
}

fuzz_target!(|data: &[u8]| {
    let parts = cos_fuzz::parts(data);
    let mut dmi = Dmi::default();
    dmi.sys_vendor = "VMware, Inc.".into();
    for (provider, label) in [
        (Provider::Cdrom, "cidata"),
        (Provider::ConfigDrive, "config-2"),
        (Provider::Vmware, ""),
    ] {
        let tray = Tray {
            about: MediumDescription {
                name: "/dev/sr0".into(),
                label: Some(label.to_owned()),
                kind: "iso9660",
                optical: true,
            },
            parts,
        };
        let machine = Machine {
            dmi: &dmi,
            command_line: "",
            media: if label.is_empty() { &NoMedia } else { &tray },
            guest_info: &tray,
        };
        let request = Request {
            providers: &[provider],
            deadline: DEFAULT_DEADLINE,
            file: None,
            endpoints: &Endpoints::default(),
        };
        match fetch(&request, &machine, &HTTP, &Silent) {
            Ok(data) => check(&data),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
});
