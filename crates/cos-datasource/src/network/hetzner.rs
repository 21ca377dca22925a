//! Hetzner Cloud's metadata service (docs.hetzner.cloud, "Server metadata").

use super::Question;
use crate::cdrom::MetaData;
use crate::encoding::maybe_base64;
use crate::error::Refusal;
use crate::provider::Provider;
use crate::user_data::UserData;
use crate::{METADATA_LIMIT, USER_DATA_LIMIT};

pub(super) fn ask(question: &Question) -> Result<UserData, Refusal> {
    let service = question.service(&question.endpoints.hetzner);
    let path = "/hetzner/v1/metadata";
    let document = service.required(path, METADATA_LIMIT)?;
    let meta = MetaData::parse(&document, &service.url(path))?;
    if meta.instance_id.is_none() {
        return Err(Refusal::Impostor("the server has no instance-id".into()));
    }
    let mut data = meta.into_user_data(Provider::Hetzner);
    let user_data = service.bytes("/hetzner/v1/userdata", USER_DATA_LIMIT)?;
    // Hetzner takes text only, so that binary user-data comes encoded.
    data.user_data = user_data.map(maybe_base64);
    Ok(data)
}
