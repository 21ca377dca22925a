//! A snapshot while it is written.

use crate::{Snapshot, SnapshotId, Store, StoreError};
use cos_boot::{BOOT_CONFIG, INITRD, KERNEL, METADATA, PROGRAM, ROOT_IMAGE};
use fs_err::File;
use rustix::fs::{CWD, RenameFlags};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// What the names of unfinished snapshots' directories begin with.
pub(crate) const DRAFT_PREFIX: &str = ".draft-";

/// The files of a whole snapshot.
const FILES: [&str; 5] = [ROOT_IMAGE, KERNEL, INITRD, BOOT_CONFIG, METADATA];

/// The files that a snapshot has when it is whole.
pub(crate) fn files(is_sealed: bool) -> impl Iterator<Item = &'static str> {
    FILES.into_iter().chain(is_sealed.then_some(PROGRAM))
}

/// A directory on the partition that will be a snapshot. Removed when dropped unfinished; after a
/// power cut, the next run removes it.
#[derive(Debug)]
pub struct Draft {
    store: Store,
    directory: PathBuf,
    finished: bool,
}

impl Draft {
    pub(crate) fn create(store: Store) -> Result<Self, StoreError> {
        let snapshots = store.snapshots_directory();
        let directory = snapshots.join(format!("{DRAFT_PREFIX}{}", std::process::id()));
        let failed = |source| StoreError::Write {
            path: directory.clone(),
            source,
        };
        if fs_err::symlink_metadata(&directory).is_ok() {
            fs_err::remove_dir_all(&directory).map_err(failed)?;
        }
        fs_err::create_dir_all(&directory).map_err(failed)?;
        Ok(Self {
            store,
            directory,
            finished: false,
        })
    }

    /// Where its files are to be put: `root.img`, `vmlinuz`, `initrd`, and `system.efi` of a
    /// sealed one; others are left out.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Writes `boot.cfg` and `snapshot.yaml`, brings everything to the disk and gives the directory
    /// its name. A snapshot of this name that is there already, perhaps a damaged one that boots, is
    /// exchanged for it in one step, and removed once a boot loader can see that too.
    pub fn finish(mut self, snapshot: &Snapshot, fragment: &str) -> Result<SnapshotId, StoreError> {
        let id = snapshot.id.clone();
        let yaml = snapshot.to_yaml().map_err(|source| StoreError::Describe {
            id: id.clone(),
            source,
        })?;
        self.write(BOOT_CONFIG, fragment.as_bytes())?;
        self.write(METADATA, yaml.as_bytes())?;
        let is_sealed = snapshot.program.is_some();
        self.keep_only_files(is_sealed)?;
        for name in files(is_sealed) {
            let path = self.directory.join(name);
            let incomplete = |_| StoreError::Incomplete {
                id: id.clone(),
                missing: name,
            };
            File::open(&path)
                .map_err(incomplete)?
                .sync_all()
                .map_err(|source| StoreError::Write {
                    path: path.clone(),
                    source,
                })?;
        }
        sync_directory(&self.directory)?;
        let snapshots = self.store.snapshots_directory();
        let target = snapshots.join(id.as_str());
        let failed = |source: io::Error| StoreError::Write {
            path: target.clone(),
            source,
        };
        if fs_err::symlink_metadata(&target).is_err() {
            fs_err::rename(&self.directory, &target).map_err(failed)?;
            self.finished = true;
            sync_directory(&snapshots)?;
            return Ok(id);
        }
        exchange(&self.directory, &target).map_err(failed)?;
        // What has the draft's name now is the old one: if it cannot be removed, the next run does.
        self.finished = true;
        sync_directory(&snapshots)?;
        self.store.checkpoint()?;
        remove(&self.directory)?;
        Ok(id)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.directory.join(name);
        let written = File::create(&path).and_then(|mut file| file.write_all(bytes));
        written.map_err(|source| StoreError::Write { path, source })
    }

    /// What was only needed on the way does not stay.
    fn keep_only_files(&self, is_sealed: bool) -> Result<(), StoreError> {
        let failed = |source| StoreError::List {
            path: self.directory.clone(),
            source,
        };
        for entry in fs_err::read_dir(&self.directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if !files(is_sealed).any(|name| entry.file_name() == name) {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.finished {
            // What stays is removed by the next run.
            drop(fs_err::remove_dir_all(&self.directory));
        }
    }
}

/// Lets two directory entries change places, in one step.
pub(crate) fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    rustix::fs::renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?;
    Ok(())
}

pub(crate) fn sync_directory(path: &Path) -> Result<(), StoreError> {
    let synced = File::open(path).and_then(|directory| directory.sync_all());
    synced.map_err(|source| StoreError::Write {
        path: path.to_owned(),
        source,
    })
}

pub(crate) fn remove(path: &Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::Remove {
        path: path.to_owned(),
        source,
    };
    let meta = fs_err::symlink_metadata(path).map_err(failed)?;
    let removed = if meta.is_dir() {
        fs_err::remove_dir_all(path)
    } else {
        fs_err::remove_file(path)
    };
    removed.map_err(failed)
}
