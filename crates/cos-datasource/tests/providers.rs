//! Each provider against a server that speaks as the real one does: paths, header fields, tokens,
//! and the refusal of who does not bring them.

#[path = "../../cos-http/tests/server/mod.rs"]
mod server;

mod common;

use common::{CONFIG, KEY, all_at, ask, firmware};
use cos_datasource::{Endpoints, NoGuestInfo, NoMedia, Provider, Request, UserData, fetch};
use cos_events::Silent;
use server::{Asked, Server, answer};
use std::net::TcpStream;
use std::time::Duration;

/// A server of documents by path.
fn documents(list: &'static [(&'static str, &'static [u8])]) -> Server {
    Server::start(move |asked, stream| serve(list, asked, stream))
}

fn serve(list: &[(&str, &[u8])], asked: &Asked, stream: &mut TcpStream) {
    let found = list.iter().find(|(path, _)| *path == asked.target);
    match found {
        Some((_, body)) => answer(stream, 200, &[], body),
        None => answer(stream, 404, &[], b"not found"),
    }
}

#[expect(clippy::unwrap_used, reason = "a test's helper")]
fn ask_one(provider: Provider, server: &Server) -> UserData {
    let data = ask(&[provider], &all_at(&server.url(""))).unwrap();
    assert_eq!(data.provider, provider);
    data
}

fn facts(data: &UserData) -> String {
    let facts = data.metadata.iter();
    facts
        .map(|(name, value)| format!("{name}={value}"))
        .collect::<Vec<_>>()
        .join(" ")
}

const AWS: &[(&str, &[u8])] = &[
    ("/latest/meta-data/instance-id", b"i-0abc"),
    (
        "/latest/meta-data/local-hostname",
        b"ip-10-0-0-1.ec2.internal",
    ),
    ("/latest/meta-data/public-keys/", b"0=mine\n1=other"),
    (
        "/latest/meta-data/public-keys/0/openssh-key",
        b"ssh-ed25519 AAAAC3Nza me@home\n",
    ),
    (
        "/latest/meta-data/public-keys/1/openssh-key",
        b"ssh-rsa B b\n",
    ),
    ("/latest/meta-data/public-ipv4", b"192.0.2.1"),
    ("/latest/meta-data/placement/region", b"eu-west-1"),
    ("/latest/user-data", CONFIG),
];

#[test]
fn aws_is_asked_with_a_session_token() {
    let server = Server::start(|asked, stream| {
        if asked.target == "/latest/api/token" {
            let asks = asked
                .header("X-aws-ec2-metadata-token-ttl-seconds")
                .is_some();
            let status = if asked.method != "PUT" {
                405
            } else if asks {
                200
            } else {
                400
            };
            answer(stream, status, &[], b"TOKEN==");
        } else if asked.header("X-aws-ec2-metadata-token") == Some("TOKEN==") {
            serve(AWS, asked, stream);
        } else {
            answer(stream, 401, &[], b"");
        }
    });
    let data = ask_one(Provider::Aws, &server);
    assert_eq!(data.instance_id.as_deref(), Some("i-0abc"));
    assert_eq!(data.hostname.as_deref(), Some("ip-10-0-0-1.ec2.internal"));
    assert_eq!(data.ssh_keys, [KEY, "ssh-rsa B b"]);
    assert_eq!(data.user_data.as_deref(), Some(CONFIG));
    assert_eq!(facts(&data), "public-ipv4=192.0.2.1 region=eu-west-1");
}

#[test]
fn aws_without_tokens_is_not_believed() {
    let server = documents(AWS);
    let error = ask(&[Provider::Aws], &all_at(&server.url(""))).unwrap_err();
    assert!(
        error.to_string().contains(
            "aws: what answers there is something else: it gives no IMDSv2 token (status 404)"
        ),
        "{error}"
    );
    assert_eq!(server.count(), 1);
}

