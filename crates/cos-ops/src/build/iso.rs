//! `cos build iso`: one ISO for CD and USB stick, for BIOS and UEFI.

use super::disk::fat_entry;
use super::payload::{BuildRequest, Payload, PlacedFile, create, step};
use super::sizes::MIB;
use crate::OpsError;
use cos_boot::{DISK_LOADER_DIRECTORY, MediumLoader};
use cos_disk::fat::{self, FatEntry, FatOptions};
use cos_disk::iso::{BiosBoot, BootImages, IsoOptions, IsoWriter, uuid_of};
use cos_disk::place::Placement;
use cos_disk::{DiskError, Source};
use cos_events::Monitor;
use cos_store::{Action, Snapshot};
use fs_err::File;
use serde::Serialize;
use std::path::PathBuf;

/// Seconds the boot menu waits.
const MENU_TIMEOUT: u32 = 2;
/// GRUB's El Torito image, on the ISO.
const ELTORITO: &str = "boot/eltorito.img";
/// The EFI system partition as a file, on the ISO.
const EFI_IMAGE: &str = "boot/efi.img";

/// What ISO to build.
#[derive(Debug, Clone)]
pub struct IsoRequest {
    /// What from, and where to.
    pub build: BuildRequest,
    /// Volume label.
    pub label: String,
}

/// A written ISO.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IsoResult {
    /// Where it is.
    pub path: PathBuf,
    /// Bytes in all.
    pub size: u64,
    /// Volume label.
    pub label: String,
    /// UUID of the file system, as blkid prints it.
    pub uuid: String,
    /// The snapshot on it.
    pub snapshot: Snapshot,
}

/// Builds the ISO.
pub fn build_iso(request: &IsoRequest, monitor: &dyn Monitor) -> Result<IsoResult, OpsError> {
    let path = &request.build.output;
    let medium = |source| OpsError::Medium {
        path: path.clone(),
        source,
    };
    let output = Placement::create(path).map_err(medium)?;
    let payload = Payload::build(&request.build, None, Action::BuildIso, monitor)?;
    if payload.bios.is_none() && payload.efi.is_empty() {
        return Err(OpsError::NoLoader {
            firmware: "BIOS or UEFI",
        });
    }
    let efi_image = if payload.efi.is_empty() {
        None
    } else {
        Some(make_efi_image(&payload)?)
    };
    let summary = step(monitor, "write the ISO", || {
        write_iso(output.file(), request, &payload, efi_image.as_ref()).map_err(medium)
    })?;
    step(monitor, "flush the ISO", || output.finish().map_err(medium))?;
    Ok(IsoResult {
        path: path.clone(),
        size: summary.bytes,
        label: request.label.clone(),
        uuid: summary.uuid,
        snapshot: payload.snapshot,
    })
}

fn loader_configuration(payload: &Payload) -> Vec<u8> {
    let uuid = uuid_of(payload.identity.wide_number("iso file system"));
    let loader = MediumLoader {
        title: payload.title.clone(),
        uuid,
        timeout: MENU_TIMEOUT,
    };
    loader.render().into_bytes()
}

fn configuration_path() -> String {
    format!("{DISK_LOADER_DIRECTORY}/grub.cfg")
}

/// The EFI system partition, just large enough, as a file in the payload's directory.
fn make_efi_image(payload: &Payload) -> Result<PlacedFile, OpsError> {
    let path = payload.directory.path().join("efi.img");
    let configuration = PlacedFile::bytes(configuration_path(), loader_configuration(payload));
    let files = || payload.efi.iter().chain([&configuration]);
    let content: u64 = files()
        .map(|file| file.size.next_multiple_of(1 << 12))
        .sum();
    let size = (content + content / 64 + 3 * MIB).next_multiple_of(MIB);
    let entries: Vec<FatEntry> = files().map(fat_entry).collect();
    let options = FatOptions {
        label: "COS_GRUB".to_owned(),
        volume_id: payload.identity.number("efi file system"),
        time: payload.time,
    };
    let file = create(&path)?;
    let sized = file.file().set_len(size);
    sized.map_err(|source| OpsError::Write {
        path: path.clone(),
        source,
    })?;
    fat::format(&file, 0, size, &options, &entries).map_err(|source| OpsError::Medium {
        path: path.clone(),
        source,
    })?;
    Ok(PlacedFile {
        path: EFI_IMAGE.to_owned(),
        source: Source::Host(path),
        size,
    })
}

fn write_iso(
    file: &File,
    request: &IsoRequest,
    payload: &Payload,
    efi_image: Option<&PlacedFile>,
) -> Result<cos_disk::iso::IsoSummary, DiskError> {
    let options = IsoOptions {
        volume_id: request.label.clone(),
        time: payload.time,
        identity: payload.identity.wide_number("iso file system"),
    };
    let mut writer = IsoWriter::create(file, options)?;
    if let Some(bios) = &payload.bios {
        writer.add_file(ELTORITO, &bios.eltorito)?;
    }
    for placed in efi_image.into_iter().chain(&payload.files) {
        add(&mut writer, placed)?;
    }
    writer.add_file(&configuration_path(), &loader_configuration(payload))?;
    // GRUB started from the EFI image of a USB stick may take the whole stick, not that image, for
    // where it came from; a signed one then looks here for its configuration.
    for placed in payload
        .efi
        .iter()
        .filter(|file| file.path.ends_with("/grub.cfg"))
    {
        add(&mut writer, placed)?;
    }
    let bios = payload.bios.as_ref().map(|bios| BiosBoot {
        eltorito: ELTORITO,
        hybrid_mbr: Some(&bios.hybrid_boot_sector),
    });
    writer.finish(&BootImages {
        bios,
        efi: efi_image.map(|_| EFI_IMAGE),
    })
}

fn add(writer: &mut IsoWriter<'_>, placed: &PlacedFile) -> Result<(), DiskError> {
    match &placed.source {
        Source::Bytes(bytes) => writer.add_file(&placed.path, bytes),
        Source::Host(path) => {
            let failed = |source| DiskError::ReadContent {
                path: path.clone(),
                source,
            };
            let mut file = File::open(path).map_err(failed)?;
            writer.add_file_from(&placed.path, &mut file, placed.size)
        }
    }
}
