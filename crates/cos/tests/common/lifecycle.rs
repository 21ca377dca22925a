//! Machines that follow an image in a registry, and what they say of themselves.

use cos_testkit::machine::Machine;
use serde_json::Value;

/// `cos status --json` of a machine.
pub(crate) fn status(machine: &mut Machine) -> Value {
    let said = machine.check("cos status --json").unwrap();
    let last = said.lines().last().unwrap_or_default();
    let value: Value = serde_json::from_str(last).unwrap();
    value["result"].clone()
}
