//! Cargo itself, and the tools that come as crates.

use cos_testkit::{paths, process};
use std::path::PathBuf;
use std::process::Command;

/// A program that comes as a crate, at the version this tree is checked with.
#[derive(Debug)]
pub(crate) struct Tool {
    /// The crate's name.
    pub(crate) package: &'static str,
    /// The pinned version, installed when none is there.
    pub(crate) version: &'static str,
    /// Options of `cargo install`. Built without optimisation: compiling is what costs here.
    pub(crate) options: &'static [&'static str],
    /// The program's file name.
    pub(crate) program: &'static str,
}

/// The test runner.
pub(crate) const NEXTEST: Tool = Tool {
    package: "cargo-nextest",
    version: "0.9.143",
    options: &[
        "--debug",
        "--no-default-features",
        "--features",
        "default-no-update",
    ],
    program: "cargo-nextest",
};

/// Licences, bans, sources and advisories of the dependencies.
pub(crate) const DENY: Tool = Tool {
    package: "cargo-deny",
    version: "0.20.2",
    options: &["--debug"],
    program: "cargo-deny",
};

/// The book.
pub(crate) const MDBOOK: Tool = Tool {
    package: "mdbook",
    version: "0.5.4",
    options: &["--debug", "--no-default-features"],
    program: "mdbook",
};

impl Tool {
    /// The program: from `PATH` or Cargo's own directory, else built under `target/tools`.
    pub(crate) fn ensure(&self) -> anyhow::Result<PathBuf> {
        if let Some(found) = self.installed() {
            return Ok(found);
        }
        println!(
            "     cargo install {} {} (into target/tools, once)",
            self.package, self.version
        );
        let mut command = command("install");
        command
            .args(["--locked", "--version", self.version, "--root"])
            .arg(paths::tools())
            .args(self.options)
            .arg(self.package)
            .env("CARGO_TARGET_DIR", paths::tools().join("build"));
        process::logged(
            &mut command,
            &paths::tools().join(format!("{}.log", self.package)),
        )?;
        Ok(paths::tools().join("bin").join(self.program))
    }

    fn installed(&self) -> Option<PathBuf> {
        cos_testkit::find_tool(self.program).or_else(|| {
            let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
            let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")))?;
            Some(home.join("bin").join(self.program)).filter(|program| program.exists())
        })
    }
}

/// `cargo VERB` in the workspace, with the Cargo that runs this.
pub(crate) fn command(verb: &str) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.arg(verb).current_dir(paths::workspace());
    forget_this_package(&mut command);
    command
}

/// Takes away what Cargo says of xtask itself: build scripts that watch such variables would run again, and all
/// that depends on them be compiled again.
pub(crate) fn forget_this_package(command: &mut Command) {
    let ours = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(ours) {
            command.env_remove(name);
        }
    }
}
