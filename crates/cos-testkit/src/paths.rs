//! Where things are in the work tree.

use std::path::{Path, PathBuf};

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// Cargo's target directory: `CARGO_TARGET_DIR` when set, else `target` in the workspace.
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => workspace().join(dir),
        None => workspace().join("target"),
    }
}

/// Test images, their base tarballs and the container storage they are built in.
pub fn images() -> PathBuf {
    target().join("images")
}

/// Serial logs and disk overlays of machines that tests boot, one directory per test.
pub fn machines() -> PathBuf {
    target().join("machines")
}

/// Programs installed for this work tree alone.
pub fn tools() -> PathBuf {
    target().join("tools")
}

/// The static binaries.
pub fn dist() -> PathBuf {
    target().join("dist")
}
