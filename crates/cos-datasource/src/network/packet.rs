//! Equinix Metal's metadata service, once Packet's
//! (deploy.equinix.com/developers/docs/metal/server-metadata/metadata).

use super::Question;
use crate::document::{at, keys, text};
use crate::error::Refusal;
use crate::provider::Provider;
use crate::user_data::UserData;
use crate::{METADATA_LIMIT, USER_DATA_LIMIT};
use serde_json::Value;

pub(super) fn ask(question: &Question) -> Result<UserData, Refusal> {
    let mut refusal = Refusal::Absent("no address is known for it".into());
    for base in &question.endpoints.packet {
        match ask_at(question, base) {
            Ok(data) => return Ok(data),
            Err(said) => refusal = said,
        }
    }
    Err(refusal)
}

fn ask_at(question: &Question, base: &str) -> Result<UserData, Refusal> {
    let service = question.service(base);
    let device = service.json("/metadata", METADATA_LIMIT)?;
    // The name resolves everywhere; to others it answers with an error and no id.
    let Some(id) = text(&device, "id") else {
        return Err(Refusal::Impostor("the device has no id".into()));
    };
    let mut data = UserData::of(Provider::Packet);
    data.set_instance_id(Some(id));
    data.set_hostname(text(&device, "hostname"));
    data.add_keys(&keys(at(&device, "ssh_keys")));
    let user_data = service.bytes("/userdata", USER_DATA_LIMIT)?;
    // A script for iPXE has done its work by now.
    data.user_data = user_data.filter(|bytes| !bytes.starts_with(b"#!ipxe"));
    data.add(
        "region",
        text(&device, "metro").or_else(|| text(&device, "facility")),
    );
    data.add("availability-zone", text(&device, "facility"));
    data.add("instance-type", text(&device, "plan"));
    if let Some(Value::Array(addresses)) = at(&device, "network/addresses") {
        let of = |public: &str| {
            let mut addresses = addresses.iter();
            let wanted = |address: &&Value| {
                text(address, "public").as_deref() == Some(public)
                    && text(address, "address_family").as_deref() == Some("4")
            };
            addresses
                .find(wanted)
                .and_then(|address| text(address, "address"))
        };
        data.add("public-ipv4", of("true"));
        data.add("local-ipv4", of("false"));
    }
    Ok(data)
}
