//! The firmware's variables: what boots once, and which keys it trusts.
//!
//! Source: systemd, "Boot Loader Interface"; UEFI 2.10, §8.2 and §32.4; Linux, efivarfs.

use super::SealedError;
use fs_err::File;
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// Where the kernel shows the variables.
const DIRECTORY: &str = "/sys/firmware/efi/efivars";
/// Namespace of the boot loader's variables.
const LOADER: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// Namespace of the databases of keys.
const DATABASES: &str = "d719b2cb-3d3a-4596-a3bc-dad00e67656f";
/// What boots once: the id of an entry.
const ONCE: &str = "LoaderEntryOneShot";
/// The kernel puts a variable's attributes in front of its content, bytes.
const ATTRIBUTES: usize = 4;
/// Kept over a reset, seen by the boot loader and by the system.
const LASTING: [u8; ATTRIBUTES] = [7, 0, 0, 0];
/// No variable looked at is longer, bytes.
const MAX_VARIABLE: u64 = 1 << 20;

/// The firmware of this machine; another place only in tests.
#[derive(Debug, Clone)]
pub(crate) struct Firmware {
    directory: PathBuf,
}

impl Default for Firmware {
    fn default() -> Self {
        Self::at(DIRECTORY)
    }
}

impl Firmware {
    /// Variables in a directory.
    pub(crate) fn at(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    fn path(&self, name: &str, namespace: &str) -> PathBuf {
        self.directory.join(format!("{name}-{namespace}"))
    }

    /// The content of a variable; `None` where there is no such.
    fn read(&self, name: &str, namespace: &str) -> Result<Option<Vec<u8>>, SealedError> {
        let path = self.path(name, namespace);
        let failed = |source| SealedError::Variable {
            path: path.clone(),
            source,
        };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut bytes = Vec::new();
        file.take(MAX_VARIABLE)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        Ok(Some(bytes.get(ATTRIBUTES..).unwrap_or_default().to_vec()))
    }

    /// A database of keys, as the firmware keeps it: `db` or `dbx`.
    pub(crate) fn database(&self, name: &str) -> Result<Option<Vec<u8>>, SealedError> {
        self.read(name, DATABASES)
    }

    /// The id of the entry that boots once.
    pub(crate) fn once(&self) -> Result<Option<String>, SealedError> {
        let bytes = self.read(ONCE, LOADER)?;
        Ok(bytes.map(|bytes| text(&bytes)).filter(|id| !id.is_empty()))
    }

    /// Sets the id of the entry that boots once, or takes it back.
    pub(crate) fn set_once(&self, id: Option<&str>) -> Result<(), SealedError> {
        let path = self.path(ONCE, LOADER);
        let failed = |source| SealedError::Variable {
            path: path.clone(),
            source,
        };
        let is_there = fs_err::symlink_metadata(&path).is_ok();
        if is_there {
            make_mutable(&path).map_err(failed)?;
        }
        match id {
            Some(id) => {
                let mut bytes = LASTING.to_vec();
                let units = id.encode_utf16().chain([0]);
                bytes.extend(units.flat_map(u16::to_le_bytes));
                // The kernel takes a variable in one write.
                let written = fs_err::OpenOptions::new()
                    .write(true)
                    .create(true)
                    .truncate(false)
                    .open(&path)
                    .and_then(|mut file| file.write_all(&bytes));
                written.map_err(failed)
            }
            None if is_there => fs_err::remove_file(&path).map_err(failed),
            None => Ok(()),
        }
    }
}

/// The kernel protects variables from being removed by mistake.
fn make_mutable(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    let Ok(flags) = ioctl_getflags(&file) else {
        // Not a file system with such flags.
        return Ok(());
    };
    if flags.contains(IFlags::IMMUTABLE) {
        ioctl_setflags(&file, flags.difference(IFlags::IMMUTABLE))?;
    }
    Ok(())
}

/// UTF-16 up to the NUL at its end.
fn text(bytes: &[u8]) -> String {
    let units = bytes
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let units: Vec<u16> = units.take_while(|&unit| unit != 0).collect();
    String::from_utf16_lossy(&units)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_boots_once_is_set_and_taken_back() {
        let directory = tempfile::tempdir().unwrap();
        let firmware = Firmware::at(directory.path());
        assert_eq!(firmware.once().unwrap(), None);
        firmware.set_once(None).unwrap();
        firmware.set_once(Some("cos-0-0123456789ab.conf")).unwrap();
        let name = "LoaderEntryOneShot-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
        let bytes = fs_err::read(directory.path().join(name)).unwrap();
        assert_eq!(bytes[..8], [7, 0, 0, 0, b'c', 0, b'o', 0]);
        assert_eq!(bytes[bytes.len() - 2..], [0, 0]);
        let id = firmware.once().unwrap();
        assert_eq!(id.as_deref(), Some("cos-0-0123456789ab.conf"));
        firmware.set_once(None).unwrap();
        assert_eq!(firmware.once().unwrap(), None);
    }

    #[test]
    fn a_database_is_what_follows_its_attributes() {
        let directory = tempfile::tempdir().unwrap();
        let firmware = Firmware::at(directory.path());
        let path = directory.path().join(format!("db-{DATABASES}"));
        fs_err::write(path, [39, 0, 0, 0, 1, 2]).unwrap();
        assert_eq!(firmware.database("db").unwrap(), Some(vec![1, 2]));
        assert_eq!(firmware.database("dbx").unwrap(), None);
    }
}
