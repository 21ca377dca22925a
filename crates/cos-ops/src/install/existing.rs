//! `--no-format`: the partitions that are there, with the file systems that are on them.

use super::execute::attach;
use super::{InstallError, InstallRequest, Prepared};
use crate::build::disk::LoaderPlaces;
use crate::build::payload::{PlacedFile, step};
use crate::build::sizes::Role;
use crate::deploy;
use crate::hooks::Hooks;
use crate::machine::BootRecord;
use crate::trust;
use cos_disk::gpt::{Partition, types};
use cos_disk::grub_bios::{self, GrubImages};
use cos_disk::live::{ClaimedDisk, Content, Survey, SurveyedPartition, WholeContent};
use cos_disk::{DiskError, Source};
use cos_events::Monitor;
use cos_store::{Action, Store};
use cos_sys::checkpoint::checkpoint;
use cos_sys::detached_mount::DetachedMount;
use cos_sys::loop_device::LoopDevice;
use cos_sys::probe::label_on;
use cos_sys::root_file::Metadata;
use cos_sys::root_path::Root;
use std::fmt;
use std::path::Path;

/// Where GRUB for a BIOS looks for its configuration: `cos init` builds it so.
const BIOS_LOADER_PARTITION: u32 = 2;
/// File systems that GRUB reads snapshots and boot state from.
const STORE_KINDS: [&str; 1] = ["ext4"];

/// The partitions of a disk, by what they are for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Existing {
    bios: Option<SurveyedPartition>,
    roles: Vec<(Role, SurveyedPartition)>,
}

impl fmt::Display for Existing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self
            .roles
            .iter()
            .filter(|(role, _)| *role != Role::Persistent);
        let names: Vec<String> = names
            .map(|(role, found)| format!("{} ({})", found.number, role.name()))
            .collect();
        f.write_str(&names.join(", "))
    }
}

impl Existing {
    /// Finds them by their names in the table, or by the labels of their file systems, and makes sure
    /// that they can be used.
    pub(super) fn find(survey: &Survey, request: &InstallRequest) -> Result<Self, InstallError> {
        let partitions = match &survey.content {
            WholeContent::Partitions(partitions) => partitions.as_slice(),
            _ => &[],
        };
        let mut roles = Vec::new();
        let mut missing = Vec::new();
        for role in Role::ALL.into_iter().filter(|role| *role != Role::Bios) {
            match find(partitions, role) {
                Some(found) => roles.push((role, found.clone())),
                None => missing.push(role.name()),
            }
        }
        if !missing.is_empty() {
            return Err(InstallError::Missing {
                device: survey.path.clone(),
                missing,
            });
        }
        let is_bios = |it: &&SurveyedPartition| it.type_guid == types::BIOS_BOOT;
        let existing = Self {
            bios: partitions.iter().find(is_bios).cloned(),
            roles,
        };
        for (role, found) in &existing.roles {
            usable(*role, found).map_err(|reason| InstallError::Unusable {
                device: survey.path.clone(),
                number: found.number,
                name: role.name(),
                reason,
            })?;
        }
        if !request.force {
            existing.refuse_deployed(request)?;
        }
        Ok(existing)
    }

    /// Whether GRUB for a BIOS has a place, and finds its configuration from there.
    pub(super) fn has_bios_place(&self) -> bool {
        self.bios.is_some() && self.number(Role::Efi) == BIOS_LOADER_PARTITION
    }

    fn partition(&self, role: Role) -> Option<&SurveyedPartition> {
        let found = self.roles.iter().find(|(it, _)| *it == role);
        found.map(|(_, found)| found)
    }

    fn number(&self, role: Role) -> u32 {
        self.partition(role).map_or(0, |found| found.number)
    }

    fn refuse_deployed(&self, request: &InstallRequest) -> Result<(), InstallError> {
        let scratch = deploy::scratch(&request.temp_dir)?;
        let state = self.mount(Role::State, request, scratch.path(), true)?;
        if Store::new(state.path()).state().is_ok() {
            let device = request.device.clone();
            return Err(InstallError::Deployed { device });
        }
        Ok(())
    }

