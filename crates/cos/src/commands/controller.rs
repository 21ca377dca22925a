//! `cos suc-upgrade`: the image as a container of Rancher's system-upgrade-controller, or of anything
//! else that starts it with the machine's root at /host.
//!
//! The machine's own `cos` does the work, in a chroot of the machine: it knows the machine, and its lock
//! and its rules count. It ends well when there is nothing to do, so a controller may try again as often
//! as it likes; an image that failed on the machine before ends with its own exit code.

use super::request::argument;
use crate::arguments::SucArguments;
use crate::failure::Failure;
use crate::render::Renderer;
use cos_ops::OpsError;
use cos_ops::machine::require_root;
use cos_sys::mount::{Mount, mount, unmount};
use cos_sys::tool::in_root;
use serde::Serialize;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What only a machine that cOS booted has.
const REPORT: &str = "run/cos/boot.json";
/// Where the machine sees this container's root.
const CONTAINER: &str = "run/cos/container";
/// The machine's own tool.
const COS: &str = "/usr/bin/cos";
/// Arguments of `cos upgrade` that lift the machine's policy.
const MACHINES_OWN: [&str; 4] = [
    "--allow-unsigned",
    "--allow-stale",
    "--allow-downgrade",
    "--policy",
];
/// Which version a system is.
const OS_RELEASE: &str = "etc/os-release";

/// That nothing was to be done.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum Nothing {
    UpToDate,
}

/// Upgrades the machine whose root is mounted here.
pub(crate) fn suc_upgrade(
    arguments: &SucArguments,
    renderer: &Renderer,
) -> Result<ExitCode, Failure> {
    require_root().map_err(OpsError::from)?;
    let host = &arguments.host;
    if !host.join(REPORT).exists() {
        let message = format!(
            "{} is not the root of a machine that cOS booted",
            host.display()
        );
        let hint = "mount the machine's / there, with what is mounted below it";
        return Err(argument(message, Some(hint)));
    }
    // What runs on a machine is the machine's to say, and not the container's.
    let lifts = |word: &&OsString| {
        let word = word.to_string_lossy();
        let name = word.split('=').next().unwrap_or_default();
        MACHINES_OWN.contains(&name)
    };
    if let Some(word) = arguments.upgrade.iter().find(lifts) {
        let message = format!("{} is for somebody at the machine", word.display());
        let hint = "allow the image in the machine's /etc/cos/policy.yaml";
        return Err(argument(message, Some(hint)));
    }
    let is_flag = |word: &OsString| word.as_encoded_bytes().starts_with(b"-");
    if arguments.upgrade.iter().any(|word| !is_flag(word)) {
        return run(host, &arguments.upgrade);
    }
    if same_release(Path::new("/"), host)? {
        renderer.result("this version runs already\n", &Nothing::UpToDate)?;
        return Ok(ExitCode::SUCCESS);
    }
    let _lent = Lent::new(host)?;
    let mut words = vec![format!("dir:/{CONTAINER}").into()];
    words.extend(arguments.upgrade.iter().cloned());
    run(host, &words)
}

fn run(host: &Path, words: &[OsString]) -> Result<ExitCode, Failure> {
    let ended = in_root(Some(host), COS)
        .arg("upgrade")
        .args(words)
        .status()?;
    let code = ended.code().and_then(|code| u8::try_from(code).ok());
    // Killed by a signal.
    Ok(ExitCode::from(code.unwrap_or(1)))
}

/// Whether two systems say of themselves that they are the same version.
fn same_release(container: &Path, host: &Path) -> Result<bool, Failure> {
    let ours = fs_err::read(container.join(OS_RELEASE))?;
    Ok(ours == fs_err::read(host.join(OS_RELEASE))?)
}

/// The container's root, without what is mounted below it, where the machine can see it.
struct Lent(PathBuf);

impl Lent {
    fn new(host: &Path) -> Result<Self, Failure> {
        let target = host.join(CONTAINER);
        fs_err::create_dir_all(&target)?;
        mount(&Mount {
            source: "/".into(),
            target: target.clone(),
            fstype: "none".into(),
            options: "bind".into(),
        })
        .map_err(|error| Failure::Argument {
            error: Box::new(error),
            hint: Some("the container must be privileged".to_owned()),
        })?;
        Ok(Self(target))
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        drop(unmount(&self.0, true));
    }
}
