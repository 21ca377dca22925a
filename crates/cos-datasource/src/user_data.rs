//! What a provider gives.

use crate::encoding::{self, gunzip};
use crate::error::Refusal;
use crate::provider::Provider;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// More SSH keys than this are not taken.
const MAX_KEYS: usize = 256;
/// A longer SSH key is not taken, in bytes.
const MAX_KEY: usize = 16 << 10;
/// A longer value of metadata is cut off, in characters.
const MAX_VALUE: usize = 4 << 10;

/// What a provider knows of the machine. Only `user_data` and `vendor_data` are whole documents of
/// somebody else's making; they are handed on as they are, decompressed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserData {
    /// Who gave it.
    pub provider: Provider,
    /// Names this instance; another one is another machine, also on the same disk.
    pub instance_id: Option<String>,
    /// The name the machine is to have. Only names of letters, digits, `-`, `_` and `.` are taken.
    pub hostname: Option<String>,
    /// Lines for `authorized_keys`.
    #[serde(default)]
    pub ssh_keys: Vec<String>,
    /// User-data: usually a `#cloud-config`, a script or a MIME archive of those.
    #[serde(default, with = "encoding::optional")]
    pub user_data: Option<Vec<u8>>,
    /// The same from the operator of the cloud.
    #[serde(default, with = "encoding::optional")]
    pub vendor_data: Option<Vec<u8>>,
    /// Network configuration in the provider's own form: cloud-init's version 1 or 2 as YAML or JSON,
    /// or `OpenStack`'s `network_data.json`.
    #[serde(default, with = "encoding::optional")]
    pub network_config: Option<Vec<u8>>,
    /// What else the provider says, by these names where it has them: `public-ipv4`, `local-ipv4`,
    /// `region`, `availability-zone`, `instance-type`.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

impl UserData {
    /// Nothing yet, from this provider.
    pub fn of(provider: Provider) -> Self {
        Self {
            provider,
            instance_id: None,
            hostname: None,
            ssh_keys: Vec::new(),
            user_data: None,
            vendor_data: None,
            network_config: None,
            metadata: BTreeMap::new(),
        }
    }

    /// Whether the provider said nothing of use.
    pub fn is_empty(&self) -> bool {
        let Self {
            provider: _,
            instance_id,
            hostname,
            ssh_keys,
            user_data,
            vendor_data,
            network_config,
            metadata,
        } = self;
        let documents = [user_data, vendor_data, network_config];
        instance_id.is_none()
            && hostname.is_none()
            && ssh_keys.is_empty()
            && documents.iter().all(|document| document.is_none())
            && metadata.is_empty()
    }

    /// Takes the instance's name.
    pub(crate) fn set_instance_id(&mut self, id: Option<impl AsRef<str>>) {
        self.instance_id = id.and_then(|id| clean(id.as_ref()));
    }

    /// Takes a host name, unless it is none.
    pub(crate) fn set_hostname(&mut self, name: Option<impl AsRef<str>>) {
        self.hostname = name.and_then(|name| {
            let name = name.as_ref().trim();
            let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            let fits = (1..=253).contains(&name.len()) && name.chars().all(good);
            (fits && !name.starts_with(['-', '.'])).then(|| name.to_owned())
        });
    }

    /// Adds the keys in `text`, one a line. Comments and lines that cannot be keys are left out.
    pub(crate) fn add_keys(&mut self, text: &str) {
        for line in text.lines().map(str::trim) {
            let fits = !line.is_empty() && line.len() <= MAX_KEY && self.ssh_keys.len() < MAX_KEYS;
            let plain = !line.starts_with('#') && !line.contains(char::is_control);
            if fits && plain && !self.ssh_keys.iter().any(|key| key == line) {
                self.ssh_keys.push(line.to_owned());
            }
        }
    }

    /// Adds a fact, unless it is none.
    pub(crate) fn add(&mut self, name: &str, value: Option<impl AsRef<str>>) {
        if let Some(value) = value.and_then(|value| clean(value.as_ref())) {
            self.metadata.insert(name.to_owned(), value);
        }
    }

    /// Decompresses the documents and drops those that hold nothing.
    pub(crate) fn finish(mut self) -> Result<Self, Refusal> {
        for document in [&mut self.user_data, &mut self.vendor_data] {
            if let Some(bytes) = document.take() {
                *document = Some(gunzip(bytes)?).filter(|bytes| !bytes.is_empty());
            }
        }
        self.network_config = self.network_config.filter(|bytes| !bytes.is_empty());
        if self.is_empty() {
            return Err(Refusal::Nothing);
        }
        Ok(self)
    }
}

/// One line of text without control characters, or nothing.
fn clean(text: &str) -> Option<String> {
    let text = text.trim().chars().filter(|c| !c.is_control());
    let text: String = text.take(MAX_VALUE).collect();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_clean_names_and_keys_are_taken() {
        let mut data = UserData::of(Provider::Aws);
        data.set_hostname(Some(" web-1.example\n"));
        assert_eq!(data.hostname.as_deref(), Some("web-1.example"));
        for bad in ["", "-x", ".x", "a b", "a;b", "a\u{7}", &"a".repeat(254)] {
            data.set_hostname(Some(bad));
            assert_eq!(data.hostname, None, "{bad:?}");
        }
        data.add_keys("# none\nssh-rsa A\n\nssh-rsa A\n ssh-rsa B\r\nbad\u{1b}key\n");
        assert_eq!(data.ssh_keys, ["ssh-rsa A", "ssh-rsa B"]);
        data.add("region", Some("eu\u{7}-1\n"));
        data.add("zone", Some(" "));
        data.add("plan", None::<&str>);
        assert_eq!(
            data.metadata,
            BTreeMap::from([("region".into(), "eu-1".into())])
        );
    }

    #[test]
    fn nothing_of_use_is_nothing() {
        let data = UserData {
            user_data: Some(Vec::new()),
            ..UserData::of(Provider::Aws)
        };
        assert!(matches!(data.finish(), Err(Refusal::Nothing)));
    }
}
