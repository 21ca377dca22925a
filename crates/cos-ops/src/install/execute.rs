//! Writing a whole disk: everything first, the partition table last.

use super::{InstallError, InstallRequest, Prepared};
use crate::build::disk::DiskContents;
use crate::build::payload::{Payload, step};
use crate::build::plan::{DiskPlan, PlannedPartition};
use crate::build::sizes::{MIB, Role};
use crate::deploy::{self, DeployError};
use crate::hooks::Hooks;
use crate::trust;
use cos_disk::ext4::Ext4Tools;
use cos_disk::live::{ClaimedDisk, FileSystem, Maker};
use cos_disk::{DiskError, gpt, grub_bios, sparse};
use cos_events::Monitor;
use cos_store::{Action, Store};
use cos_sys::detached_mount::DetachedMount;
use cos_sys::loop_device::{LoopDevice, LoopOptions};
use std::path::Path;

/// Writes the disk. Stops when asked to until the table is written.
pub(super) fn write_disk(
    request: &InstallRequest,
    prepared: &Prepared,
    plan: &DiskPlan,
    hooks: &dyn Hooks,
    monitor: &dyn Monitor,
) -> Result<(), InstallError> {
    let writer = Writer::prepare(request, prepared, plan)?;
    monitor.checkpoint()?;
    let disk = ClaimedDisk::take(&request.device)?;
    disk.begin()?;
    writer.contents(&disk, monitor)?;
    writer.floor()?;
    step(monitor, "flush the disk", || {
        disk.file()
            .sync_all()
            .map_err(|source| InstallError::Flush {
                device: request.device.clone(),
                source,
            })
    })?;
    for role in [Role::Recovery, Role::State] {
        let label = role.label().unwrap_or_default();
        step(monitor, &format!("read {label} back"), || {
            writer.read_back(role)
        })?;
    }
    hooks
        .after()
        .map_err(|source| deploy::hook("after", Action::Install, "", source))?;
    step(monitor, "write the partition table", || writer.table(&disk))
}

/// A plan with every program that it needs, found before anything is written.
struct Writer<'w> {
    request: &'w InstallRequest,
    payload: &'w Payload,
    plan: &'w DiskPlan,
    contents: DiskContents<'w>,
    ext4: Ext4Tools,
    /// Those of the partitions that are made by other tools, with their numbers.
    makers: Vec<(u32, Maker)>,
}

impl<'w> Writer<'w> {
    fn prepare(
        request: &'w InstallRequest,
        prepared: &'w Prepared,
        plan: &'w DiskPlan,
    ) -> Result<Self, InstallError> {
        let search_path = request.search_path.as_deref();
        let ext4 = Ext4Tools::find(search_path).map_err(|source| InstallError::Write {
            what: "the file systems",
            device: request.device.clone(),
            source,
        })?;
        let mut makers = Vec::new();
        for planned in plan.partitions().filter(is_made_by_tool) {
            if let Some(filesystem) = planned.filesystem {
                let label = planned.label.unwrap_or_default();
                let maker = Maker::find(filesystem, label, search_path)?;
                makers.push((planned.number, maker));
            }
        }
        Ok(Self {
            request,
            payload: &prepared.payload,
            plan,
            contents: DiskContents::new(&prepared.payload, prepared.oem.clone(), plan),
            ext4,
            makers,
        })
    }

    fn failed(&self, what: &'static str) -> impl FnOnce(DiskError) -> InstallError {
        let device = self.request.device.clone();
        move |source| InstallError::Write {
            what,
            device,
            source,
        }
    }

    fn contents(&self, disk: &ClaimedDisk, monitor: &dyn Monitor) -> Result<(), InstallError> {
        self.clear_superblocks(disk)?;
        step(monitor, "write the boot loader", || {
            if let Some(bios) = &self.payload.bios {
                let place = self.plan.partition(Role::Bios);
                grub_bios::install_core(disk.file(), place, &bios.core)
                    .map_err(self.failed("GRUB's core image"))?;
            }
            self.contents
                .write_efi(disk.file())
                .map_err(self.failed("the EFI system partition"))
        })?;
        for planned in self.plan.partitions() {
            let name = planned.label.unwrap_or(&planned.partition.name);
            let maker = self
                .makers
                .iter()
                .find(|(number, _)| *number == planned.number);
            match (planned.role, maker) {
                (_, Some((_, maker))) => step(monitor, &format!("make {name}"), || {
                    let device = self.attach(&planned, false)?;
                    maker.run(device.path()).map_err(InstallError::from)
                })?,
                (Some(Role::Bios | Role::Efi) | None, None) => {}
                (Some(role), None) => step(monitor, &format!("write {name}"), || {
                    let device = self.attach(&planned, false)?;
                    self.contents
                        .write_ext4(role, &self.ext4, device.file(), 0)
                        .map_err(self.failed("an ext4 file system"))?;
                    device
                        .file()
                        .sync_all()
                        .map_err(|source| InstallError::Flush {
                            device: self.request.device.clone(),
                            source,
                        })
                })?,
            }
        }
        Ok(())
    }

