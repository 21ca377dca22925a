//! From an image that was read to the files of a snapshot.

use super::boot_files::BootFiles;
use super::convert::Loaded;
use crate::OpsError;
use cos_boot::{KernelArguments, snapshot_fragment};
use cos_events::Monitor;
use cos_store::{Action, FileDigest, INITRD, KERNEL, ROOT_IMAGE, Snapshot, SnapshotId};
use cos_tree::{Content, ContentStore as _};
use cos_verity::Verity;
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

/// A snapshot whose `root.img`, `vmlinuz` and `initrd` are written.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    /// Its name.
    pub(crate) id: SnapshotId,
    /// Its description.
    pub(crate) snapshot: Snapshot,
    /// Its `boot.cfg`.
    pub(crate) fragment: String,
    /// When it was made, seconds since 1970.
    pub(crate) time: i64,
}

/// Writes root image, kernel and initrd of an image into `directory`.
pub(crate) fn write_snapshot(
    loaded: &mut Loaded,
    boot: &BootFiles,
    described: Described,
    directory: &Path,
    monitor: &dyn Monitor,
) -> Result<Written, OpsError> {
    let kernel = extract(loaded, "kernel", boot.kernel, &directory.join(KERNEL))?;
    let initrd = extract(loaded, "initrd", boot.initrd, &directory.join(INITRD))?;
    let root = create(&directory.join(ROOT_IMAGE))?;
    let verity = loaded.write_root(&root, None, monitor)?;
    let arguments = boot.arguments.and(&described.machine_arguments)?;
    let id = SnapshotId::derive(&verity.root_hash, &kernel, &initrd, arguments.as_str());
    let snapshot = Snapshot {
        version: Snapshot::VERSION,
        id: id.clone(),
        source: described.source,
        follows: described.follows,
        digest: loaded.image.digest.as_ref().map(ToString::to_string),
        format: cos_erofs::FORMAT.to_owned(),
        root_hash: verity.root_hash.to_string(),
        size: verity.total_size,
        hash_offset: verity.hash_offset,
        kernel: FileDigest(kernel),
        initrd: FileDigest(initrd),
        modified_locally: false,
        date: described.time,
        action: described.action,
        kernel_arguments: arguments.to_string(),
        machine_arguments: described.machine_arguments.to_string(),
        labels: loaded.labels(),
    };
    Ok(Written {
        id,
        snapshot,
        fragment: snapshot_fragment(&verity.root_hash, &arguments),
        time: described.time,
    })
}

impl Written {
    /// The same snapshot with another root image.
    pub(crate) fn with_root(mut self, verity: &Verity) -> Result<Self, OpsError> {
        let arguments = KernelArguments::new(&self.snapshot.kernel_arguments)?;
        let (kernel, initrd) = (&self.snapshot.kernel.0, &self.snapshot.initrd.0);
        self.id = SnapshotId::derive(&verity.root_hash, kernel, initrd, arguments.as_str());
        self.snapshot.id = self.id.clone();
        self.snapshot.root_hash = verity.root_hash.to_string();
        self.snapshot.size = verity.total_size;
        self.snapshot.hash_offset = verity.hash_offset;
        self.snapshot.modified_locally = true;
        self.fragment = snapshot_fragment(&verity.root_hash, &arguments);
        Ok(self)
    }
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
