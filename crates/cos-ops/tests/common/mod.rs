//! What the tests of installing and resetting share.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "every test binary uses its own part"
)]

#[path = "../../../cos-disk/tests/common/mod.rs"]
pub mod disk;

use cos_image::{Options, Platform, PlatformChoice};
use cos_ops::build::plan::Extras;
use cos_ops::build::running::RunningSnapshot;
use cos_ops::deploy::SnapshotSource;
use cos_ops::install::{Firmware, InstallRequest};
use cos_ops::root::convert::{CompressionChoice, ImageRequest};
use cos_ops::trust::Gate;
use cos_store::Store;
use disk::loop_disk::{LoopDisk, Mounted, Tools};
use std::path::{Path, PathBuf};

pub const GIB: u64 = 1 << 30;

/// Other people's programs, and the packages that bring them.
pub const TOOLS: &[(&str, &str)] = &[
    ("sgdisk", "gdisk"),
    ("sfdisk", "fdisk"),
    ("blkid", "util-linux"),
    ("e2fsck", "e2fsprogs"),
    ("mkfs.xfs", "xfsprogs"),
    ("mkfs.btrfs", "btrfs-progs"),
    ("mkswap", "util-linux"),
    ("mkfs.ext4", "e2fsprogs"),
    ("mdir", "mtools"),
    ("mtype", "mtools"),
    ("grub-fstest", "grub-common"),
];

/// A place for images and temporary data.
pub struct Bench {
    pub directory: tempfile::TempDir,
}

impl Bench {
    pub fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// An image; another one for each version.
    pub fn image(&self, version: &str) -> SnapshotSource {
        let tree = self.path(&format!("image-{version}"));
        cos_testkit::images::tiny(&tree, version).unwrap();
        let choice = PlatformChoice::Prefer(Platform::linux(std::env::consts::ARCH));
        SnapshotSource::Image(Box::new(ImageRequest {
            source: format!("dir:{}", tree.display()).parse().unwrap(),
            overlays: Vec::new(),
            gate: Gate::Open,
            options: Options::new(choice, self.directory.path()),
            compression: CompressionChoice::Auto,
            threads: 2,
            time: None,
        }))
    }

    /// An empty file in the place of a disk.
    pub fn disk_file(&self, name: &str, size: u64) -> PathBuf {
        let path = self.path(name);
        fs_err::File::create(&path).unwrap().set_len(size).unwrap();
        path
    }

    pub fn request(&self, device: &Path) -> InstallRequest {
        InstallRequest {
            device: device.to_owned(),
            source: self.image("1"),
            kernel_arguments: String::new(),
            partitions: std::collections::BTreeMap::new(),
            extras: Extras::default(),
            cloud_configs: Vec::new(),
            firmware: Firmware::Auto,
            has_uefi: true,
            tpm: self.path("tpm"),
            no_format: false,
            force: false,
            temp_dir: self.directory.path().to_owned(),
            search_path: None,
            now: 1_800_000_000,
        }
    }
}

/// A disk's partition, mounted; the snapshot that boots from it, and its root as the initrd mounts it.
pub struct Booted {
    pub running: RunningSnapshot,
    _root: Mounted,
    _store: Mounted,
}

impl Booted {
    pub fn from(node: &str) -> Self {
        let store = Mounted::new(node, "ext4", "ro");
        let snapshots = Store::new(store.path());
        let id = snapshots.state().unwrap().active;
        let image = snapshots.directory(&id).join("root.img");
        let attached = cos_sys::loop_device::LoopDevice::attach(
            &image,
            cos_sys::loop_device::LoopOptions {
                read_only: true,
                autoclear: true,
                ..Default::default()
            },
        )
        .unwrap();
        let root = Mounted::new(attached.path().to_str().unwrap(), "erofs", "ro");
        Self {
            running: RunningSnapshot {
                store: store.path().to_owned(),
                root: root.path().to_owned(),
                root_hash: snapshots.metadata(&id).unwrap().root_hash,
                id,
            },
            _root: root,
            _store: store,
        }
    }
}

/// sgdisk's verdict on a disk, and the names of its partitions.
pub fn verified(tools: &Tools, disk: &Path) -> Vec<String> {
    let disk = disk.to_str().unwrap();
    rustix::fs::sync();
    let verdict = tools.run("sgdisk", &["-v", disk]);
    assert!(verdict.contains("No problems found"), "{verdict}");
    let dump = tools.run("sfdisk", &["-J", disk]);
    let names = dump.split("\"name\":").skip(1);
    names
        .map(|rest| rest.split('"').nth(1).unwrap().to_owned())
        .collect()
}

/// Where a partition begins, as sgdisk sees it, in bytes.
pub fn offset(tools: &Tools, disk: &Path, number: u32) -> u64 {
    let text = tools.run("sgdisk", &[&format!("-i={number}"), disk.to_str().unwrap()]);
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("First sector: "))
        .unwrap();
    line.split(' ').next().unwrap().parse::<u64>().unwrap() * 512
}

/// e2fsck finds nothing to do in any ext4 of the disk.
pub fn check_ext4(tools: &Tools, disk: &Path, numbers: &[u32]) {
    for number in numbers {
        let at = offset(tools, disk, *number);
        let target = format!("{}?offset={at}", disk.display());
        tools.run("e2fsck", &["-f", "-n", &target]);
    }
}

/// A file as GRUB reads it.
pub fn grub(tools: &Tools, disk: &Path, partition: u32, path: &str) -> String {
    let path = format!("(loop0,gpt{partition}){path}");
    tools.run("grub-fstest", &[disk.to_str().unwrap(), "cat", &path])
}

/// A disk of the kernel, installed from version 1.
pub fn installed<'t>(
    bench: &Bench,
    tools: &'t Tools,
    mib: u64,
    change: impl FnOnce(&mut InstallRequest),
) -> LoopDisk<'t> {
    let disk = LoopDisk::new(tools, mib, 512);
    let mut request = bench.request(&disk.node);
    change(&mut request);
    let hooks = cos_ops::hooks::NoHooks;
    cos_ops::install::install(&request, &hooks, &cos_events::Silent).unwrap();
    disk
}
