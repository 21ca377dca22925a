//! Which boot loaders go onto the disk.

use super::{InstallError, InstallRequest};
use crate::build::payload::Payload;
use std::fmt;
use std::str::FromStr;

/// Which boot loaders go onto the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Firmware {
    /// All that the image brings, among them that of this machine.
    #[default]
    Auto,
    /// For machines with a BIOS.
    Bios,
    /// For machines with UEFI.
    Efi,
}

impl FromStr for Firmware {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "auto" => Ok(Self::Auto),
            "bios" => Ok(Self::Bios),
            "efi" | "uefi" => Ok(Self::Efi),
            _ => Err(format!("unknown firmware {name:?}: auto, bios or efi")),
        }
    }
}

impl fmt::Display for Firmware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Bios => "bios",
            Self::Efi => "efi",
        })
    }
}

/// Leaves the boot loaders in the payload that are wanted, once it is sure that they suffice.
/// `bios_place`: whether a BIOS' loader has a place on the disk.
pub(super) fn choose(
    request: &InstallRequest,
    payload: &mut Payload,
    bios_place: bool,
) -> Result<(), InstallError> {
    let brought = Loaders {
        bios: payload.bios.is_some(),
        efi: !payload.efi.is_empty(),
    };
    let found = decide(request.firmware, request.has_uefi, brought, bios_place)?;
    if !found.bios {
        payload.bios = None;
    }
    if !found.efi {
        payload.efi.clear();
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Loaders {
    bios: bool,
    efi: bool,
}

fn decide(
    wanted: Firmware,
    has_uefi: bool,
    brought: Loaders,
    bios_place: bool,
) -> Result<Loaders, InstallError> {
    let missing = |firmware| InstallError::Firmware { firmware };
    // A machine of an architecture without BIOS, started without UEFI, still reads the EFI's loader.
    let needs_bios = match wanted {
        Firmware::Bios => true,
        Firmware::Efi => false,
        Firmware::Auto => !has_uefi && cfg!(target_arch = "x86_64"),
    };
    if needs_bios && !brought.bios {
        return Err(missing("BIOS"));
    }
    if needs_bios && !bios_place {
        return Err(InstallError::NoBiosPlace);
    }
    if !needs_bios && !brought.efi {
        return Err(missing("UEFI"));
    }
    Ok(Loaders {
        bios: brought.bios && bios_place && wanted != Firmware::Efi,
        efi: brought.efi && wanted != Firmware::Bios,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loader_of_this_machine_must_be_there_and_others_may() {
        let both = Loaders {
            bios: true,
            efi: true,
        };
        let decided = |wanted, has_uefi| decide(wanted, has_uefi, both, true).unwrap();
        assert_eq!(decided(Firmware::Auto, true), both);
        assert_eq!(decided(Firmware::Auto, false), both);
        let only_efi = decide(Firmware::Auto, true, both, false).unwrap();
        assert_eq!((only_efi.bios, only_efi.efi), (false, true));
        let only_bios = decided(Firmware::Bios, true);
        assert_eq!((only_bios.bios, only_bios.efi), (true, false));
        let refused = |wanted, bios, efi, place| {
            let brought = Loaders { bios, efi };
            decide(wanted, true, brought, place)
                .unwrap_err()
                .to_string()
        };
        insta::assert_snapshot!(refused(Firmware::Auto, true, false, true), @"the image brings no boot loader for UEFI");
        insta::assert_snapshot!(refused(Firmware::Bios, false, true, true), @"the image brings no boot loader for BIOS");
        insta::assert_snapshot!(refused(Firmware::Bios, true, true, false), @"a BIOS could not boot from these partitions");
    }
}
