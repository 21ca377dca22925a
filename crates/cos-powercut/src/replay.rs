//! What Linux finds on a disk after a cut, once the journal is replayed, and whether it can go on.

use crate::Part;
use crate::ext4::Ext4;
use crate::loader::{Known, View};
use crate::recorder::Mounted;
use crate::working_copy::WorkingCopy;
use anyhow::{Context, Result, bail, ensure};
use cos_boot::{ATTEMPT_ENVIRONMENT, Attempts};
use cos_store::Store;
use cos_sys::loop_device::{LoopDevice, LoopOptions};
use cos_testkit::{TempDir, find_tool, tools};
use fs_err::OpenOptions;
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

/// What must be found after a cut.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'e> {
    /// What the boot loader saw. It notes there, on the blocks that it sees, what it boots.
    pub seen: &'e View,
    /// What Linux may find.
    pub allowed: &'e [&'e View],
    /// What the snapshots are.
    pub known: &'e Known,
}

/// Boots a copy of `disk`: the boot loader writes its notes, the journal is replayed, the store must be
/// in one of the states that are allowed, with everything it names whole and the notes as the boot
/// loader wrote them. Then carries out the next operation, and requires that the file system is clean.
pub fn check(
    disk: &WorkingCopy,
    part: Part,
    by: By,
    expected: Expected<'_>,
    next_operation: impl FnOnce(&Store) -> Result<()>,
) -> Result<()> {
    let directory = TempDir::new_in(disk.path().parent().unwrap_or(Path::new("/tmp")))?;
    let image = directory.path().join("replayed.img");
    disk.copy_to(&image)?;
    note(&image, part, &expected.seen.decision.attempts)?;
    if by == By::Fsck {
        // 1: something was mended, which is what it is there for.
        let status = e2fsck(&image, part, "-p")?;
        ensure!(status <= 1, "e2fsck -p: exit status {status}");
    }
    let target = directory.path().join("mnt");
    fs_err::create_dir(&target)?;
    let mounted = Mounted::new(&image, &target, part)?;
    let store = Store::new(&target);
    let found = examine(&store, expected)
        .and_then(|()| next_operation(&store).context("the next operation"));
    mounted.end()?;
    found?;
    let status = e2fsck(&image, part, "-fn")?;
    ensure!(status == 0, "e2fsck -fn afterwards: exit status {status}");
    Ok(())
}

pub(crate) fn note(image: &Path, part: Part, attempts: &Attempts) -> Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(image)?;
    let ext4 = Ext4::open(&file, part)?;
    ext4.overwrite(ATTEMPT_ENVIRONMENT, &attempts.to_bytes()?)
}

pub(crate) fn examine(store: &Store, expected: Expected<'_>) -> Result<()> {
    let state = store.state()?;
    if !expected.allowed.iter().any(|view| view.state == state) {
        bail!("after the journal is replayed, the state is {state:?}");
    }
    let noted = &expected.seen.decision.attempts;
    let attempts = store.attempts(&state);
    ensure!(
        attempts == noted.clone().about(state.generation),
        "the boot loader noted {noted:?}, Linux finds {attempts:?}"
    );
    for id in state.snapshots() {
        store.is_whole(id)?;
        let read = |name: &str| Ok(fs_err::read(store.directory(id).join(name))?);
        expected.known.check(id, read)?;
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the exit status is the answer")]
pub(crate) fn e2fsck(image: &Path, part: Part, how: &str) -> Result<i32> {
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
