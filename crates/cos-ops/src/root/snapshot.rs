//! From an image that was read to the files of a snapshot.

use super::boot_files::BootFiles;
use super::convert::Loaded;
use crate::OpsError;
use cos_boot::{KernelArguments, snapshot_fragment};
use cos_events::Monitor;
use cos_store::{Action, FileDigest, INITRD, KERNEL, ROOT_IMAGE, Snapshot, SnapshotId};
use cos_tree::{Content, ContentStore as _};
use cos_verity::{RootHash, Verity};
use fs_err::File;
use sha2::{Digest as _, Sha256};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

/// What a snapshot is to say about itself that is not in its image.
#[derive(Debug, Clone)]
pub(crate) struct Described {
    /// The image, as the user named it.
    pub(crate) source: String,
    /// What later upgrades follow.
    pub(crate) follows: Option<String>,
    /// Kernel arguments of the machine, behind those of the image.
    pub(crate) machine_arguments: KernelArguments,
    /// What makes it.
    pub(crate) action: Action,
    /// When it is made, seconds since 1970.
    pub(crate) time: i64,
}

/// Writes root image, kernel and initrd of an image into `directory`.
pub(crate) fn write_snapshot(
    loaded: &mut Loaded,
    boot: &BootFiles,
    described: Described,
    directory: &Path,
    monitor: &dyn Monitor,
) -> Result<Snapshot, OpsError> {
    let kernel = extract(loaded, "kernel", boot.kernel, &directory.join(KERNEL))?;
    let initrd = extract(loaded, "initrd", boot.initrd, &directory.join(INITRD))?;
    let root = create(&directory.join(ROOT_IMAGE))?;
    let verity = loaded.write_root(&root, None, monitor)?;
    let arguments = boot.arguments.and(&described.machine_arguments)?;
    let id = SnapshotId::derive(&verity.root_hash, &kernel, &initrd, arguments.as_str());
    Ok(Snapshot {
        version: Snapshot::VERSION,
        id,
        source: described.source,
        follows: described.follows,
        digest: loaded.image.digest.as_ref().map(ToString::to_string),
        format: cos_erofs::FORMAT.to_owned(),
        root_hash: verity.root_hash.to_string(),
        size: verity.total_size,
        hash_offset: verity.hash_offset,
        kernel: FileDigest(kernel),
        initrd: FileDigest(initrd),
        program: None,
        modified_locally: false,
        date: described.time,
        action: described.action,
        kernel_arguments: arguments.to_string(),
        machine_arguments: described.machine_arguments.to_string(),
        image_version: loaded.version.as_ref().map(ToString::to_string),
        verified: loaded.verified.clone(),
        labels: loaded.labels(),
    })
}

/// `boot.cfg` of a snapshot.
pub(crate) fn boot_config(snapshot: &Snapshot) -> Result<String, OpsError> {
    let arguments = KernelArguments::new(&snapshot.kernel_arguments)?;
    Ok(snapshot_fragment(&root_hash(snapshot)?, &arguments))
}

/// Makes a snapshot one with another root image, which a hook of this machine made of its own.
pub(crate) fn replace_root(snapshot: &mut Snapshot, verity: &Verity) -> Result<(), OpsError> {
    snapshot.root_hash = verity.root_hash.to_string();
    snapshot.size = verity.total_size;
    snapshot.hash_offset = verity.hash_offset;
    snapshot.modified_locally = true;
    renew_id(snapshot)
}

/// Renews the name of a snapshot, which follows from its parts.
pub(crate) fn renew_id(snapshot: &mut Snapshot) -> Result<(), OpsError> {
    let (kernel, initrd) = (&snapshot.kernel.0, &snapshot.initrd.0);
    let arguments = KernelArguments::new(&snapshot.kernel_arguments)?;
    snapshot.id = SnapshotId::derive(&root_hash(snapshot)?, kernel, initrd, arguments.as_str());
    Ok(())
}

/// The root hash of a snapshot.
pub(crate) fn root_hash(snapshot: &Snapshot) -> Result<RootHash, OpsError> {
    let parsed = snapshot.root_hash.parse();
    parsed.map_err(|_| OpsError::RootHash {
        text: snapshot.root_hash.clone(),
    })
}

/// Makes a new file.
pub(crate) fn create(path: &Path) -> Result<File, OpsError> {
    let mut options = fs_err::OpenOptions::new();
    let opened = options.read(true).write(true).create_new(true).open(path);
    opened.map_err(|source| OpsError::Write {
        path: path.to_path_buf(),
        source,
    })
}

/// Copies a file out of the spool and returns its SHA-256.
fn extract(
    loaded: &Loaded,
    what: &'static str,
    content: Content,
    path: &Path,
) -> Result<[u8; 32], OpsError> {
    let copy = || -> io::Result<[u8; 32]> {
        let mut reader = loaded.spool.open(content)?;
        let mut file = File::create(path)?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let read = reader.read(&mut buffer)?;
            if read == 0 {
                return Ok(hasher.finalize().into());
            }
            hasher.update(&buffer[..read]);
            file.write_all(&buffer[..read])?;
        }
    };
    copy().map_err(|source| OpsError::Extract { what, source })
}
