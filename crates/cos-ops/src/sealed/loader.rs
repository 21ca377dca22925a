//! The EFI system partition of a sealed machine, as systemd-boot reads it: programs, and the entries that
//! name them.

use super::SealedError;
use crate::deploy::free_bytes;
use cos_boot::{
    PresentEntry, SEALED_ENTRIES_DIRECTORY, SEALED_PROGRAMS_DIRECTORY, SealedEntry, SealedPlan,
    entry_program, entry_text, program_name,
};
use cos_store::{FileDigest, file_digest};
use fs_err::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// More files of a directory are not looked at.
const MAX_FILES: usize = 256;
/// No entry that is read is longer, bytes.
const MAX_ENTRY: u64 = 4096;
/// What a partition needs beside a program: entries, and directories.
const SLACK: u64 = 256 * 1024;

/// The partition, mounted.
#[derive(Debug, Clone)]
pub(crate) struct Loader {
    root: PathBuf,
}

impl Loader {
    /// The one mounted at `root`.
    pub(crate) fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn entries_directory(&self) -> PathBuf {
        self.root.join(SEALED_ENTRIES_DIRECTORY)
    }

    fn programs_directory(&self) -> PathBuf {
        self.root.join(SEALED_PROGRAMS_DIRECTORY)
    }

    /// The entries of cOS that are there.
    pub(crate) fn entries(&self) -> Result<Vec<PresentEntry>, SealedError> {
        let directory = self.entries_directory();
        let mut found = Vec::new();
        for name in names(&directory)? {
            let Some(entry) = SealedEntry::parse(&name) else {
                continue;
            };
            let mut text = Vec::new();
            let read = File::open(directory.join(&name))
                .and_then(|file| file.take(MAX_ENTRY).read_to_end(&mut text));
            found.push(PresentEntry {
                entry,
                // One that cannot be read is none to the boot loader either.
                program: read.ok().and_then(|_| entry_program(&text)),
            });
        }
        Ok(found)
    }

    /// Puts a program there, unless it is. `staying` are the programs that must not make way for it.
    pub(crate) fn place(
        &self,
        program: &Path,
        digest: &FileDigest,
        staying: &[String],
    ) -> Result<(), SealedError> {
        let directory = self.programs_directory();
        let target = directory.join(program_name(&digest.0));
        if file_digest(&target).is_ok_and(|found| found == *digest) {
            return Ok(());
        }
        self.sweep(staying)?;
        let failed = |source| SealedError::Loader {
            path: target.clone(),
            source,
        };
        fs_err::create_dir_all(&directory).map_err(failed)?;
        remove_if_there(&target)?;
        let needed = fs_err::metadata(program).map_err(failed)?.len();
        let free = free_bytes(&directory).map_err(failed)?;
        if free < needed.saturating_add(SLACK) {
            return Err(SealedError::NoRoom { needed, free });
        }
        let copied = File::open(program).and_then(|mut from| {
            let mut to = File::create_new(&target)?;
            io::copy(&mut from, &mut to)?;
            to.sync_all()
        });
        copied.and_then(|()| sync(&directory)).map_err(failed)?;
        if file_digest(&target).is_ok_and(|found| found == *digest) {
            return Ok(());
        }
        Err(SealedError::ReadBack { path: target })
    }

    /// Makes and removes entries, each step on the disk before the next, and then removes the programs that
    /// none names.
    pub(crate) fn carry_out(
        &self,
        plan: &SealedPlan,
        title: impl Fn(&SealedEntry) -> String,
    ) -> Result<(), SealedError> {
        let directory = self.entries_directory();
        for (entry, program) in &plan.create {
            let path = directory.join(entry.to_string());
            let failed = |source| SealedError::Loader {
                path: path.clone(),
                source,
            };
            fs_err::create_dir_all(&directory).map_err(failed)?;
            // A torn one.
            remove_if_there(&path)?;
            let text = entry_text(&title(entry), program);
            let made = File::create_new(&path).and_then(|mut file| {
                file.write_all(text.as_bytes())?;
                file.sync_all()
            });
            made.and_then(|()| sync(&directory)).map_err(failed)?;
        }
        for entry in &plan.remove {
            let path = directory.join(entry.to_string());
            remove_if_there(&path)?;
            sync(&directory).map_err(|source| SealedError::Loader { path, source })?;
        }
        self.sweep(&plan.programs)
    }

    /// Removes all programs but these.
    fn sweep(&self, staying: &[String]) -> Result<(), SealedError> {
        let directory = self.programs_directory();
        for name in names(&directory)? {
            if !staying.contains(&name) {
                remove_if_there(&directory.join(name))?;
            }
        }
        Ok(())
    }
}

