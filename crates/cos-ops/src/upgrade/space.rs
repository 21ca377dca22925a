//! Whether there is room, before anything is written.

use crate::OpsError;
use crate::deploy::free_bytes;
use std::path::{Path, PathBuf};

/// What a snapshot takes besides its large files.
const MARGIN: u64 = 4 << 20;

fn device(path: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt as _;
    fs_err::metadata(path).ok().map(|meta| meta.dev())
}

/// Where temporary data goes: to whichever has most room. `bytes` is how much is fetched, where that is
/// known: what is kept of it, compressed as well, takes no more. What becomes of it on the partition of
/// `draft` is known exactly only then ([`for_snapshot`]); but it has never been less than half.
pub(super) fn scratch(
    draft: &Path,
    others: &[PathBuf],
    bytes: Option<u64>,
) -> Result<PathBuf, OpsError> {
    let look = |path: &Path| -> Result<u64, OpsError> {
        free_bytes(path).map_err(|source| OpsError::Write {
            path: path.to_owned(),
            source,
        })
    };
    let here = look(draft)?;
    let mut best = (draft.to_owned(), here);
    for path in others {
        if let Ok(room) = free_bytes(path)
            && room > best.1
        {
            best = (path.clone(), room);
        }
    }
    let Some(bytes) = bytes else {
        return Ok(best.0);
    };
    let least = bytes / 2;
    let wanted = if device(draft) == device(&best.0) {
        vec![(draft, here, bytes + least)]
    } else {
        vec![(draft, here, least), (best.0.as_path(), best.1, bytes)]
    };
    for (path, room, needed) in wanted {
        if room < needed {
            return Err(OpsError::Space {
                path: path.to_owned(),
                needed,
                free: room,
            });
        }
    }
    Ok(best.0)
}

/// Where what is fetched is kept for another try: beside the temporary data, where that is not the draft
/// itself, which goes with a try that fails, and where there is room for it too.
pub(super) fn kept_blobs(draft: &Path, scratch: &Path, bytes: Option<u64>) -> Option<PathBuf> {
    let room = free_bytes(scratch).ok()?;
    let fits = bytes.is_some_and(|bytes| room >= 3 * bytes);
    (scratch != draft && fits).then(|| scratch.join(".cos-download"))
}

/// Whether the snapshot's files fit, once their sizes are known: `stored` bytes of contents and `files`
/// bytes of kernel and initrd.
pub(super) fn for_snapshot(draft: &Path, stored: u64, files: u64) -> Result<(), OpsError> {
    let room = free_bytes(draft).map_err(|source| OpsError::Write {
        path: draft.to_owned(),
        source,
    })?;
    // The hash tree takes 1/127, inodes and directories a little more.
    let needed = stored + stored / 40 + files + MARGIN;
    if room < needed {
        return Err(OpsError::Space {
            path: draft.to_owned(),
            needed,
            free: room,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_with_numbers() {
        let temp = tempfile::tempdir().unwrap();
        assert_eq!(scratch(temp.path(), &[], Some(1)).unwrap(), temp.path());
        assert!(for_snapshot(temp.path(), 1, 1).is_ok());
        for result in [
            scratch(temp.path(), &[], Some(1 << 60)).map(drop),
            for_snapshot(temp.path(), 1 << 60, 0),
        ] {
            assert!(matches!(
                result.unwrap_err(),
                OpsError::Space { needed, .. } if needed >= 1 << 60
            ));
        }
    }
}
