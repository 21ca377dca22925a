//! Hooks inside the new root, and what becomes of their changes: a new root image.

use super::hooks::{Hooks, Moment};
use crate::OpsError;
use crate::root::convert::{ImageRequest, load};
use crate::root::snapshot::{Written, create};
use cos_events::Monitor;
use cos_image::Source;
use cos_store::{Draft, ROOT_IMAGE};
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
/// The new root image while the old one is still read.
const CHANGED: &str = "root.img.changed";

/// Runs the hooks of `after-upgrade-chroot`. What they change is made part of the root image.
pub(super) fn after_chroot(
    written: Written,
    draft: &Draft,
    request: &ImageRequest,
    hooks: &dyn Hooks,
    monitor: &dyn Monitor,
) -> Result<Written, OpsError> {
    let moment = Moment::AfterChroot;
    if hooks.are_none() {
        return Ok(written);
    }
    let tree = NewRoot::mount(draft.directory())?;
    let lent = tree.lend()?;
    // The documents of the new image count too.
    if !hooks.any("upgrade", moment, &tree.merged(), monitor)? {
        return Ok(written);
    }
    hooks.run("upgrade", moment, Some(&tree.merged()), monitor)?;
    drop(lent);
    if !tree.is_changed()? {
        return Ok(written);
    }
    let mut request = request.clone();
    request.source = Source::Directory(tree.merged());
    request.overlays.clear();
    let mut loaded = load(&request, &request.options.temp_dir, monitor)?;
    let path = draft.directory().join(CHANGED);
    let verity = loaded.write_root(&create(&path)?, None, monitor)?;
    drop(tree);
    let target = draft.directory().join(ROOT_IMAGE);
    fs_err::rename(&path, &target).map_err(|source| OpsError::Write {
        path: target,
        source,
    })?;
    written.with_root(&verity)
}

/// The new root, mounted with a writable layer over it. Unmounted when dropped.
struct NewRoot {
    directory: PathBuf,
    mounted: Vec<PathBuf>,
    image: LoopDevice,
}

impl NewRoot {
    /// The layer is beside the image and goes with the draft.
    fn mount(draft: &Path) -> Result<Self, OpsError> {
        let directory = draft.join("changes");
        let options = LoopOptions {
            read_only: true,
            autoclear: true,
            ..LoopOptions::default()
        };
        let image = LoopDevice::attach(&draft.join(ROOT_IMAGE), options)
            .map_err(|source| OpsError::Attach(Box::new(source)))?;
        let mut root = Self {
            directory,
            mounted: Vec::new(),
            image,
        };
        for name in ["lower", "upper", "work", "merged"] {
            let path = root.directory.join(name);
            fs_err::create_dir_all(&path).map_err(|source| OpsError::Write { path, source })?;
        }
        let device = root.image.path().display().to_string();
        root.add(&device, "lower", "erofs", "ro")?;
        let place = |name: &str| root.directory.join(name).display().to_string();
        let layers = format!(
            "lowerdir={},upperdir={},workdir={}",
            place("lower"),
            place("upper"),
            place("work")
        );
        root.add("overlay", "merged", "overlay", &layers)?;
        Ok(root)
    }

    fn add(&mut self, source: &str, name: &str, kind: &str, options: &str) -> Result<(), OpsError> {
        let target = self.directory.join(name);
        mount(&Mount {
            source: source.to_owned(),
            target: target.clone(),
            fstype: kind.to_owned(),
            options: options.to_owned(),
        })
        .map_err(OpsError::Mount)?;
        self.mounted.push(target);
        Ok(())
    }

    fn merged(&self) -> PathBuf {
        self.directory.join("merged")
    }

    /// Lends the running system's places to the new root.
    fn lend(&self) -> Result<Lent, OpsError> {
        let mut lent = Lent(Vec::new());
        for place in LENT {
            let target = self.merged().join(&place[1..]);
            if !target.is_dir() || !Path::new(place).is_dir() {
                continue;
            }
            bind(place, &target).map_err(OpsError::Mount)?;
            lent.0.push(target);
        }
        Ok(lent)
    }

    fn is_changed(&self) -> Result<bool, OpsError> {
        let upper = self.directory.join("upper");
        let failed = |source: io::Error| OpsError::Write {
            path: upper.clone(),
            source,
        };
        Ok(fs_err::read_dir(&upper).map_err(failed)?.next().is_some())
    }
}

fn bind(from: &str, to: &Path) -> Result<(), MountError> {
    mount(&Mount {
        source: from.to_owned(),
        target: to.to_owned(),
        fstype: "none".to_owned(),
        options: "bind".to_owned(),
    })
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

impl Drop for NewRoot {
    fn drop(&mut self) {
        for place in self.mounted.iter().rev() {
            drop(unmount(place, true));
        }
    }
}
