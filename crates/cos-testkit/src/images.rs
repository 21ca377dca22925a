//! Real Debian images, built from the Dockerfiles in `examples/` the way a user builds them.
//!
//! Each is an OCI archive under `target/images`, named by a digest of everything that went into
//! it and built once however many tests ask. The base comes from a registry when one answers, else
//! from mmdebstrap; either way the storage knows it as `docker.io/library/debian:SUITE`, so that
//! the Dockerfile is built word for word.

mod base;
mod context;
mod storage;
mod tiny;
mod variant;

pub use variant::{AddedFile, Versions};

use crate::lock::Lock;
use crate::{dist, paths};
use anyhow::Context;
use fs_err as fs;
use std::fmt;
use std::path::{Path, PathBuf};
use storage::Storage;

pub use tiny::{tiniest, tiny};

/// A Debian release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Suite {
    /// Debian 12.
    Bookworm,
    /// Debian 13.
    Trixie,
}

impl Suite {
    /// Its name, as Debian's mirrors and images spell it.
    pub fn name(self) -> &'static str {
        match self {
            Suite::Bookworm => "bookworm",
            Suite::Trixie => "trixie",
        }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which of the example Dockerfiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flavor {
    /// `examples/minimal`: what it takes to boot and log in.
    Minimal,
    /// `examples/debian`: what a user starts from.
    Example,
    /// `examples/encrypted`: `Minimal` with what data are encrypted with.
    Encrypted,
}

impl Flavor {
    /// The directory with the Dockerfile.
    pub fn directory(self) -> PathBuf {
        paths::workspace().join("examples").join(match self {
            Flavor::Minimal => "minimal",
            Flavor::Example => "debian",
            Flavor::Encrypted => "encrypted",
        })
    }
}

impl fmt::Display for Flavor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Flavor::Minimal => "minimal",
            Flavor::Example => "example",
            Flavor::Encrypted => "encrypted",
        })
    }
}

/// A directory for `cos build … --overlay`: logs root in on the first serial port.
pub fn console_overlay() -> PathBuf {
    Flavor::Example.directory().join("debug-overlay")
}

/// Environment variable that says whether a base image may come from a registry: `mmdebstrap`
/// never asks one.
const BASE: &str = "COS_TEST_BASE";

/// The example image exactly as its Dockerfile makes it, as an OCI archive with plain layers.
pub fn example(suite: Suite, flavor: Flavor) -> anyhow::Result<PathBuf> {
    let binaries = dist::binaries()?;
    let context = context::Context::of_example(flavor, &binaries)?;
    let key = context.key(&[&suite.to_string()])?;
    archive(&format!("{flavor}-{suite}"), &key, |storage, name| {
        let base = base::ensure(storage, suite)?;
        storage.build(&context, &base, name)?;
        storage.keep_only(name)
    })
}

/// The example image for tests: one layer more, which logs root in on the serial console.
pub fn debian(suite: Suite, flavor: Flavor) -> anyhow::Result<PathBuf> {
    let binaries = dist::binaries()?;
    let plain = context::Context::of_example(flavor, &binaries)?;
    let console = context::Context::of_console()?;
    let plain_key = plain.key(&[&suite.to_string()])?;
    let key = console.key(&[&plain_key])?;
    archive(
        &format!("{flavor}-{suite}-console"),
        &key,
        |storage, name| {
            let base = base::ensure(storage, suite)?;
            let parent = format!("localhost/cos-{flavor}-{suite}:{plain_key}");
            storage.build(&plain, &base, &parent)?;
            storage.build(&console, &parent, name)?;
            storage.keep_only(&parent)?;
            storage.keep_only(name)
        },
    )
}

/// Makes the base images that the examples of `suite` start from, so that the first test need not.
pub fn prepare_base(suite: Suite) -> anyhow::Result<()> {
    let storage = Storage::open()?;
    let _lock = storage.lock()?;
    base::ensure(&storage, suite).map(drop)
}

/// The archive `NAME-KEY.tar`: there already, or built under the storage's lock and placed whole.
/// Archives of the same name made from older inputs are removed.
fn archive(
    name: &str,
    key: &str,
    build: impl FnOnce(&Storage, &str) -> anyhow::Result<()>,
) -> anyhow::Result<PathBuf> {
    let archive = paths::images().join(format!("{name}-{key}.tar"));
    if archive.exists() {
        return Ok(archive);
    }
    let storage = Storage::open()?;
    let _lock = storage.lock()?;
    if archive.exists() {
        return Ok(archive);
    }
    let image = format!("localhost/cos-{name}:{key}");
    build(&storage, &image).with_context(|| format!("cannot build test image {name}"))?;
    storage.save(&image, &archive)?;
    remove_older(name, &archive)?;
    Ok(archive)
}

/// A file made from `inputs`, such as a disk, built once for all tests and never changed after.
///
/// `build` writes it to the path it is given. It is built anew when an input's path, size or
/// modification time changed, and is then placed as `target/images/NAME-KEY.img`.
pub fn derived(
    name: &str,
    inputs: &[&Path],
    build: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<PathBuf> {
    let key = context::key_of_files(inputs)?;
    let result = paths::images().join(format!("{name}-{key}.img"));
    let _lock = Lock::wait(&paths::images().join(format!("{name}.lock")))?;
    if result.exists() {
        return Ok(result);
    }
    let partial = paths::images().join(format!("{name}.partial.img"));
    if partial.exists() {
        fs::remove_file(&partial)?;
    }
    build(&partial).with_context(|| format!("cannot build {name}"))?;
    fs::rename(&partial, &result)?;
    remove_older(name, &result)?;
    Ok(result)
}

fn remove_older(name: &str, current: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(paths::images())? {
        let path = entry?.path();
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        if path != current && path.extension() == current.extension() && is_version_of(name, &file)
        {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Whether `file` is `NAME-KEY.EXTENSION` with a key of [`context::KEY_DIGITS`] hexadecimal digits.
fn is_version_of(name: &str, file: &str) -> bool {
    file.strip_prefix(name)
        .and_then(|rest| rest.strip_prefix('-'))
        .and_then(|rest| rest.split_once('.'))
        .is_some_and(|(key, _)| {
            key.len() == context::KEY_DIGITS && key.bytes().all(|b| b.is_ascii_hexdigit())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_archives_of_the_same_image_are_older_versions() {
        assert!(is_version_of(
            "minimal-trixie",
            "minimal-trixie-0123456789abcdef.tar"
        ));
        assert!(!is_version_of(
            "minimal-trixie",
            "minimal-trixie-console-0123456789abcdef.tar"
        ));
        assert!(!is_version_of(
            "minimal",
            "minimal-trixie-0123456789abcdef.tar"
        ));
    }

    #[test]
    fn what_is_derived_is_built_once_for_the_same_inputs() {
        let dir = crate::temp_dir().unwrap();
        let input = dir.path().join("input");
        fs::write(&input, "one").unwrap();
        let mut built = 0;
        let mut derive = || {
            derived("testkit-derived", &[&input], |output| {
                built += 1;
                Ok(fs::copy(&input, output).map(drop)?)
            })
            .unwrap()
        };
        let first = derive();
        assert_eq!(derive(), first);
        fs::write(&input, "another").unwrap();
        let second = derive();
        assert_eq!(fs::read_to_string(&second).unwrap(), "another");
        assert!(!first.exists(), "the older one is still there");
        assert_eq!(built, 2);
        fs::remove_file(second).unwrap();
    }
}
