//! Licences, bans, sources and advisories of what is built in.

use crate::cargo;
use cos_testkit::{paths, process};
use std::process::Command;

/// Where cargo-deny fetches advisories from.
const ADVISORIES: &str = "https://github.com/rustsec/advisory-db";

/// Runs cargo-deny by `deny.toml`. Advisories are checked when their database answers; when it does
/// not, that is said by name.
pub(crate) fn run() -> anyhow::Result<()> {
    let deny = cargo::DENY.ensure()?;
    let check = |what: &[&str]| {
        let mut command = Command::new(&deny);
        command
            .args(["--log-level", "error", "--workspace", "check"])
            .args(what)
            .current_dir(paths::workspace());
        process::run(&mut command)
    };
    check(&["bans", "licenses", "sources"])?;
    if advisories_answer() {
        return check(&["advisories"]);
    }
    println!("skipped  deny: advisories ({ADVISORIES} does not answer)");
    Ok(())
}

fn advisories_answer() -> bool {
    process::succeeds(
        Command::new("timeout")
            .args(["20", "git", "ls-remote", "--exit-code", ADVISORIES, "HEAD"])
            .env("GIT_TERMINAL_PROMPT", "0"),
    )
}