const GCP_INSTANCE: &[u8] = br#"{"id": 4520031799277581759, "hostname": "vm.c.p.internal",
  "zone": "projects/1/zones/europe-west1-b", "machineType": "projects/1/machineTypes/e2-small",
  "attributes": {"user-data": "I2Nsb3VkLWNvbmZpZwpob3N0bmFtZTogeAo=", "user-data-encoding": "base64",
    "ssh-keys": "me:ssh-ed25519 AAAAC3Nza me@home\nme:ssh-rsa T google-ssh {\"userName\":\"x\",\"expireOn\":\"2026-01-01T00:00:00+0000\"}"},
  "networkInterfaces": [{"ip": "10.0.0.2", "accessConfigs": [{"externalIp": "192.0.2.2"}]}]}"#;

fn gcp(flavor: &'static str) -> Server {
    Server::start(move |asked, stream| {
        let headers = [("Metadata-Flavor", flavor)];
        if asked.header("Metadata-Flavor") != Some("Google") {
            return answer(
                stream,
                403,
                &headers,
                b"Missing Metadata-Flavor:Google header.",
            );
        }
        match asked.target.as_str() {
            "/computeMetadata/v1/instance/?recursive=true" => {
                answer(stream, 200, &headers, GCP_INSTANCE);
            }
            "/computeMetadata/v1/project/attributes/ssh-keys" => {
                answer(stream, 200, &headers, b"you:ssh-rsa P p");
            }
            _ => answer(stream, 404, &headers, b""),
        }
    })
}

#[test]
fn gcp_is_asked_with_its_flavour_and_must_have_it() {
    let data = ask_one(Provider::Gcp, &gcp("Google"));
    assert_eq!(data.instance_id.as_deref(), Some("4520031799277581759"));
    assert_eq!(data.hostname.as_deref(), Some("vm.c.p.internal"));
    assert_eq!(data.ssh_keys, [KEY, "ssh-rsa P p"]);
    assert_eq!(data.user_data.as_deref(), Some(CONFIG));
    assert_eq!(
        facts(&data),
        "availability-zone=europe-west1-b instance-type=e2-small local-ipv4=10.0.0.2 \
         public-ipv4=192.0.2.2 region=europe-west1"
    );
    let error = ask(&[Provider::Gcp], &all_at(&gcp("Boogle").url(""))).unwrap_err();
    assert!(
        error.to_string().contains("does not say Metadata-Flavor"),
        "{error}"
    );
}

const AZURE: &[(&str, &[u8])] = &[
    (
        "/metadata/instance?api-version=2021-02-01",
        br#"{"compute": {"vmId": "02aab8a4", "name": "vm-1", "location": "westeurope", "zone": "1",
           "vmSize": "B1s", "osProfile": {"computerName": "web"}, "userData": "",
           "publicKeys": [{"keyData": "ssh-ed25519 AAAAC3Nza me@home", "path": "/home/a"}]},
           "network": {"interface": [{"ipv4": {"ipAddress": [
             {"privateIpAddress": "10.0.0.4", "publicIpAddress": "192.0.2.4"}]}}]}}"#,
    ),
    (
        "/metadata/instance/compute/userData?api-version=2021-02-01&format=text",
        b"I2Nsb3VkLWNvbmZpZwpob3N0bmFtZTogeAo=",
    ),
];

fn azure() -> Server {
    Server::start(|asked, stream| {
        // Azure refuses who forwards requests, and who does not know the header.
        let plain = asked.header("X-Forwarded-For").is_none();
        if plain && asked.header("Metadata") == Some("true") {
            serve(AZURE, asked, stream);
        } else {
            answer(stream, 400, &[], b"{\"error\": \"Bad request\"}");
        }
    })
}

#[test]
fn azure_is_asked_with_its_header() {
    let data = ask_one(Provider::Azure, &azure());
    assert_eq!(data.instance_id.as_deref(), Some("02aab8a4"));
    assert_eq!(data.hostname.as_deref(), Some("web"));
    assert_eq!(data.ssh_keys, [KEY]);
    assert_eq!(data.user_data.as_deref(), Some(CONFIG));
    assert_eq!(
        facts(&data),
        "availability-zone=1 instance-type=B1s local-ipv4=10.0.0.4 public-ipv4=192.0.2.4 \
         region=westeurope"
    );
}

