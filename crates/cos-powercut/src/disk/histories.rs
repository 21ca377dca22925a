//! The histories of which everything that is done to a disk consists.

use super::check::MINE;
use super::history::{Between, DiskHistory, nothing};
use super::machine::{Images, Look, MIB, Running, Wipe};
use super::recorded::{DATA, Data, Recorded};
use super::view::DiskView;
use super::{LoopDisk, grub};
use crate::loader::View;
use anyhow::{Context, Result, ensure};
use cos_boot::{BootState, decide};
use cos_ops::build::sizes::Role;
use cos_ops::machine::Mode;
use cos_ops::reset::Fate;
use cos_ops::upgrade::{Extent, Target};
use cos_store::Store;
use cos_sys::block::BlockDevices;
use cos_sys::{ext4, gpt};
use cos_testkit::TempDir;
use fs_err::{File, OpenOptions};
use std::io::ErrorKind;
use std::path::PathBuf;

/// Bytes of the disk: all partitions as small as they can be.
const DISK: u64 = 192 * MIB;
/// What the disk has grown by before its first boot.
const GROWTH: u64 = 64 * MIB;

/// The histories of which everything that is done to a disk consists.
#[derive(Debug)]
pub struct Histories {
    images: Images,
    directory: TempDir,
}

impl Histories {
    /// Nothing is made yet.
    pub fn new() -> Result<Self> {
        Ok(Self {
            images: Images::new()?,
            directory: TempDir::new_in("/dev/shm").or_else(|_| TempDir::new())?,
        })
    }

    /// The images that are used.
    pub fn images(&self) -> &Images {
        &self.images
    }

    fn blank(&self) -> Result<PathBuf> {
        let path = self.directory.path().join("blank.img");
        File::create(&path)?.set_len(DISK)?;
        Ok(path)
    }

    /// A disk with version 1, good, and with somebody's data on it.
    pub fn installed(&self) -> Result<PathBuf> {
        let path = self.directory.path().join("installed.img");
        if path.exists() {
            return Ok(path);
        }
        let new = self.directory.path().join("new.img");
        File::create(&new)?.set_len(DISK)?;
        let disk = LoopDisk::attach(&new)?;
        self.images.install(disk.node(), "1", false)?;
        for role in DATA {
            let look = Look::into_partition(&disk.partition(role.number()), "rw")?;
            fs_err::write(look.path().join(MINE.0), MINE.1)?;
        }
        let running = Running::boot(&disk, &self.images, Mode::Active)?;
        running.mark_good()?;
        running.shut_down()?;
        disk.detach()?;
        fs_err::rename(&new, &path)?;
        Ok(path)
    }

    /// Installing onto a blank disk.
    pub fn install(&self) -> Result<Recorded> {
        let mut history = DiskHistory::start(&self.images, &self.blank()?)?;
        history.run("install", Data::Lost, unfinished, |disk, images| {
            images.install(disk.node(), "1", false)
        })?;
        history.remember_loader()?;
        history.stop()
    }

    /// Installing over a system.
    pub fn install_again(&self) -> Result<Recorded> {
        let mut history = DiskHistory::start(&self.images, &self.installed()?)?;
        history.run(
            "install over a system",
            Data::Lost,
            unfinished,
            |disk, images| images.install(disk.node(), "2", true),
        )?;
        history.remember_loader()?;
        history.stop()
    }

