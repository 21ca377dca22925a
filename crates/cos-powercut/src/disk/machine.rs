//! A machine without a machine: it runs the operations on the partitions of a loop device.

use super::LoopDisk;
use anyhow::{Context, Result, ensure};
use cos_boot::Once;
use cos_config::Config;
use cos_disk::live::FileSystem;
use cos_events::Silent;
use cos_image::{Options, Platform, PlatformChoice};
use cos_ops::assess::mark_good;
use cos_ops::build::plan::Extras;
use cos_ops::build::sizes::Role;
use cos_ops::deploy::SnapshotSource;
use cos_ops::hooks::NoHooks;
use cos_ops::install::{Firmware, InstallRequest, install};
use cos_ops::machine::{BootReport, Machine, Mode, Places};
use cos_ops::reset::{Fate, ResetPartitions, ResetRequest, reset};
use cos_ops::root::convert::{CompressionChoice, ImageRequest};
use cos_ops::snapshots::{boot_once, pin, roll_back};
use cos_ops::status::status;
use cos_ops::trust::Gate;
use cos_ops::upgrade::{Extent, Outcome, Target, UpgradeRequest, Wanted, upgrade};
use cos_store::{SnapshotId, Store};
use cos_sys::mount::{Mount, mount, unmount};
use cos_testkit::{TempDir, images};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Bytes of a mebibyte.
pub const MIB: u64 = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(20);
/// The time of everything that is installed or reset: in the future, so that the clock has jumped back when
/// anything else is done.
const NOW: i64 = 2_100_000_000;

/// Images to install and to upgrade to, one for each version.
#[derive(Debug)]
pub struct Images {
    directory: TempDir,
}

impl Images {
    /// None yet.
    pub fn new() -> Result<Self> {
        let directory = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new())?;
        Ok(Self { directory })
    }

    /// The tree of a version.
    pub fn tree(&self, version: &str) -> Result<PathBuf> {
        let tree = self.directory.path().join(version);
        if !tree.exists() {
            images::tiniest(&tree, version)?;
        }
        Ok(tree)
    }

    /// The tree of a version that has so many small files besides: reading each of them takes some system
    /// calls.
    pub fn tree_of_many(&self, version: &str, files: usize) -> Result<PathBuf> {
        let tree = self.tree(version)?;
        let directory = tree.join("usr/share/many");
        fs_err::create_dir_all(&directory)?;
        for number in 0..files {
            let text = format!("{version} {number}\n");
            fs_err::write(directory.join(number.to_string()), text)?;
        }
        Ok(tree)
    }

    fn request(&self, version: &str) -> Result<ImageRequest> {
        image_request(&self.tree(version)?, self.directory.path())
    }
    fn source(&self, version: &str) -> Result<SnapshotSource> {
        Ok(SnapshotSource::Image(Box::new(self.request(version)?)))
    }

    /// `cos install`: partitions as small as they can be.
    pub fn install(&self, device: &Path, version: &str, force: bool) -> Result<()> {
        let sizes = [(Role::Efi, 35 * MIB), (Role::Oem, 16 * MIB)];
        let request = InstallRequest {
            device: device.to_owned(),
            source: self.source(version)?,
            kernel_arguments: String::new(),
            partitions: BTreeMap::from(sizes),
            extras: Extras {
                persistent: FileSystem::Ext4,
                ..Extras::default()
            },
            cloud_configs: Vec::new(),
            firmware: Firmware::Auto,
            has_uefi: true,
            tpm: self.directory.path().join("tpm"),
            no_format: false,
            force,
            temp_dir: self.directory.path().to_owned(),
            search_path: None,
            now: NOW,
        };
        install(&request, &NoHooks, &Silent)?;
        Ok(())
    }
}

/// What of a machine a reset makes anew besides COS_STATE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wipe {
    /// Nothing.
    Nothing,
    /// COS_PERSISTENT and COS_OEM.
    Data,
}

/// A machine that was booted from a disk.
#[derive(Debug)]
pub struct Running<'r> {
    disk: &'r LoopDisk,
    images: &'r Images,
    machine: Machine,
    directory: TempDir,
    mounted: bool,
}

impl<'r> Running<'r> {
    /// Boots: mounts what the initrd mounts, read-only.
    pub fn boot(disk: &'r LoopDisk, images: &'r Images, mode: Mode) -> Result<Self> {
        let directory = TempDir::new()?;
        let role = match mode {
            Mode::Recovery => Role::Recovery,
            _ => Role::State,
        };
        let places = Places {
            run: directory.path().join("run"),
            lock: directory.path().join("lock"),
            tpm: directory.path().join("tpm"),
        };
        let node = disk.partition(role.number());
        mount_at(&node, &places.source(), "ro")?;
        let store = Store::new(places.source());
        let boot = report(mode, store.state()?.active, node);
        Ok(Self {
            disk,
            images,
            machine: Machine { boot, places },
            directory,
            mounted: true,
        })
    }

    /// Shuts down.
    pub fn shut_down(mut self) -> Result<()> {
        unmount_from(&self.machine.places.source())?;
        self.mounted = false;
        Ok(())
    }

    /// The store it runs from.
    pub fn store(&self) -> Store {
        self.machine.own_store()
    }

    /// `cos upgrade`.
    pub fn upgrade(&self, version: &str, target: Target, extent: Extent) -> Result<()> {
        upgrade_to(&self.machine, self.images.request(version)?, target, extent)
    }

