//! `cos build disk` and `cos build iso`.

use super::request::{self, argument};
use crate::arguments::{DiskArguments, IsoArguments};
use crate::environment::Environment;
use crate::failure::Failure;
use crate::render::Renderer;
use cos_disk::format::DiskFormat;
use cos_ops::OpsError;
use cos_ops::build::disk::{DiskRequest, build_disk, plan_disk};
use cos_ops::build::iso::{IsoRequest, build_iso};
use cos_ops::build::sizes::{Bytes, Role, SizeRequest, parse_size};
use cos_ops::sealed::SealingKeys;
use std::process::ExitCode;

/// Builds a disk, or says what it would be.
pub(crate) fn disk(
    arguments: &DiskArguments,
    environment: &Environment,
    renderer: &Renderer,
) -> Result<ExitCode, Failure> {
    let build = request::build(
        &arguments.source,
        &arguments.format,
        &arguments.output,
        arguments.kernel_arguments.as_deref(),
        environment,
    )?;
    let request = DiskRequest {
        build,
        format: disk_format(arguments)?,
        sizes: sizes(arguments)?,
        sealing: sealing(arguments)?,
        cloud_configs: arguments.cloud_config.clone(),
        search_path: environment.path.clone(),
    };
    let result = if arguments.dry_run {
        plan_disk(&request, renderer)
    } else {
        build_disk(&request, renderer)
    }?;
    let wrote = result.path.as_ref().map(|path| {
        format!(
            "wrote {} (snapshot {})\n",
            path.display(),
            result.snapshot.id
        )
    });
    let root_hash = format!("root hash: {}\n", result.snapshot.root_hash);
    let text = [
        result.table.as_str(),
        &wrote.unwrap_or_default(),
        &root_hash,
    ]
    .concat();
    renderer.result(&text, &result)?;
    Ok(ExitCode::SUCCESS)
}

fn sealing(arguments: &DiskArguments) -> Result<Option<SealingKeys>, OpsError> {
    let directory = arguments.sealed.as_deref();
    let keys = directory.map(|directory| SealingKeys::read_for(directory, arguments.encrypt));
    Ok(keys.transpose()?)
}

fn disk_format(arguments: &DiskArguments) -> Result<DiskFormat, Failure> {
    let extension = arguments
        .output
        .extension()
        .and_then(|extension| extension.to_str());
    match &arguments.disk_format {
        Some(name) => name.parse().map_err(|error: cos_disk::DiskError| {
            let hint = error.hint();
            Failure::Argument {
                error: Box::new(error),
                hint,
            }
        }),
        None => Ok(extension
            .and_then(|name| name.parse().ok())
            .unwrap_or(DiskFormat::Raw)),
    }
}

fn sizes(arguments: &DiskArguments) -> Result<SizeRequest, Failure> {
    let mut sizes = SizeRequest::default();
    if let Some(size) = &arguments.size {
        sizes.disk = Some(parse_size(size).map_err(OpsError::from)?);
    }
    for pair in &arguments.partition {
        let (name, size) = pair.split_once('=').ok_or_else(|| {
            argument(
                format!("--partition {pair} is not NAME=SIZE"),
                Some("state=4GiB"),
            )
        })?;
        let role: Role = name.parse().map_err(OpsError::Size)?;
        sizes
            .partitions
            .insert(role, parse_size(size).map_err(OpsError::from)?);
    }
    Ok(sizes)
}

/// Builds an ISO.
pub(crate) fn iso(
    arguments: &IsoArguments,
    environment: &Environment,
    renderer: &Renderer,
) -> Result<ExitCode, Failure> {
    let build = request::build(
        &arguments.source,
        &arguments.format,
        &arguments.output,
        arguments.kernel_arguments.as_deref(),
        environment,
    )?;
    let request = IsoRequest {
        build,
        label: arguments.label.clone(),
    };
    let result = build_iso(&request, renderer)?;
    let text = format!(
        "wrote {} ({}, label {}, UUID {}, snapshot {})\nroot hash: {}\n",
        result.path.display(),
        Bytes(result.size),
        result.label,
        result.uuid,
        result.snapshot.id,
        result.snapshot.root_hash
    );
    renderer.result(&text, &result)?;
    Ok(ExitCode::SUCCESS)
}
