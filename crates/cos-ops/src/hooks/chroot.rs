//! Hooks inside the new root, and what becomes of their changes: a new root image.

use super::{HookError, NewRoot, RootImage};
use crate::OpsError;
use crate::build::payload::create;
use crate::deploy::free_bytes;
use crate::root::convert::{CompressionChoice, ImageRequest, load};
use crate::trust::Gate;
use cos_events::Monitor;
use cos_image::{Options, Platform, PlatformChoice, Source};
use cos_store::ROOT_IMAGE;
use cos_sys::loop_device::{LoopDevice, LoopOptions};
use cos_sys::mount::{Mount, MountError, mount, unmount};
use std::io;
use std::path::{Path, PathBuf};

/// What programs in the new root need of the running system, and what hooks are for.
const LENT: [&str; 7] = [
    "/dev",
    "/proc",
    "/sys",
    "/run",
    "/tmp",
    "/oem",
    "/usr/local",
];

/// What is needed besides a second root image.
const MARGIN: u64 = 4 << 20;

/// What is changed, and what overlayfs needs beside it.
const UPPER: &str = "layer/upper";
const WORK: &str = "layer/work";
/// `OVERLAYFS_SUPER_MAGIC` of linux/magic.h.
const OVERLAY: i128 = 0x794c_7630;

/// Mounts the new root with a writable layer over it, lets `act` change it, and makes what was changed a
/// root image in the scratch directory. `None` when nothing was.
pub fn changed(
    root: &RootImage<'_>,
    threads: usize,
    monitor: &dyn Monitor,
    act: impl FnOnce(&Path) -> Result<(), HookError>,
) -> Result<Option<NewRoot>, HookError> {
    let tree = MountedRoot::new(root)?;
    let lent = tree.lend()?;
    act(&tree.merged())?;
    drop(lent);
    if !tree.is_changed()? {
        return Ok(None);
    }
    leave_room(root)?;
    let platform = PlatformChoice::Prefer(Platform::linux(std::env::consts::ARCH));
    let request = ImageRequest {
        source: Source::Directory(tree.merged()),
        overlays: Vec::new(),
        gate: Gate::Open,
        options: Options::new(platform, root.scratch),
        compression: CompressionChoice::Auto,
        threads,
        time: None,
    };
    let mut loaded = load(&request, root.scratch, monitor)?;
    let path = root.scratch.join(ROOT_IMAGE);
    let verity = loaded.write_root(&create(&path)?, None, monitor)?;
    Ok(Some(NewRoot { path, verity }))
}

/// The root image that is made of the changed tree lies beside the first until it takes its place.
fn leave_room(root: &RootImage<'_>) -> Result<(), HookError> {
    let needed = fs_err::metadata(root.path)?.len() + MARGIN;
    let free = free_bytes(root.scratch)?;
    if free < needed {
        let path = root.scratch.to_owned();
        return Err(OpsError::Space { path, needed, free }.into());
    }
    Ok(())
}

/// The new root, mounted with a writable layer over it. Unmounted when dropped.
struct MountedRoot {
    directory: PathBuf,
    mounted: Vec<PathBuf>,
    image: LoopDevice,
}

impl MountedRoot {
    fn new(root: &RootImage<'_>) -> Result<Self, HookError> {
        let options = LoopOptions {
            read_only: true,
            autoclear: true,
            ..LoopOptions::default()
        };
        let mut made = Self {
            directory: root.scratch.to_owned(),
            mounted: Vec::new(),
            image: LoopDevice::attach(root.path, options)?,
        };
        for name in ["lower", "layer", "merged"] {
            fs_err::create_dir_all(made.directory.join(name))?;
        }
        if is_overlay(&made.directory)? {
            // An overlay takes no layer that is on another one; a live system has nothing but memory.
            made.add("tmpfs", "layer", "tmpfs", "mode=0755")?;
        }
        for name in [UPPER, WORK] {
            fs_err::create_dir_all(made.directory.join(name))?;
        }
        let device = made.image.path().display().to_string();
        made.add(&device, "lower", "erofs", "ro")?;
        let place = |name: &str| made.directory.join(name).display().to_string();
        let layers = format!(
            "lowerdir={},upperdir={},workdir={}",
            place("lower"),
            place(UPPER),
            place(WORK)
        );
        made.add("overlay", "merged", "overlay", &layers)?;
        Ok(made)
    }

    fn add(
        &mut self,
        source: &str,
        name: &str,
        kind: &str,
        options: &str,
    ) -> Result<(), MountError> {
        let target = self.directory.join(name);
        mount(&Mount {
            source: source.to_owned(),
            target: target.clone(),
            fstype: kind.to_owned(),
            options: options.to_owned(),
        })?;
        self.mounted.push(target);
        Ok(())
    }

    fn merged(&self) -> PathBuf {
        self.directory.join("merged")
    }

    /// Lends the running system's places to the new root.
    fn lend(&self) -> Result<Lent, MountError> {
        let mut lent = Lent(Vec::new());
        for place in LENT {
            let target = self.merged().join(&place[1..]);
            if !target.is_dir() || !Path::new(place).is_dir() {
                continue;
            }
            mount(&Mount {
                source: place.to_owned(),
                target: target.clone(),
                fstype: "none".to_owned(),
                options: "bind".to_owned(),
            })?;
            lent.0.push(target);
        }
        Ok(lent)
    }

    fn is_changed(&self) -> io::Result<bool> {
        let mut entries = fs_err::read_dir(self.directory.join(UPPER))?;
        Ok(entries.next().is_some())
    }
}

fn is_overlay(directory: &Path) -> io::Result<bool> {
    Ok(i128::from(rustix::fs::statfs(directory)?.f_type) == OVERLAY)
}

/// What is lent, given back when dropped: lazily, as a hook may have left something running there.
struct Lent(Vec<PathBuf>);

impl Drop for Lent {
    fn drop(&mut self) {
        for place in self.0.iter().rev() {
            drop(unmount(place, true));
        }
    }
}

impl Drop for MountedRoot {
    fn drop(&mut self) {
        for place in self.mounted.iter().rev() {
            drop(unmount(place, true));
        }
    }
}
