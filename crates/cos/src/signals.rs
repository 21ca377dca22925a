//! Ctrl-C and SIGTERM ask the running operation to stop; a second one ends the process at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The flag that SIGINT, SIGTERM and SIGHUP set.
pub(crate) fn cancellation() -> Result<Arc<AtomicBool>, ctrlc::Error> {
    let flag = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&flag);
    ctrlc::set_handler(move || {
        if seen.swap(true, Ordering::Relaxed) {
            // The operation did not stop in time; temporary files are unlinked already or named
            // so that they can be told from results.
            std::process::abort();
        }
    })?;
    Ok(flag)
}