    /// What happens to an installed system in its life.
    #[expect(
        clippy::redundant_closure_for_method_calls,
        reason = "the method of one lifetime is none for all"
    )]
    pub fn life(&self) -> Result<Recorded> {
        let mut history = DiskHistory::start(&self.images, &self.installed()?)?;
        history.booted("upgrade", |it| {
            it.upgrade("2", Target::System, Extent::Whole)
        })?;
        history.run("count a boot", Data::Untouched, nothing, count_boot)?;
        history.booted("mark good", |it| it.mark_good())?;
        history.booted("roll back", |it| it.roll_back())?;
        history.booted("pin", |it| it.pin(true))?;
        history.booted("unpin", |it| it.pin(false))?;
        history.booted("boot recovery once", |it| it.boot_recovery_once())?;
        history.run("boot it", Data::Untouched, nothing, count_boot)?;
        history.booted("upgrade, without the oldest", |it| {
            it.upgrade("3", Target::System, Extent::Whole)
        })?;
        history.booted("download an upgrade", |it| {
            it.upgrade("4", Target::System, Extent::Download)
        })?;
        history.booted("apply it", |it| {
            it.upgrade("4", Target::System, Extent::Apply)
        })?;
        history.booted("upgrade the recovery", |it| {
            it.upgrade("2", Target::Recovery, Extent::Whole)
        })?;
        history.stop()
    }

    /// Resetting from recovery: beside the old system, and with all data.
    pub fn reset(&self) -> Result<Recorded> {
        let mut history = DiskHistory::start(&self.images, &self.installed()?)?;
        history.run("reset", Data::Untouched, nothing, |disk, images| {
            reset(disk, images, "2", Wipe::Nothing, true)
        })?;
        history.run(
            "reset with all data",
            Data::Lost,
            nothing,
            |disk, images| reset(disk, images, "3", Wipe::Data, true),
        )?;
        history.stop()
    }

    /// Resetting where there is no room for a second snapshot.
    pub fn reset_anew(&self) -> Result<Recorded> {
        let path = self.directory.path().join("full.img");
        fs_err::copy(self.installed()?, &path)?;
        let disk = LoopDisk::attach(&path)?;
        fill(&disk)?;
        disk.detach()?;
        let mut history = DiskHistory::start(&self.images, &path)?;
        // COS_STATE is made anew with the new snapshot on it, which is then committed like any other.
        let between: Between = |before, after| {
            let first = |view: &View| BootState::first(view.state.active.clone());
            // Where only some of the old file system is cleared, GRUB may see the state before the last.
            let previous = before.with_state(first);
            vec![before.without_state(), previous, after.with_state(first)]
        };
        history.run(
            "reset without room",
            Data::Untouched,
            between,
            |disk, images| reset(disk, images, "4", Wipe::Nothing, false),
        )?;
        let mut recorded = history.stop()?;
        recorded.has_room = false;
        Ok(recorded)
    }

    /// The first boot on a disk that is larger than its image.
    pub fn growth(&self) -> Result<Recorded> {
        let path = self.directory.path().join("grown.img");
        fs_err::copy(self.installed()?, &path)?;
        let file = OpenOptions::new().write(true).open(&path)?;
        file.set_len(DISK + GROWTH)?;
        let mut history = DiskHistory::start(&self.images, &path)?;
        history.run("grow", Data::Kept, nothing, |disk, _| grow(disk))?;
        history.stop()
    }
}

/// A disk that is being installed to.
fn unfinished(_: &DiskView, _: &DiskView) -> Vec<DiskView> {
    vec![DiskView::Unfinished]
}

fn reset(disk: &LoopDisk, images: &Images, version: &str, wipe: Wipe, beside: bool) -> Result<()> {
    let running = Running::boot(disk, images, Mode::Recovery)?;
    let fate = running.reset(version, wipe)?;
    let is_kept = matches!(fate, Fate::Kept { .. });
    ensure!(is_kept == beside, "reset: {fate:?}");
    running.shut_down()
}

/// GRUB boots, and notes the attempt as the rule says.
fn count_boot(disk: &LoopDisk, _: &Images) -> Result<()> {
    let node = disk.partition(Role::State.number());
    let decision = {
        let look = Look::into_partition(&node, "ro")?;
        let store = Store::new(look.path());
        let state = store.state()?;
        decide(&state, &store.attempts(&state), |_| true)
    };
    grub::start(disk)?;
    let look = Look::into_partition(&node, "ro")?;
    let store = Store::new(look.path());
    let noted = store.attempts(&store.state()?);
    let wanted = decision.attempts;
    ensure!(noted == wanted, "GRUB noted {noted:?}, not {wanted:?}");
    Ok(())
}

/// Leaves no room for a second snapshot on COS_STATE.
fn fill(disk: &LoopDisk) -> Result<()> {
    let look = Look::into_partition(&disk.partition(Role::State.number()), "rw")?;
    let space = rustix::fs::statvfs(look.path())?;
    let free = space.f_bavail * space.f_frsize;
    let file = File::create(look.path().join("filler"))?;
    let length = free.saturating_sub(MIB);
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, length)?;
    file.sync_all()?;
    Ok(())
}

/// What the initrd does with COS_PERSISTENT at each boot. The file system grows only where the kernel
/// lets this process (`CAP_SYS_RESOURCE`).
fn grow(disk: &LoopDisk) -> Result<()> {
    let name = disk.node().file_name().context("no device")?;
    let number = Role::Persistent.number();
    let name = name.to_string_lossy().into_owned();
    let devices = BlockDevices::list()?;
    let whole = devices.by_name(&name).context("the disk is gone")?;
    let partition = devices.by_name(&format!("{name}p{number}"));
    let partition = partition.and_then(|it| it.partition.clone());
    gpt::grow_partition(whole, &partition.context("no partition")?)?;
    let node = disk.partition(number);
    let size = cos_disk::sparse::size_of(&File::open(&node)?)?;
    let look = Look::into_partition(&node, "rw")?;
    let directory = File::open(look.path())?;
    let block = rustix::fs::statvfs(look.path())?.f_bsize;
    match ext4::grow_mounted(&directory, size / block.max(1024)) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        done => Ok(done?),
    }
}
