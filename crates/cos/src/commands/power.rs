//! Rebooting and powering off through the running system.

use crate::environment::Environment;
use crate::failure::Failure;
use cos_sys::tool::Tool;

/// Reboots.
pub(super) fn reboot(environment: &Environment) -> Result<(), Failure> {
    systemctl(&["reboot"], environment)
}

/// Reboots without asking services to stop: they may be what hangs. File systems are unmounted.
pub(super) fn reboot_at_once(environment: &Environment) -> Result<(), Failure> {
    systemctl(&["reboot", "--force"], environment)
}

/// Switches the machine off.
pub(super) fn power_off(environment: &Environment) -> Result<(), Failure> {
    systemctl(&["poweroff"], environment)
}

fn systemctl(arguments: &[&str], environment: &Environment) -> Result<(), Failure> {
    let systemctl = Tool::find("systemctl", "systemd", environment.path.as_deref());
    let ran = systemctl.and_then(|tool| tool.run(arguments));
    ran.map(drop).map_err(Failure::Power)
}
