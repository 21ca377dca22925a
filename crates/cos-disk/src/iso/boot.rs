//! What makes an image boot: El Torito's catalog for CDs, an MBR for USB sticks.

use super::tree::Tree;
use super::volume::{CATALOG, START};
use super::{IsoOptions, SECTOR, write_error};
use crate::DiskError;
use fs_err::File;
use std::os::unix::fs::FileExt;

/// The boot images of an ISO image; all are files that were added to it before.
#[derive(Debug, Clone, Default)]
pub struct BootImages<'i> {
    /// GRUB for BIOS.
    pub bios: Option<BiosBoot<'i>>,
    /// The path of a FAT image with `EFI/BOOT/BOOT*.EFI`.
    pub efi: Option<&'i str>,
}

impl BootImages<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.bios.is_none() && self.efi.is_none()
    }
}

/// How a BIOS starts an image.
#[derive(Debug, Clone)]
pub struct BiosBoot<'i> {
    /// The path of an image as `grub-mkimage -O i386-pc-eltorito` makes it: `cdboot.img` and a core
    /// image. Patched in place.
    pub eltorito: &'i str,
    /// GRUB's `boot_hybrid.img`, to start from a USB stick as well.
    pub hybrid_mbr: Option<&'i [u8]>,
}

/// Sectors of 512 bytes that a BIOS loads of its image: all of `cdboot.img`.
const LOAD_SECTORS: u16 = 4;

/// Where El Torito's boot information table lies in a boot image, and where what it sums up starts.
const BOOT_INFO: usize = 8;
const BOOT_INFO_SUMMED: usize = 64;

/// Where the block list of the core image lies in an El Torito image: at 0x1f4 of its first sector,
/// which follows `cdboot.img`.
const CORE_BLOCK_LIST: usize = 2548;

/// Where `boot_hybrid.img` keeps the sector of the core image.
const HYBRID_SECTOR: usize = 432;

/// Bytes of an MBR before its disk signature.
const MBR_CODE: usize = 440;

const PLATFORM_BIOS: u8 = 0;
const PLATFORM_EFI: u8 = 0xef;

/// The largest boot image that is patched; those of GRUB have a few MiB at most.
const MAX_BIOS_IMAGE: u64 = 64 << 20;

/// The boot record volume descriptor.
pub(super) fn record() -> [u8; 75] {
    let mut record = [0; 75];
    record[..30].copy_from_slice(b"\0CD001\x01EL TORITO SPECIFICATION");
    record[71..].copy_from_slice(&(CATALOG as u32).to_le_bytes());
    record
}

fn find(tree: &Tree, image: &str) -> Result<(u64, u64), DiskError> {
    let reason = "no such file in the image";
    tree.file(image).ok_or_else(|| DiskError::IsoBootImage {
        image: image.to_owned(),
        reason,
    })
}

/// The boot catalog: a default entry, and a section for UEFI if that is not the default.
pub(super) fn catalog(tree: &Tree, boot: &BootImages<'_>) -> Result<Vec<u8>, DiskError> {
    let bios = match &boot.bios {
        Some(bios) => Some(entry(find(tree, bios.eltorito)?.0, LOAD_SECTORS)),
        None => None,
    };
    let efi = match boot.efi {
        Some(path) => {
            let (first, length) = find(tree, path)?;
            // 0 stands for all up to the end, where the length does not fit.
            let sectors = u16::try_from(length.div_ceil(512)).unwrap_or(0);
            Some(entry(first, sectors))
        }
        None => None,
    };
    let platform = if bios.is_some() {
        PLATFORM_BIOS
    } else {
        PLATFORM_EFI
    };
    let mut catalog = validation(platform).to_vec();
    match (bios, efi) {
        (Some(bios), Some(efi)) => {
            let mut section = [0; 32];
            section[..4].copy_from_slice(&[0x91, PLATFORM_EFI, 1, 0]);
            catalog.extend([bios, section, efi].concat());
        }
        (only, other) => catalog.extend(only.or(other).unwrap_or_default()),
    }
    Ok(catalog)
}

fn validation(platform: u8) -> [u8; 32] {
    let mut entry = [0; 32];
    entry[..2].copy_from_slice(&[1, platform]);
    entry[4..7].copy_from_slice(b"COS");
    entry[30..].copy_from_slice(&[0x55, 0xaa]);
    // All words of the entry sum up to 0.
    let sum = entry.chunks_exact(2).fold(0_u16, |sum, word| {
        sum.wrapping_add(u16::from_le_bytes([word[0], word[1]]))
    });
    entry[28..30].copy_from_slice(&sum.wrapping_neg().to_le_bytes());
    entry
}

/// A bootable entry without emulation.
fn entry(first: u64, sectors: u16) -> [u8; 32] {
    let mut entry = [0; 32];
    entry[0] = 0x88;
    entry[6..8].copy_from_slice(&sectors.to_le_bytes());
    entry[8..12].copy_from_slice(&(first as u32).to_le_bytes());
    entry
}

type Patch = (u64, Vec<u8>);

