//! A lock between processes that goes away with its holder, however that ends.

use fs_err::{File, OpenOptions};
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::Path;

/// A held lock.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Takes the lock `path`, a file that is made when needed, and notes `holder` in it for whom it keeps
/// out. `Ok(Err(…))` is what the present holder noted.
pub fn try_lock(path: &Path, holder: &str) -> io::Result<Result<Lock, String>> {
    if let Some(parent) = path.parent() {
        fs_err::create_dir_all(parent)?;
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let mut file = options.open(path)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let mut noted = String::new();
            file.take(1024).read_to_string(&mut noted)?;
            return Ok(Err(noted.trim().to_owned()));
        }
        Err(errno) => return Err(errno.into()),
    }
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{holder}")?;
    Ok(Ok(Lock { _file: file }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_kept_out_and_told_by_whom() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("run/lock");
        let held = try_lock(&path, "cos upgrade, process 7").unwrap().unwrap();
        assert_eq!(
            try_lock(&path, "me").unwrap().unwrap_err(),
            "cos upgrade, process 7"
        );
        drop(held);
        assert!(try_lock(&path, "me").unwrap().is_ok());
    }
}
