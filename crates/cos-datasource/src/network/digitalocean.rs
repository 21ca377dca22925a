//! `DigitalOcean`'s metadata service (docs.digitalocean.com/reference/api/metadata).

use super::Question;
use crate::document::{at, bytes, keys, text};
use crate::error::Refusal;
use crate::provider::Provider;
use crate::user_data::UserData;
use crate::{METADATA_LIMIT, USER_DATA_LIMIT};

pub(super) fn ask(question: &Question) -> Result<UserData, Refusal> {
    let service = question.service(&question.endpoints.digitalocean);
    let droplet = service.json("/metadata/v1.json", USER_DATA_LIMIT + METADATA_LIMIT)?;
    let Some(id) = text(&droplet, "droplet_id") else {
        return Err(Refusal::Impostor("the droplet has no droplet_id".into()));
    };
    let mut data = UserData::of(Provider::DigitalOcean);
    data.set_instance_id(Some(id));
    data.set_hostname(text(&droplet, "hostname"));
    data.add_keys(&keys(at(&droplet, "public_keys")));
    data.vendor_data = bytes(at(&droplet, "vendor_data"));
    data.user_data = bytes(at(&droplet, "user_data"));
    if data.user_data.is_none() {
        data.user_data = service.bytes("/metadata/v1/user-data", USER_DATA_LIMIT)?;
    }
    data.add("region", text(&droplet, "region"));
    let address = |kind: &str| text(&droplet, &format!("interfaces/{kind}/0/ipv4/ip_address"));
    data.add("public-ipv4", address("public"));
    data.add("local-ipv4", address("private"));
    Ok(data)
}
