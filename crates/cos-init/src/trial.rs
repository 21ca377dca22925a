//! What is different when a snapshot is on trial.

use std::io;
use std::path::Path;

/// Drop-ins of the journal for this boot alone.
const DROP_IN_DIRECTORY: &str = "/run/systemd/journald.conf.d";
/// A boot that fails may end in a reset; what was said up to a second before is to be on the disk.
const SYNC_OFTEN: &str = "[Journal]\nSyncIntervalSec=1s\n";

/// Brings the running system's journal to the disk every second.
pub(crate) fn keep_journal() -> io::Result<()> {
    fs_err::create_dir_all(DROP_IN_DIRECTORY)?;
    fs_err::write(
        Path::new(DROP_IN_DIRECTORY).join("50-cos-trial.conf"),
        SYNC_OFTEN,
    )
}
