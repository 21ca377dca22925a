//! Who may have user-data for the machine.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A source of user-data. [`Provider::name`] spells them as yip does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
pub enum Provider {
    /// `NoCloud` on a CD or disk with the label `cidata`, or any CD with a `config` or `user-data`.
    Cdrom,
    /// `NoCloud` where the kernel command line or the SMBIOS serial number says, else as
    /// [`Provider::Cdrom`].
    NoCloud,
    /// An `OpenStack` config drive, with the label `config-2`.
    ConfigDrive,
    /// VMware guestinfo.
    Vmware,
    /// A file of the machine.
    File,
    /// Amazon EC2.
    Aws,
    /// Google Compute Engine.
    Gcp,
    /// Microsoft Azure.
    Azure,
    /// `OpenStack`'s metadata service.
    OpenStack,
    /// `DigitalOcean`.
    DigitalOcean,
    /// Hetzner Cloud.
    Hetzner,
    /// Vultr.
    Vultr,
    /// Scaleway.
    Scaleway,
    /// Equinix Metal, once Packet.
    Packet,
    /// Metaldata: a host of that name.
    Metaldata,
}

/// Every provider with its name and the names also understood.
const NAMES: &[(Provider, &str, &[&str])] = &[
    (Provider::Cdrom, "cdrom", &["cidata"]),
    (Provider::NoCloud, "nocloud", &["nocloud-net"]),
    (
        Provider::ConfigDrive,
        "config-drive",
        &["configdrive", "config_drive"],
    ),
    (Provider::Vmware, "vmware", &["guestinfo"]),
    (Provider::File, "file", &[]),
    (Provider::Aws, "aws", &["ec2"]),
    (Provider::Gcp, "gcp", &["gce"]),
    (Provider::Azure, "azure", &[]),
    (Provider::OpenStack, "openstack", &[]),
    (Provider::DigitalOcean, "digitalocean", &[]),
    (Provider::Hetzner, "hetzner", &[]),
    (Provider::Vultr, "vultr", &[]),
    (Provider::Scaleway, "scaleway", &[]),
    (Provider::Packet, "packet", &["equinix", "equinixmetal"]),
    (Provider::Metaldata, "metaldata", &[]),
];

/// A name that is no provider's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no datasource named {name:?}; the datasources are {}",
    names()
)]
pub struct UnknownProvider {
    /// The name.
    pub name: String,
}

fn names() -> String {
    let names: Vec<&str> = Provider::all().map(Provider::name).collect();
    names.join(", ")
}

impl Provider {
    /// Every provider.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.iter().map(|(provider, ..)| *provider)
    }

    /// Its name: `aws`, `config-drive`.
    pub fn name(self) -> &'static str {
        NAMES
            .iter()
            .find(|(provider, ..)| *provider == self)
            .map_or("", |(_, name, _)| name)
    }

    /// Whether it needs the network. [`Provider::NoCloud`] does only when its seed is a URL.
    pub fn is_network(self) -> bool {
        !matches!(
            self,
            Self::Cdrom | Self::NoCloud | Self::ConfigDrive | Self::Vmware | Self::File
        )
    }
}

impl From<Provider> for &'static str {
    fn from(provider: Provider) -> Self {
        provider.name()
    }
}

impl TryFrom<String> for Provider {
    type Error = UnknownProvider;

    fn try_from(name: String) -> Result<Self, UnknownProvider> {
        name.parse()
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Provider {
    type Err = UnknownProvider;

    fn from_str(name: &str) -> Result<Self, UnknownProvider> {
        let wanted = name.trim().to_ascii_lowercase();
        NAMES
            .iter()
            .find(|(_, name, aliases)| *name == wanted || aliases.contains(&wanted.as_str()))
            .map(|(provider, ..)| *provider)
            .ok_or_else(|| UnknownProvider { name: name.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_yip_and_of_others_are_understood() {
        for provider in Provider::all() {
            assert_eq!(provider.name().parse(), Ok(provider));
        }
        assert_eq!("EC2".parse(), Ok(Provider::Aws));
        assert_eq!("equinix".parse(), Ok(Provider::Packet));
        let error = "maas".parse::<Provider>().unwrap_err();
        assert!(
            error.to_string().contains("cdrom, nocloud, config-drive"),
            "{error}"
        );
    }
}
