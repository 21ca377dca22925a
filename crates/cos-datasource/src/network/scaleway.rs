//! Scaleway's metadata service
//! (www.scaleway.com/en/docs/instances/how-to/use-cloud-init, and cloud-init's `DataSourceScaleway`).

use super::Question;
use crate::document::{at, keys, text};
use crate::error::Refusal;
use crate::privileged;
use crate::provider::Provider;
use crate::user_data::UserData;
use crate::{METADATA_LIMIT, USER_DATA_LIMIT};
use serde_json::Value;

/// A tag that is a key, with `_` for blanks.
const KEY_TAG: &str = "AUTHORIZED_KEY=";

pub(super) fn ask(question: &Question) -> Result<UserData, Refusal> {
    let service = question.service(&question.endpoints.scaleway);
    let server = service.json("/conf?format=json", METADATA_LIMIT)?;
    let Some(id) = text(&server, "id") else {
        return Err(Refusal::Impostor("the server has no id".into()));
    };
    let mut data = UserData::of(Provider::Scaleway);
    data.set_instance_id(Some(id));
    data.set_hostname(text(&server, "hostname"));
    data.add_keys(&keys(at(&server, "ssh_public_keys")));
    if let Some(Value::Array(tags)) = at(&server, "tags") {
        let keys = tags.iter().filter_map(Value::as_str);
        for key in keys.filter_map(|tag| tag.strip_prefix(KEY_TAG)) {
            data.add_keys(&key.replace('_', " "));
        }
    }
    data.user_data = privileged_get(question, "/user_data/cloud-init")?;
    data.vendor_data = privileged_get(question, "/vendor_data/cloud-init")?;
    data.add("availability-zone", text(&server, "location/zone_id"));
    data.add("instance-type", text(&server, "commercial_type"));
    data.add("public-ipv4", text(&server, "public_ip/address"));
    data.add("local-ipv4", text(&server, "private_ip"));
    Ok(data)
}

/// Asks from a port of root's; `None` when there is nothing of the name.
fn privileged_get(question: &Question, path: &str) -> Result<Option<Vec<u8>>, Refusal> {
    let asked = privileged::Question {
        base: &question.endpoints.scaleway,
        path,
        ports: question.endpoints.scaleway_ports.clone(),
        limit: USER_DATA_LIMIT,
        deadline: question.deadline,
        stop: &question.stop,
    };
    let answer = privileged::get_retried(&asked)?;
    match answer.status {
        200 => Ok(Some(answer.body).filter(|body| !body.is_empty())),
        404 | 410 => Ok(None),
        status => Err(Refusal::Status {
            url: format!("{}{path}", asked.base),
            status,
        }),
    }
}
