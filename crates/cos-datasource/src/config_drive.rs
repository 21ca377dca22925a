//! `OpenStack`'s documents, from a config drive or from its metadata service
//! (docs.openstack.org/nova, "Metadata"), and the EC2 layout that older config drives have.

use crate::document::{self, at, keys, text};
use crate::error::Refusal;
use crate::media::{Media, Medium};
use crate::provider::Provider;
use crate::user_data::UserData;
use crate::{METADATA_LIMIT, USER_DATA_LIMIT};
use serde_json::Value;

/// Makes user-data of `meta_data.json`. The `uuid` must be there: it says that this is `OpenStack`.
pub(crate) fn parse(meta_data: &[u8], provider: Provider) -> Result<UserData, Refusal> {
    let meta = document::json(meta_data, "meta_data.json")?;
    let Some(uuid) = text(&meta, "uuid") else {
        return Err(Refusal::Impostor("its meta_data.json has no uuid".into()));
    };
    let mut data = UserData::of(provider);
    data.set_instance_id(Some(uuid));
    data.set_hostname(text(&meta, "hostname").or_else(|| text(&meta, "name")));
    data.add_keys(&keys(at(&meta, "public_keys")));
    data.add("availability-zone", text(&meta, "availability_zone"));
    data.add("project-id", text(&meta, "project_id"));
    Ok(data)
}

/// Vendor-data: what `cloud-init` names in the document, or the whole of it.
pub(crate) fn vendor_data(bytes: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
    let value = document::json(bytes, "vendor_data.json")?;
    let inner = match &value {
        Value::Object(fields) => fields.get("cloud-init").unwrap_or(&value),
        other => other,
    };
    Ok(document::bytes(Some(inner)))
}

/// Looks for a config drive.
pub(crate) fn read(media: &dyn Media) -> Result<UserData, Refusal> {
    let found = media.find(&|medium| {
        let label = medium.label.as_deref();
        label.is_some_and(|label| label.eq_ignore_ascii_case("config-2"))
    })?;
    let mut problem = None;
    for mut medium in found {
        match read_medium(medium.as_mut()) {
            Ok(data) => return Ok(data),
            Err(refusal) => problem = problem.or(Some(refusal)),
        }
    }
    Err(problem.unwrap_or_else(|| Refusal::Absent("no medium has the label config-2".into())))
}

fn read_medium(medium: &mut dyn Medium) -> Result<UserData, Refusal> {
    let latest = |name: &str| format!("openstack/latest/{name}");
    let Some(meta_data) = medium.read(&latest("meta_data.json"), METADATA_LIMIT)? else {
        return read_ec2(medium);
    };
    let mut data = parse(&meta_data, Provider::ConfigDrive)?;
    data.user_data = medium.read(&latest("user_data"), USER_DATA_LIMIT)?;
    data.network_config = medium.read(&latest("network_data.json"), METADATA_LIMIT)?;
    if let Some(bytes) = medium.read(&latest("vendor_data.json"), USER_DATA_LIMIT)? {
        data.vendor_data = vendor_data(&bytes)?;
    }
    data.finish()
}

/// `ec2/latest/meta-data.json` and `ec2/latest/user-data`.
fn read_ec2(medium: &mut dyn Medium) -> Result<UserData, Refusal> {
    let mut data = UserData::of(Provider::ConfigDrive);
    if let Some(bytes) = medium.read("ec2/latest/meta-data.json", METADATA_LIMIT)? {
        let meta = document::json(&bytes, "ec2/latest/meta-data.json")?;
        data.set_instance_id(text(&meta, "instance-id"));
        data.set_hostname(text(&meta, "local-hostname").or_else(|| text(&meta, "hostname")));
        if let Some(Value::Object(all)) = at(&meta, "public-keys") {
            for key in all.values() {
                data.add_keys(&text(key, "openssh-key").unwrap_or_default());
            }
        }
        data.add("public-ipv4", text(&meta, "public-ipv4"));
        data.add("local-ipv4", text(&meta, "local-ipv4"));
        data.add("instance-type", text(&meta, "instance-type"));
        data.add(
            "availability-zone",
            text(&meta, "placement/availability-zone"),
        );
    }
    data.user_data = medium.read("ec2/latest/user-data", USER_DATA_LIMIT)?;
    data.finish()
}
