//! What tests share: named skips, other people's tools, real Debian images, machines under QEMU.
//!
//! Development only: nothing here is part of cOS itself. Tests of the `system` and `machine` tiers
//! use it, and so does `xtask`, so that the demo shows exactly what the tests check.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::print_stderr,
    reason = "developer tooling: it runs programs, reads the environment and talks to the terminal"
)]

pub mod dist;
pub mod faulty_registry;
pub mod fleet;
pub mod images;
mod lock;
pub mod machine;
pub mod paths;
pub mod process;
mod random;
pub mod registry;
pub mod sigstore;
mod skip;
pub mod swtpm;
pub mod tools;

pub use random::Random;
pub use skip::{SKIP_LOG, Skipped, is_root, read_skips, require_root, skip};
pub use tempfile::TempDir;
pub use tools::{find_tool, need_tools};

use anyhow::Context;

/// Makes an empty directory that goes away with the value.
pub fn temp_dir() -> anyhow::Result<TempDir> {
    tempfile::tempdir().context("cannot make a temporary directory")
}
