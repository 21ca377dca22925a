//! Rebooting and powering off through the running system.

use crate::environment::Environment;
use crate::failure::Failure;
use cos_sys::tool::Tool;

/// Reboots.
pub(super) fn reboot(environment: &Environment) -> Result<(), Failure> {
    systemctl("reboot", environment)
}

fn systemctl(verb: &str, environment: &Environment) -> Result<(), Failure> {
    let systemctl = Tool::find("systemctl", "systemd", environment.path.as_deref());
    let ran = systemctl.and_then(|tool| tool.run([verb]));
    ran.map(drop).map_err(Failure::Power)
}
