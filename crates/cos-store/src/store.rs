//! The snapshots of one mounted partition, and the commit.

use crate::draft::{DRAFT_PREFIX, Draft, exchange, files, remove, sync_directory};
use crate::verify::open_uncached;
use crate::{MetadataError, Snapshot, SnapshotId, StoreError};
use cos_boot::{
    ATTEMPT_ENVIRONMENT, Attempts, BOOT_ENVIRONMENT, BootState, COS_DIRECTORY, METADATA,
    NEXT_BOOT_ENVIRONMENT, SNAPSHOTS_DIRECTORY,
};
use cos_sys::checkpoint;
use fs_err::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// Name of a snapshot that is whole and waits to be committed.
const STAGED: &str = "cos/staged";
/// No file of the store that is read whole is larger.
const MAX_FILE: u64 = 1 << 20;
/// More entries of the directory of snapshots are not looked at.
const MAX_ENTRIES: usize = 1024;

/// Brings the file system mounted at a path to its disk, journal and all.
pub type Checkpoint = fn(&Path) -> io::Result<()>;

/// The snapshots of one mounted partition.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
    checkpoint: Checkpoint,
}

/// A snapshot that is there.
#[derive(Debug)]
pub struct Installed {
    /// Its name.
    pub id: SnapshotId,
    /// What it says about itself.
    pub metadata: Result<Snapshot, MetadataError>,
    /// Bytes its files have on the disk.
    pub bytes: u64,
}

