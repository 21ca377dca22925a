//! Carrying out the plan: volumes, overlays and binds over the mounted root.

use crate::cmdline::{CommandLine, OverlaySpec};
use crate::error::{InitError, chain};
use crate::layout::Layout;
use crate::log::Log;
use crate::plan::{
    self, DirectoryState, Facts, OEM_TARGET, OVERLAY_DIRECTORY, PERSISTENT_LABEL, Plan, Step,
};
use crate::root::{PRISTINE, SYSROOT};
use crate::volume::Volume;
use crate::{encryption, grow, seed};
use cos_sys::block::BlockDevice;
use cos_sys::device_spec::DeviceSpec;
use cos_sys::locate;
use cos_sys::mount::{Mount, mount, unmount};
use cos_sys::root_path::Root as RootDirectory;
use cos_sys::tool::Tool;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Everything mounted over the root so far.
#[derive(Debug)]
pub(crate) struct Writable<'a> {
    cmdline: &'a CommandLine,
    /// The device booted from.
    near: BlockDevice,
    /// The new root.
    sysroot: RootDirectory,
    /// The image with nothing over it.
    pristine: RootDirectory,
    /// What was mounted.
    pub mounts: Vec<Mount>,
}

/// Where mounts are held while the root under them is replaced.
const ASIDE: &str = "/run/cos/aside";

/// Overlays must mean the same with every image version over the same state, so everything that ties
/// an upper layer to one lower layer is off.
const OVERLAY_OPTIONS: &str = "index=off,metacopy=off,redirect_dir=off,xino=off";

impl<'a> Writable<'a> {
    /// Starts on the root mounted at `/sysroot`.
    pub(crate) fn new(cmdline: &'a CommandLine, near: BlockDevice) -> Result<Self, InitError> {
        Ok(Self {
            cmdline,
            near,
            sysroot: RootDirectory::open(Path::new(SYSROOT))?,
            pristine: RootDirectory::open(Path::new(PRISTINE))?,
            mounts: Vec::new(),
        })
    }

    /// Mounts COS_OEM; a live system gets an empty place in memory. Returns the device.
    pub(crate) fn mount_oem(&mut self, log: &mut Log) -> Option<String> {
        if self.near.partition.is_none() {
            let memory = Mount {
                source: "tmpfs".into(),
                target: OEM_TARGET.into(),
                fstype: "tmpfs".into(),
                options: "size=16m,mode=0755,nosuid,nodev".into(),
            };
            if let Err(error) = self.mount_inside(memory) {
                log.warn(chain(&error));
            }
            return None;
        }
        let oem = Volume {
            device: DeviceSpec::Label(self.cmdline.oem_label.clone()),
            target: OEM_TARGET.into(),
            options: String::new(),
        };
        self.mount_volume(&oem, self.cmdline.oem_timeout, log)
    }

    /// Mounts the volumes, looks at the image, plans and carries out.
    pub(crate) fn make(&mut self, layout: &Layout, log: &mut Log) -> Result<Plan, InitError> {
        let mut facts = Facts::default();
        for volume in plan::wanted_volumes(self.cmdline, layout) {
            if self
                .mount_volume(&volume, self.cmdline.oem_timeout, log)
                .is_some()
            {
                facts.mounted.push(volume.target);
            }
        }
        for path in plan::paths_to_look_at(layout) {
            facts
                .directories
                .insert(path.to_owned(), self.look_at(path)?);
        }
        let plan = plan::plan(self.cmdline, layout, &facts);
        for warning in &plan.warnings {
            log.warn(warning.clone());
        }
        for step in &plan.steps {
            let done = match step {
                Step::EphemeralStore(store) => self.ephemeral_store(store, log),
                Step::Overlay { path, store } => self.overlay(path, store),
                Step::Bind { path, store, seed } => self.bind(path, store, *seed),
            };
            if let Err(error) = done {
                log.warn(chain(&error));
            }
        }
        Ok(plan)
    }

    fn look_at(&self, path: &Path) -> Result<DirectoryState, InitError> {
        let Some(real) = self.pristine.directory(path)? else {
            return Ok(DirectoryState::Missing);
        };
        let mut entries =
            fs_err::read_dir(&real).map_err(|source| InitError::Prepare { path: real, source })?;
        Ok(match entries.next() {
            None => DirectoryState::Empty,
            Some(_) => DirectoryState::Populated,
        })
    }