    /// A TPM that vouched for the floor of an earlier system is to find one of the new system.
    fn floor(&self) -> Result<(), InstallError> {
        let planned = self.plan.partitions();
        let mut states = planned.filter(|it| it.role == Some(Role::State));
        let Some(planned) = states.next().filter(|_| trust::vouches(&self.request.tpm)) else {
            return Ok(());
        };
        let device = self.attach(&planned, false)?;
        let mounted = self.mount(&device, "rw", Role::State)?;
        let store = Store::new(mounted.path());
        Ok(trust::renew_floor(&store, &self.request.tpm)?)
    }

    fn mount(
        &self,
        device: &LoopDevice,
        options: &str,
        role: Role,
    ) -> Result<DetachedMount, InstallError> {
        let scratch = self.payload.directory.path();
        DetachedMount::new(device.path(), "ext4", options, scratch).map_err(|source| {
            InstallError::Mount {
                name: role.name().to_owned(),
                device: self.request.device.clone(),
                source: Box::new(source),
            }
        })
    }

    /// What was at the beginnings and ends of the new partitions must not be taken for theirs.
    fn clear_superblocks(&self, disk: &ClaimedDisk) -> Result<(), InstallError> {
        for planned in self.plan.partitions() {
            let (start, size) = (planned.partition.offset(), planned.partition.bytes());
            for at in [start, start + size - MIB.min(size)] {
                sparse::clear(disk.file(), at, MIB.min(size)).map_err(|source| {
                    InstallError::Flush {
                        device: self.request.device.clone(),
                        source,
                    }
                })?;
            }
        }
        Ok(())
    }

    fn attach(
        &self,
        planned: &PlannedPartition<'_>,
        read_only: bool,
    ) -> Result<LoopDevice, InstallError> {
        let partition = planned.partition;
        let place = (partition.offset(), partition.bytes());
        attach(&self.request.device, &partition.name, place, read_only)
    }

    fn read_back(&self, role: Role) -> Result<(), InstallError> {
        let planned = self.plan.partitions().find(|it| it.role == Some(role));
        let Some(planned) = planned else {
            return Ok(());
        };
        let device = self.attach(&planned, true)?;
        let mounted = self.mount(&device, "ro", role)?;
        let store = Store::new(mounted.path());
        let id = &self.payload.snapshot.id;
        deploy::read_back(&store, id, role.label().unwrap_or_default())?;
        let state = store.state().map_err(DeployError::from)?;
        if state.active != *id {
            let device = self.request.device.clone();
            return Err(InstallError::ReadBack { device });
        }
        Ok(())
    }

    /// The moment from which the disk is a deployment.
    fn table(&self, disk: &ClaimedDisk) -> Result<(), InstallError> {
        let layout = &self.plan.layout;
        let code = match &self.payload.bios {
            Some(bios) => {
                let place = self.plan.partition(Role::Bios);
                let code = grub_bios::boot_code(&bios.boot_sector, place);
                code.map_err(self.failed("GRUB's boot sector"))?.to_vec()
            }
            None => Vec::new(),
        };
        let (size, disk_uuid) = (layout.total_bytes, self.plan.disk_uuid);
        gpt::write_table_with(disk.file(), size, disk_uuid, &layout.partitions, &code)
            .map_err(self.failed("the partition table"))?;
        let table = disk.finish()?;
        let found = table.entries().map(|entry| {
            (
                entry.unique_guid,
                entry.first,
                entry.last + 1 - entry.first,
                entry.name,
            )
        });
        let wanted = layout.partitions.iter().map(|partition| {
            (
                partition.unique_guid.to_bytes_le(),
                partition.start_lba,
                partition.sectors,
                partition.name.clone(),
            )
        });
        if table.is_from_backup() || !table.has_backup(disk.file()) || !found.eq(wanted) {
            let device = self.request.device.clone();
            return Err(InstallError::ReadBack { device });
        }
        Ok(())
    }
}

/// Whether a partition's file system is made by a tool of its own, and not with its content.
fn is_made_by_tool(planned: &PlannedPartition<'_>) -> bool {
    match planned.role {
        None => true,
        Some(Role::Persistent) => planned.filesystem != Some(FileSystem::Ext4),
        Some(_) => false,
    }
}

/// A part of a disk (first byte and length) as a device, whether or not the kernel knows a partition
/// there. Gone when dropped.
pub(super) fn attach(
    disk: &Path,
    name: &str,
    (offset, size_limit): (u64, u64),
    read_only: bool,
) -> Result<LoopDevice, InstallError> {
    let options = LoopOptions {
        offset,
        size_limit,
        read_only,
        autoclear: true,
        // What is read back is to come from the disk.
        direct_io: read_only,
    };
    LoopDevice::attach(disk, options).map_err(|source| InstallError::Loop {
        name: name.to_owned(),
        device: disk.to_owned(),
        source,
    })
}
