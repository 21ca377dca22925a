//! Stages of cloud-config that run before the system starts: by the new root's own `cos`, with the new
//! root as its `/`. So the engine is not in the initrd, and is verified like the rest of the root.

use crate::error::{InitError, chain};
use crate::log::Log;
use crate::root::SYSROOT;
use cos_sys::mount::{Mount, mount, unmount};
use cos_sys::tool::{self, Tool};
use std::path::{Path, PathBuf};

/// The engine, seen from the new root.
const COS: &str = "/usr/bin/cos";
/// What `cos stage` exits with when it ran and something in the stage failed.
const STEPS_FAILED: i32 = 6;
/// What programs in the new root need of the initrd. `/tmp` is writable only here, so far.
const KERNEL_PLACES: [&str; 5] = ["/dev", "/proc", "/sys", "/run", "/tmp"];

/// User-data that was found before, seen from the new root.
const USER_DATA: &str = "oem/95_userdata";
/// Seconds that devices may take to appear.
const SETTLE: &str = "--timeout=20";

/// Waits for the devices that the kernel is still at: the disk booted from may be there before the CD with
/// the user-data. Where that is known from an earlier boot, nobody has to wait.
pub(crate) fn wait_for_devices(log: &mut Log) {
    if fs_err::metadata(Path::new(SYSROOT).join(USER_DATA)).is_ok() {
        return;
    }
    let settled = Tool::find("udevadm", "udev", None).and_then(|it| it.run(["settle", SETTLE]));
    if let Err(error) = settled {
        log.info(&format!("not every device may be there yet: {error}"));
    }
}

/// Runs stages, in order. Whatever goes wrong in them is a warning: a machine that is reachable and
/// says what is wrong is better than one that is not.
pub(crate) fn run(stages: &[&str], log: &mut Log) {
    if fs_err::metadata(Path::new(SYSROOT).join(&COS[1..])).is_err() {
        log.warn(format!(
            "{} not run: the image has no {COS}",
            stages.join(", ")
        ));
        return;
    }
    let mut places = Vec::new();
    match enter(&mut places) {
        Ok(()) => stages.iter().for_each(|stage| run_one(stage, log)),
        Err(error) => log.warn(format!("{} not run: {}", stages.join(", "), chain(&error))),
    }
    for place in places.iter().rev() {
        // Lazily: something a step left running may still be there.
        if let Err(error) = unmount(place, true) {
            log.warn(chain(&error));
        }
    }
}

/// Lends the new root what the initrd has mounted; each place alone, and not what is mounted below it,
/// so that giving it back takes nothing else away.
fn enter(places: &mut Vec<PathBuf>) -> Result<(), InitError> {
    for place in KERNEL_PLACES {
        let target = Path::new(SYSROOT).join(&place[1..]);
        mount(&Mount {
            source: place.into(),
            target: target.clone(),
            fstype: "none".into(),
            options: "bind".into(),
        })?;
        places.push(target);
    }
    Ok(())
}

fn run_one(stage: &str, log: &mut Log) {
    let ended = tool::in_root(Some(Path::new(SYSROOT)), COS)
        .args(["stage", stage])
        // There is a systemd, and it is not the one that will run the services.
        .env("SYSTEMD_OFFLINE", "1")
        .status();
    match ended.map(|status| (status.code(), status)) {
        Ok((Some(0), _)) => log.info(&format!("stage {stage} is done")),
        Ok((Some(STEPS_FAILED), _)) => log.warn(format!(
            "stage {stage} has failures; /run/cos/stages/{stage}.json says which"
        )),
        Ok((_, status)) => log.warn(format!(
            "stage {stage} was not run: cos ended with {status}"
        )),
        Err(error) => log.warn(format!("stage {stage} was not run: {COS}: {error}")),
    }
}