/// What is to be written beside the metadata: the MBR and the patched BIOS image.
pub(super) fn patches(
    file: &File,
    tree: &Tree,
    options: &IsoOptions,
    sectors: u64,
    boot: &BootImages<'_>,
) -> Result<Vec<Patch>, DiskError> {
    let mut patches = Vec::new();
    let mut code = [0; MBR_CODE];
    if let Some(bios) = &boot.bios {
        let (first, length) = find(tree, bios.eltorito)?;
        patches.push((
            first * SECTOR,
            patched_image(file, bios.eltorito, first, length)?,
        ));
        if let Some(mbr) = bios.hybrid_mbr {
            code = hybrid_code(mbr, first)?;
        }
    }
    if !boot.is_empty() {
        let efi = match boot.efi {
            Some(path) => Some(find(tree, path)?),
            None => None,
        };
        patches.push((0, mbr(&code, options.identity as u32, sectors, efi)));
    }
    Ok(patches)
}

/// Tells a boot image where it is: the table of `genisoimage -boot-info-table`, and the place of
/// GRUB's core image as `xorriso --grub2-boot-info` does.
fn patched_image(file: &File, name: &str, first: u64, length: u64) -> Result<Vec<u8>, DiskError> {
    let refuse = |reason| DiskError::IsoBootImage {
        image: name.to_owned(),
        reason,
    };
    if length > MAX_BIOS_IMAGE {
        return Err(refuse("larger than 64 MiB"));
    }
    if length < CORE_BLOCK_LIST as u64 + 12 {
        return Err(refuse("too short for cdboot.img and a core image"));
    }
    let mut image = vec![0; length as usize];
    let read = file.file().read_exact_at(&mut image, first * SECTOR);
    read.map_err(|source| write_error(file, source))?;
    let core = first * (SECTOR / 512) + 5;
    image[CORE_BLOCK_LIST..][..8].copy_from_slice(&core.to_le_bytes());
    let sum = image[BOOT_INFO_SUMMED..]
        .chunks(4)
        .fold(0_u32, |sum, chunk| {
            let mut word = [0; 4];
            word[..chunk.len()].copy_from_slice(chunk);
            sum.wrapping_add(u32::from_le_bytes(word))
        });
    let table = [START as u32, first as u32, length as u32, sum];
    image[BOOT_INFO..BOOT_INFO_SUMMED].fill(0);
    for (place, number) in image[BOOT_INFO..].chunks_exact_mut(4).zip(table) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    Ok(image)
}

fn hybrid_code(mbr: &[u8], eltorito: u64) -> Result<[u8; MBR_CODE], DiskError> {
    let mut code: [u8; MBR_CODE] = mbr
        .get(..MBR_CODE)
        .filter(|_| mbr.len() == 512)
        .and_then(|code| code.try_into().ok())
        .ok_or_else(|| DiskError::IsoBootImage {
            image: "boot_hybrid.img".to_owned(),
            reason: "not 512 bytes",
        })?;
    let after_cdboot = eltorito * (SECTOR / 512) + 4;
    code[HYBRID_SECTOR..].copy_from_slice(&after_cdboot.to_le_bytes());
    Ok(code)
}

/// An MBR as `isohybrid` makes it: an active entry over all, for BIOSes that boot no stick without,
/// and one for the EFI system partition. The first has type 0, so that UEFI, which refuses tables
/// with overlaps, does not count it.
fn mbr(code: &[u8; MBR_CODE], signature: u32, sectors: u64, efi: Option<(u64, u64)>) -> Vec<u8> {
    let in_sectors = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    let mut mbr = code.to_vec();
    mbr.extend(signature.to_le_bytes());
    mbr.extend([0, 0]);
    let mut entry = |active: u8, kind: u8, first: u64, count: u64| {
        mbr.extend([active, 0xfe, 0xff, 0xff, kind, 0xfe, 0xff, 0xff]);
        mbr.extend(in_sectors(first).to_le_bytes());
        mbr.extend(in_sectors(count).to_le_bytes());
    };
    entry(0x80, 0, 0, sectors * (SECTOR / 512));
    if let Some((first, length)) = efi {
        entry(
            0,
            PLATFORM_EFI,
            first * (SECTOR / 512),
            length.div_ceil(512),
        );
    }
    mbr.resize(510, 0);
    mbr.extend([0x55, 0xaa]);
    mbr
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_validation_entry_sums_to_zero() {
        for platform in [PLATFORM_BIOS, PLATFORM_EFI] {
            let words = validation(platform);
            let sum = words.chunks_exact(2).fold(0_u16, |sum, word| {
                sum.wrapping_add(u16::from_le_bytes([word[0], word[1]]))
            });
            assert_eq!(sum, 0);
        }
    }

    #[test]
    fn an_mbr_is_one_sector_with_its_entries_in_place() {
        let mbr = mbr(&[7; MBR_CODE], 0x1234_5678, 1000, Some((512, 4 << 20)));
        assert_eq!(mbr.len(), 512);
        assert_eq!((mbr[446], mbr[450], mbr[462], mbr[466]), (0x80, 0, 0, 0xef));
        assert_eq!(mbr[470..474], 2048_u32.to_le_bytes());
        assert_eq!(mbr[474..478], 8192_u32.to_le_bytes());
    }
}