    /// Mounts a volume inside the new root. Whatever goes wrong is a warning: a machine that is
    /// reachable without its data is better than one that is not. Returns the device.
    fn mount_volume(
        &mut self,
        volume: &Volume,
        timeout: Duration,
        log: &mut Log,
    ) -> Option<String> {
        match self.try_volume(volume, timeout, log) {
            Ok(device) => Some(device),
            Err(why) => {
                log.warn(format!("{volume} is not mounted: {why}"));
                None
            }
        }
    }

    fn try_volume(
        &mut self,
        volume: &Volume,
        timeout: Duration,
        log: &mut Log,
    ) -> Result<String, String> {
        let place = encryption::place(self.cmdline, &volume.device);
        let found = locate::wait_for(&place, Some(&self.near), timeout)
            .map_err(|error| chain(&error))?
            .map_err(|present| {
                format!(
                    "not found in {} s; block devices present: {present}",
                    timeout.as_secs()
                )
            })?;
        let candidate = &found.candidate;
        let device = match &place {
            // By the name that was asked for: the kernel's name of a mapped device is another one at every boot.
            DeviceSpec::Path(path) => path.display().to_string(),
            _ => candidate.device.node.display().to_string(),
        };
        let filesystem = candidate
            .filesystem
            .as_ref()
            .ok_or("no file system that is known here")?;
        let is_persistent = volume.device == DeviceSpec::Label(PERSISTENT_LABEL.into());
        if is_persistent {
            grow::partition(candidate, log);
        }
        let read_only = volume.options.split(',').any(|option| option == "ro");
        if filesystem.kind == "ext4" && !read_only {
            let device = &candidate.device;
            check(&device.node, &device.name, log);
        }
        let mut options = default_options(filesystem.kind).to_owned();
        if !volume.options.is_empty() {
            options = format!("{options},{}", volume.options);
        }
        let target = self
            .mount_inside(Mount {
                source: device.clone(),
                target: volume.target.clone(),
                fstype: filesystem.kind.into(),
                options,
            })
            .map_err(|error| chain(&error))?;
        if let Some(last) = self.mounts.last_mut() {
            last.source = match (&place, &candidate.partition_uuid) {
                (DeviceSpec::Path(_), None) => device.clone(),
                _ => candidate.lasting_name(),
            };
        }
        if is_persistent {
            grow::filesystem(candidate, &target, log);
        }
        Ok(device)
    }

    /// Mounts at a place of the new root. Returns the place.
    fn mount_inside(&mut self, mut made: Mount) -> Result<PathBuf, InitError> {
        made.target = self.sysroot.make_directory(&made.target)?;
        mount(&made)?;
        let target = made.target.clone();
        self.mounts.push(made);
        Ok(target)
    }

    fn ephemeral_store(&mut self, store: &OverlaySpec, log: &mut Log) -> Result<(), InitError> {
        make_directory(Path::new(OVERLAY_DIRECTORY))?;
        let mut made = Mount {
            source: "tmpfs".into(),
            target: OVERLAY_DIRECTORY.into(),
            fstype: "tmpfs".into(),
            options: "mode=0755,size=20%".into(),
        };
        match store {
            OverlaySpec::Tmpfs(size) => made.options = format!("mode=0755,size={size}"),
            OverlaySpec::Device(device) => {
                match locate::wait_for(device, Some(&self.near), self.cmdline.oem_timeout)? {
                    Ok(found) => {
                        made.source = found.candidate.device.node.display().to_string();
                        let filesystem = found.candidate.filesystem.as_ref();
                        made.fstype = filesystem.map_or("ext4", |found| found.kind).into();
                        made.options = "rw,noatime".into();
                    }
                    Err(present) => log.warn(format!(
                        "{device} for ephemeral changes is not there, memory takes them; block devices present: {present}"
                    )),
                }
            }
        }
        mount(&made)?;
        self.mounts.push(made);
        Ok(())
    }

    fn overlay(&mut self, path: &Path, store: &Path) -> Result<(), InitError> {
        let Some(lower) = self.pristine.directory(path)? else {
            return Ok(());
        };
        let store = self.store_directory(store)?;
        let (upper, work) = (store.join("upper"), store.join("work"));
        make_like(&upper, Some(&lower))?;
        make_directory(&work)?;
        let options = format!(
            "lowerdir={},upperdir={},workdir={},{OVERLAY_OPTIONS}",
            lower.display(),
            upper.display(),
            work.display()
        );
        let made = Mount {
            source: "overlay".into(),
            target: path.to_owned(),
            fstype: "overlay".into(),
            options,
        };
        if path == Path::new("/") {
            return self.overlay_root(made);
        }
        self.mount_inside(made).map(|_| ())
    }

