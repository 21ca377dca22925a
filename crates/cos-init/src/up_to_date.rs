//! Telling systemd that nothing has to be generated anew.
//!
//! Units with `ConditionNeedsUpdate=` (hardware database, linker cache, message catalogue, system
//! users) run when `/usr` is newer than the stamps in `/etc` and `/var`. Both forget theirs at every
//! reboot, and the image was complete when it was built: the stamps are put there before systemd
//! looks, as old as `/usr` itself.

use rustix::fs::{CWD, Timespec, Timestamps};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Writes the stamps below `root` (systemd.unit(5), `ConditionNeedsUpdate=`).
pub(crate) fn stamp(root: &Path) -> io::Result<()> {
    let usr = fs_err::metadata(root.join("usr"))?;
    let time = Timespec {
        tv_sec: usr.mtime(),
        tv_nsec: usr.mtime_nsec(),
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    for directory in ["etc", "var"] {
        let file = root.join(directory).join(".updated");
        fs_err::write(&file, "# Written by cos-init: the image is complete.\n")?;
        rustix::fs::utimensat(CWD, &file, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stamps_are_as_old_as_usr() {
        let root = tempfile::tempdir().unwrap();
        for directory in ["usr", "etc", "var"] {
            fs_err::create_dir(root.path().join(directory)).unwrap();
        }
        stamp(root.path()).unwrap();
        let time = |path: &str| {
            let meta = fs_err::metadata(root.path().join(path)).unwrap();
            (meta.mtime(), meta.mtime_nsec())
        };
        assert_eq!(time("etc/.updated"), time("usr"));
        assert_eq!(time("var/.updated"), time("usr"));
    }
}