    /// What `cos status` says somebody should look at.
    pub fn problems(&self) -> Result<Vec<String>> {
        Ok(status(&self.machine)?.problems)
    }

    /// `cos boot good`.
    pub fn mark_good(&self) -> Result<()> {
        mark_good(&self.machine)?;
        Ok(())
    }

    /// `cos rollback`.
    pub fn roll_back(&self) -> Result<()> {
        let done = roll_back(&self.machine, None)?;
        ensure!(done.changed, "no rollback");
        Ok(())
    }

    /// `cos pin`, `cos unpin`, of the snapshot that runs.
    pub fn pin(&self, pinned: bool) -> Result<()> {
        let done = pin(&self.machine, &self.machine.boot.snapshot, pinned)?;
        ensure!(done.changed, "pinned as before");
        Ok(())
    }

    /// `cos boot once recovery`.
    pub fn boot_recovery_once(&self) -> Result<()> {
        let done = boot_once(&self.machine, Some(Once::Recovery))?;
        ensure!(done.changed, "boots once as before");
        Ok(())
    }

    /// `cos reset`, from recovery. Returns what became of COS_STATE.
    pub fn reset(&self, version: &str, wipe: Wipe) -> Result<Fate> {
        let node = |role: Role| self.disk.partition(role.number());
        let name = self.disk.node().file_name().context("no device")?;
        let request = ResetRequest {
            mode: self.machine.boot.mode,
            is_sealed: false,
            source: self.images.source(version)?,
            partitions: ResetPartitions {
                disk: name.to_string_lossy().into_owned(),
                state: node(Role::State),
                loader: None,
                oem: Some(node(Role::Oem)),
                persistent: Some(node(Role::Persistent)),
            },
            persistent: wipe == Wipe::Data,
            oem: wipe == Wipe::Data,
            allow_downgrade: false,
            tpm: self.machine.places.tpm.clone(),
            temp_dir: self.directory.path().to_owned(),
            search_path: None,
            now: NOW,
        };
        Ok(reset(&request, &NoHooks, &Silent)?.fate)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if self.mounted {
            drop(unmount(&self.machine.places.source(), true));
        }
    }
}

/// Mounts an ext4, making the mount point.
pub(super) fn mount_at(node: &Path, target: &Path, options: &str) -> Result<()> {
    fs_err::create_dir_all(target)?;
    mount(&Mount {
        source: node.display().to_string(),
        target: target.to_owned(),
        fstype: "ext4".into(),
        options: options.into(),
    })?;
    Ok(())
}

/// Unmounts, once nobody has anything open there.
pub(super) fn unmount_from(target: &Path) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = unmount(target, false) {
        ensure!(Instant::now() < deadline, "{error}");
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// A partition, mounted for a look or a change.
pub(crate) struct Look {
    directory: TempDir,
}

impl Look {
    pub(crate) fn into_partition(node: &Path, options: &str) -> Result<Self> {
        let directory = TempDir::new()?;
        mount_at(node, directory.path(), options)?;
        Ok(Self { directory })
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().to_owned()
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        if unmount_from(self.directory.path()).is_err() {
            drop(unmount(self.directory.path(), true));
        }
    }
}

fn image_request(tree: &Path, scratch: &Path) -> Result<ImageRequest> {
    let choice = PlatformChoice::Prefer(Platform::linux(std::env::consts::ARCH));
    Ok(ImageRequest {
        source: format!("dir:{}", tree.display()).parse()?,
        overlays: Vec::new(),
        options: Options::new(choice, scratch),
        gate: Gate::Open,
        compression: CompressionChoice::Auto,
        threads: 1,
        time: None,
    })
}

/// `cos upgrade` of the machine that has COS_STATE mounted at `run`/source, to the image that is unpacked
/// at `tree`: what a process of its own does, to be killed.
pub fn upgrade_at(run: &Path, tree: &Path) -> Result<()> {
    let places = Places {
        run: run.to_owned(),
        lock: run.join("lock"),
        tpm: run.join("tpm"),
    };
    let snapshot = Store::new(places.source()).state()?.active;
    let machine = Machine {
        boot: report(Mode::Active, snapshot, PathBuf::new()),
        places,
    };
    upgrade_to(
        &machine,
        image_request(tree, run)?,
        Target::System,
        Extent::Whole,
    )
}

fn report(mode: Mode, snapshot: SnapshotId, source: PathBuf) -> BootReport {
    BootReport {
        mode,
        snapshot,
        root_hash: String::new(),
        source,
        trial: false,
        fallback: false,
        sealed: false,
        encrypted: false,
        persistent: true,
        warnings: Vec::new(),
    }
}

fn upgrade_to(
    machine: &Machine,
    image: ImageRequest,
    target: Target,
    extent: Extent,
) -> Result<()> {
    let request = UpgradeRequest {
        wanted: Wanted {
            source: Some(image.source.clone()),
            version: None,
            follow: false,
        },
        image,
        target,
        extent,
        force: false,
        allow_downgrade: false,
        scratch: Vec::new(),
        now: cos_ops::machine::now(),
    };
    let done = upgrade(&request, machine, &Config::default(), &NoHooks, &Silent)?;
    let wanted = match extent {
        Extent::Download => Outcome::Staged,
        _ => Outcome::Committed,
    };
    ensure!(done.outcome == wanted, "upgrade: {:?}", done.outcome);
    Ok(())
}
