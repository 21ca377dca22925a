//! `cos lint`: what keeps an image from booting, each with its mend, before anything is built.

mod checks;
mod initrd;

pub(crate) use initrd::contains as initrd_contains;

use crate::OpsError;
use crate::root::convert::{ImageRequest, Loaded, load};
use cos_events::Monitor;
use serde::Serialize;
use std::fmt;
use std::path::Path;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It boots, but not as it should.
    Warning,
    /// It does not boot.
    Error,
}

/// Something wrong with an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Name of the check, for scripts.
    pub check: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub mend: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        writeln!(f, "{severity} [{}]: {}", self.check, self.message)?;
        writeln!(f, "    {}", self.mend)
    }
}

/// Reads an image and looks for everything that keeps it from booting. Findings are in the order of the
/// checks; none means that it should boot.
pub fn lint(
    request: &ImageRequest,
    temp_dir: &Path,
    monitor: &dyn Monitor,
) -> Result<Vec<Finding>, OpsError> {
    let loaded = load(request, temp_dir, monitor)?;
    run(&loaded, request)
}

fn run(loaded: &Loaded, request: &ImageRequest) -> Result<Vec<Finding>, OpsError> {
    let mut findings = Vec::new();
    for check in checks::ALL {
        (check)(&checks::Subject { loaded, request }, &mut findings)?;
    }
    Ok(findings)
}
