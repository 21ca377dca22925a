//! What a medium carries, taken from the system that runs: no image is needed.

use super::payload::{BiosImages, Parts, Payload, PlacedFile};
use crate::OpsError;
use crate::identity::Identity;
use crate::root::boot_files::{BootFilesError, pretty_name};
use cos_boot::{
    EfiLoader, KernelArguments, LoaderManifest, MANIFEST_PATH, SnapshotId, vendor_redirect,
};
use cos_events::{Monitor, Task};
use cos_store::{Store, verify_snapshot};
use cos_sys::root_path::Root;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Name of the operating system.
const OS_RELEASE: [&str; 2] = ["etc/os-release", "usr/lib/os-release"];
/// No text file that is read whole is larger.
const MAX_TEXT: u64 = 1 << 20;
/// No boot loader image is larger.
const MAX_LOADER: u64 = 64 << 20;

/// A snapshot that is there, and its root as it is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningSnapshot {
    /// Where the partition or medium with `cos/snapshots` is mounted.
    pub store: PathBuf,
    /// Where the snapshot's verified root is mounted, with nothing over it.
    pub root: PathBuf,
    /// Which snapshot.
    pub id: SnapshotId,
    /// The root hash that the kernel enforces, hexadecimal.
    pub root_hash: String,
}

impl Payload {
    /// Takes the running snapshot, once every block of it is known to be what was written.
    /// `kernel_arguments` go behind its own.
    pub(crate) fn of_running(
        running: &RunningSnapshot,
        kernel_arguments: &str,
        directory: TempDir,
        monitor: &dyn Monitor,
    ) -> Result<Self, OpsError> {
        let store = Store::new(&running.store);
        monitor.checkpoint()?;
        let task = Task::items(monitor, format!("verify snapshot {}", running.id), None);
        let mut snapshot =
            verify_snapshot(&store, &running.id).map_err(|source| OpsError::Damaged {
                id: running.id.clone(),
                source,
            })?;
        task.finish();
        if snapshot.root_hash != running.root_hash {
            let id = running.id.clone();
            return Err(OpsError::NotRunning { id });
        }
        let more = KernelArguments::new(kernel_arguments)?;
        for arguments in [
            &mut snapshot.kernel_arguments,
            // Upgrades hand these on.
            &mut snapshot.machine_arguments,
        ] {
            *arguments = KernelArguments::new(arguments)?.and(&more)?.to_string();
        }
        let root = Root::open(&running.root).map_err(OpsError::Pristine)?;
        let manifest = read(&root, MANIFEST_PATH, MAX_TEXT)?;
        let manifest = manifest.ok_or(BootFilesError::NotInitialised)?;
        let manifest = LoaderManifest::from_json(&manifest).map_err(BootFilesError::Manifest)?;
        Ok(Self {
            title: title(&root)?,
            time: snapshot.date,
            parts: Parts::of(&store.directory(&running.id)),
            files: Vec::new(),
            efi: match &manifest.efi {
                Some(efi) => efi_files(&root, efi)?,
                None => Vec::new(),
            },
            bios: bios_images(&root, &manifest)?,
            sealed: false,
            identity: Identity::from_parts(&[snapshot.id.as_str().as_bytes()]),
            snapshot,
            directory,
        })
    }
}

fn efi_files(root: &Root, efi: &EfiLoader) -> Result<Vec<PlacedFile>, OpsError> {
    let mut files = Vec::new();
    for file in &efi.files {
        let bytes = required(root, "EFI loader", &file.from)?;
        files.push(PlacedFile::bytes(file.to.clone(), bytes));
    }
    if let Some(vendor) = &efi.vendor_directory {
        let path = format!("{vendor}/grub.cfg");
        files.push(PlacedFile::bytes(path, vendor_redirect().into_bytes()));
    }
    Ok(files)
}

fn bios_images(root: &Root, manifest: &LoaderManifest) -> Result<Option<BiosImages>, OpsError> {
    let Some(bios) = &manifest.bios else {
        return Ok(None);
    };
    let image = |path: &str| required(root, "BIOS loader", path);
    Ok(Some(BiosImages {
        boot_sector: image(&bios.boot_sector)?,
        hybrid_boot_sector: image(&bios.hybrid_boot_sector)?,
        core: image(&bios.core)?,
        eltorito: image(&bios.eltorito)?,
    }))
}

fn read(root: &Root, path: &str, limit: u64) -> Result<Option<Vec<u8>>, OpsError> {
    root.read(Path::new(path), limit)
        .map_err(OpsError::Pristine)
}

fn required(root: &Root, what: &'static str, path: &str) -> Result<Vec<u8>, OpsError> {
    let missing = || BootFilesError::Missing {
        what,
        path: path.to_owned(),
    };
    Ok(read(root, path, MAX_LOADER)?.ok_or_else(missing)?)
}

/// `PRETTY_NAME` of os-release.
fn title(root: &Root) -> Result<String, OpsError> {
    for path in OS_RELEASE {
        if let Some(bytes) = read(root, path, MAX_TEXT)?
            && let Some(name) = pretty_name(&String::from_utf8_lossy(&bytes))
        {
            return Ok(name);
        }
    }
    Ok("cOS".to_owned())
}
