//! Azure's instance metadata service
//! (learn.microsoft.com/azure/virtual-machines/instance-metadata-service).

use super::Question;
use crate::document::{at, keys, text};
use crate::encoding::base64;
use crate::error::Refusal;
use crate::provider::Provider;
use crate::user_data::UserData;
use crate::{METADATA_LIMIT, USER_DATA_LIMIT};

/// The version that has `userData` and `osProfile`.
const VERSION: &str = "api-version=2021-02-01";

pub(super) fn ask(question: &Question) -> Result<UserData, Refusal> {
    let service = question.service(&question.endpoints.azure);
    let service = service.with("Metadata", "true");
    let path = format!("/metadata/instance?{VERSION}");
    let instance = service.json(&path, METADATA_LIMIT)?;
    let Some(id) = text(&instance, "compute/vmId") else {
        return Err(Refusal::Impostor("the instance has no vmId".into()));
    };
    let mut data = UserData::of(Provider::Azure);
    data.set_instance_id(Some(id));
    let hostname = text(&instance, "compute/osProfile/computerName");
    data.set_hostname(hostname.or_else(|| text(&instance, "compute/name")));
    data.add_keys(&keys(at(&instance, "compute/publicKeys")));
    let encoded = match text(&instance, "compute/userData") {
        Some(text) => Some(text.into_bytes()),
        None => {
            let path = format!("/metadata/instance/compute/userData?{VERSION}&format=text");
            service.bytes(&path, USER_DATA_LIMIT)?
        }
    };
    data.user_data = encoded.map(|encoded| base64(&encoded)).transpose()?;
    data.add("region", text(&instance, "compute/location"));
    data.add("availability-zone", text(&instance, "compute/zone"));
    data.add("instance-type", text(&instance, "compute/vmSize"));
    if let Some(address) = at(&instance, "network/interface/0/ipv4/ipAddress/0") {
        data.add("local-ipv4", text(address, "privateIpAddress"));
        data.add("public-ipv4", text(address, "publicIpAddress"));
    }
    Ok(data)
}
