//! The lock that programs which edit users agree on.

use crate::error::AccountsError;
use cos_sys::root_path::Root;
use fs_err::File;
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use std::path::Path;
use std::time::{Duration, Instant};

/// The lock file of `lckpwdf(3)`.
const PATH: &str = "/etc/.pwd.lock";

/// How long to wait for it: what `lckpwdf(3)` waits.
const PATIENCE: Duration = Duration::from_secs(15);

/// How often to try meanwhile: fcntl(2) locks are waited for without a deadline, or not at all.
const PAUSE: Duration = Duration::from_millis(50);

/// The user database is ours while this lives.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for the lock, at most 15 s.
    pub(crate) fn take(root: &Root) -> Result<Self, AccountsError> {
        Self::take_within(root, PATIENCE)
    }

    fn take_within(root: &Root, patience: Duration) -> Result<Self, AccountsError> {
        let file = root.open_lock(Path::new(PATH))?;
        let deadline = Instant::now() + patience;
        loop {
            match lock(&file) {
                Ok(()) => return Ok(Self { _file: file }),
                Err(Errno::AGAIN | Errno::ACCESS) if Instant::now() < deadline => {
                    std::thread::sleep(PAUSE);
                }
                Err(Errno::AGAIN | Errno::ACCESS) => {
                    return Err(AccountsError::Locked {
                        path: PATH.into(),
                        waited: patience,
                    });
                }
                Err(errno) => {
                    return Err(AccountsError::Lock {
                        path: PATH.into(),
                        source: errno.into(),
                    });
                }
            }
        }
    }
}

/// The lock of fcntl(2) is what others look at, but it does not keep threads of one process apart;
/// that of flock(2) does.
fn lock(file: &File) -> Result<(), Errno> {
    rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive)?;
    rustix::fs::fcntl_lock(file, FlockOperation::NonBlockingLockExclusive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_waits_and_then_says_so() {
        let temp = tempfile::tempdir().unwrap();
        let root = Root::open(temp.path()).unwrap();
        let first = Lock::take(&root).unwrap();
        let error = Lock::take_within(&root, Duration::ZERO).unwrap_err();
        assert!(matches!(error, AccountsError::Locked { .. }), "{error}");
        assert!(error.hint().is_some());
        drop(first);
        Lock::take_within(&root, Duration::ZERO).unwrap();
    }
}
