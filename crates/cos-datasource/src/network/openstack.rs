//! `OpenStack`'s metadata service (docs.openstack.org/nova/latest/user/metadata.html).

use super::Question;
use crate::config_drive;
use crate::error::Refusal;
use crate::provider::Provider;
use crate::user_data::UserData;
use crate::{METADATA_LIMIT, USER_DATA_LIMIT};

pub(super) fn ask(question: &Question) -> Result<UserData, Refusal> {
    let service = question.service(&question.endpoints.openstack);
    let latest = |name: &str| format!("/openstack/latest/{name}");
    let meta_data = service.required(&latest("meta_data.json"), METADATA_LIMIT)?;
    let mut data = config_drive::parse(&meta_data, Provider::OpenStack)?;
    data.user_data = service.bytes(&latest("user_data"), USER_DATA_LIMIT)?;
    data.network_config = service.bytes(&latest("network_data.json"), METADATA_LIMIT)?;
    if let Some(bytes) = service.bytes(&latest("vendor_data.json"), USER_DATA_LIMIT)? {
        data.vendor_data = config_drive::vendor_data(&bytes)?;
    }
    // Addresses are in the EC2 part alone, which not every cloud has.
    for name in ["public-ipv4", "local-ipv4", "instance-type"] {
        data.add(name, service.fact(&format!("/latest/meta-data/{name}")));
    }
    Ok(data)
}
