//! What the firmware says the machine is.

use crate::provider::Provider;
use std::io::Read as _;
use std::path::Path;

/// Fields of `/sys/class/dmi/id`, each trimmed; empty where there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dmi {
    /// Who made the system: `Amazon EC2`, `Hetzner`.
    pub sys_vendor: String,
    /// What it is: `Google Compute Engine`, `OpenStack Nova`.
    pub product_name: String,
    /// Its serial number; only root may read it.
    pub product_serial: String,
    /// Its UUID; only root may read it.
    pub product_uuid: String,
    /// The chassis' asset tag.
    pub chassis_asset_tag: String,
    /// All fields by the names of their files, for `__dmi.NAME__` in seed URLs.
    pub(crate) fields: Vec<(&'static str, String)>,
}

/// The files that are read.
const FILES: &[&str] = &[
    "bios_date",
    "bios_vendor",
    "bios_version",
    "board_asset_tag",
    "board_name",
    "board_vendor",
    "board_version",
    "chassis_asset_tag",
    "chassis_serial",
    "chassis_vendor",
    "chassis_version",
    "product_name",
    "product_serial",
    "product_uuid",
    "product_version",
    "sys_vendor",
];

/// Azure's chassis asset tag; Hyper-V elsewhere has the same vendor and product, but not this.
const AZURE_TAG: &str = "7783-7084-3265-9085-8269-3286-77";
/// Chassis asset tags of clouds that run `OpenStack`.
const OPENSTACK_TAGS: &[&str] = &["OpenTelekomCloud", "SAP CCloud VM", "HUAWEICLOUD"];
/// What `OpenStack` calls its machines, as product or asset tag.
const OPENSTACK_NAMES: &[&str] = &["OpenStack Nova", "OpenStack Compute"];

impl Dmi {
    /// Reads the machine's.
    pub fn read() -> Self {
        Self::read_at(Path::new("/sys/class/dmi/id"))
    }

    /// Reads a directory like `/sys/class/dmi/id`. What cannot be read is empty.
    pub fn read_at(directory: &Path) -> Self {
        let fields: Vec<_> = FILES
            .iter()
            .map(|name| (*name, field(&directory.join(name)).unwrap_or_default()))
            .collect();
        let get = |name: &str| {
            let field = fields.iter().find(|(field, _)| *field == name);
            field.map_or_else(String::new, |(_, value)| value.clone())
        };
        Self {
            sys_vendor: get("sys_vendor"),
            product_name: get("product_name"),
            product_serial: get("product_serial"),
            product_uuid: get("product_uuid"),
            chassis_asset_tag: get("chassis_asset_tag"),
            fields,
        }
    }

    /// The provider the machine belongs to, when the firmware names one we know. The marks are those
    /// of cloud-init's `ds-identify`.
    pub fn identified(&self) -> Option<Provider> {
        let starts = |text: &str, start: &str| {
            let head = text.get(..start.len());
            head.is_some_and(|head| head.eq_ignore_ascii_case(start))
        };
        let (vendor, product) = (self.sys_vendor.as_str(), self.product_name.as_str());
        let tag = self.chassis_asset_tag.as_str();
        let (uuid, serial) = (&self.product_uuid, &self.product_serial);
        let xen_ec2 = starts(uuid, "ec2") && uuid.eq_ignore_ascii_case(serial);
        if vendor == "Amazon EC2" || xen_ec2 {
            return Some(Provider::Aws);
        }
        if matches!(product, "Google Compute Engine" | "Google")
            || serial.starts_with("GoogleCloud-")
        {
            return Some(Provider::Gcp);
        }
        if tag == AZURE_TAG {
            return Some(Provider::Azure);
        }
        let by_vendor = match vendor {
            "DigitalOcean" => Some(Provider::DigitalOcean),
            "Hetzner" => Some(Provider::Hetzner),
            "Vultr" => Some(Provider::Vultr),
            "Scaleway" => Some(Provider::Scaleway),
            _ => None,
        };
        let openstack = OPENSTACK_NAMES.contains(&product)
            || OPENSTACK_NAMES.contains(&tag)
            || OPENSTACK_TAGS.contains(&tag);
        by_vendor
            .or_else(|| openstack.then_some(Provider::OpenStack))
            .or_else(|| self.is_vmware().then_some(Provider::Vmware))
    }