const OPENSTACK: &[(&str, &[u8])] = &[
    (
        "/openstack/latest/meta_data.json",
        br#"{"uuid": "b0fa911b", "hostname": "sm.novalocal", "name": "sm", "availability_zone": "nova",
           "public_keys": {"mykey": "ssh-ed25519 AAAAC3Nza me@home\n"}, "meta": {}}"#,
    ),
    ("/openstack/latest/user_data", CONFIG),
    ("/openstack/latest/vendor_data.json", br##"{"cloud-init": "#!/bin/sh\n"}"##),
    ("/openstack/latest/network_data.json", br#"{"links": []}"#),
    ("/latest/meta-data/public-ipv4", b"192.0.2.5"),
    ("/latest/meta-data/instance-id", b"i-00000001"),
    ("/latest/user-data", CONFIG),
];

#[test]
fn openstack_gives_its_own_documents() {
    let data = ask_one(Provider::OpenStack, &documents(OPENSTACK));
    assert_eq!(data.instance_id.as_deref(), Some("b0fa911b"));
    assert_eq!(data.hostname.as_deref(), Some("sm.novalocal"));
    assert_eq!(data.ssh_keys, [KEY]);
    assert_eq!(data.user_data.as_deref(), Some(CONFIG));
    assert_eq!(data.vendor_data.as_deref(), Some(&b"#!/bin/sh\n"[..]));
    assert_eq!(
        data.network_config.as_deref(),
        Some(&br#"{"links": []}"#[..])
    );
    assert_eq!(facts(&data), "availability-zone=nova public-ipv4=192.0.2.5");
}

#[test]
fn digitalocean_gives_one_document_and_the_user_data_besides() {
    let data = ask_one(
        Provider::DigitalOcean,
        &documents(&[
            (
                "/metadata/v1.json",
                br##"{"droplet_id": 22532410, "hostname": "utl", "region": "nyc3", "tags": null,
                   "vendor_data": "#cloud-config\n", "public_keys": ["ssh-ed25519 AAAAC3Nza me@home"],
                   "interfaces": {"public": [{"ipv4": {"ip_address": "192.0.2.6"}}],
                                  "private": [{"ipv4": {"ip_address": "10.0.0.6"}}]}}"##,
            ),
            ("/metadata/v1/user-data", CONFIG),
        ]),
    );
    assert_eq!(data.instance_id.as_deref(), Some("22532410"));
    assert_eq!(data.ssh_keys, [KEY]);
    assert_eq!(data.user_data.as_deref(), Some(CONFIG));
    assert_eq!(data.vendor_data.as_deref(), Some(&b"#cloud-config\n"[..]));
    assert_eq!(
        facts(&data),
        "local-ipv4=10.0.0.6 public-ipv4=192.0.2.6 region=nyc3"
    );
}

#[test]
fn hetzner_gives_yaml() {
    let data = ask_one(
        Provider::Hetzner,
        &documents(&[
            (
                "/hetzner/v1/metadata",
                b"availability-zone: fsn1-dc8\nhostname: my-server\ninstance-id: 0042\n\
                  local-ipv4: ''\npublic-ipv4: 192.0.2.7\npublic-keys:\n- ssh-ed25519 \\\n  \
                  AAAAC3Nza me@home\nregion: eu-central\nvendor_data: \"test\"\n\
                  network-config:\n  version: 1\n  config: []\n",
            ),
            (
                "/hetzner/v1/userdata",
                b"I2Nsb3VkLWNvbmZpZwpob3N0bmFtZTogeAo=",
            ),
        ]),
    );
    assert_eq!(data.instance_id.as_deref(), Some("0042"));
    assert_eq!(data.hostname.as_deref(), Some("my-server"));
    assert_eq!(data.ssh_keys.len(), 1);
    assert_eq!(data.user_data.as_deref(), Some(CONFIG));
    assert_eq!(data.vendor_data.as_deref(), Some(&b"test"[..]));
    let network: serde_json::Value =
        serde_json::from_slice(&data.network_config.clone().unwrap()).unwrap();
    assert_eq!(network["version"], 1);
    assert_eq!(
        facts(&data),
        "availability-zone=fsn1-dc8 public-ipv4=192.0.2.7 region=eu-central"
    );
}

#[test]
fn vultr_gives_json_and_user_data() {
    let data = ask_one(
        Provider::Vultr,
        &documents(&[
            (
                "/v1.json",
                br#"{"hostname": "guest", "instanceid": "42506325", "instance-v2-id": "29bea708",
                   "region": {"regioncode": "EWR"}, "public-keys": "ssh-ed25519 AAAAC3Nza me@home\n",
                   "interfaces": [{"ipv4": {"address": "192.0.2.8"}}], "user-defined": []}"#,
            ),
            ("/latest/user-data", CONFIG),
        ]),
    );
    assert_eq!(data.instance_id.as_deref(), Some("29bea708"));
    assert_eq!(data.ssh_keys, [KEY]);
    assert_eq!(data.user_data.as_deref(), Some(CONFIG));
    assert_eq!(facts(&data), "public-ipv4=192.0.2.8 region=EWR");
}

