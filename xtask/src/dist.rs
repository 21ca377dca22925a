//! The static binaries, and how large they are.

use crate::apt;
use cos_testkit::{dist, is_root, process};
use fs_err as fs;
use std::env::consts::ARCH;
use std::path::Path;
use std::process::Command;

/// `cargo xtask dist`: builds them and prints their sizes.
pub(crate) fn run() -> anyhow::Result<()> {
    let binaries = build()?;
    println!("linked statically for {}", dist::linkage().target);
    for binary in [&binaries.cos, &binaries.cos_init] {
        println!("{:>10} bytes  {}", size(binary)?, binary.display());
    }
    Ok(())
}

/// Builds them, after an attempt to get what musl needs. Neither a toolchain server that does not
/// answer nor a missing package stops it: static glibc is as good for a work tree.
pub(crate) fn build() -> anyhow::Result<dist::Binaries> {
    if is_root()
        && let Err(error) = apt::ensure(&["musl-tools"])
    {
        eprintln!("warning: no C compiler for musl: {error:#}");
    }
    let target = format!("{ARCH}-unknown-linux-musl");
    if !dist::target_is_there(&target) {
        let added = process::succeeds(
            Command::new("timeout").args(["60", "rustup", "target", "add", &target]),
        );
        if !added {
            eprintln!("warning: rustup cannot add {target}");
        }
    }
    dist::build()
}

fn size(file: &Path) -> anyhow::Result<u64> {
    Ok(fs::metadata(file)?.len())
}