impl Store {
    /// The store of the partition mounted at `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self::with_checkpoint(root, checkpoint::checkpoint)
    }

    /// A store whose file system is brought to its disk by `checkpoint`.
    pub fn with_checkpoint(root: impl Into<PathBuf>, checkpoint: Checkpoint) -> Self {
        Self {
            root: root.into(),
            checkpoint,
        }
    }

    /// Where the partition is mounted.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory of a snapshot.
    pub fn directory(&self, id: &SnapshotId) -> PathBuf {
        self.root.join(id.directory())
    }

    pub(crate) fn snapshots_directory(&self) -> PathBuf {
        self.root.join(SNAPSHOTS_DIRECTORY)
    }

    /// Whether there is a store at all.
    pub fn exists(&self) -> bool {
        self.root.join(COS_DIRECTORY).is_dir()
    }

    /// The boot state; the one before it where the present one is damaged, as the boot loader does.
    pub fn state(&self) -> Result<BootState, StoreError> {
        let first = self.read_state(BOOT_ENVIRONMENT);
        match &first {
            Ok(_) => first,
            Err(_) => self.read_state(NEXT_BOOT_ENVIRONMENT).or(first),
        }
    }

    fn read_state(&self, name: &str) -> Result<BootState, StoreError> {
        let path = self.root.join(name);
        let bytes = match read_bounded(&path) {
            Ok(bytes) => bytes,
            Err(source) => return Err(StoreError::ReadState { path, source }),
        };
        BootState::from_bytes(&bytes).map_err(|source| StoreError::State { path, source })
    }

    /// The boot loader's notes about `state`. Notes that cannot be read say nothing.
    pub fn attempts(&self, state: &BootState) -> Attempts {
        self.read_attempts()
            .unwrap_or_default()
            .about(state.generation)
    }

    fn read_attempts(&self) -> Option<Attempts> {
        let bytes = read_bounded(&self.root.join(ATTEMPT_ENVIRONMENT)).ok()?;
        Attempts::from_bytes(&bytes).ok()
    }

    /// Writes the boot loader's notes, in place. A file that is not there, or has another length, is
    /// made anew with all its blocks.
    pub fn write_attempts(&self, attempts: &Attempts) -> Result<(), StoreError> {
        let path = self.root.join(ATTEMPT_ENVIRONMENT);
        let bytes = attempts.to_bytes().map_err(StoreError::EncodeState)?;
        if read_bounded(&path).is_ok_and(|present| present == bytes) {
            return Ok(());
        }
        let in_place = fs_err::metadata(&path).is_ok_and(|meta| meta.len() == bytes.len() as u64);
        write_file(&path, &bytes)?;
        if !in_place {
            sync_directory(&self.root.join(COS_DIRECTORY))?;
            self.checkpoint()?;
        }
        Ok(())
    }

    /// Makes the boot loader's notes readable again where they are not.
    pub fn repair_attempts(&self, state: &BootState) -> Result<bool, StoreError> {
        if self.read_attempts().is_some() {
            return Ok(false);
        }
        self.write_attempts(&Attempts::default().about(state.generation))?;
        Ok(true)
    }

    /// Every snapshot that is there, whether or not a state names it, by name.
    pub fn list(&self) -> Result<Vec<Installed>, StoreError> {
        let mut found = Vec::new();
        for name in self.entries()? {
            if let Ok(id) = name.parse::<SnapshotId>() {
                found.push(Installed {
                    metadata: self.metadata(&id),
                    bytes: self.bytes(&id),
                    id,
                });
            }
        }
        found.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(found)
    }

    /// What a snapshot says about itself.
    pub fn metadata(&self, id: &SnapshotId) -> Result<Snapshot, MetadataError> {
        let path = self.directory(id).join(METADATA);
        let bytes = read_bounded(&path).map_err(MetadataError::Read)?;
        Snapshot::from_yaml(&String::from_utf8_lossy(&bytes))
    }

    /// Bytes that the files of a snapshot have on the disk.
    pub fn bytes(&self, id: &SnapshotId) -> u64 {
        let Ok(entries) = fs_err::read_dir(self.directory(id)) else {
            return 0;
        };
        let sizes = entries.flatten().filter_map(|entry| entry.metadata().ok());
        sizes.map(|meta| meta.len()).sum()
    }

    fn entries(&self) -> Result<Vec<String>, StoreError> {
        let path = self.snapshots_directory();
        let failed = |source| StoreError::List {
            path: path.clone(),
            source,
        };
        let entries = match fs_err::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut names = Vec::new();
        for entry in entries.take(MAX_ENTRIES) {
            names.push(
                entry
                    .map_err(failed)?
                    .file_name()
                    .to_string_lossy()
                    .into_owned(),
            );
        }
        Ok(names)
    }

    /// A place for a new snapshot.
    pub fn draft(&self) -> Result<Draft, StoreError> {
        Draft::create(self.clone())
    }

    /// Whether every file of a snapshot is there.
    pub fn is_whole(&self, id: &SnapshotId) -> Result<(), StoreError> {
        let directory = self.directory(id);
        let is_sealed = self.metadata(id).is_ok_and(|it| it.program.is_some());
        let missing = files(is_sealed)
            .find(|name| !fs_err::metadata(directory.join(name)).is_ok_and(|meta| meta.is_file()));
        match missing {
            None => Ok(()),
            Some(missing) => Err(StoreError::Incomplete {
                id: id.clone(),
                missing,
            }),
        }
    }

    /// Makes `state` what boots. This is the one moment at which an operation takes effect: before
    /// it, the old state boots, after it, the new one, and there is nothing between the two, neither
    /// for Linux nor for a boot loader that does not replay the journal.
    ///
    /// Everything that the state names must be written. The old state's file is exchanged for the new
    /// one's and keeps its blocks. [`StoreError::Checkpoint`] leaves open which of the two boots.
    pub fn commit(&self, state: &BootState) -> Result<(), StoreError> {
        self.is_whole(&state.active)?;
        // After a commit that was killed behind its switch, what is the next state's file here is still
        // the present one's for the boot loader.
        self.checkpoint()?;
        let bytes = state.to_bytes().map_err(StoreError::EncodeState)?;
        let (now, next) = (
            self.root.join(BOOT_ENVIRONMENT),
            self.root.join(NEXT_BOOT_ENVIRONMENT),
        );
        write_file(&next, &bytes)?;
        sync_directory(&self.root.join(COS_DIRECTORY))?;
        self.checkpoint()?;
        if !read_uncached(&next).is_ok_and(|on_disk| on_disk == bytes) {
            return Err(StoreError::ReadBack { path: next });
        }
        let failed = |source: io::Error| StoreError::Write {
            path: now.clone(),
            source,
        };
        if fs_err::symlink_metadata(&now).is_ok() {
            exchange(&next, &now).map_err(failed)?;
        } else {
            fs_err::rename(&next, &now).map_err(failed)?;
        }
        sync_directory(&self.root.join(COS_DIRECTORY))?;
        self.checkpoint()
    }

    pub(crate) fn checkpoint(&self) -> Result<(), StoreError> {
        (self.checkpoint)(&self.root).map_err(|source| StoreError::Checkpoint {
            path: self.root.clone(),
            source,
        })
    }

    /// The snapshot that is whole and waits to be committed.
    pub fn staged(&self) -> Option<SnapshotId> {
        let bytes = read_bounded(&self.root.join(STAGED)).ok()?;
        let id = String::from_utf8_lossy(&bytes).trim().parse().ok()?;
        self.is_whole(&id).is_ok().then_some(id)
    }

    /// Notes which snapshot waits to be committed, or that none does.
    pub fn stage(&self, id: Option<&SnapshotId>) -> Result<(), StoreError> {
        let path = self.root.join(STAGED);
        match id {
            Some(id) => {
                let new = path.with_extension("new");
                write_file(&new, format!("{id}\n").as_bytes())?;
                fs_err::rename(&new, &path).map_err(|source| StoreError::Write { path, source })?;
            }
            None if fs_err::symlink_metadata(&path).is_ok() => remove(&path)?,
            None => return Ok(()),
        }
        sync_directory(&self.root.join(COS_DIRECTORY))
    }

    /// Removes every snapshot that neither `state` nor the committed state names and `also` does not
    /// hold, and what unfinished operations left. Returns what was removed.
    pub fn collect(
        &self,
        state: &BootState,
        also: &[SnapshotId],
    ) -> Result<Vec<String>, StoreError> {
        let committed = self.state().ok();
        let named = committed
            .iter()
            .chain([state])
            .flat_map(BootState::snapshots);
        let kept: Vec<&SnapshotId> = named.chain(also).collect();
        let mut garbage = self.entries()?;
        garbage.retain(|name| match name.parse::<SnapshotId>() {
            Ok(id) => !kept.contains(&&id),
            Err(_) => name.starts_with(DRAFT_PREFIX),
        });
        if garbage.is_empty() {
            return Ok(garbage);
        }
        // After a commit that was killed behind its switch, the boot loader may still boot what is no
        // longer named here.
        self.checkpoint()?;
        for name in &garbage {
            remove(&self.snapshots_directory().join(name))?;
        }
        garbage.sort();
        Ok(garbage)
    }
}

/// Reads a small file of the store.
pub(crate) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a small file of the store from the disk.
fn read_uncached(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = open_uncached(path)?;
    file.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes a file over what it held, keeping its blocks, and brings it to the disk.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    let written = options.open(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.set_len(bytes.len() as u64)?;
        file.sync_all()
    });
    written.map_err(|source| StoreError::Write {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests;
