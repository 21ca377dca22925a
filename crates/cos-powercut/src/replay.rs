//! What Linux finds on a disk after a cut, once the journal is replayed, and whether it can go on.

use crate::Part;
use crate::loader::{Known, View};
use crate::recorder::Mounted;
use crate::working_copy::WorkingCopy;
use anyhow::{Context, Result, bail, ensure};
use cos_store::Store;
use cos_sys::loop_device::{LoopDevice, LoopOptions};
use cos_testkit::{TempDir, find_tool, tools};
use std::path::Path;
use std::process::{Command, Stdio};

/// Who replays the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The kernel, mounting it.
    Kernel,
    /// `e2fsck -p`, as at boot.
    Fsck,
}

/// Replays the journal of a copy of `disk`, requires that the store then is in one of the states
/// `allowed` and everything it names whole, carries out the next operation, and requires that the file
/// system is clean after that.
pub fn check(
    disk: &WorkingCopy,
    part: Part,
    by: By,
    known: &Known,
    allowed: &[&View],
    next_operation: impl FnOnce(&Store) -> Result<()>,
) -> Result<()> {
    let directory = TempDir::new_in(disk.path().parent().unwrap_or(Path::new("/tmp")))?;
    let image = directory.path().join("replayed.img");
    disk.copy_to(&image)?;
    let target = directory.path().join("mnt");
    fs_err::create_dir(&target)?;
    if by == By::Fsck {
        // 1: something was mended, which is what it is there for.
        let status = e2fsck(&image, part, "-p")?;
        ensure!(status <= 1, "e2fsck -p: exit status {status}");
    }
    let mounted = Mounted::new(&image, &target, part)?;
    let store = Store::new(&target);
    let found = examine(&store, known, allowed)
        .and_then(|()| next_operation(&store).context("the next operation"));
    mounted.end()?;
    found?;
    let status = e2fsck(&image, part, "-fn")?;
    ensure!(status == 0, "e2fsck -fn afterwards: exit status {status}");
    Ok(())
}

fn examine(store: &Store, known: &Known, allowed: &[&View]) -> Result<()> {
    let state = store.state()?;
    if !allowed.iter().any(|view| view.state == state) {
        bail!("after the journal is replayed, the state is {state:?}");
    }
    for id in state.snapshots() {
        store.is_whole(id)?;
        let read = |name: &str| Ok(fs_err::read(store.directory(id).join(name))?);
        known.check(id, read)?;
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the exit status is the answer")]
fn e2fsck(image: &Path, part: Part, how: &str) -> Result<i32> {
    let tool = find_tool("e2fsck").with_context(|| tools::missing("e2fsck"))?;
    let options = LoopOptions {
        offset: part.offset,
        size_limit: part.size,
        autoclear: true,
        ..LoopOptions::default()
    };
    let device = LoopDevice::attach(image, options)?;
    let mut command = Command::new(tool);
    command.arg(how).arg(device.path()).stdin(Stdio::null());
    let status = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    drop(device);
    status.code().context("e2fsck was killed")
}