    /// Whether this is a virtual machine of VMware's.
    pub fn is_vmware(&self) -> bool {
        self.sys_vendor.starts_with("VMware") || self.product_name.starts_with("VMware")
    }

    /// Whether a provider is worth asking on this machine; the error names what it is instead.
    pub(crate) fn allows(&self, provider: Provider) -> Result<(), Provider> {
        match self.identified() {
            None => Ok(()),
            Some(cloud) if cloud == provider => Ok(()),
            // OpenStack and Metaldata run machines on VMware too.
            Some(Provider::Vmware)
                if matches!(provider, Provider::OpenStack | Provider::Metaldata) =>
            {
                Ok(())
            }
            Some(cloud) => Err(cloud),
        }
    }

    /// What stays the same as long as the machine is the same one; `None` where the firmware says
    /// nothing of the kind.
    pub(crate) fn identity(&self) -> Option<String> {
        let (uuid, serial) = (&self.product_uuid, &self.product_serial);
        (!uuid.is_empty() || !serial.is_empty()).then(|| format!("{uuid} {serial}"))
    }

    /// The field that cloud-init calls `name`: `chassis-serial-number`.
    pub(crate) fn named(&self, name: &str) -> Option<&str> {
        let file = match name {
            "baseboard-asset-tag" => "board_asset_tag",
            "baseboard-manufacturer" => "board_vendor",
            "baseboard-product-name" => "board_name",
            "baseboard-version" => "board_version",
            "bios-release-date" => "bios_date",
            "bios-vendor" => "bios_vendor",
            "bios-version" => "bios_version",
            "chassis-asset-tag" => "chassis_asset_tag",
            "chassis-manufacturer" => "chassis_vendor",
            "chassis-serial-number" => "chassis_serial",
            "chassis-version" => "chassis_version",
            "system-manufacturer" => "sys_vendor",
            "system-product-name" => "product_name",
            "system-serial-number" => "product_serial",
            "system-uuid" => "product_uuid",
            "system-version" => "product_version",
            _ => return None,
        };
        let mut fields = self.fields.iter();
        fields
            .find(|(field, _)| *field == file)
            .map(|(_, value)| value.as_str())
    }
}

fn field(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    let file = fs_err::File::open(path).ok()?;
    file.take(4096).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let clean = text.trim().chars().filter(|c| !c.is_control());
    Some(clean.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identified(fields: &[(&str, &str)]) -> Option<Provider> {
        let temp = tempfile::tempdir().unwrap();
        for (name, value) in fields {
            fs_err::write(temp.path().join(name), format!("{value}\n")).unwrap();
        }
        Dmi::read_at(temp.path()).identified()
    }

    #[test]
    fn clouds_are_known_by_their_marks() {
        let ec2 = "ec2a0561-e4d6-8e15-d9c8-2e0e03adcde8";
        let upper = ec2.to_uppercase();
        let azure = [
            ("sys_vendor", "Microsoft Corporation"),
            ("chassis_asset_tag", AZURE_TAG),
        ];
        for (fields, expected) in [
            (&[("sys_vendor", "Amazon EC2")][..], Some(Provider::Aws)),
            (
                &[("product_uuid", ec2), ("product_serial", &upper)],
                Some(Provider::Aws),
            ),
            (&[("product_uuid", ec2)], None),
            (
                &[("product_name", "Google Compute Engine")],
                Some(Provider::Gcp),
            ),
            (&[("product_serial", "GoogleCloud-12")], Some(Provider::Gcp)),
            (&azure, Some(Provider::Azure)),
            (
                &[
                    ("sys_vendor", "Microsoft Corporation"),
                    ("product_name", "Virtual Machine"),
                ],
                None,
            ),
            (&[("sys_vendor", "Hetzner")], Some(Provider::Hetzner)),
            (
                &[("product_name", "OpenStack Nova")],
                Some(Provider::OpenStack),
            ),
            (
                &[("chassis_asset_tag", "OpenTelekomCloud")],
                Some(Provider::OpenStack),
            ),
            (&[("sys_vendor", "VMware, Inc.")], Some(Provider::Vmware)),
            (&[("sys_vendor", "QEMU")], None),
            (&[], None),
        ] {
            assert_eq!(identified(fields), expected, "{fields:?}");
        }
    }
}
