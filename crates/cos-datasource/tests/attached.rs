//! What is attached to the machine: media, guestinfo, files, and the cache.

mod common;

use common::{CONFIG, KEY, Tray, Trays, client, firmware};
use cos_datasource::{
    Cache, DatasourceError, Dmi, Endpoints, GuestInfo, Machine, NoGuestInfo, Provider, Refusal,
    Request, UserData, VmwareTools, fetch, fetch_cached,
};
use cos_events::Silent;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

fn request<'a>(providers: &'a [Provider], endpoints: &'a Endpoints) -> Request<'a> {
    Request {
        providers,
        deadline: Duration::from_mins(1),
        file: None,
        endpoints,
    }
}

fn on_trays(providers: &[Provider], trays: Vec<Tray>) -> Result<UserData, DatasourceError> {
    let (dmi, media) = (Dmi::default(), Trays(trays));
    let machine = Machine {
        dmi: &dmi,
        command_line: "",
        media: &media,
        guest_info: &NoGuestInfo,
    };
    let endpoints = Endpoints::default();
    fetch(
        &request(providers, &endpoints),
        &machine,
        &client(),
        &Silent,
    )
}

const META: &[u8] = b"instance-id: iid-local01\nlocal-hostname: cloudimg\n\
    public-keys:\n  - ssh-ed25519 AAAAC3Nza me@home\nnumber: [1, {a: b}]\n";

#[test]
fn a_labelled_medium_gives_all_its_files() {
    let files: [(&str, &[u8]); 4] = [
        ("user-data", CONFIG),
        ("meta-data", META),
        ("vendor-data", b"#!/bin/sh\n"),
        ("network-config", b"version: 2\n"),
    ];
    for label in ["cidata", "CIDATA"] {
        let data = on_trays(&[Provider::Cdrom], vec![Tray::new(label, false, &files)]).unwrap();
        assert_eq!(data.provider, Provider::Cdrom);
        assert_eq!(data.instance_id.as_deref(), Some("iid-local01"));
        assert_eq!(data.hostname.as_deref(), Some("cloudimg"));
        assert_eq!(data.ssh_keys, [KEY]);
        assert_eq!(data.user_data.as_deref(), Some(CONFIG));
        assert_eq!(data.vendor_data.as_deref(), Some(&b"#!/bin/sh\n"[..]));
        assert_eq!(data.network_config.as_deref(), Some(&b"version: 2\n"[..]));
    }
}

#[test]
fn a_disc_with_a_config_is_yips_and_other_media_are_left_alone() {
    let config: [(&str, &[u8]); 1] = [("config", CONFIG)];
    let disc = |optical| Tray::new("ANY", optical, &config);
    let data = on_trays(&[Provider::Cdrom], vec![disc(true)]).unwrap();
    assert_eq!(data.user_data.as_deref(), Some(CONFIG));
    assert!(on_trays(&[Provider::Cdrom], vec![disc(false)]).is_err());
    let disc = Tray::new("ANY", true, &[("meta-data", META)]);
    assert!(on_trays(&[Provider::Cdrom], vec![disc]).is_err());
}

#[test]
fn a_broken_medium_does_not_hide_a_good_one() {
    let broken = Tray::new(
        "cidata",
        false,
        &[("meta-data", b"\xff"), ("user-data", b"x")],
    );
    let good = Tray::new("cidata", false, &[("user-data", CONFIG)]);
    let data = on_trays(&[Provider::Cdrom], vec![broken.clone(), good]).unwrap();
    assert_eq!(data.user_data.as_deref(), Some(CONFIG));
    let error = on_trays(&[Provider::Cdrom], vec![broken]).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("cannot understand meta-data of /dev/sr9"),
        "{error}"
    );
}

