//! What every medium carries: one snapshot's files, and the boot loader's.

use crate::OpsError;
use crate::identity::Identity;
use crate::root::boot_files::BootFiles;
use crate::root::convert::{ImageRequest, Loaded, load_trusted};
pub(crate) use crate::root::snapshot::create;
use crate::root::snapshot::{Described, boot_config, renew_id, replace_root, write_snapshot};
use crate::sealed::{self, Seal, SealingKeys, Seals};
use crate::trust::{self, Trusted};
use cos_boot::{
    ATTEMPT_ENVIRONMENT, Attempts, BOOT_ENVIRONMENT, BootState, KernelArguments,
    NEXT_BOOT_ENVIRONMENT, vendor_redirect,
};
use cos_disk::Source;
use cos_events::{Cancelled, Monitor, Task};
use cos_store::{
    Action, BOOT_CONFIG, INITRD, KERNEL, METADATA, PROGRAM, ROOT_IMAGE, Snapshot, SnapshotId,
};
use cos_verity::Verity;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// What to build from, for every kind of medium.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// The image.
    pub image: ImageRequest,
    /// Kernel arguments behind those of the image.
    pub kernel_arguments: String,
    /// Where to keep temporary data; by default beside the result.
    pub temp_dir: Option<PathBuf>,
    /// Where the result goes.
    pub output: PathBuf,
}

impl BuildRequest {
    /// Makes a directory for temporary data, gone when dropped.
    pub(crate) fn make_temp_dir(&self) -> Result<TempDir, OpsError> {
        let parent = match (&self.temp_dir, self.output.parent()) {
            (Some(directory), _) => directory.as_path(),
            (None, Some(parent)) if !parent.as_os_str().is_empty() => parent,
            (None, _) => Path::new("."),
        };
        let made = tempfile::Builder::new()
            .prefix(".cos-build-")
            .tempdir_in(parent);
        made.map_err(|source| OpsError::TempDir {
            directory: parent.to_path_buf(),
            source,
        })
    }
}

/// A file with its place.
#[derive(Debug, Clone)]
pub(crate) struct PlacedFile {
    /// Path on the medium, without leading slash.
    pub(crate) path: String,
    /// Its bytes.
    pub(crate) source: Source,
    /// How many bytes.
    pub(crate) size: u64,
}

impl PlacedFile {
    pub(crate) fn bytes(path: String, bytes: Vec<u8>) -> Self {
        Self {
            path,
            size: bytes.len() as u64,
            source: Source::Bytes(bytes),
        }
    }
}

/// The large files of a snapshot, wherever they lie.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    /// `root.img`.
    pub(crate) root: PathBuf,
    /// `vmlinuz`.
    pub(crate) kernel: PathBuf,
    /// `initrd`.
    pub(crate) initrd: PathBuf,
    /// `system.efi`, of a sealed snapshot.
    pub(crate) program: PathBuf,
}

impl Parts {
    /// Those in a snapshot's directory.
    pub(crate) fn of(directory: &Path) -> Self {
        Self {
            root: directory.join(ROOT_IMAGE),
            kernel: directory.join(KERNEL),
            initrd: directory.join(INITRD),
            program: directory.join(PROGRAM),
        }
    }

    /// Each that a snapshot has, with its name in the snapshot's directory.
    pub(crate) fn named(&self, snapshot: &Snapshot) -> Vec<(&'static str, &Path)> {
        let mut named: Vec<(&'static str, &Path)> = vec![
            (ROOT_IMAGE, &self.root),
            (KERNEL, &self.kernel),
            (INITRD, &self.initrd),
        ];
        if snapshot.program.is_some() {
            named.push((PROGRAM, &self.program));
        }
        named
    }
}