    /// Replaces the root itself, taking along what is mounted in it already.
    fn overlay_root(&mut self, made: Mount) -> Result<(), InitError> {
        let inside = |mount: &Mount| {
            let path = mount.target.strip_prefix(SYSROOT).ok()?;
            Some(Path::new("/").join(path))
        };
        let places: Vec<PathBuf> = self.mounts.iter().filter_map(inside).collect();
        let mut aside = Vec::new();
        for (index, place) in places.into_iter().enumerate() {
            let held = Path::new(ASIDE).join(index.to_string());
            make_directory(&held)?;
            bind_directory(&self.sysroot.make_directory(&place)?, &held)?;
            aside.push((place, held));
        }
        self.mount_inside(made)?;
        self.sysroot = RootDirectory::open(Path::new(SYSROOT))?;
        for (place, held) in aside {
            bind_directory(&held, &self.sysroot.make_directory(&place)?)?;
            unmount(&held, true)?;
        }
        Ok(())
    }

    fn bind(&mut self, path: &Path, store: &Path, seeded: bool) -> Result<(), InitError> {
        let lower = self.pristine.directory(path)?;
        let store = self.store_directory(store)?;
        make_like(&store, lower.as_deref())?;
        if let (true, Some(lower)) = (seeded, &lower) {
            seed::bring_up_to_date(lower, &store).map_err(|source| InitError::Prepare {
                path: store.clone(),
                source,
            })?;
        }
        self.mount_inside(Mount {
            source: store.display().to_string(),
            target: path.to_owned(),
            fstype: "none".into(),
            options: "bind".into(),
        })?;
        Ok(())
    }

    /// Where a store really is: the ephemeral one is in `/run`, the others are inside the new root.
    /// The parents are made, the directory itself is left to the caller.
    fn store_directory(&self, store: &Path) -> Result<PathBuf, InitError> {
        if store.starts_with(OVERLAY_DIRECTORY) {
            make_directory(store.parent().unwrap_or(store))?;
            return Ok(store.to_owned());
        }
        let parent = self
            .sysroot
            .make_directory(store.parent().unwrap_or(store))?;
        Ok(parent.join(store.file_name().unwrap_or_default()))
    }
}

fn bind_directory(from: &Path, to: &Path) -> Result<(), InitError> {
    mount(&Mount {
        source: from.display().to_string(),
        target: to.to_owned(),
        fstype: "none".into(),
        options: "bind".into(),
    })?;
    Ok(())
}

/// What a volume is mounted with before its own options.
fn default_options(fstype: &str) -> &'static str {
    match fstype {
        "vfat" => "rw,noatime,umask=0077",
        "iso9660" | "erofs" => "ro",
        _ => "rw,noatime",
    }
}

/// Replays the journal and mends what can be mended without asking, where the image's e2fsck is in
/// the initrd. In the good case it reads the superblock and is done.
pub(crate) fn check(node: &Path, name: &str, log: &mut Log) {
    let Ok(e2fsck) = Tool::find("e2fsck", "e2fsprogs", None) else {
        return;
    };
    let mut command = e2fsck.command();
    command.arg("-p").arg(node);
    match command.output().map(|output| output.status.code()) {
        // e2fsck(8): 0 clean, 1 mended; 2 asks for a reboot only of a mounted root.
        Ok(Some(0)) => {}
        Ok(Some(1 | 2)) => log.warn(format!(
            "the file system on {name} had errors, which were mended"
        )),
        Ok(code) => log.warn(format!(
            "the file system on {name} has errors that need a person (e2fsck exit code {code:?})"
        )),
        Err(error) => log.warn(format!("cannot check the file system on {name}: {error}")),
    }
}

fn make_directory(path: &Path) -> Result<(), InitError> {
    fs_err::create_dir_all(path).map_err(|source| InitError::Prepare {
        path: path.to_owned(),
        source,
    })
}

/// Makes a directory that is not there yet, with owner and mode of another: what is mounted in a
/// directory's place is seen with its own.
fn make_like(path: &Path, model: Option<&Path>) -> Result<(), InitError> {
    let failed = |source| InitError::Prepare {
        path: path.to_owned(),
        source,
    };
    if let Some(parent) = path.parent() {
        make_directory(parent)?;
    }
    match fs_err::create_dir(path) {
        Ok(()) => match model {
            Some(model) => seed::copy_metadata(model, path).map_err(failed),
            None => Ok(()),
        },
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(failed(error)),
    }
}