#[test]
fn a_config_drive_is_read_in_either_layout() {
    let meta: &[u8] = br#"{"uuid": "u-1", "hostname": "h", "public_keys": {"k": "ssh-rsa A"}}"#;
    let drive = Tray::new(
        "config-2",
        true,
        &[
            ("openstack/latest/meta_data.json", meta),
            ("openstack/latest/user_data", CONFIG),
        ],
    );
    let data = on_trays(&[Provider::ConfigDrive], vec![drive]).unwrap();
    assert_eq!(
        (data.instance_id.as_deref(), data.user_data.as_deref()),
        (Some("u-1"), Some(CONFIG))
    );
    let meta: &[u8] =
        br#"{"instance-id": "i-1", "public-keys": {"0": {"openssh-key": "ssh-rsa A"}}}"#;
    let drive = Tray::new(
        "config-2",
        false,
        &[
            ("ec2/latest/meta-data.json", meta),
            ("ec2/latest/user-data", CONFIG),
        ],
    );
    let data = on_trays(&[Provider::ConfigDrive], vec![drive]).unwrap();
    assert_eq!(data.ssh_keys, ["ssh-rsa A"]);
    assert_eq!(data.user_data.as_deref(), Some(CONFIG));
}

#[test]
fn nocloud_is_also_on_a_medium() {
    let tray = || {
        Tray::new(
            "cidata",
            false,
            &[("user-data", CONFIG), ("meta-data", META)],
        )
    };
    let data = on_trays(&[Provider::NoCloud], vec![tray()]).unwrap();
    assert_eq!(data.provider, Provider::NoCloud);
    assert_eq!(data.user_data.as_deref(), Some(CONFIG));
    let disc = Tray::new("ANY", true, &[("user-data", CONFIG)]);
    assert!(on_trays(&[Provider::NoCloud], vec![disc]).is_err());
    let (dmi, media) = (Dmi::default(), Trays(vec![tray()]));
    let machine = Machine {
        dmi: &dmi,
        command_line: "ds=nocloud;h=named",
        media: &media,
        guest_info: &NoGuestInfo,
    };
    let endpoints = Endpoints::default();
    let request = request(&[Provider::NoCloud], &endpoints);
    let data = fetch(&request, &machine, &client(), &Silent).unwrap();
    assert_eq!(data.instance_id.as_deref(), Some("iid-local01"));
    assert_eq!(data.hostname.as_deref(), Some("named"));
}

struct Guest(BTreeMap<&'static str, &'static str>);

impl GuestInfo for Guest {
    fn get(&self, name: &str) -> Result<Option<String>, Refusal> {
        Ok(self.0.get(name).map(|value| (*value).to_owned()))
    }
}

fn on_vmware(values: &[(&'static str, &'static str)]) -> Result<UserData, DatasourceError> {
    let dmi = firmware(&[
        ("sys_vendor", "VMware, Inc."),
        ("product_uuid", "4234-ABCD"),
    ]);
    let guest = Guest(values.iter().copied().collect());
    let machine = Machine {
        dmi: &dmi,
        command_line: "",
        media: &cos_datasource::NoMedia,
        guest_info: &guest,
    };
    let endpoints = Endpoints::default();
    fetch(
        &request(&[Provider::Vmware], &endpoints),
        &machine,
        &client(),
        &Silent,
    )
}

#[test]
fn guestinfo_is_decoded_as_it_says() {
    let data = on_vmware(&[
        ("userdata", "I2Nsb3VkLWNvbmZpZwpob3N0bmFtZTogeAo="),
        ("userdata.encoding", "base64"),
        (
            "metadata",
            "{\"local-hostname\": \"vm\", \"network\": {\"config\": {\"version\": 2}}}",
        ),
        // printf '#!/bin/sh\n' | gzip -9n | base64
        ("vendordata", "H4sIAAAAAAACA1NW1E/KzNMvzuACAB2d+wQKAAAA"),
        ("vendordata.encoding", "gzip+base64"),
    ]);
    let data = data.unwrap();
    assert_eq!(data.user_data.as_deref(), Some(CONFIG));
    assert_eq!(data.vendor_data.as_deref(), Some(&b"#!/bin/sh\n"[..]));
    assert_eq!(data.hostname.as_deref(), Some("vm"));
    assert_eq!(data.instance_id.as_deref(), Some("4234-abcd"));
    assert_eq!(
        data.network_config.as_deref(),
        Some(&br#"{"version":2}"#[..])
    );
    assert!(on_vmware(&[]).is_err());
    assert!(on_vmware(&[("userdata", "x"), ("userdata.encoding", "rot13")]).is_err());
}

/// Programs that answer as those of open-vm-tools do.
#[expect(clippy::unwrap_used, reason = "a test's helper")]
fn program(directory: &Path, name: &str, script: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let path = directory.join(name);
    fs_err::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn the_tools_of_vmware_are_asked_in_turn() {
    let temp = tempfile::tempdir().unwrap();
    let tools = VmwareTools {
        search_path: Some(temp.path().into()),
    };
    assert!(tools.get("userdata").is_err());
    program(
        temp.path(),
        "vmware-rpctool",
        "echo 'Permission denied' >&2; exit 1",
    );
    program(
        temp.path(),
        "vmtoolsd",
        r#"[ "$1" = --cmd ] || exit 2
case "$2" in
"info-get guestinfo.userdata") echo "two words" ;;
"info-get guestinfo.cleared") echo "---" ;;
*) echo "No value found" >&2; exit 1 ;;
esac"#,
    );
    assert_eq!(tools.get("userdata").unwrap().as_deref(), Some("two words"));
    assert_eq!(tools.get("cleared").unwrap(), None);
    assert_eq!(tools.get("metadata").unwrap(), None);
}