/// One snapshot and its boot loader, ready to be put onto a medium.
pub(crate) struct Payload {
    /// What it is.
    pub(crate) snapshot: Snapshot,
    /// Name of the operating system.
    pub(crate) title: String,
    /// Seconds since 1970 for everything that needs a time.
    pub(crate) time: i64,
    /// The snapshot's large files.
    pub(crate) parts: Parts,
    /// `root.img`, `vmlinuz`, `initrd`, `boot.cfg`, `snapshot.yaml`, `system.efi` of a sealed one, and
    /// `boot.env`, with their paths.
    pub(crate) files: Vec<PlacedFile>,
    /// Boot loader programs for UEFI, with their paths on the EFI system partition.
    pub(crate) efi: Vec<PlacedFile>,
    /// Boot loader images for a BIOS.
    pub(crate) bios: Option<BiosImages>,
    /// Whether `efi` is all of a sealed system, which GRUB has no part in.
    pub(crate) sealed: bool,
    /// Source of identities.
    pub(crate) identity: Identity,
    /// Holds the large files until the medium is written.
    pub(crate) directory: TempDir,
}

/// GRUB's images for a BIOS.
pub(crate) struct BiosImages {
    pub(crate) boot_sector: Vec<u8>,
    pub(crate) hybrid_boot_sector: Vec<u8>,
    pub(crate) core: Vec<u8>,
    pub(crate) eltorito: Vec<u8>,
}

impl Payload {
    /// Reads the image and makes its root image, in a temporary directory. With keys, the system is sealed.
    pub(crate) fn build(
        request: &BuildRequest,
        sealing: Option<&SealingKeys>,
        action: Action,
        monitor: &dyn Monitor,
    ) -> Result<Self, OpsError> {
        let more = KernelArguments::new(&request.kernel_arguments)?;
        let directory = request.make_temp_dir()?;
        let mut image = request.image.clone();
        let trusted = trust::resolve(&image.source, &image.options, &image.gate, monitor)?;
        let trusted = trusted.fresh()?;
        let seal = seal(&trusted, &image, action, monitor)?;
        if let Some(seal) = &seal {
            image.compression = seal.compression(image.compression);
        }
        let mut loaded = load_trusted(trusted, &image, directory.path(), monitor)?;
        let boot = loaded.fitted_boot_files(image.compression, directory.path(), monitor)?;
        let described = Described {
            source: request.image.source.to_string(),
            follows: None,
            machine_arguments: more,
            action,
            time: request.image.time.or(loaded.created()).unwrap_or(0),
        };
        let mut snapshot =
            write_snapshot(&mut loaded, &boot, described, directory.path(), monitor)?;
        if let Some(seal) = &seal {
            seal.hold(&mut snapshot, directory.path(), monitor)?;
        }
        let (efi, bios) = match sealing {
            Some(keys) => {
                let (files, program) =
                    sealed::efi_files(&loaded, &boot, &snapshot, keys, directory.path())?;
                snapshot.program = Some(program);
                (files, None)
            }
            None => (efi_files(&loaded, &boot)?, bios_images(&loaded, &boot)?),
        };
        let time = snapshot.date;
        let parts = Parts::of(directory.path());
        let files = snapshot_files(&snapshot, &parts)?;
        let identity =
            Identity::from_parts(&[snapshot.id.as_str().as_bytes(), &time.to_le_bytes()]);
        Ok(Self {
            snapshot,
            title: boot.title,
            time,
            parts,
            files,
            efi,
            bios,
            sealed: sealing.is_some(),
            identity,
            directory,
        })
    }

    /// Makes the snapshot one with another root image, which a hook of this machine made of the first.
    pub(crate) fn replace_root(&mut self, path: PathBuf, verity: &Verity) -> Result<(), OpsError> {
        self.parts.root = path;
        replace_root(&mut self.snapshot, verity)?;
        self.files = snapshot_files(&self.snapshot, &self.parts)?;
        Ok(())
    }

    /// Says when and by what the snapshot was put where it goes, for media that are not to be the same
    /// each time; and takes identities that no other medium has.
    pub(crate) fn belong_to_machine(&mut self, action: Action, now: i64) -> Result<(), OpsError> {
        self.snapshot.action = action;
        self.snapshot.date = now;
        self.time = now;
        self.identity = Identity::random().map_err(OpsError::Random)?;
        renew_id(&mut self.snapshot)?;
        self.files = snapshot_files(&self.snapshot, &self.parts)?;
        Ok(())
    }

    /// Size of the signed program, bytes; 0 where the system is not sealed.
    pub(crate) fn program_size(&self) -> u64 {
        let place = place(&self.snapshot.id, PROGRAM);
        let program = self.files.iter().find(|file| file.path == place);
        program.map_or(0, |file| file.size)
    }

