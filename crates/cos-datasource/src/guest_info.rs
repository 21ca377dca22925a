//! VMware guestinfo: names and values that the host keeps for the guest.

use crate::USER_DATA_LIMIT;
use crate::error::Refusal;
use cos_sys::tool::{Tool, ToolError};
use std::ffi::OsString;

/// Reads guestinfo.
pub trait GuestInfo {
    /// The value of `guestinfo.NAME`; `None` when it is not set.
    fn get(&self, name: &str) -> Result<Option<String>, Refusal>;
}

/// No guestinfo at all.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoGuestInfo;

impl GuestInfo for NoGuestInfo {
    fn get(&self, _: &str) -> Result<Option<String>, Refusal> {
        Ok(None)
    }
}

/// Reads guestinfo with the programs of open-vm-tools: `vmware-rpctool`, and where that is not
/// there or not permitted, `vmtoolsd`.
#[derive(Debug, Clone, Default)]
pub struct VmwareTools {
    /// Where the programs are looked for; the usual directories when `None`.
    pub search_path: Option<OsString>,
}

/// What the programs say of a name that is not set.
const NO_VALUE: &str = "No value found";

impl GuestInfo for VmwareTools {
    fn get(&self, name: &str) -> Result<Option<String>, Refusal> {
        let question = format!("info-get guestinfo.{name}");
        let find = |program| Tool::find(program, "open-vm-tools", self.search_path.as_deref());
        let first = find("vmware-rpctool").and_then(|tool| tool.run([question.as_str()]));
        let output = match first {
            Err(error) if !says_unset(&error) => {
                find("vmtoolsd").and_then(|tool| tool.run(["--cmd", question.as_str()]))
            }
            other => other,
        };
        match output {
            Ok(output) if output.stdout.len() as u64 > 2 * USER_DATA_LIMIT => {
                Err(Refusal::TooLarge {
                    what: format!("guestinfo.{name}"),
                    limit: 2 * USER_DATA_LIMIT,
                })
            }
            Ok(output) => {
                let value = String::from_utf8_lossy(&output.stdout);
                let value = value.strip_suffix('\n').unwrap_or(&value);
                // An unset name, and one that was cleared: "---" is YAML for nothing.
                let unset = value.trim().is_empty() || value.trim() == "---";
                Ok((!unset).then(|| value.to_owned()))
            }
            Err(error) if says_unset(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

fn says_unset(error: &ToolError) -> bool {
    matches!(error, ToolError::Failed { stderr, .. } if stderr.contains(NO_VALUE))
}
