//! `layout`: partitions of a live disk.

use crate::context::Context;
use crate::error::StepError;
use crate::run::Report;
use crate::schema::{LayoutStep, Step};
use cos_disk::live::{self, FileSystem, LayoutRequest, Machine, NewPartition, Target};

pub(super) fn layout(step: &Step, context: &Context<'_>, report: &mut Report<'_>) {
    let Some(layout) = &step.layout else {
        return;
    };
    let machine = Machine {
        boot_device: context.host.boot_device.as_deref(),
        search_path: None,
    };
    let applied = request(layout, context).and_then(|request| {
        live::apply(&request, &machine, context.host.monitor)
            .map_err(|source| StepError::Layout { source })
    });
    if let Some(outcome) = report.take(applied) {
        report.output(&outcome.changes.join("\n"));
        outcome
            .warnings
            .into_iter()
            .for_each(|warning| report.warn(warning));
    }
}

fn request(layout: &LayoutStep, context: &Context<'_>) -> Result<LayoutRequest, StepError> {
    let device = layout.device.clone().unwrap_or_default();
    let target = match (device.label, device.path) {
        (Some(label), _) if !label.is_empty() => Target::Label(label),
        (_, Some(path)) if !path.is_empty() => Target::Path(path.into()),
        _ => Target::Boot(context.host.boot_device.clone().ok_or_else(|| {
            StepError::Value(
                "no device is named, and which one this system booted from is not known".into(),
            )
        })?),
    };
    let mut add = Vec::new();
    for partition in &layout.add_partitions {
        let name = partition.filesystem.as_deref().unwrap_or("ext4");
        let filesystem: FileSystem = name
            .parse()
            .map_err(|why| StepError::Value(format!("{why}")))?;
        add.push(NewPartition {
            fs_label: partition.fs_label.clone(),
            size_mib: partition.size,
            partition_label: partition.partition_label.clone(),
            filesystem,
            bootable: partition.bootable,
        });
    }
    Ok(LayoutRequest {
        device: target,
        init_disk: device.init_disk,
        disk_name: device.disk_name,
        expand: layout.expand_partition.as_ref().map(|expand| expand.size),
        add,
    })
}
