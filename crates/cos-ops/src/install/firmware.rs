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
    let brings_bios = payload.bios.is_some();
    let found = decide(
        request.firmware,
        request.has_uefi,
        brings_bios,
        !payload.efi.is_empty(),
        bios_place,
    )?;
    if !found.bios {
        payload.bios = None;
    }
    if !found.efi {
        payload.efi.clear();
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
struct Loaders {
    bios: bool,
    efi: bool,
}

fn decide(
    wanted: Firmware,
    has_uefi: bool,
    brings_bios: bool,
    brings_efi: bool,
    bios_place: bool,
) -> Result<Loaders, InstallError> {
    let missing = |firmware| InstallError::Firmware { firmware };
    // A machine of an architecture without BIOS, started without UEFI, still reads the EFI's loader.
    let needs_bios = match wanted {
        Firmware::Bios => true,
        Firmware::Efi => false,
        Firmware::Auto => !has_uefi && cfg!(target_arch = "x86_64"),
    };
    if needs_bios && !brings_bios {
        return Err(missing("BIOS"));
    }
    if needs_bios && !bios_place {
        return Err(InstallError::NoBiosPlace);
    }
    if !needs_bios && !brings_efi {
        return Err(missing("UEFI"));
    }
    Ok(Loaders {
        bios: brings_bios && bios_place && wanted != Firmware::Efi,
        efi: brings_efi && wanted != Firmware::Bios,
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
        assert_eq!(decide(Firmware::Auto, true, true, true, true).unwrap(), both);
        assert_eq!(decide(Firmware::Auto, false, true, true, true).unwrap(), both);
        let only_efi = decide(Firmware::Auto, true, true, true, false).unwrap();
        assert_eq!((only_efi.bios, only_efi.efi), (false, true));
        let only_bios = decide(Firmware::Bios, true, true, true, true).unwrap();
        assert_eq!((only_bios.bios, only_bios.efi), (true, false));
        let refused = |wanted, has_uefi, bios, efi, place| {
            decide(wanted, has_uefi, bios, efi, place)
                .unwrap_err()
                .to_string()
        };
        insta::assert_snapshot!(refused(Firmware::Auto, true, true, false, true), @"");
        insta::assert_snapshot!(refused(Firmware::Bios, true, false, true, true), @"");
        insta::assert_snapshot!(refused(Firmware::Bios, true, true, true, false), @"");
    }
}
