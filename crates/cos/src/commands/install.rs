//! `cos install`.

use super::machine::{self, Answer};
use super::request::argument;
use super::stage;
use crate::arguments::install::InstallArguments;
use crate::environment::Environment;
use crate::failure::Failure;
use crate::render::Renderer;
use cos_disk::live::{FileSystem, LayoutError, NewPartition};
use cos_ops::OpsError;
use cos_ops::build::plan::Extras;
use cos_ops::build::sizes::{MIB, Role, parse_size};
use cos_ops::deploy::SnapshotSource;
use cos_ops::install::config::{ExtraPartition, InstallConfig};
use cos_ops::install::{
    Firmware, InstallError, InstallRequest, disks, documents, install as execute, plan_install,
};
use cos_ops::machine::{Machine, Mode, Places};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Where the kernel says that UEFI started the machine.
const UEFI: &str = "/sys/firmware/efi";

/// Installs, or says what that would be.
pub(crate) fn install(
    arguments: &InstallArguments,
    environment: &Environment,
    renderer: &Renderer,
) -> Result<ExitCode, Failure> {
    let running = machine::probe()?;
    let config = match &arguments.config {
        Some(path) => InstallConfig::read(path).map_err(InstallError::from)?,
        None => InstallConfig::default(),
    };
    let request = request(arguments, &config, running.as_ref(), environment, renderer)?;
    if arguments.dry_run {
        let result = plan_install(&request, renderer)?;
        renderer.result(&result.to_string(), &result)?;
        return Ok(ExitCode::SUCCESS);
    }
    let hooks = machine::hooks("install", environment, renderer);
    let result = execute(&request, &hooks, renderer)?;
    renderer.result(&format!("{result}installed\n"), &result)?;
    let reboot = arguments.afterwards.reboot || config.reboot && !arguments.afterwards.poweroff;
    let poweroff = arguments.afterwards.poweroff || config.poweroff;
    machine::afterwards(reboot, poweroff, environment)?;
    Ok(ExitCode::SUCCESS)
}

fn request(
    arguments: &InstallArguments,
    config: &InstallConfig,
    running: Option<&Machine>,
    environment: &Environment,
    renderer: &Renderer,
) -> Result<InstallRequest, Failure> {
    let no_format = arguments.no_format || config.no_format;
    let shapes = !config.partitions.is_empty()
        || !config.filesystems.is_empty()
        || !config.extra_partitions.is_empty()
        || !arguments.partition.is_empty()
        || !arguments.filesystem.is_empty()
        || !arguments.extra_partition.is_empty();
    if no_format && shapes {
        let message = "without formatting, no partition can be given a size or file system";
        return Err(argument(message.to_owned(), None));
    }
    let http = stage::http(environment);
    let cloud_configs = if arguments.cloud_config.is_empty() {
        &config.cloud_configs
    } else {
        &arguments.cloud_config
    };
    let firmware = arguments.firmware.as_ref().or(config.firmware.as_ref());
    let firmware = firmware.map_or(Ok(Firmware::default()), |name| {
        name.parse::<Firmware>()
            .map_err(|error| argument(error, None))
    })?;
    let kernel_arguments = arguments.kernel_arguments.as_ref();
    Ok(InstallRequest {
        partitions: partitions(arguments, config)?,
        extras: extras(arguments, config)?,
        firmware,
        source: source(arguments, config, running, environment)?,
        device: device(arguments, config)?,
        kernel_arguments: kernel_arguments
            .or(config.kernel_arguments.as_ref())
            .cloned()
            .unwrap_or_default(),
        cloud_configs: cloud_configs
            .iter()
            .map(|source| documents::read(source, &http, renderer))
            .collect::<Result<_, _>>()?,
        has_uefi: Path::new(UEFI).exists(),
        tpm: Places::default().tpm,
        no_format,
        force: arguments.force || config.force,
        temp_dir: arguments.image.temp_dir.clone(),
        search_path: environment.path.clone(),
        now: cos_ops::machine::now(),
    })
}

/// The image that is named, or the live system.
fn source(
    arguments: &InstallArguments,
    config: &InstallConfig,
    running: Option<&Machine>,
    environment: &Environment,
) -> Result<SnapshotSource, Failure> {
    if let Some(image) = arguments.image.image.as_ref().or(config.image.as_ref()) {
        return machine::image(&arguments.image, image, environment);
    }
    match running {
        Some(machine) if machine.boot.mode == Mode::Live => {
            Ok(SnapshotSource::Running(machine.running_snapshot()))
        }
        _ => Err(InstallError::NoSource.into()),
    }
}

