//! A `NoCloud` seed at a URL. It was named for this machine, so it may be anywhere: redirects are
//! followed and proxies used.

use super::Question;
use crate::cdrom::Files;
use crate::error::Refusal;
use crate::provider::Provider;
use crate::user_data::UserData;
use crate::{METADATA_LIMIT, USER_DATA_LIMIT};

pub(super) fn ask(question: &Question) -> Result<UserData, Refusal> {
    let seed = question.seed.as_ref();
    let Some((seed, url)) = seed.and_then(|seed| Some((seed, seed.url()?))) else {
        return Err(Refusal::Absent("no seed URL is named".into()));
    };
    // As cloud-init puts them together: a query takes the name at its end.
    let slash = if url.ends_with('/') || url.contains('?') {
        ""
    } else {
        "/"
    };
    let base = format!("{url}{slash}");
    let mut service = question.service(&base);
    service.follow_redirects = true;
    service.direct = false;
    let files = Files {
        meta_data: Some(service.required("meta-data", METADATA_LIMIT)?),
        user_data: service.bytes("user-data", USER_DATA_LIMIT)?,
        vendor_data: service.bytes("vendor-data", USER_DATA_LIMIT)?,
        network_config: service.bytes("network-config", METADATA_LIMIT)?,
    };
    let data = files.parse(Provider::NoCloud, &cos_http::redact(url))?;
    Ok(seed.over(data))
}
