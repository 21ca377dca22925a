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
use std::path::Path;
use std::time::Duration;

/// Where the kernel shows the firmware's variables.
const VARIABLES: &str = "/sys/firmware/efi/efivars";
/// Namespace of the boot loader's variables.
const LOADER: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// No variable looked at is longer, in bytes.
const MAX_VARIABLE: usize = 1024;
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
    let name = variable("LoaderEntrySelected")?;
    let entry = parse_entry(&name).ok_or(InitError::NotAnEntry { name })?;
    let partition = variable("LoaderDevicePartUUID")?.to_ascii_lowercase();
    let loader = find(&DeviceSpec::PartitionUuid(partition), None)?;
    let (mode, label) = if entry.generation == 0 {
        ("recovery", "COS_RECOVERY")
    } else {
        ("active", "COS_STATE")
    };
    let label = DeviceSpec::Label(label.to_owned());
    let source = find(&label, Some(&loader))?;
    let source = source.candidate.lasting_name();
    let snapshot = entry.snapshot;
    Ok(format!(
        "cos.mode={mode} cos.source={source} cos.snapshot={snapshot}"
    ))
}

/// An entry of systemd-boot.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    /// 0 is the recovery system's.
    generation: u64,
    snapshot: String,
}

/// Reads `cos-GENERATION-SNAPSHOT.efi`; the boot loader may have counted tries behind a `+`.
fn parse_entry(name: &str) -> Option<Entry> {
    let stem = name.strip_suffix(".efi").unwrap_or(name);
    let stem = stem.split_once('+').map_or(stem, |(stem, _)| stem);
    let (generation, snapshot) = stem.strip_prefix("cos-")?.split_once('-')?;
    Some(Entry {
        generation: generation.parse().ok()?,
        snapshot: snapshot.to_owned(),
    })
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

/// A variable of the boot loader as text.
fn variable(name: &'static str) -> Result<String, InitError> {
    let path = Path::new(VARIABLES).join(format!("{name}-{LOADER}"));
    let bytes = fs_err::read(&path).map_err(|source| InitError::LoaderVariable { name, source })?;
    Ok(decode(&bytes))
}

/// UTF-16 behind the attributes, up to the NUL at its end.
fn decode(bytes: &[u8]) -> String {
    let text = bytes.get(ATTRIBUTES..).unwrap_or_default();
    let units = text.iter().take(MAX_VARIABLE).copied().collect::<Vec<u8>>();
    let units = units
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let units: Vec<u16> = units.take_while(|&unit| unit != 0).collect();
    String::from_utf16_lossy(&units)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_says_which_snapshot() {
        let entry = |generation, snapshot: &str| {
            Some(Entry {
                generation,
                snapshot: snapshot.into(),
            })
        };
        assert_eq!(
            parse_entry("cos-3-0123456789ab.efi"),
            entry(3, "0123456789ab")
        );
        assert_eq!(
            parse_entry("cos-3-0123456789ab+2-1.efi"),
            entry(3, "0123456789ab")
        );
        assert_eq!(
            parse_entry("cos-0-0123456789ab.efi"),
            entry(0, "0123456789ab")
        );
        assert_eq!(parse_entry("debian.efi"), None);
    }

    #[test]
    fn a_variable_is_text_behind_its_attributes() {
        let bytes: Vec<u8> = [6, 0, 0, 0]
            .into_iter()
            .chain("cös".encode_utf16().flat_map(u16::to_le_bytes))
            .chain([0, 0, 9])
            .collect();
        assert_eq!(decode(&bytes), "cös");
        assert_eq!(decode(&[1]), "");
    }
}
