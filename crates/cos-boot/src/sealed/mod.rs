//! Sealed boot: what cOS and systemd-boot agree on.
//!
//! Each system is one signed program on the EFI system partition, with kernel, initrd and a command line
//! that holds the root hash. A small [entry](SealedEntry) names the program; the entry's own name says
//! which snapshot it is of, when it boots, and how often it may still be tried. systemd-boot orders entries
//! by their names and counts tries in them.
//!
//! Source: UAPI Group, "Boot Loader Specification" (type 1 entries, boot counting); loader.conf(5).

mod entry;
mod plan;
#[cfg(test)]
mod tests;

pub use entry::{PresentEntry, SealedEntry, TriesLeft, entry_program, entry_text, program_name};
pub use plan::{SealedPlan, sealed_attempts};

use crate::KernelArguments;
use crate::grub::menu_title;
use cos_verity::RootHash;

/// Directory of the entries, on the EFI system partition.
pub const SEALED_ENTRIES_DIRECTORY: &str = "loader/entries";
/// Directory of the signed programs, on the EFI system partition. Each is named after its content.
pub const SEALED_PROGRAMS_DIRECTORY: &str = "EFI/cos";
/// Configuration of systemd-boot, on the EFI system partition.
pub const LOADER_CONFIGURATION: &str = "loader/loader.conf";
/// Keys that systemd-boot enrols by itself where that is safe, on the EFI system partition.
pub const ENROLMENT_DIRECTORY: &str = "loader/keys/auto";
/// The word on the command line of a sealed system.
pub const SEALED_WORD: &str = "cos.sealed";
/// The word on the command line of a sealed system whose data are encrypted. It is signed, so that nobody can
/// put data that are not in their place.
pub const ENCRYPT_WORD: &str = "cos.encrypt";
/// Without it, systemd would mount partitions of certain types beside encrypted data, whoever made them; and wait
/// 90 seconds for one with a root, while somebody types a passphrase.
const NO_OTHERS: &str = "systemd.gpt_auto=0";

/// The signed command line of a system, whose data are encrypted or not.
pub fn sealed_command_line(
    root_hash: &RootHash,
    arguments: &KernelArguments,
    encrypted: bool,
) -> String {
    let encrypt = if encrypted {
        format!("{ENCRYPT_WORD} {NO_OTHERS} ")
    } else {
        String::new()
    };
    let line = format!("{SEALED_WORD} cos.roothash={root_hash} {encrypt}{arguments}");
    line.trim_end().to_owned()
}

/// `os-release` of a program: its title.
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
