//! Embedding GRUB for BIOS, as `grub-bios-setup` does it.
//!
//! Offsets from `grub-core/boot/i386/pc/{boot,diskboot}.S` and
//! `include/grub/i386/pc/boot.h` (GRUB 2.06 to 2.12).

use crate::DiskError;
use crate::gpt::{Partition, SECTOR};
use fs_err::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes of boot code in an MBR, before the disk signature and the partition entries.
const BOOT_CODE: usize = 440;

/// Where the BIOS parameter block of a formatted disk lies in its boot sector; kept as it is.
const PARAMETER_BLOCK: std::ops::Range<usize> = 0x3..0x5a;

/// Where `boot.img` keeps the LBA of the core image.
const KERNEL_SECTOR: usize = 0x5c;

/// Where `boot.img` keeps the drive to boot from; 0xff is the one the BIOS says.
const BOOT_DRIVE: usize = 0x64;

/// Where `boot.img` jumps past the check that only floppies need; two `nop`s take it out.
const DRIVE_CHECK: usize = 0x66;

/// Where `diskboot.img`, the first sector of the core image, keeps its first block list entry:
/// start (u64), sectors (u16), segment (u16).
const BLOCK_LIST: usize = 0x1f4;

/// The segment the rest of the core image is loaded to: 0x8200 / 16.
const KERNEL_SEGMENT: u16 = 0x820;

/// The boot images GRUB brings.
#[derive(Debug, Clone, Copy)]
pub struct GrubImages<'i> {
    /// `boot.img` of the i386-pc target: exactly one sector.
    pub boot: &'i [u8],
    /// The core image that `grub-mkimage -O i386-pc` made.
    pub core: &'i [u8],
}

/// Puts GRUB's code into the MBR and its core image into the BIOS boot partition.
///
/// The partition table in sector 0 stays.
pub fn install(
    file: &File,
    partition: &Partition,
    images: GrubImages<'_>,
) -> Result<(), DiskError> {
    let mbr = boot_sector(images.boot, partition.start_lba)?;
    let core = core_image(images.core, partition)?;
    let written = || -> io::Result<()> {
        file.file().write_all_at(&core, partition.offset())?;
        file.file().write_all_at(
            &mbr[PARAMETER_BLOCK.end..BOOT_CODE],
            PARAMETER_BLOCK.end as u64,
        )?;
        file.file().write_all_at(&mbr[..PARAMETER_BLOCK.start], 0)
    };
    written().map_err(|source| DiskError::InstallGrub {
        path: file.path().into(),
        source,
    })
}

/// Puts GRUB's core image alone into the BIOS boot partition. What starts it is the [`boot_code`].
pub fn install_core(file: &File, partition: &Partition, core: &[u8]) -> Result<(), DiskError> {
    let core = core_image(core, partition)?;
    let written = file.file().write_all_at(&core, partition.offset());
    written.map_err(|source| DiskError::InstallGrub {
        path: file.path().into(),
        source,
    })
}

/// The code that starts GRUB's core image from the BIOS boot partition, for an MBR without a BIOS
/// parameter block.
pub fn boot_code(boot: &[u8], partition: &Partition) -> Result<[u8; BOOT_CODE], DiskError> {
    let sector = boot_sector(boot, partition.start_lba)?;
    let mut code = [0; BOOT_CODE];
    code.copy_from_slice(&sector[..BOOT_CODE]);
    code[PARAMETER_BLOCK].fill(0);
    Ok(code)
}

fn boot_sector(boot: &[u8], core_lba: u64) -> Result<[u8; SECTOR as usize], DiskError> {
    let mut mbr: [u8; SECTOR as usize] = boot
        .try_into()
        .ok()
        .filter(|image: &[u8; SECTOR as usize]| image[510..] == [0x55, 0xaa])
        .ok_or(DiskError::GrubImage {
            image: "boot.img",
            reason: "not a boot sector",
        })?;
    mbr[KERNEL_SECTOR..][..8].copy_from_slice(&core_lba.to_le_bytes());
    mbr[BOOT_DRIVE] = 0xff;
    mbr[DRIVE_CHECK..][..2].copy_from_slice(&[0x90, 0x90]);
    Ok(mbr)
}