#[test]
fn a_file_is_read_when_it_is_one() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("user-data");
    fs_err::write(&path, CONFIG).unwrap();
    let dmi = Dmi::default();
    let endpoints = Endpoints::default();
    let ask = |path: &Path| {
        let request = Request {
            file: Some(path),
            ..request(&[Provider::File], &endpoints)
        };
        fetch(&request, &common::machine(&dmi), &client(), &Silent)
    };
    assert_eq!(ask(&path).unwrap().user_data.as_deref(), Some(CONFIG));
    for bad in [
        temp.path(),
        Path::new("relative"),
        Path::new("/dev/zero"),
        &path.join("x"),
    ] {
        assert!(ask(bad).is_err(), "{}", bad.display());
    }
}

#[test]
fn the_last_answer_is_used_on_the_same_machine_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let temp = tempfile::tempdir().unwrap();
    let cache = Cache::new(temp.path().join("deep/cache"));
    let dmi = firmware(&[("product_uuid", "u-1")]);
    let endpoints = Endpoints::default();
    let ask = |dmi: &Dmi, provider: Provider, trays: Vec<Tray>| {
        let media = Trays(trays);
        let machine = Machine {
            dmi,
            command_line: "",
            media: &media,
            guest_info: &NoGuestInfo,
        };
        let request = request(std::slice::from_ref(&provider), &endpoints);
        fetch_cached(&request, &machine, &client(), &cache, &Silent)
    };
    let tray = |meta: &'static [u8]| {
        vec![Tray::new(
            "cidata",
            true,
            &[("user-data", CONFIG), ("meta-data", meta)],
        )]
    };
    let first = ask(&dmi, Provider::Cdrom, tray(b"instance-id: i-1")).unwrap();
    assert!(first.new_instance && !first.from_cache);
    let again = ask(&dmi, Provider::Cdrom, tray(b"instance-id: i-1")).unwrap();
    assert!(!again.new_instance && !again.from_cache);
    let away = ask(&dmi, Provider::Cdrom, Vec::new()).unwrap();
    assert!(away.from_cache && !away.new_instance);
    assert_eq!(away.data, again.data);
    let changed = ask(&dmi, Provider::Cdrom, tray(b"instance-id: i-2")).unwrap();
    assert!(changed.new_instance);
    let file = temp.path().join("deep/cache/user-data.json");
    assert_eq!(
        fs_err::metadata(&file).unwrap().permissions().mode() & 0o7777,
        0o600
    );
    // Another provider, another machine, no firmware that says, a damaged file.
    assert!(ask(&dmi, Provider::ConfigDrive, Vec::new()).is_err());
    assert!(
        ask(
            &firmware(&[("product_uuid", "u-2")]),
            Provider::Cdrom,
            Vec::new()
        )
        .is_err()
    );
    assert!(ask(&Dmi::default(), Provider::Cdrom, Vec::new()).is_err());
    fs_err::write(&file, "{").unwrap();
    assert!(cache.load(&dmi).unwrap_err().hint().is_some());
    assert!(ask(&dmi, Provider::Cdrom, Vec::new()).is_err());
    assert!(
        ask(&dmi, Provider::Cdrom, tray(b"instance-id: i-2"))
            .unwrap()
            .new_instance
    );
    cache.clear().unwrap();
    assert_eq!(cache.load(&dmi).unwrap(), None);
}
