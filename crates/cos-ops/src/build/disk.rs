//! `cos build disk`: a disk that boots by BIOS and by UEFI.

use super::payload::{BuildRequest, Payload, PlacedFile, create, step};
use super::plan::{DiskDescription, DiskPlan, Extras};
use super::sizes::{ContentSizes, MIB, Role, SizeRequest};
use crate::OpsError;
use crate::sealed::SealingKeys;
use cos_boot::{DISK_LOADER_DIRECTORY, DiskLoader};
use cos_disk::ext4::{self, Ext4Content, Ext4Entry, Ext4Options, Ext4Tools};
use cos_disk::fat::{self, FatContent, FatEntry, FatOptions};
use cos_disk::format::{DiskFormat, convert};
use cos_disk::grub_bios::{self, GrubImages};
use cos_disk::place::Placement;
use cos_disk::{DiskError, gpt};
use cos_events::Monitor;
use cos_store::{Action, Snapshot};
use fs_err::File;
use serde::Serialize;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// Largest cloud-config file taken, bytes.
pub(crate) const MAX_CLOUD_CONFIG: u64 = 1 << 20;
/// COS_PERSISTENT is made small and grows to whole disks: its journal is sized for that.
const PERSISTENT_JOURNAL: u64 = 32 * MIB;
/// What encryption takes of COS_OEM, with room to spare.
const ENCRYPTION_HEADER: u64 = 4 * MIB;
/// Seconds the boot menu waits.
const MENU_TIMEOUT: u32 = 2;

/// What disk to build.
#[derive(Debug, Clone)]
pub struct DiskRequest {
    /// What from, and where to.
    pub build: BuildRequest,
    /// Format of the result.
    pub format: DiskFormat,
    /// Sizes the user wants.
    pub sizes: SizeRequest,
    /// Keys, if the disk is to be a sealed one.
    pub sealing: Option<SealingKeys>,
    /// Cloud-config files for COS_OEM.
    pub cloud_configs: Vec<PathBuf>,
    /// Where to look for programs; by default where root's login does.
    pub search_path: Option<OsString>,
}

/// A planned or written disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DiskResult {
    /// Where it is; absent when it was only planned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// The snapshot on it.
    pub snapshot: Snapshot,
    /// Its partitions.
    pub disk: DiskDescription,
    /// The partitions, for people.
    #[serde(skip)]
    pub table: String,
}

/// Reads the image and says what the disk would be.
pub fn plan_disk(request: &DiskRequest, monitor: &dyn Monitor) -> Result<DiskResult, OpsError> {
    let (payload, _, plan) = prepare(request, monitor)?;
    Ok(result(None, &payload, &plan))
}

/// Builds the disk.
pub fn build_disk(request: &DiskRequest, monitor: &dyn Monitor) -> Result<DiskResult, OpsError> {
    let path = &request.build.output;
    let medium = |source| OpsError::Medium {
        path: path.clone(),
        source,
    };
    let tools = Ext4Tools::find(request.search_path.as_deref()).map_err(medium)?;
    let output = Placement::create(path).map_err(medium)?;
    let (payload, oem, plan) = prepare(request, monitor)?;
    if request.format == DiskFormat::Raw {
        write_disk(output.file(), &payload, oem, &plan, &tools, path, monitor)?;
    } else {
        let raw = create(&payload.directory.path().join("disk.raw"))?;
        write_disk(&raw, &payload, oem, &plan, &tools, path, monitor)?;
        step(monitor, "convert the disk", || {
            convert(&raw, request.format, &output).map_err(medium)
        })?;
    }
    step(monitor, "flush the disk", || {
        output.finish().map_err(medium)
    })?;
    Ok(result(Some(path.clone()), &payload, &plan))
}

fn result(path: Option<PathBuf>, payload: &Payload, plan: &DiskPlan) -> DiskResult {
    DiskResult {
        path,
        snapshot: payload.snapshot.clone(),
        disk: plan.describe(),
        table: plan.to_string(),
    }
}

fn prepare(
    request: &DiskRequest,
    monitor: &dyn Monitor,
) -> Result<(Payload, Vec<PlacedFile>, DiskPlan), OpsError> {
    let oem = read_cloud_configs(&request.cloud_configs)?;
    let payload = Payload::build(
        &request.build,
        request.sealing.as_ref(),
        Action::BuildDisk,
        monitor,
    )?;
    let sizes = |files: &[PlacedFile]| files.iter().map(|file| file.size).collect();
    let mut content = ContentSizes {
        snapshot: payload.sizes(),
        loader: sizes(&payload.efi),
        program: payload.program_size(),
        oem: sizes(&oem),
    };
    if request.sealing.as_ref().is_some_and(SealingKeys::encrypt) {
        content.oem.push(ENCRYPTION_HEADER);
    }
    let plan = DiskPlan::new(
        &request.sizes,
        &Extras::default(),
        &payload.identity,
        &content,
    )?;
    Ok((payload, oem, plan))
}

/// Cloud-config may hold secrets: its files keep their order by a number in front of their name.
pub(crate) fn read_cloud_configs(paths: &[PathBuf]) -> Result<Vec<PlacedFile>, OpsError> {
    let mut files = Vec::new();
    for (index, path) in paths.iter().enumerate() {
        let failed = |source| OpsError::CloudConfig {
            path: path.clone(),
            source,
        };
        if fs_err::metadata(path).map_err(failed)?.len() > MAX_CLOUD_CONFIG {
            let source = std::io::Error::other("larger than 1 MiB");
            return Err(failed(source));
        }
        let bytes = fs_err::read(path).map_err(failed)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        files.push(cloud_config(index, &name, bytes));
    }
    Ok(files)
}

