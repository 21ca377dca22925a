//! A sealed boot: its command line is signed and the same on every machine. Which disk and which snapshot
//! this boot is of, systemd-boot tells in variables.
//!
//! Whoever can write the disk can rename entries, and so choose among systems that are signed; that the
//! root is one of these is what the root hash on the signed command line is for.
//!
//! Source: systemd, "Boot Loader Interface".

use crate::cmdline::is_sealed;
use crate::error::InitError;
use cos_sys::device_spec::DeviceSpec;
use cos_sys::locate::{self, Found};
use cos_sys::mount::{Mount, mount};
use cos_sys::tool::Tool;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

/// Where the kernel shows the firmware's variables.
const VARIABLES: &str = "/sys/firmware/efi/efivars";
/// Namespace of the boot loader's variables.
const LOADER: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// No variable looked at is longer, in bytes.
const MAX_VARIABLE: u64 = 64 * 1024;
/// The kernel puts the variable's attributes in front.
const ATTRIBUTES: usize = 4;
/// How long the disk may take to appear.
const TIMEOUT: Duration = Duration::from_mins(1);

/// A signed command line with the words that complete it; any other one as it is.
pub(crate) fn complete(text: String) -> Result<String, InitError> {
    if is_sealed(&text) {
        return Ok(format!("{} {}", text.trim_end(), words()?));
    }
    Ok(text)
}

fn words() -> Result<String, InitError> {
    show_variables()?;
    let name = decode(&variable("LoaderEntrySelected")?);
    let entry = parse_entry(&name).ok_or(InitError::NotAnEntry { name })?;
    let partition = decode(&variable("LoaderDevicePartUUID")?).to_ascii_lowercase();
    let loader = find(&DeviceSpec::PartitionUuid(partition), None)?;
    // Both only tell how this boot came about: without them, it goes on.
    let menu = variable("LoaderEntries").map(|bytes| decode_list(&bytes));
    let standing = Standing::of(&entry, &menu.unwrap_or_default());
    let is_trial = variable("LoaderBootCountPath").is_ok();
    let label = if entry.rank == 0 {
        "COS_RECOVERY"
    } else {
        "COS_STATE"
    };
    let label = DeviceSpec::Label(label.to_owned());
    let source = find(&label, Some(&loader))?;
    let source = source.candidate.lasting_name();
    let (mode, snapshot) = (standing.mode, entry.snapshot);
    let mut words = format!("cos.mode={mode} cos.source={source} cos.snapshot={snapshot}");
    if standing.fallback {
        words.push_str(" cos.fallback");
    }
    if is_trial {
        words.push_str(" cos.trial");
    }
    Ok(words)
}

/// An entry of systemd-boot.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    /// The one with the highest is the active system's. 0 is the recovery system's.
    rank: u64,
    snapshot: String,
}

/// Reads `cos-RANK-SNAPSHOT.conf`; there may be tries behind a `+`.
fn parse_entry(name: &str) -> Option<Entry> {
    let stem = name.strip_suffix(".conf")?;
    let stem = stem.split_once('+').map_or(stem, |(stem, _)| stem);
    let (rank, snapshot) = stem.strip_prefix("cos-")?.split_once('-')?;
    Some(Entry {
        rank: rank.parse().ok()?,
        snapshot: snapshot.to_owned(),
    })
}

/// How what boots stands to the other entries.
#[derive(Debug, PartialEq, Eq)]
struct Standing {
    mode: &'static str,
    /// Something that comes before it was given up: the boot loader puts that behind everything else.
    fallback: bool,
}

impl Standing {
    /// Of `entry` in the boot loader's menu.
    fn of(entry: &Entry, menu: &[String]) -> Self {
        let menu: Vec<Entry> = menu.iter().filter_map(|name| parse_entry(name)).collect();
        let place = menu.iter().position(|other| other == entry);
        let behind = menu.get(place.map_or(menu.len(), |place| place + 1)..);
        let fallback = behind
            .unwrap_or_default()
            .iter()
            .any(|other| other.rank > entry.rank && other.snapshot != entry.snapshot);
        let active = menu.iter().max_by_key(|other| other.rank);
        let is_active = active.is_none_or(|active| active.snapshot == entry.snapshot);
        Self {
            mode: match entry.rank {
                0 => "recovery",
                _ if is_active => "active",
                _ => "passive",
            },
            fallback,
        }
    }
}

