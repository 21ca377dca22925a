//! A boot that failed: say why where a person sees it, then reboot, so that the boot loader can
//! choose another snapshot; or open a shell for who asked for one.

use crate::cmdline;
use crate::log::critical;
use crate::note;
use cos_sys::system;
use cos_sys::tool::Tool;
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

/// Why the boot failed, for `cos-init --failed`.
const RECORD: &str = "/run/cos/failure";
/// Changes the emergency shell for this boot.
const DROP_IN_DIRECTORY: &str = "/run/systemd/system/emergency.service.d";
/// Seconds to read the message.
const PAUSE: u64 = 10;

/// Says why the boot fails and notes it. To be called before the unit fails, since that starts the
/// emergency shell.
pub(crate) fn record(why: &str) {
    critical(&format!("the boot stops here: {why}"));
    let written = fs_err::create_dir_all("/run/cos").and_then(|()| fs_err::write(RECORD, why));
    if let Err(error) = written {
        critical(&format!("cannot note that down: {error}"));
    }
    if wants_shell()
        && let Err(error) = unlock_shell()
    {
        critical(&format!(
            "the shell may ask for a password nobody has: {}",
            crate::error::chain(&*error)
        ));
    }
}

/// What `cos-failure.service` does. The emergency shell is dracut's and opens by itself when it is
/// asked for.
pub(crate) fn handle() -> ExitCode {
    let why = fs_err::read_to_string(RECORD)
        .unwrap_or_else(|_| "cos-init ended without a word; see its lines above".to_owned());
    if wants_shell() {
        critical(&format!(
            "a shell opens, as rd.shell or rd.break asks: {why}"
        ));
        return ExitCode::SUCCESS;
    }
    critical(&format!(
        "rebooting in {PAUSE} seconds (rd.shell gives a shell instead): {why}"
    ));
    if let Err(error) = note::leave(&why) {
        critical(&format!(
            "the running system will not learn why: {}",
            crate::error::chain(&error)
        ));
    }
    thread::sleep(Duration::from_secs(PAUSE));
    if let Err(error) = system::reboot() {
        critical(&format!("cannot reboot: {error}"));
    }
    ExitCode::FAILURE
}

fn wants_shell() -> bool {
    // What cannot be read asks for nothing.
    cmdline::wants_shell(&fs_err::read_to_string("/proc/cmdline").unwrap_or_default())
}

/// Root has no password in the initrd, and sulogin(8) takes that for a locked account. Who may change
/// the kernel command line may have the shell.
fn unlock_shell() -> Result<(), Box<dyn Error>> {
    fs_err::create_dir_all(DROP_IN_DIRECTORY)?;
    fs_err::write(
        Path::new(DROP_IN_DIRECTORY).join("cos.conf"),
        "[Service]\nEnvironment=SYSTEMD_SULOGIN_FORCE=1\n",
    )?;
    Tool::find("systemctl", "systemd", None)?.run(["daemon-reload"])?;
    Ok(())
}