#[test]
fn scaleway_answers_only_to_ports_of_root() {
    let server = Server::start(|asked, stream| match asked.target.as_str() {
        "/conf?format=json" => answer(
            stream,
            200,
            &[],
            br#"{"id": "e0a8", "hostname": "scw", "location": {"zone_id": "par1"},
               "ssh_public_keys": [{"key": "ssh-ed25519 AAAAC3Nza me@home", "fingerprint": "x"}],
               "tags": ["AUTHORIZED_KEY=ssh-rsa_T_t"], "public_ip": {"address": "192.0.2.9"},
               "private_ip": null}"#,
        ),
        "/user_data/cloud-init" if asked.peer_port < 1024 || !cos_testkit::is_root() => {
            answer(stream, 200, &[], CONFIG);
        }
        "/user_data/cloud-init" => answer(stream, 403, &[], b""),
        _ => answer(stream, 404, &[], b""),
    });
    if !cos_testkit::is_root() {
        cos_testkit::skip(
            "scaleway_answers_only_to_ports_of_root",
            "needs root, in part",
        );
    }
    let data = ask_one(Provider::Scaleway, &server);
    assert_eq!(data.instance_id.as_deref(), Some("e0a8"));
    assert_eq!(data.ssh_keys, [KEY, "ssh-rsa T t"]);
    assert_eq!(data.user_data.as_deref(), Some(CONFIG));
    assert_eq!(facts(&data), "availability-zone=par1 public-ipv4=192.0.2.9");
}

