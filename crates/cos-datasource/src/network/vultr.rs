//! Vultr's metadata service (www.vultr.com/metadata).

use super::Question;
use crate::document::{at, bytes, keys, text};
use crate::error::Refusal;
use crate::provider::Provider;
use crate::user_data::UserData;
use crate::{METADATA_LIMIT, USER_DATA_LIMIT};

pub(super) fn ask(question: &Question) -> Result<UserData, Refusal> {
    let service = question.service(&question.endpoints.vultr);
    // As cloud-init does; newer servers ask for it.
    let service = service.with("Metadata-Token", "vultr");
    let instance = service.json("/v1.json", METADATA_LIMIT)?;
    let id = text(&instance, "instance-v2-id").or_else(|| text(&instance, "instanceid"));
    let Some(id) = id else {
        return Err(Refusal::Impostor("the instance has no instanceid".into()));
    };
    let mut data = UserData::of(Provider::Vultr);
    data.set_instance_id(Some(id));
    data.set_hostname(text(&instance, "hostname"));
    data.add_keys(&keys(at(&instance, "public-keys")));
    data.vendor_data = bytes(at(&instance, "vendor-data"));
    data.user_data = service.bytes("/latest/user-data", USER_DATA_LIMIT)?;
    data.add("region", text(&instance, "region/regioncode"));
    let address = |number: u8| text(&instance, &format!("interfaces/{number}/ipv4/address"));
    data.add("public-ipv4", address(0));
    data.add("local-ipv4", address(1));
    Ok(data)
}
