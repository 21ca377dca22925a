//! Sealed boot: what cOS and systemd-boot agree on.
//!
//! Each system is one signed program on the EFI system partition, with kernel, initrd and a command line
//! that holds the root hash. systemd-boot orders them by their names; the name says which snapshot it is
//! of, since its signed command line cannot.
//!
//! Source: UAPI Group, "Boot Loader Specification" (type 2 entries); loader.conf(5).

use crate::grub::menu_title;
use crate::{KernelArguments, SnapshotId};
use cos_verity::RootHash;
use std::fmt;

/// Directory of the entries on the EFI system partition.
pub const SEALED_ENTRIES_DIRECTORY: &str = "EFI/Linux";
/// Configuration of systemd-boot, on the EFI system partition.
pub const LOADER_CONFIGURATION: &str = "loader/loader.conf";
/// Keys that systemd-boot enrols by itself where that is safe, on the EFI system partition.
pub const ENROLMENT_DIRECTORY: &str = "loader/keys/auto";
/// The word on the command line of a sealed system.
pub const SEALED_WORD: &str = "cos.sealed";
/// The word on the command line of a sealed system whose data are encrypted. It is signed, so that nobody can
/// put data that are not in their place.
pub const ENCRYPT_WORD: &str = "cos.encrypt";
/// Without it, systemd would mount partitions of certain types beside encrypted data, whoever made them; and wait 90
/// seconds for one with a root, while somebody types a passphrase.
const NO_OTHERS: &str = "systemd.gpt_auto=0";

/// The entry of one system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedEntry {
    /// The entry with the highest one boots first. 0 is the recovery system's.
    pub generation: u64,
    /// The snapshot.
    pub snapshot: SnapshotId,
}

impl SealedEntry {
    /// The entry of the recovery system, which comes behind all others.
    pub fn recovery(snapshot: SnapshotId) -> Self {
        Self {
            generation: 0,
            snapshot,
        }
    }

    /// Whether it is the recovery system's.
    pub fn is_recovery(&self) -> bool {
        self.generation == 0
    }

    /// Reads the name of an entry. `None` if it is none of cOS.
    pub fn parse(name: &str) -> Option<Self> {
        let stem = name.strip_suffix(".efi")?;
        let (generation, snapshot) = stem.strip_prefix("cos-")?.split_once('-')?;
        Some(Self {
            generation: generation.parse().ok()?,
            snapshot: snapshot.parse().ok()?,
        })
    }
}

impl fmt::Display for SealedEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cos-{}-{}.efi", self.generation, self.snapshot)
    }
}

/// The signed command line of a system, whose data are encrypted or not.
pub fn sealed_command_line(
    root_hash: &RootHash,
    arguments: &KernelArguments,
    encrypted: bool,
) -> String {
    let line = if encrypted {
        format!("{SEALED_WORD} cos.roothash={root_hash} {ENCRYPT_WORD} {NO_OTHERS} {arguments}")
    } else {
        format!("{SEALED_WORD} cos.roothash={root_hash} {arguments}")
    };
    line.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

/// `os-release` of an entry: its title. Without versions, entries are ordered by their names alone.
pub fn sealed_os_release(title: &str) -> String {
    let title = menu_title(title);
    format!("ID=cos\nPRETTY_NAME=\"{title}\"\n")
}

/// The text of `loader.conf`. In a virtual machine that is in setup mode, keys are enrolled without a
/// question; elsewhere the menu offers it.
pub fn loader_configuration(timeout: u32) -> String {
    format!(
        "# Written by cOS. Changes here are lost.\ntimeout {timeout}\neditor no\nauto-firmware yes\n\
         secure-boot-enroll if-safe\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_as_they_are_named() {
        let id: SnapshotId = "0123456789ab".parse().unwrap();
        let entry = SealedEntry {
            generation: 12,
            snapshot: id.clone(),
        };
        assert_eq!(entry.to_string(), "cos-12-0123456789ab.efi");
        assert_eq!(SealedEntry::parse(&entry.to_string()), Some(entry));
        assert!(SealedEntry::recovery(id).is_recovery());
        for foreign in [
            "cos-1-x.efi",
            "cos-0123456789ab.efi",
            "cos-1-0123456789ab",
            "a.efi",
        ] {
            assert_eq!(SealedEntry::parse(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn the_command_line_names_the_root_hash_and_no_disk() {
        let root_hash = "ab".repeat(32).parse().unwrap();
        let arguments = KernelArguments::new("panic=30").unwrap();
        let line = |encrypted| sealed_command_line(&root_hash, &arguments, encrypted);
        let hash = "ab".repeat(32);
        assert_eq!(
            line(false),
            format!("cos.sealed cos.roothash={hash} panic=30")
        );
        assert_eq!(
            line(true),
            format!("cos.sealed cos.roothash={hash} cos.encrypt systemd.gpt_auto=0 panic=30")
        );
    }
}