#[test]
fn packet_is_found_where_it_moved() {
    let gone = documents(&[("/metadata", br#"{"error": "not found"}"#)]);
    let server = documents(&[
        (
            "/metadata",
            br#"{"id": "d4b783e9", "hostname": "bgp", "plan": "c3.small.x86", "facility": "sv15",
               "ssh_keys": ["ssh-ed25519 AAAAC3Nza me@home"], "network": {"addresses": [
                 {"address_family": 6, "public": true, "address": "2001:db8::1"},
                 {"address_family": 4, "public": true, "address": "192.0.2.10"},
                 {"address_family": 4, "public": false, "address": "10.0.0.10"}]}}"#,
        ),
        ("/userdata", b"#!ipxe\nboot\n"),
    ]);
    let endpoints = Endpoints {
        packet: vec![gone.url(""), server.url("")],
        ..Endpoints::default()
    };
    let data = ask(&[Provider::Packet], &endpoints).unwrap();
    assert_eq!(data.instance_id.as_deref(), Some("d4b783e9"));
    assert_eq!(data.ssh_keys, [KEY]);
    assert_eq!(data.user_data, None, "a script for iPXE is none for us");
    assert_eq!(
        facts(&data),
        "availability-zone=sv15 instance-type=c3.small.x86 local-ipv4=10.0.0.10 \
         public-ipv4=192.0.2.10 region=sv15"
    );
}

#[test]
fn metaldata_gives_values_one_by_one() {
    let data = ask_one(
        Provider::Metaldata,
        &documents(&[
            ("/get/meta/hostname", b"node-1\n"),
            ("/get/meta/machine-id", b"m-1\n"),
            (
                "/get/meta/authorized-keys",
                b"ssh-ed25519 AAAAC3Nza me@home\n",
            ),
            ("/get/meta/private-ipv4", b"10.0.0.11"),
            ("/get/user", CONFIG),
        ]),
    );
    assert_eq!(
        (data.hostname.as_deref(), data.instance_id.as_deref()),
        (Some("node-1"), Some("m-1"))
    );
    assert_eq!(data.ssh_keys, [KEY]);
    assert_eq!(data.user_data.as_deref(), Some(CONFIG));
    assert_eq!(facts(&data), "local-ipv4=10.0.0.11");
}

#[test]
fn a_seed_url_is_read_wherever_it_leads() {
    let server = Server::start(|asked, stream| match asked.target.as_str() {
        "/seed/meta-data" => answer(stream, 302, &[("Location", "/real/meta-data")], b""),
        "/real/meta-data" => answer(stream, 200, &[], b"instance-id: i-9\nlocal-hostname: a\n"),
        "/seed/user-data" => answer(stream, 200, &[], CONFIG),
        _ => answer(stream, 404, &[], b""),
    });
    let command_line = format!("ro ds=nocloud-net;s={};h=b", server.url("/seed/"));
    let dmi = firmware(&[("sys_vendor", "Hetzner")]);
    let machine = cos_datasource::Machine {
        dmi: &dmi,
        command_line: &command_line,
        media: &NoMedia,
        guest_info: &NoGuestInfo,
    };
    let request = Request {
        providers: &[Provider::NoCloud],
        deadline: Duration::from_mins(1),
        file: None,
        endpoints: &Endpoints::default(),
    };
    let data = fetch(&request, &machine, &common::client(), &Silent).unwrap();
    assert_eq!(data.instance_id.as_deref(), Some("i-9"));
    assert_eq!(data.hostname.as_deref(), Some("b"));
    assert_eq!(data.user_data.as_deref(), Some(CONFIG));
}

#[test]
fn one_cloud_is_not_taken_for_another_at_the_same_address() {
    let server = documents(OPENSTACK);
    let endpoints = all_at(&server.url(""));
    let others = [
        Provider::Aws,
        Provider::Gcp,
        Provider::Azure,
        Provider::DigitalOcean,
        Provider::Hetzner,
        Provider::Vultr,
        Provider::Scaleway,
        Provider::Packet,
        Provider::Metaldata,
    ];
    let error = ask(&others, &endpoints).unwrap_err().to_string();
    assert_eq!(error.lines().count(), 1 + others.len(), "{error}");
    for provider in others {
        assert!(error.contains(&format!("\n  {provider}: ")), "{error}");
    }
    let mut everybody = others.to_vec();
    everybody.push(Provider::OpenStack);
    assert_eq!(
        ask(&everybody, &endpoints).unwrap().provider,
        Provider::OpenStack
    );
}

#[test]
fn the_firmware_says_who_is_asked() {
    let server = documents(OPENSTACK);
    let endpoints = all_at(&server.url(""));
    let request = Request {
        providers: &[Provider::OpenStack, Provider::Aws],
        deadline: Duration::from_mins(1),
        file: None,
        endpoints: &endpoints,
    };
    let dmi = firmware(&[("sys_vendor", "Hetzner")]);
    let error = fetch(&request, &common::machine(&dmi), &common::client(), &Silent).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no user-data was found\n  openstack: not asked: this machine is one of hetzner\n  \
         aws: not asked: this machine is one of hetzner"
    );
    assert_eq!(server.count(), 0);
    let dmi = firmware(&[("product_name", "OpenStack Nova")]);
    let data = fetch(&request, &common::machine(&dmi), &common::client(), &Silent).unwrap();
    assert_eq!(data.provider, Provider::OpenStack);
    let asked = server.asked.lock().unwrap();
    assert!(
        asked.iter().all(|asked| asked.method == "GET"),
        "AWS was asked: {asked:?}"
    );
}
