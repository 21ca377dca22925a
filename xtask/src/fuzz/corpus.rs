//! Where a target's inputs are.

use super::target;
use cos_testkit::{paths, process};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Those written by hand, which lead deep.
fn seeds(target: &str) -> PathBuf {
    paths::workspace().join("fuzz/seeds").join(target)
}

/// Those found and kept in the tree: few and small.
pub(super) fn kept(target: &str) -> PathBuf {
    paths::workspace().join("fuzz/corpus").join(target)
}

/// Those found by runs on this machine.
pub(super) fn found(target: &str) -> PathBuf {
    paths::target().join("fuzz/found").join(target)
}

/// An empty directory, for a run that is not to be remembered.
pub(super) fn scratch(target: &str) -> anyhow::Result<PathBuf> {
    let directory = paths::target().join("fuzz/scratch").join(target);
    if directory.exists() {
        fs_err::remove_dir_all(&directory)?;
    }
    fs_err::create_dir_all(&directory)?;
    Ok(directory)
}

/// The directories of the tree that a run begins with.
pub(super) fn inputs(target: &str) -> Vec<PathBuf> {
    let directories = [kept(target), seeds(target)];
    directories.into_iter().filter(|it| it.is_dir()).collect()
}

/// Makes the kept inputs anew: the fewest that reach every edge which any known input reaches.
pub(super) fn minimize(programs: &Path, target: &str) -> anyhow::Result<()> {
    let merged = scratch(target)?;
    let mut command = Command::new(programs.join(target));
    command
        .args(["-set_cover_merge=1", "-use_counters=0"])
        .arg(&merged)
        .args(inputs(target))
        .arg(found(target));
    process::logged(&mut command, &target::log(&format!("{target}-merge")))?;
    let kept = kept(target);
    if kept.exists() {
        fs_err::remove_dir_all(&kept)?;
    }
    fs_err::create_dir_all(&kept)?;
    let (mut count, mut bytes) = (0, 0);
    for entry in fs_err::read_dir(&merged)? {
        let entry = entry?;
        bytes += fs_err::copy(entry.path(), kept.join(entry.file_name()))?;
        count += 1;
    }
    println!("{target:<18} {count:>6} inputs kept, {bytes} bytes");
    Ok(())
}