/// The disk that is named, or chosen from a list by somebody at a terminal.
fn device(arguments: &InstallArguments, config: &InstallConfig) -> Result<PathBuf, Failure> {
    if let Some(device) = arguments.device.as_ref().or(config.device.as_ref()) {
        return Ok(device.clone());
    }
    let disks = disks::list()?;
    let list = disks::text(&disks);
    let question = format!("Disks of this machine:\n{list}\nInstall to which disk? ");
    match machine::ask(&question)? {
        Answer::NobodyThere => Err(InstallError::NoDevice { list }.into()),
        Answer::Said(text) => {
            let chosen = disks.iter().find(|disk| {
                disk.node == Path::new(&text) || disk.node == Path::new("/dev").join(&text)
            });
            let unknown = || argument(format!("{text:?} is none of the disks"), None);
            Ok(chosen.ok_or_else(unknown)?.node.clone())
        }
    }
}

fn partitions(
    arguments: &InstallArguments,
    config: &InstallConfig,
) -> Result<BTreeMap<Role, u64>, Failure> {
    let mut sizes = BTreeMap::new();
    let in_file = config
        .partitions
        .iter()
        .map(|(name, size)| Ok((name.as_str(), size.as_str())));
    let said = arguments.partition.iter().map(|pair| {
        pair.split_once('=').ok_or_else(|| {
            let message = format!("--partition {pair} is not NAME=SIZE");
            argument(message, Some("state=4GiB"))
        })
    });
    for pair in in_file.chain(said) {
        let (name, size) = pair?;
        let role: Role = name.parse().map_err(OpsError::Size)?;
        sizes.insert(role, parse_size(size).map_err(OpsError::from)?);
    }
    Ok(sizes)
}

fn extras(arguments: &InstallArguments, config: &InstallConfig) -> Result<Extras, Failure> {
    let said: Result<Vec<ExtraPartition>, Failure> = arguments
        .extra_partition
        .iter()
        .map(|text| extra_partition(text))
        .collect();
    let mut partitions = said?;
    if partitions.is_empty() {
        partitions.clone_from(&config.extra_partitions);
    }
    let mut persistent = FileSystem::Ext4;
    let in_file = config.filesystems.iter();
    let mut pairs: Vec<(String, String)> = in_file
        .map(|(name, kind)| (name.clone(), kind.clone()))
        .collect();
    for pair in &arguments.filesystem {
        let (name, kind) = pair.split_once('=').unwrap_or((pair, ""));
        pairs.push((name.to_owned(), kind.to_owned()));
    }
    for (name, kind) in pairs {
        persistent = match (name.as_str(), kind.as_str()) {
            ("persistent", "ext4") => FileSystem::Ext4,
            ("persistent", "xfs") => FileSystem::Xfs,
            ("persistent", "btrfs") => FileSystem::Btrfs,
            _ => {
                let message = format!("{name}={kind} is no file system that can be chosen");
                let hint = "persistent=ext4, persistent=xfs or persistent=btrfs";
                return Err(argument(message, Some(hint)));
            }
        };
    }
    let partitions: Result<Vec<NewPartition>, Failure> =
        partitions.iter().map(new_partition).collect();
    Ok(Extras {
        partitions: partitions?,
        persistent,
    })
}

/// `NAME=SIZE[:FS[:LABEL]]`
fn extra_partition(text: &str) -> Result<ExtraPartition, Failure> {
    let (name, rest) = text.split_once('=').ok_or_else(|| {
        let message = format!("--extra-partition {text} is not NAME=SIZE[:FS[:LABEL]]");
        argument(message, Some("data=10GiB:xfs"))
    })?;
    let mut parts = rest.splitn(3, ':');
    Ok(ExtraPartition {
        name: name.to_owned(),
        size: parts.next().unwrap_or_default().to_owned(),
        filesystem: parts.next().map(str::to_owned),
        label: parts.next().map(str::to_owned),
    })
}

fn new_partition(extra: &ExtraPartition) -> Result<NewPartition, Failure> {
    let unknown = |error: LayoutError| {
        let hint = error.hint();
        Failure::Argument {
            error: Box::new(error),
            hint,
        }
    };
    let name = extra.filesystem.as_deref().unwrap_or_default();
    let filesystem: FileSystem = name.parse().map_err(unknown)?;
    let size = parse_size(&extra.size).map_err(OpsError::from)?;
    Ok(NewPartition {
        fs_label: extra.label.clone().unwrap_or_else(|| extra.name.clone()),
        size_mib: size.div_ceil(MIB),
        partition_label: Some(extra.name.clone()),
        filesystem,
        bootable: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extra_partitions_are_read() {
        let read = |text: &str| new_partition(&extra_partition(text)?);
        let partition = read("data=10GiB:xfs:DATA").unwrap();
        assert_eq!(
            (
                partition.fs_label.as_str(),
                partition.size_mib,
                partition.filesystem
            ),
            ("DATA", 10 << 10, FileSystem::Xfs)
        );
        let partition = read("data=1").unwrap();
        assert_eq!(
            (
                partition.fs_label.as_str(),
                partition.size_mib,
                partition.filesystem
            ),
            ("data", 1, FileSystem::Ext4)
        );
        for bad in ["data", "data=", "data=1GiB:zfs"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