/// The cloud-config that was given as number `index`, with its place on COS_OEM.
pub(crate) fn cloud_config(index: usize, name: &str, bytes: Vec<u8>) -> PlacedFile {
    PlacedFile::bytes(format!("{:02}_{name}", 90 + index), bytes)
}

fn write_disk(
    file: &File,
    payload: &Payload,
    oem: Vec<PlacedFile>,
    plan: &DiskPlan,
    tools: &Ext4Tools,
    path: &Path,
    monitor: &dyn Monitor,
) -> Result<(), OpsError> {
    let medium = |source| OpsError::Medium {
        path: path.to_path_buf(),
        source,
    };
    let layout = &plan.layout;
    let set_length = || file.file().set_len(layout.total_bytes);
    set_length().map_err(|source| OpsError::Write {
        path: path.to_path_buf(),
        source,
    })?;
    step(monitor, "write the partition table", || {
        gpt::write_table(file, layout.total_bytes, plan.disk_uuid, &layout.partitions)
            .map_err(medium)
    })?;
    let contents = DiskContents::new(payload, oem, plan);
    step(monitor, "write the boot loader", || {
        contents.write_efi(file).map_err(medium)?;
        let Some(bios) = &payload.bios else {
            return Ok(());
        };
        let images = GrubImages {
            boot: &bios.boot_sector,
            core: &bios.core,
        };
        grub_bios::install(file, plan.partition(Role::Bios), images).map_err(medium)
    })?;
    for role in [Role::Oem, Role::Recovery, Role::State, Role::Persistent] {
        let label = role.label().unwrap_or_default();
        step(monitor, &format!("write {label}"), || {
            let offset = plan.partition(role).offset();
            contents
                .write_ext4(role, tools, file, offset)
                .map_err(medium)
        })?;
    }
    Ok(())
}

/// What goes onto the partitions of a disk, whether that is a file or a device.
pub(crate) struct DiskContents<'c> {
    payload: &'c Payload,
    plan: &'c DiskPlan,
    snapshot: Vec<Ext4Entry>,
    oem: Vec<Ext4Entry>,
    /// Boot loader programs for UEFI, and all configuration.
    efi: Vec<FatEntry>,
}

impl<'c> DiskContents<'c> {
    pub(crate) fn new(payload: &'c Payload, oem: Vec<PlacedFile>, plan: &'c DiskPlan) -> Self {
        let snapshot = payload.files.iter().cloned();
        let configuration = LoaderPlaces {
            oem_number: Role::Oem.number(),
            state_number: Role::State.number(),
            state: plan.partition(Role::State).unique_guid,
            recovery_number: Role::Recovery.number(),
            recovery: plan.partition(Role::Recovery).unique_guid,
        }
        .configuration(&payload.title);
        let mut efi: Vec<FatEntry> = payload.efi.iter().map(fat_entry).collect();
        if !payload.sealed {
            efi.push(fat_entry(&configuration));
        }
        Self {
            payload,
            plan,
            snapshot: snapshot.map(|file| entry(file, 0o644)).collect(),
            oem: oem.into_iter().map(|file| entry(file, 0o600)).collect(),
            efi,
        }
    }

    /// Makes the EFI system partition on its disk.
    pub(crate) fn write_efi(&self, disk: &File) -> Result<(), DiskError> {
        let efi = self.plan.partition(Role::Efi);
        let options = FatOptions {
            label: Role::Efi.label().unwrap_or_default().to_owned(),
            volume_id: self.payload.identity.number("efi file system"),
            time: self.payload.time,
        };
        fat::format(disk, efi.offset(), efi.bytes(), &options, &self.efi)
    }

    /// Makes the ext4 of a partition at byte `offset` of `file`.
    pub(crate) fn write_ext4(
        &self,
        role: Role,
        tools: &Ext4Tools,
        file: &File,
        offset: u64,
    ) -> Result<(), DiskError> {
        let entries = match role {
            Role::Oem => self.oem.as_slice(),
            Role::Recovery | Role::State => &self.snapshot,
            _ => &[],
        };
        let size = self.plan.partition(role).bytes();
        let identity = &self.payload.identity;
        let uuid = identity.uuid(&format!("{} file system", role.name()));
        let label = role.label().unwrap_or_default();
        let mut options = Ext4Options::new(label, uuid, self.payload.time);
        options.journal =
            (role == Role::Persistent && size >= 256 * MIB).then_some(PERSISTENT_JOURNAL);
        ext4::format(tools, file, offset, size, &options, entries)
    }
}

fn entry(file: PlacedFile, mode: u16) -> Ext4Entry {
    Ext4Entry {
        path: file.path,
        mode,
        content: Ext4Content::File(file.source),
    }
}

/// Where the boot loader finds what boots.
pub(crate) struct LoaderPlaces {
    pub(crate) oem_number: u32,
    pub(crate) state_number: u32,
    pub(crate) state: Uuid,
    pub(crate) recovery_number: u32,
    pub(crate) recovery: Uuid,
}

impl LoaderPlaces {
    /// The boot loader's configuration, with its place on the EFI system partition.
    pub(crate) fn configuration(&self, title: &str) -> PlacedFile {
        let configuration = DiskLoader {
            title: title.to_owned(),
            oem_number: self.oem_number,
            state_number: self.state_number,
            state_partuuid: self.state.to_string(),
            recovery_number: self.recovery_number,
            recovery_partuuid: self.recovery.to_string(),
            timeout: MENU_TIMEOUT,
        };
        let path = format!("{DISK_LOADER_DIRECTORY}/grub.cfg");
        PlacedFile::bytes(path, configuration.render().into_bytes())
    }
}

pub(crate) fn fat_entry(file: &PlacedFile) -> FatEntry {
    FatEntry {
        path: file.path.clone(),
        content: FatContent::File(file.source.clone()),
    }
}
