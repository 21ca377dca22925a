//! From the source device to the verified, read-only root at `/sysroot`.

use crate::cmdline::CommandLine;
use crate::error::{InitError, chain};
use crate::log::Log;
use cos_sys::block::BlockDevices;
use cos_sys::device_mapper::{self, DeviceMapper, MappedDevice, Target};
use cos_sys::device_spec::DeviceSpec;
use cos_sys::locate::{self, Found};
use cos_sys::loop_device::{LoopDevice, LoopOptions};
use cos_sys::mount::{Mount, mount, unmount};
use cos_sys::tool::Tool;
use cos_sys::{gpt, probe};
use cos_verity::TableParameters;
use fs_err::File;
use rustix::fs::Advice;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the source is mounted.
pub(crate) const SOURCE: &str = "/run/cos/source";
/// Where the root image is mounted a second time, with nothing over it: the lower layer of overlays,
/// and what changes can be compared with.
pub(crate) const PRISTINE: &str = "/run/cos/rootfs";
/// Where the initrd makes the new root.
pub(crate) const SYSROOT: &str = "/sysroot";
/// Name of the verified device.
const MAPPED_NAME: &str = "cos-root";

/// After this time a source that is not there may be on a disk whose partition table is damaged.
const SOON: Duration = Duration::from_secs(5);

/// What the kernel may have as modules. Each is loaded on demand as well, but not everywhere.
const MODULES: [&str; 5] = ["loop", "dm_mod", "dm_verity", "erofs", "overlay"];

/// The mounted root and where it came from.
#[derive(Debug)]
pub(crate) struct Root {
    /// The device that holds the snapshots.
    pub source: Found,
    /// The verified device, as `findmnt` shows it.
    pub device: PathBuf,
    /// What was mounted, for the running system's fstab.
    pub mounts: Vec<Mount>,
}

/// Finds, verifies and mounts.
pub(crate) fn assemble(cmdline: &CommandLine, log: &mut Log) -> Result<Root, InitError> {
    load_modules(log);
    let source = find_source(cmdline, log)?;
    let source_mount = mount_source(&source)?;
    let verified = find_image(cmdline, &source).and_then(|image| {
        let (device, bytes) = verify(cmdline, &image, log)?;
        Ok((image, device, bytes))
    });
    let (image, device, bytes) = match verified {
        Ok(verified) => verified,
        Err(error) => {
            // So that who gets a shell can mend something and try again.
            unmount(Path::new(SOURCE), true)?;
            return Err(error);
        }
    };
    log.info(&format!(
        "root image {} ({} MiB) is verified with root hash {}",
        image.display(),
        bytes >> 20,
        cmdline.root_hash
    ));
    let mut mounts = vec![source_mount];
    for target in [PRISTINE, SYSROOT] {
        let root = Mount {
            source: device.display().to_string(),
            target: target.into(),
            fstype: "erofs".into(),
            options: "ro".into(),
        };
        make_directory(&root.target)?;
        mount(&root)?;
        mounts.push(root);
    }
    Ok(Root {
        source,
        device,
        mounts,
    })
}

fn load_modules(log: &mut Log) {
    let loaded = Tool::find("modprobe", "kmod", None)
        .and_then(|modprobe| modprobe.run(["--all", "--quiet"].iter().chain(&MODULES)));
    // What is missing for good fails by its own name below.
    if let Err(error) = loaded {
        log.info(&format!("not every kernel module could be loaded: {error}"));
    }
}

fn find_source(cmdline: &CommandLine, log: &mut Log) -> Result<Found, InitError> {
    let spec = &cmdline.source;
    let soon = cmdline.timeout.min(SOON);
    let mut found = locate::wait_for(spec, None, soon)?;
    if found.is_err() {
        reveal_partitions(log);
        found = locate::wait_for(spec, None, cmdline.timeout.saturating_sub(soon))?;
    }
    let found = found.map_err(|present| InitError::NoSource {
        seconds: cmdline.timeout.as_secs(),
        wanted: spec.to_string(),
        present,
    })?;
    let name = &found.candidate.device.name;
    log.info(&format!("{spec} is {name}"));
    if !found.others.is_empty() && matches!(spec, DeviceSpec::Label(_) | DeviceSpec::Uuid(_)) {
        log.warn(format!(
            "{spec} is on {name} and also on {}: taking {name}",
            found.others.join(", ")
        ));
    }
    Ok(found)
}

/// Makes partitions known that the kernel did not find, because the power was cut while their table was
/// written.
fn reveal_partitions(log: &mut Log) {
    let Ok(devices) = BlockDevices::list() else {
        return;
    };
    let has_partitions = |name: &str| {
        let mut partitions = devices.0.iter().filter(|it| it.partition.is_some());
        partitions.any(|it| it.disk() == name)
    };
    for disk in &devices.0 {
        if disk.size == 0 || disk.partition.is_some() || has_partitions(&disk.name) {
            continue;
        }
        match gpt::reveal_partitions(disk) {
            Ok(0) => {}
            Ok(count) => log.warn(format!(
                "the partition table of {} is damaged: its backup names {count} partitions",
                disk.name
            )),
            Err(error) => log.info(&chain(&error)),
        }
    }
}

