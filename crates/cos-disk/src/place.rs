//! Putting a finished file in its place by one rename.

use crate::DiskError;
use fs_err::File;
use std::io;
use std::path::{Path, PathBuf};
use tempfile::TempPath;

/// A file in the making: beside its final place, under another name, gone when dropped.
#[derive(Debug)]
pub struct Placement {
    file: File,
    temporary: TempPath,
    destination: PathBuf,
}

impl Placement {
    /// Creates an empty file in the directory of `destination`, open for reading and writing.
    pub fn create(destination: &Path) -> Result<Self, DiskError> {
        let failed = |source| DiskError::CreateOutput {
            path: destination.to_path_buf(),
            source,
        };
        let directory = directory_of(destination);
        let named = tempfile::Builder::new()
            .prefix(".cos-")
            .suffix(".partial")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .tempfile_in(directory)
            .map_err(failed)?;
        let (file, temporary) = named.into_parts();
        Ok(Self {
            file: File::from_parts(file, &*temporary),
            temporary,
            destination: destination.to_path_buf(),
        })
    }

    /// The file, to be written.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Makes the file durable and gives it its name, over whatever bore it before.
    pub fn finish(self) -> Result<(), DiskError> {
        let Self {
            file,
            temporary,
            destination,
        } = self;
        let placed = || -> io::Result<()> {
            file.sync_all()?;
            temporary
                .persist(&destination)
                .map_err(|error| error.error)?;
            File::open(directory_of(&destination))?.sync_all()
        };
        placed().map_err(|source| DiskError::PlaceOutput {
            path: destination.clone(),
            source,
        })
    }
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn a_finished_file_replaces_the_old_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk.raw");
        fs_err::write(&path, "old").unwrap();
        let placement = Placement::create(&path).unwrap();
        placement.file().file().write_all_at(b"new", 0).unwrap();
        assert_eq!(fs_err::read(&path).unwrap(), b"old");
        placement.finish().unwrap();
        assert_eq!(fs_err::read(&path).unwrap(), b"new");
        assert_eq!(fs_err::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_dropped_file_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        drop(Placement::create(&directory.path().join("disk.raw")).unwrap());
        assert_eq!(fs_err::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_missing_directory_names_the_path() {
        let error = Placement::create(Path::new("/nonexistent/disk.raw")).unwrap_err();
        assert!(
            error.to_string().contains("/nonexistent/disk.raw"),
            "{error}"
        );
    }
}