fn find(spec: &DeviceSpec, near: Option<&Found>) -> Result<Found, InitError> {
    let near = near.map(|found| &found.candidate.device);
    locate::wait_for(spec, near, TIMEOUT)?.map_err(|present| InitError::NoSource {
        seconds: TIMEOUT.as_secs(),
        wanted: spec.to_string(),
        present,
    })
}

/// Mounts the firmware's variables where nobody did.
fn show_variables() -> Result<(), InitError> {
    let is_empty = fs_err::read_dir(VARIABLES).map_or(true, |mut entries| entries.next().is_none());
    if !is_empty {
        return Ok(());
    }
    // Built into some kernels: what is missing for good fails by its own name below.
    let _may_be_built_in = Tool::find("modprobe", "kmod", None)
        .and_then(|modprobe| modprobe.run(["--quiet", "efivarfs"]));
    mount(&Mount {
        source: "efivarfs".into(),
        target: VARIABLES.into(),
        fstype: "efivarfs".into(),
        options: "ro,nosuid,nodev,noexec".into(),
    })?;
    Ok(())
}

/// The bytes of a variable of the boot loader.
fn variable(name: &'static str) -> Result<Vec<u8>, InitError> {
    let path = Path::new(VARIABLES).join(format!("{name}-{LOADER}"));
    let mut bytes = Vec::new();
    let read =
        fs_err::File::open(&path).and_then(|file| file.take(MAX_VARIABLE).read_to_end(&mut bytes));
    read.map_err(|source| InitError::LoaderVariable { name, source })?;
    Ok(bytes)
}

/// UTF-16 behind the attributes, up to the NUL at its end.
fn decode(bytes: &[u8]) -> String {
    decode_list(bytes).into_iter().next().unwrap_or_default()
}

/// Several such, each ended by a NUL.
fn decode_list(bytes: &[u8]) -> Vec<String> {
    let text = bytes.get(ATTRIBUTES..).unwrap_or_default();
    let units: Vec<u16> = text
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .collect();
    let texts = units.split(|&unit| unit == 0);
    texts
        .map(String::from_utf16_lossy)
        .filter(|text| !text.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(rank: u64, snapshot: &str) -> Entry {
        Entry {
            rank,
            snapshot: snapshot.into(),
        }
    }

    #[test]
    fn an_entry_says_which_snapshot() {
        for (name, read) in [
            ("cos-3-0123456789ab.conf", Some(entry(3, "0123456789ab"))),
            (
                "cos-3-0123456789ab+2-1.conf",
                Some(entry(3, "0123456789ab")),
            ),
            ("cos-0-0123456789ab.conf", Some(entry(0, "0123456789ab"))),
            ("debian.conf", None),
        ] {
            assert_eq!(parse_entry(name), read, "{name}");
        }
    }

    #[test]
    fn the_menu_tells_how_a_boot_came_about() {
        let standing = |entry: &Entry, menu: &[&str]| {
            let menu: Vec<String> = menu.iter().map(|name| format!("{name}.conf")).collect();
            let standing = Standing::of(entry, &menu);
            (standing.mode, standing.fallback)
        };
        let (new, old, recovery) = (entry(31, "b"), entry(20, "a"), entry(0, "a"));
        let menu = [
            "cos-31-b",
            "cos-20-a",
            "cos-0-a",
            "auto-reboot-to-firmware-setup",
        ];
        assert_eq!(standing(&new, &menu), ("active", false));
        // Chosen by hand.
        assert_eq!(standing(&old, &menu), ("passive", false));
        assert_eq!(standing(&recovery, &menu), ("recovery", false));
        let given_up = ["cos-20-a", "cos-0-a", "cos-31-b"];
        assert_eq!(standing(&old, &given_up), ("passive", true));
        assert_eq!(standing(&recovery, &given_up), ("recovery", true));
        assert_eq!(standing(&old, &[]), ("active", false));
    }

    #[test]
    fn a_variable_is_text_behind_its_attributes() {
        let bytes: Vec<u8> = [6, 0, 0, 0]
            .into_iter()
            .chain("cös\0b\0".encode_utf16().flat_map(u16::to_le_bytes))
            .chain([9])
            .collect();
        assert_eq!(decode(&bytes), "cös");
        assert_eq!(decode_list(&bytes), ["cös", "b"]);
        assert_eq!(decode(&[1]), "");
    }
}
