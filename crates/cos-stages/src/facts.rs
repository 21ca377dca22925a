//! What is known of the machine: for conditions, and as the values of templates.
//!
//! The shape of `.Values` is that of github.com/zcalusic/sysinfo, which yip fills it from.

use cos_sys::root_path::Root;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Longest file of /proc, /sys and /etc read for facts, in bytes.
const MAX_BYTES: u64 = 256 << 10;

/// What is known of the machine.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Host name of the running system.
    pub hostname: String,
    /// /etc/machine-id of the root; empty when there is none yet.
    pub machine_id: String,
    /// Identity of the hardware (SMBIOS), or the machine id where it has none.
    pub uuid: String,
    /// Thirty-two random hexadecimal digits.
    pub random: String,
    /// ID of /etc/os-release.
    pub os_id: String,
    /// `NAME` of /etc/os-release.
    pub os_name: String,
    /// `VERSION_ID` of /etc/os-release.
    pub os_version: String,
    /// Architecture, as OCI names it.
    pub architecture: String,
    /// systemd, openrc, or nothing that is known.
    pub service_manager: String,
    /// `.Values` of templates.
    pub values: Value,
}

impl Facts {
    /// Looks at the machine and at the root.
    pub fn probe(root: &Root) -> Self {
        Self {
            values: hardware(),
            ..Self::default()
        }
        .again(root)
    }

    /// Looks again at what steps can change: the names, the root. The hardware stays.
    pub(crate) fn again(&self, root: &Root) -> Self {
        let release = os_release(&text(root, "/etc/os-release"));
        let of = |key: &str| release.get(key).cloned().unwrap_or_default();
        let uname = rustix::system::uname();
        let machine_id = text(root, "/etc/machine-id").trim().to_owned();
        let product = self.values["product"]["uuid"].as_str().unwrap_or_default();
        let mut facts = Self {
            hostname: uname.nodename().to_string_lossy().into_owned(),
            uuid: if product.is_empty() {
                machine_id.clone()
            } else {
                product.to_ascii_lowercase()
            },
            machine_id,
            random: host("/proc/sys/kernel/random/uuid").replace('-', ""),
            os_id: of("ID"),
            os_name: of("NAME"),
            os_version: of("VERSION_ID"),
            architecture: architecture(&uname.machine().to_string_lossy()),
            service_manager: service_manager(root),
            values: self.values.clone(),
        };
        if let (Value::Object(more), Some(values)) = (
            facts.values_of(root, &release, &uname),
            facts.values.as_object_mut(),
        ) {
            values.extend(more);
        }
        facts
    }

    /// The `.` of templates.
    pub(crate) fn template_values(&self) -> Value {
        json!({
            "Values": self.values,
            "MachineID": self.machine_id,
            "UUID": self.uuid,
            "Random": self.random,
            "Hostname": self.hostname,
            "ProtectedID": self.machine_id,
        })
    }

    /// What of `.Values` steps can change.
    fn values_of(
        &self,
        root: &Root,
        release: &BTreeMap<String, String>,
        uname: &rustix::system::Uname,
    ) -> Value {
        let of = |key: &str| release.get(key).map_or("", String::as_str);
        let or = |key: &str, other: &str| {
            release
                .get(key)
                .cloned()
                .unwrap_or_else(|| of(other).into())
        };
        let kernel = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
        json!({
            "Random": self.random,
            "node": {
                "hostname": self.hostname,
                "machineid": self.machine_id,
                "timezone": text(root, "/etc/timezone").trim(),
            },
            "os": {
                "name": or("PRETTY_NAME", "NAME"),
                "vendor": of("ID"),
                "version": of("VERSION_ID"),
                "release": or("VERSION", "VERSION_ID"),
                "architecture": self.architecture,
            },
            "kernel": {
                "release": kernel(uname.release()),
                "version": kernel(uname.version()),
                "architecture": kernel(uname.machine()),
            },
            "system": { "uuid": self.uuid },
        })
    }
}

/// What of `.Values` is there for as long as the machine runs.
fn hardware() -> Value {
    let dmi = |name: &str| host(&format!("/sys/class/dmi/id/{name}"));
    json!({
        "product": {
            "name": dmi("product_name"), "vendor": dmi("sys_vendor"),
            "version": dmi("product_version"), "serial": dmi("product_serial"),
            "uuid": dmi("product_uuid"), "sku": dmi("product_sku"),
        },
        "board": {
            "name": dmi("board_name"), "vendor": dmi("board_vendor"),
            "version": dmi("board_version"), "serial": dmi("board_serial"),
            "assettag": dmi("board_asset_tag"),
        },
        "chassis": {
            "type": dmi("chassis_type").parse::<u32>().unwrap_or(0),
            "vendor": dmi("chassis_vendor"), "version": dmi("chassis_version"),
            "serial": dmi("chassis_serial"), "assettag": dmi("chassis_asset_tag"),
        },
        "bios": {
            "vendor": dmi("bios_vendor"), "version": dmi("bios_version"),
            "date": dmi("bios_date"),
        },
        "cpu": cpu(&host("/proc/cpuinfo")),
        "memory": { "size": memory_mib(&host("/proc/meminfo")) },
        "network": network(),
        "storage": storage(),
    })
}

