//! The static binaries: `cos` and `cos-init` run in any image, whatever its C library.
//!
//! Built against musl when its target and a C compiler for it are there, else against a static
//! glibc: a work tree that cannot fetch the one still builds the other.

use crate::lock::Lock;
use crate::{paths, process, tools};
use anyhow::Context;
use fs_err as fs;
use std::env::consts::ARCH;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Environment variable that names a directory with the binaries ready; set by `cargo xtask test`
/// so that no test calls Cargo.
pub const READY: &str = "COS_DIST";

/// The static binaries of one build.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// The command-line tool.
    pub cos: PathBuf,
    /// The initrd's binary.
    pub cos_init: PathBuf,
}

impl Binaries {
    fn in_dir(dir: &Path) -> Binaries {
        Binaries {
            cos: dir.join("cos"),
            cos_init: dir.join("cos-init"),
        }
    }
}

/// How a static binary is linked on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linkage {
    /// The Rust target triple.
    pub target: String,
    /// Environment for Cargo: the C compiler, linker and flags for that target.
    pub env: Vec<(String, String)>,
}

/// What this process has built: Cargo need not be asked twice.
static BUILT: OnceLock<Binaries> = OnceLock::new();

/// The binaries: those that `COS_DIST` names, else built by [`build`], once in a process.
pub fn binaries() -> anyhow::Result<Binaries> {
    if let Some(dir) = std::env::var_os(READY) {
        return Ok(Binaries::in_dir(Path::new(&dir)));
    }
    match BUILT.get() {
        Some(binaries) => Ok(binaries.clone()),
        None => build(),
    }
}

/// Builds the static binaries into `target/dist`. Cargo decides what is out of date.
pub fn build() -> anyhow::Result<Binaries> {
    let dist = paths::dist();
    fs::create_dir_all(&dist)?;
    let _lock = Lock::wait(&dist.join(".lock"))?;
    let linkage = linkage();
    for (package, profile) in [("cos", "release"), ("cos-init", "release-small")] {
        let built = build_one(package, profile, &linkage)?;
        place(&built, &dist.join(package))?;
    }
    Ok(BUILT.get_or_init(|| Binaries::in_dir(&dist)).clone())
}

/// How static binaries are linked here: musl if it can be had, else static glibc.
pub fn linkage() -> Linkage {
    let musl = format!("{ARCH}-unknown-linux-musl");
    let compiler = tools::find_tool(&format!("{ARCH}-linux-musl-gcc"))
        .or_else(|| tools::find_tool("musl-gcc"));
    match compiler {
        Some(compiler) if target_is_there(&musl) => Linkage {
            env: vec![(
                format!("CC_{}", musl.replace('-', "_")),
                compiler.display().to_string(),
            )],
            target: musl,
        },
        _ => {
            let target = format!("{ARCH}-unknown-linux-gnu");
            let flags = format!(
                "CARGO_TARGET_{}_RUSTFLAGS",
                target.replace('-', "_").to_uppercase()
            );
            Linkage {
                target,
                env: vec![(flags, "-Ctarget-feature=+crt-static".into())],
            }
        }
    }
}

/// Whether the toolchain has the standard library for `target`.
pub fn target_is_there(target: &str) -> bool {
    let libdir = process::text(
        Command::new("rustc")
            .args(["--print", "target-libdir", "--target", target])
            .current_dir(paths::workspace()),
    );
    libdir.is_ok_and(|dir| Path::new(&dir).is_dir())
}

fn build_one(package: &str, profile: &str, linkage: &Linkage) -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    process::run(
        Command::new(cargo)
            .args(["build", "--locked", "--package", package, "--bin", package])
            .args(["--profile", profile, "--target", &linkage.target])
            .envs(linkage.env.iter().map(|(name, value)| (name, value)))
            .current_dir(paths::workspace()),
    )?;
    Ok(paths::target()
        .join(&linkage.target)
        .join(profile)
        .join(package))
}

/// Puts a binary in place only when its bytes changed, whole or not at all: test images are
/// keyed by its digest and may be copying it.
fn place(built: &Path, placed: &Path) -> anyhow::Result<()> {
    let bytes = fs::read(built)?;
    if placed.exists() && fs::read(placed)? == bytes {
        return Ok(());
    }
    let beside = placed.with_extension("new");
    fs::copy(built, &beside)?;
    fs::rename(&beside, placed).with_context(|| format!("cannot place {}", placed.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_is_replaced_only_when_it_changed() {
        use std::os::unix::fs::MetadataExt;
        let dir = crate::temp_dir().unwrap();
        let (built, placed) = (dir.path().join("built"), dir.path().join("placed"));
        fs::write(&built, b"one").unwrap();
        place(&built, &placed).unwrap();
        let first = fs::metadata(&placed).unwrap().ino();
        place(&built, &placed).unwrap();
        assert_eq!(fs::metadata(&placed).unwrap().ino(), first);
        fs::write(&built, b"two").unwrap();
        place(&built, &placed).unwrap();
        assert_eq!(fs::read(&placed).unwrap(), b"two");
    }

    #[test]
    fn the_linkage_is_static() {
        let linkage = linkage();
        let musl = linkage.target.ends_with("musl");
        let flagged = linkage
            .env
            .iter()
            .any(|(_, value)| value.contains("crt-static"));
        assert!(musl || flagged, "{linkage:?}");
    }
}
