//! A boot that failed: say why where a person sees it, then reboot, so that the boot loader can
//! choose another snapshot; or open a shell for who asked for one.

use crate::cmdline;
use crate::log::critical;
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

/// Says why the boot fails and notes it.
pub(crate) fn record(why: &str) {
    critical(&format!("the boot stops here: {why}"));
    let written = fs_err::create_dir_all("/run/cos").and_then(|()| fs_err::write(RECORD, why));
    if let Err(error) = written {
        critical(&format!("cannot note that down: {error}"));
    }
}

/// What `cos-failure.service` does.
pub(crate) fn handle() -> ExitCode {
    let why = fs_err::read_to_string(RECORD)
        .unwrap_or_else(|_| "cos-init ended without a word; see its lines above".to_owned());
    // What cannot be read asks for nothing.
    let cmdline = fs_err::read_to_string("/proc/cmdline").unwrap_or_default();
    if cmdline::wants_shell(&cmdline) {
        critical("opening a shell, as rd.shell or rd.break asks");
        match open_shell() {
            Ok(()) => return ExitCode::SUCCESS,
            Err(error) => critical(&format!(
                "there is no shell: {}",
                crate::error::chain(&*error)
            )),
        }
    }
    critical(&format!(
        "rebooting in {PAUSE} seconds (rd.shell gives a shell instead): {why}"
    ));
    thread::sleep(Duration::from_secs(PAUSE));
    if let Err(error) = system::reboot() {
        critical(&format!("cannot reboot: {error}"));
    }
    ExitCode::FAILURE
}

/// Root has no password in the initrd, and sulogin(8) takes that for a locked account. Who may change
/// the kernel command line may have the shell.
fn open_shell() -> Result<(), Box<dyn Error>> {
    fs_err::create_dir_all(DROP_IN_DIRECTORY)?;
    fs_err::write(
        Path::new(DROP_IN_DIRECTORY).join("cos.conf"),
        "[Service]\nEnvironment=SYSTEMD_SULOGIN_FORCE=1\n",
    )?;
    let systemctl = Tool::find("systemctl", "systemd", None)?;
    systemctl.run(["daemon-reload"])?;
    systemctl.run(["--no-block", "restart", "emergency.service"])?;
    Ok(())
}