    fn mount(
        &self,
        role: Role,
        request: &InstallRequest,
        scratch: &Path,
        read_only: bool,
    ) -> Result<Mounted, InstallError> {
        let missing = || InstallError::Missing {
            device: request.device.clone(),
            missing: vec![role.name()],
        };
        let found = self.partition(role).ok_or_else(missing)?;
        let place = (found.start, found.size);
        let device = attach(&request.device, role.name(), place, read_only)?;
        let kind = found
            .content
            .as_ref()
            .map_or("ext4", |content| content.kind);
        // FAT has no modes: without `quiet`, setting one is an error there.
        let options = match (read_only, kind) {
            (true, _) => "ro",
            (false, "vfat") => "rw,quiet",
            (false, _) => "rw",
        };
        let mount = DetachedMount::new(device.path(), kind, options, scratch);
        Ok(Mounted {
            mount: mount.map_err(|source| InstallError::Mount {
                name: role.name().to_owned(),
                device: request.device.clone(),
                source: Box::new(source),
            })?,
            _device: device,
        })
    }
}

/// A mounted partition; unmounted before its device goes.
struct Mounted {
    mount: DetachedMount,
    _device: LoopDevice,
}

impl Mounted {
    fn path(&self) -> &Path {
        self.mount.path()
    }
}

fn find(partitions: &[SurveyedPartition], role: Role) -> Option<&SurveyedPartition> {
    let label = |found: &&SurveyedPartition| {
        let content = found.content.as_ref();
        content.is_some_and(|content| bears(content, role))
    };
    let named = |found: &&SurveyedPartition| found.name == role.name();
    partitions
        .iter()
        .find(label)
        .or_else(|| partitions.iter().find(named))
}

fn bears(content: &Content, role: Role) -> bool {
    let label = role.label().map(|label| label_on(content.kind, label));
    label.is_some() && content.label.as_deref() == label
}

/// Whether a partition can be what it is to be, as the boot loader and the initrd look for it.
fn usable(role: Role, found: &SurveyedPartition) -> Result<(), String> {
    let Some(content) = &found.content else {
        return Err("it has no file system".to_owned());
    };
    let by_label = matches!(role, Role::Oem | Role::Persistent);
    if by_label && !bears(content, role) {
        let label = label_on(content.kind, role.label().unwrap_or_default());
        return Err(format!("its file system is not labelled {label}"));
    }
    let is_store = matches!(role, Role::Recovery | Role::State | Role::Oem);
    if is_store && !STORE_KINDS.contains(&content.kind) {
        return Err(format!("it holds {}, and ext4 is needed", content.kind));
    }
    Ok(())
}

/// Writes to the partitions, what starts the machine last.
pub(super) fn write(
    request: &InstallRequest,
    prepared: &Prepared,
    existing: &Existing,
    hooks: &dyn Hooks,
    monitor: &dyn Monitor,
) -> Result<(), InstallError> {
    let payload = &prepared.payload;
    let scratch = payload.directory.path();
    let disk = ClaimedDisk::take(&request.device)?;
    for (role, place) in [(Role::Recovery, "COS_RECOVERY"), (Role::State, "COS_STATE")] {
        let mounted = existing.mount(role, request, scratch, false)?;
        let store = Store::new(mounted.path());
        room(&store, payload, role)?;
        deploy::write(&store, payload, place, monitor)?;
    }
    let oem = existing.mount(Role::Oem, request, scratch, false)?;
    write_files(&oem, Role::Oem, &prepared.oem, 0o600)?;
    drop(oem);
    hooks
        .after()
        .map_err(|source| deploy::hook("after", Action::Install, "", source))?;
    for role in [Role::Recovery, Role::State] {
        step(monitor, &format!("switch {}", role.name()), || {
            let mounted = existing.mount(role, request, scratch, false)?;
            let id = &payload.snapshot.id;
            let store = Store::new(mounted.path());
            deploy::commit(&store, &BootRecord::default(), id)?;
            if role == Role::State {
                trust::renew_floor(&store, &request.tpm)?;
            }
            Ok::<_, InstallError>(())
        })?;
    }
    step(monitor, "write the boot loader", || {
        write_loader(request, prepared, existing, &disk)
    })
}

fn room(
    store: &Store,
    payload: &crate::build::payload::Payload,
    role: Role,
) -> Result<(), InstallError> {
    let space = rustix::fs::statvfs(store.root()).map_err(|errno| InstallError::Flush {
        device: store.root().to_owned(),
        source: errno.into(),
    })?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let needed = deploy::needed(payload);
    if free < needed && !deploy::is_there(store, payload) {
        let name = role.name();
        return Err(InstallError::NoSpace { name, needed, free });
    }
    Ok(())
}

