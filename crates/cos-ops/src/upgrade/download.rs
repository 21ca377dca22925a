//! What of a download is kept for the next try.

use crate::OpsError;
use cos_events::{Monitor, warn};
use std::io;
use std::path::Path;

/// Whether the next try can go on where this one stopped: the line was cut, or the user stopped it. What
/// a registry sent that is wrong must not be taken up again.
pub(super) fn is_resumable(error: &OpsError) -> bool {
    match error {
        OpsError::Cancelled(_) => true,
        OpsError::Image { source, .. } => source.is_transient(),
        _ => false,
    }
}

/// Removes what was kept.
pub(super) fn forget(directory: &Path, monitor: &dyn Monitor) {
    match fs_err::remove_dir_all(directory) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => warn(monitor, error.to_string()),
    }
}