/// The names in a directory; none where it is not there.
fn names(directory: &Path) -> Result<Vec<String>, SealedError> {
    let failed = |source| SealedError::Loader {
        path: directory.to_owned(),
        source,
    };
    let entries = match fs_err::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in entries.take(MAX_FILES) {
        let name = entry.map_err(failed)?.file_name();
        names.push(name.to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn remove_if_there(path: &Path) -> Result<(), SealedError> {
    match fs_err::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(SealedError::Loader {
            path: path.to_owned(),
            source: error,
        }),
        _ => Ok(()),
    }
}

/// FAT keeps no order of its own: the whole file system goes to the disk.
fn sync(directory: &Path) -> io::Result<()> {
    let directory = File::open(directory)?;
    rustix::fs::syncfs(&directory)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cos_boot::{BootState, SnapshotId};

    fn id(digit: char) -> SnapshotId {
        digit.to_string().repeat(12).parse().unwrap()
    }

    /// A partition, and a program for each snapshot.
    struct Setup {
        directory: tempfile::TempDir,
        loader: Loader,
    }

    impl Setup {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let loader = Loader::new(directory.path().join("esp"));
            fs_err::create_dir_all(loader.root.join("EFI/cos")).unwrap();
            Self { directory, loader }
        }

        fn program(&self, id: &SnapshotId) -> (PathBuf, FileDigest) {
            let path = self.directory.path().join(id.as_str());
            fs_err::write(&path, id.as_str()).unwrap();
            let digest = file_digest(&path).unwrap();
            (path, digest)
        }

        fn commit(&self, state: &BootState) -> Result<(), SealedError> {
            let present = self.loader.entries().unwrap();
            let plan = SealedPlan::new(state, &present, |id| Some(self.program(id).1.0));
            for (entry, _) in &plan.create {
                let (path, digest) = self.program(&entry.snapshot);
                self.loader.place(&path, &digest, &plan.programs)?;
            }
            self.loader.carry_out(&plan, SealedEntry::id)
        }

        fn names(&self, directory: &str) -> Vec<String> {
            names(&self.loader.root.join(directory)).unwrap()
        }
    }

    #[test]
    fn entries_and_programs_follow_the_state() {
        let setup = Setup::new();
        let first = BootState::first(id('a'));
        setup.commit(&first).unwrap();
        assert_eq!(
            setup.names("loader/entries"),
            ["cos-31-aaaaaaaaaaaa+8-0.conf"]
        );
        let state = first.prove(&id('a')).unwrap();
        let state = state.deploy(&id('b'), cos_boot::Tries::default()).unwrap();
        setup.commit(&state).unwrap();
        assert_eq!(
            setup.names("loader/entries"),
            ["cos-62-aaaaaaaaaaaa.conf", "cos-63-bbbbbbbbbbbb+3-0.conf"]
        );
        let state = state.without(&id('a'));
        setup.commit(&state).unwrap();
        assert_eq!(
            setup.names("EFI/cos"),
            [program_name(&setup.program(&id('b')).1.0)]
        );
    }

    #[test]
    fn a_torn_program_is_written_anew_and_a_torn_entry_made_again() {
        let setup = Setup::new();
        let state = BootState::first(id('a'));
        let (path, digest) = setup.program(&id('a'));
        let name = program_name(&digest.0);
        fs_err::write(setup.loader.root.join("EFI/cos").join(&name), "torn").unwrap();
        setup.commit(&state).unwrap();
        let placed = setup.loader.root.join("EFI/cos").join(&name);
        assert_eq!(fs_err::read(placed).unwrap(), fs_err::read(path).unwrap());
        let entry = setup
            .loader
            .root
            .join("loader/entries/cos-31-aaaaaaaaaaaa+8-0.conf");
        fs_err::write(&entry, "title x\nefi /EFI/c").unwrap();
        setup.commit(&state).unwrap();
        let entries = setup.loader.entries().unwrap();
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].program.as_deref(), Some(name.as_str()));
    }

    #[test]
    fn what_does_not_fit_is_said_before_anything_is_written() {
        let setup = Setup::new();
        let huge = setup.directory.path().join("huge");
        File::create(&huge).unwrap().set_len(1 << 60).unwrap_or(());
        if fs_err::metadata(&huge).unwrap().len() < 1 << 40 {
            // The file system knows no such file.
            File::create(&huge).unwrap().set_len(1 << 43).unwrap();
        }
        let error = setup
            .loader
            .place(&huge, &FileDigest([0; 32]), &[])
            .unwrap_err();
        assert!(matches!(error, SealedError::NoRoom { .. }), "{error}");
        assert_eq!(setup.names("EFI/cos").len(), 0);
    }
}