/// The core image in whole sectors, with the place of all but its first.
fn core_image(core: &[u8], partition: &Partition) -> Result<Vec<u8>, DiskError> {
    if core.len() <= SECTOR as usize {
        return Err(DiskError::GrubImage {
            image: "core.img",
            reason: "shorter than two sectors",
        });
    }
    let sectors = (core.len() as u64).div_ceil(SECTOR);
    if sectors > partition.sectors {
        return Err(DiskError::GrubCoreTooLarge {
            needed: core.len() as u64,
            available: partition.bytes(),
        });
    }
    let rest = u16::try_from(sectors - 1).map_err(|_| DiskError::GrubImage {
        image: "core.img",
        reason: "larger than 32 MiB",
    })?;
    let mut image = core.to_vec();
    image.resize((sectors * SECTOR) as usize, 0);
    let entry = &mut image[BLOCK_LIST..][..12];
    entry[..8].copy_from_slice(&(partition.start_lba + 1).to_le_bytes());
    entry[8..10].copy_from_slice(&rest.to_le_bytes());
    entry[10..].copy_from_slice(&KERNEL_SEGMENT.to_le_bytes());
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpt::types;
    use uuid::Uuid;

    fn partition(sectors: u64) -> Partition {
        Partition {
            name: "bios".into(),
            type_guid: types::BIOS_BOOT,
            unique_guid: Uuid::nil(),
            start_lba: 2048,
            sectors,
            attributes: 0,
        }
    }

    fn boot() -> [u8; 512] {
        let mut boot = [0x11; 512];
        boot[510..].copy_from_slice(&[0x55, 0xaa]);
        boot
    }

    #[test]
    fn code_and_places_go_in_and_the_table_stays() {
        let file = File::from_parts(tempfile::tempfile().unwrap(), "disk");
        file.file().write_all_at(&[0xee; 512], 0).unwrap();
        let (boot, core) = (boot(), [0x22; 1300]);
        install(
            &file,
            &partition(2048),
            GrubImages {
                boot: &boot,
                core: &core,
            },
        )
        .unwrap();
        let mut mbr = [0; 512];
        file.file().read_exact_at(&mut mbr, 0).unwrap();
        assert_eq!(mbr[KERNEL_SECTOR..][..8], 2048_u64.to_le_bytes());
        assert_eq!(
            (mbr[BOOT_DRIVE], mbr[DRIVE_CHECK], mbr[0]),
            (0xff, 0x90, 0x11)
        );
        assert_eq!(
            (mbr[439], mbr[440], mbr[511], mbr[3]),
            (0x11, 0xee, 0xee, 0xee)
        );
        let mut first = [0; 512];
        file.file().read_exact_at(&mut first, 1 << 20).unwrap();
        assert_eq!(first[BLOCK_LIST..], [1, 8, 0, 0, 0, 0, 0, 0, 2, 0, 0x20, 8]);
    }

    #[test]
    fn unusable_images_are_refused() {
        let file = File::from_parts(tempfile::tempfile().unwrap(), "disk");
        let attempt = |boot: &[u8], core: &[u8], sectors| {
            install(&file, &partition(sectors), GrubImages { boot, core }).unwrap_err()
        };
        let error = attempt(&[0; 512], &[0; 1300], 9);
        assert!(matches!(
            error,
            DiskError::GrubImage {
                image: "boot.img",
                ..
            }
        ));
        let error = attempt(&boot(), &[0; 512], 9);
        assert!(matches!(
            error,
            DiskError::GrubImage {
                image: "core.img",
                ..
            }
        ));
        let error = attempt(&boot(), &[0; 1300], 2);
        assert!(matches!(
            error,
            DiskError::GrubCoreTooLarge {
                needed: 1300,
                available: 1024
            }
        ));
    }
}