    /// Sizes of the snapshot's files, bytes.
    pub(crate) fn sizes(&self) -> Vec<u64> {
        self.files.iter().map(|file| file.size).collect()
    }
}

/// What an image that is put onto a machine is held against. Media are what their builder makes of it.
fn seal(
    trusted: &Trusted,
    image: &ImageRequest,
    action: Action,
    monitor: &dyn Monitor,
) -> Result<Option<Seal>, OpsError> {
    let is_held = matches!(action, Action::Install | Action::Reset) && image.overlays.is_empty();
    if !is_held || !matches!(image.source, cos_image::Source::Registry(_)) {
        return Ok(None);
    }
    let seals = Seals::find_any(trusted, &image.options, &image.gate, monitor)?;
    Ok(seals.and_then(Seals::newest))
}

/// The files of a snapshot, and the boot state that names it.
fn snapshot_files(snapshot: &Snapshot, parts: &Parts) -> Result<Vec<PlacedFile>, OpsError> {
    let id = &snapshot.id;
    let mut files = Vec::new();
    for (name, path) in parts.named(snapshot) {
        files.push(host_file(id, name, path.to_owned())?);
    }
    files.push(PlacedFile::bytes(
        place(id, BOOT_CONFIG),
        boot_config(snapshot)?.into_bytes(),
    ));
    files.push(PlacedFile::bytes(
        place(id, METADATA),
        snapshot.to_yaml()?.into_bytes(),
    ));
    let state = BootState::first(id.clone());
    let attempts = Attempts::default().about(state.generation);
    let state = state.to_bytes().map_err(OpsError::BootState)?;
    let attempts = attempts.to_bytes().map_err(OpsError::BootState)?;
    for (name, bytes) in [
        (BOOT_ENVIRONMENT, state.clone()),
        (NEXT_BOOT_ENVIRONMENT, state),
        (ATTEMPT_ENVIRONMENT, attempts),
    ] {
        files.push(PlacedFile::bytes(name.to_owned(), bytes));
    }
    Ok(files)
}

fn place(id: &SnapshotId, name: &str) -> String {
    format!("{}/{name}", id.directory())
}

fn host_file(id: &SnapshotId, name: &str, path: PathBuf) -> Result<PlacedFile, OpsError> {
    let size = fs_err::metadata(&path).map_err(OpsError::Inspect)?.len();
    Ok(PlacedFile {
        path: place(id, name),
        source: Source::Host(path),
        size,
    })
}

fn efi_files(loaded: &Loaded, boot: &BootFiles) -> Result<Vec<PlacedFile>, OpsError> {
    let Some(efi) = &boot.manifest.efi else {
        return Ok(Vec::new());
    };
    let mut files = Vec::new();
    for file in &efi.files {
        let bytes =
            BootFiles::loader_file(&loaded.image.tree, &loaded.spool, "EFI loader", &file.from)?;
        files.push(PlacedFile::bytes(file.to.clone(), bytes));
    }
    if let Some(vendor) = &efi.vendor_directory {
        let path = format!("{vendor}/grub.cfg");
        files.push(PlacedFile::bytes(path, vendor_redirect().into_bytes()));
    }
    Ok(files)
}

fn bios_images(loaded: &Loaded, boot: &BootFiles) -> Result<Option<BiosImages>, OpsError> {
    let Some(bios) = &boot.manifest.bios else {
        return Ok(None);
    };
    let read =
        |path: &str| BootFiles::loader_file(&loaded.image.tree, &loaded.spool, "BIOS loader", path);
    Ok(Some(BiosImages {
        boot_sector: read(&bios.boot_sector)?,
        hybrid_boot_sector: read(&bios.hybrid_boot_sector)?,
        core: read(&bios.core)?,
        eltorito: read(&bios.eltorito)?,
    }))
}

/// Reports one step without numbers.
pub(crate) fn step<T, E: From<Cancelled>>(
    monitor: &dyn Monitor,
    label: &str,
    run: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    monitor.checkpoint()?;
    let task = Task::items(monitor, label, None);
    let result = run()?;
    task.finish();
    Ok(result)
}
