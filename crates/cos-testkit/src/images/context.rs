//! A build context: the files a Dockerfile may copy, and a digest of them all.

use super::Flavor;
use crate::dist::Binaries;
use anyhow::{Context as _, bail};
use fs_err as fs;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Length of a key: half a SHA-256 is plenty to tell test images apart.
pub(super) const KEY_DIGITS: usize = 16;

/// The example's image with `debug-overlay` over it.
const CONSOLE_DOCKERFILE: &str = "\
ARG BASE
FROM ${BASE}
COPY etc /etc
";

/// The files of a build context by their path in it; `Dockerfile` is one of them.
#[derive(Debug)]
pub(super) struct Context {
    files: BTreeMap<PathBuf, PathBuf>,
    written: BTreeMap<PathBuf, &'static str>,
}

impl Context {
    /// An example's directory with the static binaries beside its Dockerfile.
    pub(super) fn of_example(flavor: Flavor, binaries: &Binaries) -> anyhow::Result<Context> {
        let directory = flavor.directory();
        let mut files = BTreeMap::new();
        collect(&directory, Path::new(""), &mut files)?;
        if !files.contains_key(Path::new("Dockerfile")) {
            bail!("no Dockerfile in {}", directory.display());
        }
        files.insert("cos".into(), binaries.cos.clone());
        files.insert("cos-init".into(), binaries.cos_init.clone());
        Ok(Context {
            files,
            written: BTreeMap::new(),
        })
    }

    /// The layer that logs root in on the first serial port: `examples/debian/debug-overlay`.
    pub(super) fn of_console() -> anyhow::Result<Context> {
        let mut files = BTreeMap::new();
        collect(&super::console_overlay(), Path::new(""), &mut files)?;
        let written = [("Dockerfile".into(), CONSOLE_DOCKERFILE)].into();
        Ok(Context { files, written })
    }

    /// A digest of every file with its path and whether it may be executed, and of `more`.
    pub(super) fn key(&self, more: &[&str]) -> anyhow::Result<String> {
        let mut digest = Sha256::new();
        let mut add = |bytes: &[u8]| {
            digest.update((bytes.len() as u64).to_le_bytes());
            digest.update(bytes);
        };
        for text in more {
            add(text.as_bytes());
        }
        for (path, source) in &self.files {
            add(path.as_os_str().as_encoded_bytes());
            add(&[u8::from(
                fs::metadata(source)?.permissions().mode() & 0o111 != 0,
            )]);
            add(&fs::read(source)?);
        }
        for (path, text) in &self.written {
            add(path.as_os_str().as_encoded_bytes());
            add(text.as_bytes());
        }
        Ok(short(&digest.finalize()))
    }

    /// Lays the files out in the empty directory `into`.
    pub(super) fn lay_out(&self, into: &Path) -> anyhow::Result<()> {
        for (path, source) in &self.files {
            let target = into.join(path);
            fs::create_dir_all(target.parent().context("a file has a directory")?)?;
            fs::copy(source, target)?;
        }
        for (path, text) in &self.written {
            fs::write(into.join(path), text)?;
        }
        Ok(())
    }
}

/// A key of files by their paths, sizes and modification times: they are too large to be read again
/// and again.
pub(super) fn key_of_files(files: &[&Path]) -> anyhow::Result<String> {
    let mut digest = Sha256::new();
    for file in files {
        let meta = fs::metadata(file)?;
        digest.update(format!("{} {} ", meta.len(), meta.mtime()));
        digest.update(format!("{} {}\n", meta.mtime_nsec(), file.display()));
    }
    Ok(short(&digest.finalize()))
}

fn short(digest: &[u8]) -> String {
    let mut key = hex::encode(digest);
    key.truncate(KEY_DIGITS);
    key
}

fn collect(
    root: &Path,
    below: &Path,
    files: &mut BTreeMap<PathBuf, PathBuf>,
) -> anyhow::Result<()> {
    for entry in fs::read_dir(root.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            collect(root, &path, files)?;
        } else {
            files.insert(path, entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(root: &Path) -> Context {
        let mut files = BTreeMap::new();
        collect(root, Path::new(""), &mut files).unwrap();
        Context {
            files,
            written: BTreeMap::new(),
        }
    }

    #[test]
    fn the_key_follows_content_path_and_mode() {
        let dir = crate::temp_dir().unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        let file = dir.path().join("sub/file");
        fs::write(&file, "one").unwrap();
        let first = context(dir.path()).key(&["trixie"]).unwrap();
        assert_eq!(first.len(), KEY_DIGITS);
        assert_eq!(context(dir.path()).key(&["trixie"]).unwrap(), first);
        assert_ne!(context(dir.path()).key(&["bookworm"]).unwrap(), first);
        fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        let executable = context(dir.path()).key(&["trixie"]).unwrap();
        assert_ne!(executable, first);
        fs::rename(&file, dir.path().join("sub/other")).unwrap();
        assert_ne!(context(dir.path()).key(&["trixie"]).unwrap(), executable);
    }

    #[test]
    fn a_context_is_laid_out_as_it_was_found() {
        let (from, to) = (crate::temp_dir().unwrap(), crate::temp_dir().unwrap());
        fs::create_dir(from.path().join("sub")).unwrap();
        fs::write(from.path().join("sub/file"), "text").unwrap();
        context(from.path()).lay_out(to.path()).unwrap();
        assert_eq!(
            fs::read_to_string(to.path().join("sub/file")).unwrap(),
            "text"
        );
    }
}
