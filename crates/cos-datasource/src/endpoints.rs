//! Where the providers are.

use std::ops::RangeInclusive;

/// Base URLs of the metadata services, without a slash at the end. The default is where they really
/// are; tests put servers of their own there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// Amazon EC2.
    pub aws: String,
    /// Google Compute Engine.
    pub gcp: String,
    /// Microsoft Azure.
    pub azure: String,
    /// `OpenStack`.
    pub openstack: String,
    /// `DigitalOcean`.
    pub digitalocean: String,
    /// Hetzner Cloud.
    pub hetzner: String,
    /// Vultr.
    pub vultr: String,
    /// Scaleway: an address, not a name.
    pub scaleway: String,
    /// The ports that Scaleway's user-data is asked from. It answers only to those below 1024,
    /// which only root may use.
    pub scaleway_ports: RangeInclusive<u16>,
    /// Equinix Metal, and where it was as Packet; the first that answers counts.
    pub packet: Vec<String>,
    /// Metaldata.
    pub metaldata: String,
}

/// Where most clouds answer: an address that leads no further than the host.
const LINK_LOCAL: &str = "http://169.254.169.254";

impl Default for Endpoints {
    fn default() -> Self {
        let link_local = || LINK_LOCAL.to_owned();
        Self {
            aws: link_local(),
            // Google's name for it is metadata.google.internal; the address needs no resolver.
            gcp: link_local(),
            azure: link_local(),
            openstack: link_local(),
            digitalocean: link_local(),
            hetzner: link_local(),
            vultr: link_local(),
            scaleway: "http://169.254.42.42".into(),
            // Where rresvport(3) looks.
            scaleway_ports: 512..=1023,
            packet: vec![
                "https://metadata.platformequinix.com".into(),
                "https://metadata.packet.net".into(),
            ],
            metaldata: "http://metaldata".into(),
        }
    }
}
