//! Metaldata: a host of that name (yip, `provider_metaldata.go`).

use super::Question;
use crate::error::Refusal;
use crate::provider::Provider;
use crate::user_data::UserData;
use crate::{METADATA_LIMIT, USER_DATA_LIMIT};

pub(super) fn ask(question: &Question) -> Result<UserData, Refusal> {
    let service = question.service(&question.endpoints.metaldata);
    let meta = |name: &str| format!("/get/meta/{name}");
    let hostname = service.required(&meta("hostname"), METADATA_LIMIT)?;
    let mut data = UserData::of(Provider::Metaldata);
    data.set_hostname(Some(String::from_utf8_lossy(&hostname)));
    data.set_instance_id(service.fact(&meta("machine-id")));
    let keys = service.bytes(&meta("authorized-keys"), METADATA_LIMIT)?;
    data.add_keys(&String::from_utf8_lossy(
        keys.as_deref().unwrap_or_default(),
    ));
    data.user_data = service.bytes("/get/user", USER_DATA_LIMIT)?;
    data.add("public-ipv4", service.fact(&meta("public-ipv4")));
    data.add("local-ipv4", service.fact(&meta("private-ipv4")));
    data.add("availability-zone", service.fact(&meta("failure-domain")));
    data.add("instance-type", service.fact(&meta("machine-type")));
    Ok(data)
}
