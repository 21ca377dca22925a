//! What the end-to-end tests of `cos` share.
#![allow(dead_code, reason = "each test binary uses its part")]

pub(crate) mod lifecycle;

use cos_testkit::images::{self, Flavor, Suite};
use cos_testkit::process;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The static binary that users get.
pub(crate) fn cos() -> Command {
    Command::new(cos_testkit::dist::binaries().unwrap().cos)
}

/// The lean test image, logging root in on the serial console, as a source for `cos`.
pub(crate) fn test_image(suite: Suite) -> String {
    source(&images::debian(suite, Flavor::Minimal).unwrap())
}

/// An OCI archive as a source for `cos`.
pub(crate) fn source(archive: &Path) -> String {
    format!("oci-archive:{}", archive.display())
}

/// Builds a medium once for all tests of this run; it is never changed afterwards.
pub(crate) fn medium(kind: &str, suite: Suite, flavor: Flavor) -> PathBuf {
    let image = images::debian(suite, flavor).unwrap();
    let tool = cos_testkit::dist::binaries().unwrap().cos;
    let name = format!("{flavor}-{suite}-{kind}");
    images::derived(&name, &[&image, &tool], |output| {
        process::run(
            cos()
                .args(["build", kind, &source(&image), "--output"])
                .arg(output),
        )
    })
    .unwrap()
}
