//! What the kernel command line or the SMBIOS serial number says of `NoCloud`:
//! `ds=nocloud;s=http://host/path/;h=name;i=id` (cloud-init, `DataSourceNoCloud`).

use crate::dmi::Dmi;
use crate::error::Refusal;
use crate::media::Media;
use crate::provider::Provider;
use crate::user_data::UserData;
use crate::{METADATA_LIMIT, USER_DATA_LIMIT, cdrom};
use cos_sys::root_path::Root;
use std::path::Path;

/// A seed as it was named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seed {
    /// `s`, `seedfrom`: a URL or a directory, with a slash at its end.
    pub(crate) from: Option<String>,
    /// `h`, `local-hostname`.
    pub(crate) hostname: Option<String>,
    /// `i`, `instance-id`.
    pub(crate) instance_id: Option<String>,
}

impl Seed {
    /// Finds the seed: the command line counts before the serial number.
    pub(crate) fn find(command_line: &str, dmi: &Dmi) -> Option<Self> {
        let seed = parse(command_line).or_else(|| parse(&dmi.product_serial))?;
        let from = seed.from.map(|from| expand(&from, dmi));
        Some(Self { from, ..seed })
    }

    /// The seed when it is a URL.
    pub(crate) fn url(&self) -> Option<&str> {
        let web = |from: &&str| from.starts_with("http://") || from.starts_with("https://");
        self.from.as_deref().filter(web)
    }

    /// What the seed itself says, put over what was read from it.
    pub(crate) fn over(&self, mut data: UserData) -> UserData {
        if self.hostname.is_some() {
            data.set_hostname(self.hostname.as_ref());
        }
        if self.instance_id.is_some() {
            data.set_instance_id(self.instance_id.as_ref());
        }
        data
    }

    /// Reads a seed that is a directory of the machine, or none: then it is on a medium, or says
    /// everything itself.
    pub(crate) fn read_local(&self, media: &dyn Media) -> Result<UserData, Refusal> {
        let Some(from) = &self.from else {
            let data = match cdrom::read(media, Provider::NoCloud) {
                Err(Refusal::Absent(_)) => UserData::of(Provider::NoCloud),
                other => other?,
            };
            return self.over(data).finish();
        };
        let path = from.strip_prefix("file://").unwrap_or(from);
        if !path.starts_with('/') {
            return Err(Refusal::Absent(format!(
                "the seed {from:?} is neither a directory nor a URL"
            )));
        }
        let root = Root::open(Path::new("/"))?;
        let read = |name: &str, limit| root.read(&Path::new(path).join(name), limit);
        let files = cdrom::Files {
            meta_data: read("meta-data", METADATA_LIMIT)?,
            user_data: read("user-data", USER_DATA_LIMIT)?,
            vendor_data: read("vendor-data", USER_DATA_LIMIT)?,
            network_config: read("network-config", METADATA_LIMIT)?,
        };
        Ok(self.over(files.parse(Provider::NoCloud, from)?.finish()?))
    }
}

fn parse(text: &str) -> Option<Seed> {
    let word = text.split_ascii_whitespace().find_map(|word| {
        let rest = word.strip_prefix("ds=nocloud")?;
        let rest = rest.strip_prefix("-net").unwrap_or(rest);
        (rest.is_empty() || rest.starts_with(';')).then_some(rest)
    })?;
    let mut seed = Seed::default();
    for (key, value) in word.split(';').filter_map(|pair| pair.split_once('=')) {
        let value = Some(value.to_owned()).filter(|value| !value.is_empty());
        match key {
            "s" | "seedfrom" => seed.from = value,
            "h" | "local-hostname" => seed.hostname = value,
            "i" | "instance-id" => seed.instance_id = value,
            _ => {}
        }
    }
    Some(seed)
}

/// Puts fields of the firmware in for `__dmi.NAME__`. Only what a URL may hold is put in.
fn expand(from: &str, dmi: &Dmi) -> String {
    let mut out = String::new();
    let mut rest = from;
    while let Some((before, after)) = rest.split_once("__dmi.") {
        out.push_str(before);
        match after.split_once("__") {
            Some((name, tail)) if dmi.named(name).is_some() => {
                let good = |c: &char| c.is_ascii_alphanumeric() || "-._".contains(*c);
                out.extend(dmi.named(name).unwrap_or_default().chars().filter(good));
                rest = tail;
            }
            _ => {
                out.push_str("__dmi.");
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_and_the_serial_number_are_understood() {
        let dmi = |serial: &str| Dmi {
            product_serial: serial.into(),
            ..Dmi::default()
        };
        let none = dmi("");
        let seed = Seed::find("ro ds=nocloud-net;s=http://h/p/;h=web;i=i-1 quiet", &none).unwrap();
        assert_eq!(seed.url(), Some("http://h/p/"));
        assert_eq!(
            (seed.hostname.as_deref(), seed.instance_id.as_deref()),
            (Some("web"), Some("i-1"))
        );
        let seed = Seed::find("ds=nocloud;seedfrom=/seed/", &none).unwrap();
        assert_eq!((seed.url(), seed.from.as_deref()), (None, Some("/seed/")));
        let seed = Seed::find("ro", &dmi("ds=nocloud;s=https://h/")).unwrap();
        assert_eq!(seed.url(), Some("https://h/"));
        assert_eq!(Seed::find("ds=nocloud", &none), Some(Seed::default()));
        assert_eq!(Seed::find("ds=nocloudy;s=http://h/", &none), None);
        assert_eq!(Seed::find("", &dmi("1234")), None);
    }

    #[test]
    fn fields_of_the_firmware_are_put_in() {
        let temp = tempfile::tempdir().unwrap();
        fs_err::write(temp.path().join("chassis_serial"), "AB/../12\n").unwrap();
        let dmi = Dmi::read_at(temp.path());
        let expanded = |from: &str| expand(from, &dmi);
        assert_eq!(
            expanded("http://h/__dmi.chassis-serial-number__/"),
            "http://h/AB..12/"
        );
        assert_eq!(
            expanded("http://h/__dmi.nothing__/__dmi.x"),
            "http://h/__dmi.nothing__/__dmi.x"
        );
    }

    #[test]
    fn a_directory_is_read_and_the_command_line_counts_more() {
        let temp = tempfile::tempdir().unwrap();
        fs_err::write(temp.path().join("user-data"), "#cloud-config\n").unwrap();
        fs_err::write(
            temp.path().join("meta-data"),
            "instance-id: i-1\nlocal-hostname: a\n",
        )
        .unwrap();
        let seed = Seed {
            from: Some(format!("file://{}/", temp.path().display())),
            hostname: Some("b".into()),
            instance_id: None,
        };
        let data = seed.read_local(&crate::media::NoMedia).unwrap();
        assert_eq!(data.user_data.as_deref(), Some(&b"#cloud-config\n"[..]));
        assert_eq!(
            (data.instance_id.as_deref(), data.hostname.as_deref()),
            (Some("i-1"), Some("b"))
        );
    }
}