/// Mounts the source read-only.
///
/// An ext4 journal is replayed all the same (no `noload`): later the running system makes this mount
/// writable for an upgrade, which the kernel refuses on a file system with recovery outstanding.
fn mount_source(source: &Found) -> Result<Mount, InitError> {
    let device = &source.candidate.device;
    let filesystem = source.candidate.filesystem.as_ref();
    let Some(filesystem) = filesystem.filter(|found| found.kind != "erofs") else {
        return Err(InitError::ForeignSource {
            device: device.name.clone(),
        });
    };
    make_directory(Path::new(SOURCE))?;
    let mut made = Mount {
        source: device.node.display().to_string(),
        target: SOURCE.into(),
        fstype: filesystem.kind.into(),
        options: "ro,nodev,nosuid,noexec".into(),
    };
    mount(&made)?;
    made.source = source.candidate.lasting_name();
    Ok(made)
}

fn find_image(cmdline: &CommandLine, source: &Found) -> Result<PathBuf, InitError> {
    let snapshots = Path::new(SOURCE).join("cos/snapshots");
    let image = snapshots.join(&cmdline.snapshot).join("root.img");
    if fs_err::metadata(&image).is_ok_and(|meta| meta.is_file()) {
        return Ok(image);
    }
    let mut present: Vec<String> = fs_err::read_dir(&snapshots)
        .map(|entries| {
            let names = entries.flatten().take(64);
            names
                .map(|entry| {
                    entry
                        .file_name()
                        .to_string_lossy()
                        .escape_debug()
                        .to_string()
                })
                .collect()
        })
        .unwrap_or_default();
    present.sort();
    Err(InitError::NoImage {
        path: image,
        device: source.candidate.device.name.clone(),
        present: if present.is_empty() {
            "none".to_owned()
        } else {
            present.join(", ")
        },
    })
}

/// Makes the verified device over the image. Returns its path and size in bytes.
fn verify(cmdline: &CommandLine, image: &Path, log: &mut Log) -> Result<(PathBuf, u64), InitError> {
    let size = filesystem_size(image)?;
    let attached = LoopDevice::attach(
        image,
        LoopOptions {
            read_only: true,
            // Let go with the mapped device on shutdown.
            autoclear: true,
            direct_io: true,
            ..LoopOptions::default()
        },
    )?;
    let table = TableParameters {
        data_device: attached.path().display().to_string(),
        hash_device: attached.path().display().to_string(),
        data_blocks: size / cos_verity::BLOCK_SIZE as u64,
        hash_offset: size,
        root_hash: cmdline.root_hash,
    };
    let target = Target {
        kind: "verity".into(),
        sectors: table.sectors(),
        parameters: table.to_string(),
    };
    let mapper = DeviceMapper::open()?;
    let root_hash = cmdline.root_hash.to_string();
    let device = mapper.create(MAPPED_NAME, &format!("COS-VERITY-{root_hash}"))?;
    mapper.load(&device, &target)?;
    mapper.resume(&device)?;
    // Read once while a wrong block is still an error and not yet a panic, so that a root hash that
    // belongs to another image is said in words.
    if let Err(source) = read_first_block(&device) {
        mapper.remove(&device)?;
        return Err(InitError::Corrupt {
            path: image.to_owned(),
            root_hash,
            source,
        });
    }
    make_corruption_fatal(&mapper, &device, target, log)?;
    let path = device_mapper::link_name(&device).map_err(|source| InitError::Prepare {
        path: Path::new("/dev/mapper").join(MAPPED_NAME),
        source,
    })?;
    Ok((path, size))
}

/// From here on a wrong block stops the machine, and does not come back as an error that some
/// program may shrug off.
fn make_corruption_fatal(
    mapper: &DeviceMapper,
    device: &MappedDevice,
    mut target: Target,
    log: &mut Log,
) -> Result<(), InitError> {
    target.parameters.push_str(" 1 panic_on_corruption");
    match mapper.load(device, &target) {
        Ok(()) => mapper.resume(device)?,
        Err(error) if error.is_refused_table() => log.warn(
            "this kernel cannot stop on a changed block (panic_on_corruption, Linux 5.9): reading one gives an I/O error",
        ),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Size of the EROFS at the start of the image, behind which the hash tree must be.
fn filesystem_size(image: &Path) -> Result<u64, InitError> {
    let failed = |source| InitError::ReadImage {
        path: image.to_owned(),
        source,
    };
    let not_an_image = |reason: String| InitError::NotAnImage {
        path: image.to_owned(),
        reason,
    };
    let mut file = File::open(image).map_err(failed)?;
    let found = probe::probe(&file).map_err(failed)?;
    let size = found
        .filter(|found| found.kind == "erofs")
        .and_then(|found| found.size);
    let block = cos_verity::BLOCK_SIZE as u64;
    let size = size
        .filter(|size| *size > 0 && size % block == 0)
        .ok_or_else(|| {
            not_an_image("it does not begin with an EROFS of whole 4096-byte blocks".into())
        })?;
    file.seek(SeekFrom::Start(size)).map_err(failed)?;
    let superblock = cos_verity::read_superblock(&mut file, size)
        .map_err(|error| not_an_image(crate::error::chain(&error)))?;
    if superblock.data_blocks != size / block {
        return Err(not_an_image(format!(
            "its hash tree covers {} blocks, its file system has {}",
            superblock.data_blocks,
            size / block
        )));
    }
    Ok(size)
}

fn read_first_block(device: &MappedDevice) -> std::io::Result<()> {
    let mut block = vec![0; cos_verity::BLOCK_SIZE];
    let mut file = File::open(device.node())?;
    // No readahead: only this block and the way to it through the tree are judged here.
    rustix::fs::fadvise(&file, 0, None, Advice::Random)?;
    file.read_exact(&mut block)
}

fn make_directory(path: &Path) -> Result<(), InitError> {
    fs_err::create_dir_all(path).map_err(|source| InitError::Prepare {
        path: path.to_owned(),
        source,
    })
}
