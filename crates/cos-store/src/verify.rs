//! Whether a snapshot on the disk is still what was written.

use crate::{Snapshot, SnapshotId, Store};
use cos_boot::{INITRD, KERNEL, PROGRAM, ROOT_IMAGE};
use cos_verity::RootHash;
use fs_err::File;
use rustix::fs::Advice;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::io::{self, Read as _};
use std::path::Path;
use std::str::FromStr;

/// SHA-256 of a whole file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FileDigest(pub [u8; 32]);

impl fmt::Display for FileDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl From<FileDigest> for String {
    fn from(digest: FileDigest) -> Self {
        digest.to_string()
    }
}

impl FromStr for FileDigest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut digest = [0; 32];
        hex::decode_to_slice(text, &mut digest)
            .map_err(|_| format!("{text:?} is not a SHA-256 digest"))?;
        Ok(Self(digest))
    }
}

impl TryFrom<String> for FileDigest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// What is wrong with a snapshot on the disk.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// Its metadata.
    #[error("its description cannot be read")]
    Metadata(#[source] crate::MetadataError),
    /// A file.
    #[error("its {file} cannot be read")]
    Read {
        /// Name of the file.
        file: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A file that has changed.
    #[error("its {file} is not what was written")]
    Changed {
        /// Name of the file.
        file: &'static str,
    },
    /// The root image.
    #[error("its root image is damaged")]
    Root(#[source] cos_verity::VerityError),
}

/// Reads a snapshot from the disk, not from memory, and checks every byte of it: the root image
/// against its root hash, kernel, initrd and signed program against their digests.
pub fn verify_snapshot(store: &Store, id: &SnapshotId) -> Result<Snapshot, Damage> {
    let snapshot = store.metadata(id).map_err(Damage::Metadata)?;
    let directory = store.directory(id);
    let files = [(KERNEL, &snapshot.kernel), (INITRD, &snapshot.initrd)];
    let program = snapshot.program.iter().map(|digest| (PROGRAM, digest));
    for (name, wanted) in files.into_iter().chain(program) {
        let digest = file_digest(&directory.join(name))
            .map_err(|source| Damage::Read { file: name, source })?;
        if digest != *wanted {
            return Err(Damage::Changed { file: name });
        }
    }
    let unreadable = |source| Damage::Read {
        file: ROOT_IMAGE,
        source,
    };
    let mut root = open_uncached(&directory.join(ROOT_IMAGE)).map_err(unreadable)?;
    let size = root.metadata().map_err(unreadable)?.len();
    if size != snapshot.size {
        return Err(Damage::Changed { file: ROOT_IMAGE });
    }
    let hash: Result<RootHash, _> = snapshot.root_hash.parse();
    let hash = hash.map_err(|_| Damage::Changed {
        file: METADATA_FIELD,
    })?;
    cos_verity::verify(&mut root, snapshot.hash_offset, &hash).map_err(Damage::Root)?;
    Ok(snapshot)
}

/// The metadata's own name for the root hash.
const METADATA_FIELD: &str = "rootHash";

/// Opens a file so that it is read from the disk.
pub(crate) fn open_uncached(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)?;
    Ok(file)
}

/// SHA-256 of a file, as it lies on the disk.
pub fn file_digest(path: &Path) -> io::Result<FileDigest> {
    let mut file = open_uncached(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(FileDigest(hasher.finalize().into())),
            read => hasher.update(&buffer[..read]),
        }
    }
}
