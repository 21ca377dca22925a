//! What the verbs that change this machine share.

use super::request::{self, argument};
use crate::arguments::install::ImageArguments;
use crate::environment::Environment;
use crate::failure::{Busy, Failure};
use cos_http::{HttpConfig, Proxies};
use cos_ops::deploy::SnapshotSource;
use cos_sys::lock::{Lock, try_lock};
use cos_sys::tool::Tool;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Where a system that cos-init started keeps the state of its boot.
pub(super) const RUN: &str = "/run/cos";

/// The lock of the operations that change this machine.
const LOCK: &str = "/run/cos/lock";

/// What somebody says, or that there is nobody to ask.
pub(super) enum Answer {
    Said(String),
    NobodyThere,
}

/// Says at once what would only show after a long time.
pub(super) fn require_root() -> Result<(), Failure> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Failure::NotRoot)
}

/// Lets one operation change this machine at a time. The lock goes away with the process.
pub(super) fn lock(operation: &str) -> Result<Lock, Failure> {
    let holder = format!("cos {operation}, process {}", std::process::id());
    match try_lock(Path::new(LOCK), &holder)? {
        Ok(lock) => Ok(lock),
        Err(holder) => Err(Failure::Busy(Busy(holder))),
    }
}

/// A question on the terminal, and the line that is the answer.
pub(super) fn ask(question: &str) -> Result<Answer, Failure> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(Answer::NobodyThere);
    }
    io::stderr().lock().write_all(question.as_bytes())?;
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    Ok(Answer::Said(line.trim().to_owned()))
}

/// The image in the place of the running system.
pub(super) fn image(
    arguments: &ImageArguments,
    image: &str,
    environment: &Environment,
) -> Result<SnapshotSource, Failure> {
    let source = arguments.source(image);
    let build = request::build(
        &source,
        &arguments.format,
        &arguments.temp_dir,
        None,
        environment,
    )?;
    Ok(SnapshotSource::Image(Box::new(build.image)))
}

/// How documents are fetched.
pub(super) fn http(environment: &Environment) -> HttpConfig {
    let mut config = HttpConfig {
        proxy: Proxies {
            https: environment.https_proxy.clone(),
            http: environment.http_proxy.clone(),
            no_proxy: environment.no_proxy.clone(),
        },
        ..HttpConfig::default()
    };
    if let Some(file) = &environment.certificate_file {
        config.system_ca_files = vec![file.clone()];
    }
    config
}

/// Seconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

/// Restarts the machine or switches it off, in order.
pub(super) fn afterwards(reboot: bool, poweroff: bool) -> Result<(), Failure> {
    let verb = match (reboot, poweroff) {
        (true, _) => "reboot",
        (false, true) => "poweroff",
        (false, false) => return Ok(()),
    };
    let asked = Tool::find("systemctl", "systemd", None).and_then(|tool| tool.run([verb]));
    asked.map(drop).map_err(|error| {
        let message = format!("all is done, but the machine does not {verb}: {error}");
        argument(message, None)
    })
}