fn write_loader(
    request: &InstallRequest,
    prepared: &Prepared,
    existing: &Existing,
    disk: &ClaimedDisk,
) -> Result<(), InstallError> {
    let payload = &prepared.payload;
    let guid = |role| existing.partition(role).map(|found| found.unique_guid);
    let configuration = LoaderPlaces {
        oem_number: existing.number(Role::Oem),
        state_number: existing.number(Role::State),
        state: guid(Role::State).unwrap_or_default(),
        recovery_number: existing.number(Role::Recovery),
        recovery: guid(Role::Recovery).unwrap_or_default(),
    }
    .configuration(&payload.title);
    let efi = existing.mount(Role::Efi, request, payload.directory.path(), false)?;
    let mut files = payload.efi.clone();
    files.push(configuration);
    write_files(&efi, Role::Efi, &files, 0o644)?;
    drop(efi);
    if let (Some(bios), Some(place)) = (&payload.bios, &existing.bios) {
        let place = Partition {
            name: place.name.clone(),
            type_guid: place.type_guid,
            unique_guid: place.unique_guid,
            start_lba: place.start / cos_disk::gpt::SECTOR,
            sectors: place.size / cos_disk::gpt::SECTOR,
            attributes: 0,
        };
        let images = GrubImages {
            boot: &bios.boot_sector,
            core: &bios.core,
        };
        let failed = |source: DiskError| InstallError::Write {
            what: "GRUB",
            device: request.device.clone(),
            source,
        };
        grub_bios::install(disk.file(), &place, images).map_err(failed)?;
    }
    disk.file()
        .sync_all()
        .map_err(|source| InstallError::Flush {
            device: request.device.clone(),
            source,
        })
}

/// Writes files, each whole or not at all, and brings them to the disk. Links on the partition lead
/// nowhere else.
fn write_files(
    mounted: &Mounted,
    role: Role,
    files: &[PlacedFile],
    mode: u32,
) -> Result<(), InstallError> {
    let name = || role.name().to_owned();
    let failed = |source| InstallError::WriteFiles {
        name: name(),
        source,
    };
    let root = Root::open(mounted.path()).map_err(failed)?;
    let metadata = Metadata {
        mode: Some(mode),
        ..Metadata::default()
    };
    for file in files {
        if let Source::Bytes(bytes) = &file.source {
            root.write(Path::new(&file.path), bytes, &metadata)
                .map_err(failed)?;
        }
    }
    checkpoint(mounted.path()).map_err(|source| InstallError::Flush {
        device: name().into(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn partition(number: u32, name: &str, kind: &'static str, label: &str) -> SurveyedPartition {
        SurveyedPartition {
            number,
            name: name.into(),
            start: 0,
            size: 1 << 30,
            type_guid: types::LINUX_DATA,
            unique_guid: Uuid::from_u128(u128::from(number)),
            content: Some(Content {
                kind,
                label: (!label.is_empty()).then(|| label.to_owned()),
                ..Content::default()
            }),
        }
    }

    #[test]
    fn labels_count_before_names() {
        let partitions = [
            partition(1, "state", "ext4", ""),
            partition(2, "x", "ext4", "COS_STATE"),
            partition(3, "efi", "vfat", ""),
        ];
        assert_eq!(find(&partitions, Role::State).unwrap().number, 2);
        assert_eq!(find(&partitions, Role::Efi).unwrap().number, 3);
        assert_eq!(find(&partitions, Role::Oem), None);
    }

    #[test]
    fn what_would_not_be_found_at_boot_is_refused() {
        let reason = |role, kind, label| usable(role, &partition(1, "x", kind, label)).unwrap_err();
        insta::assert_snapshot!(reason(Role::Persistent, "xfs", "data"), @"its file system is not labelled COS_PERSISTE");
        insta::assert_snapshot!(reason(Role::State, "btrfs", "COS_STATE"), @"it holds btrfs, and ext4 is needed");
        usable(Role::Persistent, &partition(1, "x", "xfs", "COS_PERSISTE")).unwrap();
        usable(Role::State, &partition(1, "state", "ext4", "")).unwrap();
    }
}
