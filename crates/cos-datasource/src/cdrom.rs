//! `NoCloud` on a medium: `user-data`, `meta-data`, `vendor-data`, `network-config` in the root of a
//! file system with the label `cidata` (cloud-init, `DataSourceNoCloud`); and yip's way, a file
//! `config` on any CD.

use crate::document::{self, keys};
use crate::error::Refusal;
use crate::media::{Media, Medium, MediumDescription};
use crate::provider::Provider;
use crate::user_data::UserData;
use crate::{METADATA_LIMIT, USER_DATA_LIMIT};
use serde::Deserialize;
use serde_json::Value;

/// The documents of a seed.
#[derive(Debug, Default)]
pub(crate) struct Files {
    pub(crate) meta_data: Option<Vec<u8>>,
    pub(crate) user_data: Option<Vec<u8>>,
    pub(crate) vendor_data: Option<Vec<u8>>,
    pub(crate) network_config: Option<Vec<u8>>,
}

/// `meta-data`. Names with `-` are cloud-init's, those with `_` its newer spelling.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct MetaData {
    #[serde(alias = "instance_id", rename = "instance-id")]
    pub(crate) instance_id: Option<String>,
    #[serde(alias = "local_hostname", rename = "local-hostname")]
    pub(crate) local_hostname: Option<String>,
    pub(crate) hostname: Option<String>,
    #[serde(
        alias = "public_keys",
        alias = "public-keys-data",
        alias = "public_keys_data",
        rename = "public-keys"
    )]
    pub(crate) public_keys: Option<Value>,
    #[serde(alias = "availability_zone", rename = "availability-zone")]
    pub(crate) availability_zone: Option<String>,
    pub(crate) region: Option<String>,
    #[serde(alias = "public_ipv4", rename = "public-ipv4")]
    pub(crate) public_ipv4: Option<String>,
    #[serde(alias = "local_ipv4", rename = "local-ipv4")]
    pub(crate) local_ipv4: Option<String>,
    #[serde(alias = "instance_type", rename = "instance-type")]
    pub(crate) instance_type: Option<String>,
    #[serde(alias = "vendor-data", alias = "vendordata")]
    pub(crate) vendor_data: Option<Value>,
    #[serde(alias = "network_config", rename = "network-config")]
    pub(crate) network_config: Option<Value>,
    /// VMware's: `{config: …}`, or the configuration itself.
    pub(crate) network: Option<Value>,
    #[serde(rename = "network.encoding")]
    pub(crate) network_encoding: Option<String>,
}

impl MetaData {
    pub(crate) fn parse(bytes: &[u8], what: &str) -> Result<Self, Refusal> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        let parsed: Option<Self> = document::yaml(bytes, what)?;
        Ok(parsed.unwrap_or_default())
    }

    pub(crate) fn into_user_data(self, provider: Provider) -> UserData {
        let mut data = UserData::of(provider);
        data.set_instance_id(self.instance_id);
        data.set_hostname(self.local_hostname.or(self.hostname));
        data.add_keys(&keys(self.public_keys.as_ref()));
        data.add("availability-zone", self.availability_zone);
        data.add("region", self.region);
        data.add("public-ipv4", self.public_ipv4);
        data.add("local-ipv4", self.local_ipv4);
        data.add("instance-type", self.instance_type);
        data.vendor_data = document::bytes(self.vendor_data.as_ref());
        data.network_config = document::bytes(self.network_config.as_ref());
        data
    }
}

impl Files {
    /// Makes user-data of the documents; `from` is for messages.
    pub(crate) fn parse(self, provider: Provider, from: &str) -> Result<UserData, Refusal> {
        let what = format!("meta-data of {from}");
        let meta = MetaData::parse(self.meta_data.as_deref().unwrap_or_default(), &what)?;
        let mut data = meta.into_user_data(provider);
        data.user_data = self.user_data;
        data.vendor_data = self.vendor_data.or(data.vendor_data);
        data.network_config = self.network_config.or(data.network_config);
        Ok(data)
    }
}

fn is_cidata(medium: &MediumDescription) -> bool {
    let label = medium.label.as_deref();
    label.is_some_and(|label| label.eq_ignore_ascii_case("cidata"))
}

/// Looks at media with the label first, and for [`Provider::Cdrom`] then at CDs with any.
pub(crate) fn read(media: &dyn Media, provider: Provider) -> Result<UserData, Refusal> {
    let mut found = media.find(&is_cidata)?;
    if provider == Provider::Cdrom {
        found.extend(media.find(&|medium| medium.optical && !is_cidata(medium))?);
    }
    let mut problem = None;
    for mut medium in found {
        match read_medium(medium.as_mut(), provider) {
            Ok(data) => return Ok(data),
            Err(Refusal::Nothing) => {}
            Err(refusal) => problem = problem.or(Some(refusal)),
        }
    }
    Err(problem.unwrap_or_else(|| {
        Refusal::Absent(match provider {
            Provider::Cdrom => "no medium has the label cidata, no CD a user-data or config".into(),
            _ => "nothing says ds=nocloud, and no medium has the label cidata".into(),
        })
    }))
}

fn read_medium(medium: &mut dyn Medium, provider: Provider) -> Result<UserData, Refusal> {
    let cidata = is_cidata(medium.description());
    let from = medium.description().name.clone();
    let mut files = Files {
        user_data: medium.read("user-data", USER_DATA_LIMIT)?,
        ..Files::default()
    };
    if files.user_data.is_none() {
        files.user_data = medium.read("config", USER_DATA_LIMIT)?;
    }
    // Any disc may have a file of these names; only with user-data do they mean us.
    if cidata || files.user_data.is_some() {
        files.meta_data = medium.read("meta-data", METADATA_LIMIT)?;
        files.vendor_data = medium.read("vendor-data", USER_DATA_LIMIT)?;
        files.network_config = medium.read("network-config", METADATA_LIMIT)?;
    }
    files.parse(provider, &from)?.finish()
}
