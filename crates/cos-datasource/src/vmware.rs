//! VMware guestinfo as cloud-init has it (`DataSourceVMware`): `guestinfo.userdata`,
//! `guestinfo.metadata`, `guestinfo.vendordata`, each with an `.encoding`.

use crate::METADATA_LIMIT;
use crate::cdrom::MetaData;
use crate::dmi::Dmi;
use crate::document;
use crate::encoding::{base64, gunzip};
use crate::error::Refusal;
use crate::guest_info::GuestInfo;
use crate::provider::Provider;
use crate::user_data::UserData;

/// Reads guestinfo, on machines of VMware's only.
pub(crate) fn read(guest_info: &dyn GuestInfo, dmi: &Dmi) -> Result<UserData, Refusal> {
    if !dmi.is_vmware() {
        return Err(Refusal::Absent("this is no machine of VMware's".into()));
    }
    let meta_data = value(guest_info, "metadata")?.unwrap_or_default();
    if meta_data.len() as u64 > METADATA_LIMIT {
        return Err(Refusal::TooLarge {
            what: "guestinfo.metadata".into(),
            limit: METADATA_LIMIT,
        });
    }
    let mut meta = MetaData::parse(&meta_data, "guestinfo.metadata")?;
    let network = network(&mut meta)?;
    let mut data = meta.into_user_data(Provider::Vmware);
    data.user_data = value(guest_info, "userdata")?;
    data.vendor_data = value(guest_info, "vendordata")?;
    data.network_config = network.or(data.network_config);
    if data.hostname.is_none() {
        data.set_hostname(guest_info.get("hostname")?);
    }
    let mut data = data.finish()?;
    if data.instance_id.is_none() {
        let uuid = dmi.product_uuid.to_ascii_lowercase();
        data.set_instance_id(Some(uuid));
    }
    Ok(data)
}

/// The metadata's `network`, which has an encoding of its own.
fn network(meta: &mut MetaData) -> Result<Option<Vec<u8>>, Refusal> {
    let network = meta.network.take();
    let inner = network
        .as_ref()
        .map(|network| network.get("config").unwrap_or(network));
    let Some(bytes) = document::bytes(inner) else {
        return Ok(None);
    };
    decode(bytes, meta.network_encoding.as_deref().unwrap_or("")).map(Some)
}

fn value(guest_info: &dyn GuestInfo, name: &str) -> Result<Option<Vec<u8>>, Refusal> {
    let Some(value) = guest_info.get(name)? else {
        return Ok(None);
    };
    let encoding = guest_info.get(&format!("{name}.encoding"))?;
    let encoding = encoding.as_deref().unwrap_or("").trim();
    decode(value.into_bytes(), encoding).map(Some)
}

fn decode(bytes: Vec<u8>, encoding: &str) -> Result<Vec<u8>, Refusal> {
    match encoding {
        "" => Ok(bytes),
        "base64" | "b64" => base64(&bytes),
        "gzip+base64" | "gz+b64" => gunzip(base64(&bytes)?),
        other => Err(Refusal::Document {
            what: "guestinfo".into(),
            source: format!("{other:?} is no encoding: base64 and gzip+base64 are").into(),
        }),
    }
}