/// A small file of the running system, blanks at its ends left out; nothing when it cannot be read.
fn host(path: &str) -> String {
    Root::open(Path::new("/"))
        .map(|root| text(&root, path))
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn text(root: &Root, path: &str) -> String {
    match root.read(Path::new(path), MAX_BYTES) {
        Ok(Some(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
        // What is not known is empty, as in yip.
        Ok(None) | Err(_) => String::new(),
    }
}

fn os_release(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| {
            let (key, value) = line.trim().split_once('=')?;
            let value = shlex::Shlex::new(value).next().unwrap_or_default();
            Some((key.to_owned(), value))
        })
        .collect()
}

/// OCI's name of a kernel's architecture.
fn architecture(machine: &str) -> String {
    match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "armv7l" | "armv6l" => "arm",
        "i686" | "i586" | "i386" => "386",
        other => other,
    }
    .to_owned()
}

fn service_manager(root: &Root) -> String {
    let has = |path: &str| root.exists(Path::new(path));
    if has("/usr/lib/systemd/systemd") || has("/lib/systemd/systemd") {
        "systemd".into()
    } else if has("/sbin/openrc") || has("/usr/sbin/openrc") {
        "openrc".into()
    } else {
        String::new()
    }
}

fn cpu(info: &str) -> Value {
    let first = |key: &str| {
        info.lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.trim() == key)
            .map(|(_, value)| value.trim().to_owned())
            .unwrap_or_default()
    };
    let threads = info
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let cores = first("cpu cores").parse::<usize>().unwrap_or(threads);
    json!({
        "vendor": first("vendor_id"), "model": first("model name"),
        "cpus": threads.checked_div(first("siblings").parse().unwrap_or(threads)).unwrap_or(1),
        "cores": cores, "threads": threads,
    })
}

fn memory_mib(info: &str) -> u64 {
    info.lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|kib| kib.parse::<u64>().ok())
        .map_or(0, |kib| kib / 1024)
}

fn names(directory: &str) -> Vec<String> {
    let Ok(root) = Root::open(Path::new("/")) else {
        return Vec::new();
    };
    match root.list(Path::new(directory)) {
        Ok(Some(names)) => names
            .iter()
            .map(|name| name.to_string_lossy().into_owned())
            .collect(),
        Ok(None) | Err(_) => Vec::new(),
    }
}

/// The network interfaces that hardware stands behind.
fn network() -> Value {
    let list: Vec<Value> = names("/sys/class/net")
        .into_iter()
        .filter(|name| Path::new(&format!("/sys/class/net/{name}/device")).exists())
        .map(|name| {
            let address = host(&format!("/sys/class/net/{name}/address"));
            json!({ "name": name, "macaddress": address })
        })
        .collect();
    Value::Array(list)
}

fn storage() -> Value {
    let list: Vec<Value> = names("/sys/class/block")
        .into_iter()
        .filter(|name| Path::new(&format!("/sys/class/block/{name}/device")).exists())
        .map(|name| {
            let of = |what: &str| host(&format!("/sys/class/block/{name}/{what}"));
            let gigabytes = of("size").parse::<u64>().unwrap_or(0) * 512 / 1_000_000_000;
            json!({
                "name": name, "model": of("device/model"), "vendor": of("device/vendor"),
                "serial": of("device/serial"), "size": gigabytes,
            })
        })
        .collect();
    Value::Array(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn os_release_is_read_as_a_shell_would() {
        let release = os_release("NAME=\"Debian GNU/Linux\"\nID=debian\n# x\nVERSION_ID='13'\n");
        assert_eq!(release["NAME"], "Debian GNU/Linux");
        assert_eq!((&*release["ID"], &*release["VERSION_ID"]), ("debian", "13"));
    }

    #[test]
    fn this_machine_is_known() {
        let facts = Facts::probe(&Root::open(Path::new("/")).unwrap());
        assert!(!facts.os_id.is_empty() && facts.random.len() == 32);
        assert!(facts.values["memory"]["size"].as_u64().unwrap() > 0);
        assert!(facts.values["cpu"]["threads"].as_u64().unwrap() > 0);
    }
}
