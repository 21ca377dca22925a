//! Bringing a disk up after a cut: the boot loader notes its attempt, journals are replayed, what was
//! promised is there, and the next operation succeeds.

use super::LoopDisk;
use super::machine::{Images, Look, Running, Wipe};
use super::view::{DiskKnown, DiskView, look_at};
use crate::replay::{self, By, e2fsck, examine, note};
use crate::working_copy::WorkingCopy;
use crate::{View, table};
use anyhow::{Context, Result, ensure};
use cos_ops::build::sizes::Role;
use cos_ops::machine::Mode;
use cos_ops::upgrade::{Extent, Target};
use cos_store::{Store, verify_snapshot};
use cos_testkit::TempDir;
use std::path::Path;

/// A file that must never change, and what is in it.
pub(super) const MINE: (&str, &str) = ("mine", "what nobody may lose\n");

/// What must be found.
#[derive(Debug)]
pub struct Expected<'e> {
    /// What the boot loader saw.
    pub seen: &'e DiskView,
    /// What may be found once the journals are replayed.
    pub allowed: &'e [&'e DiskView],
    /// What must be on the disk.
    pub known: &'e DiskKnown,
    /// Whether COS_PERSISTENT and COS_OEM must still hold what they held.
    pub keeps_data: bool,
    /// To which version the next upgrade goes, if there is one.
    pub next: Option<&'e str>,
}

/// Brings a copy of `disk` up. A disk that boots recovery is reset by it; an unfinished one is installed
/// to without force.
pub fn bring_up(
    disk: &WorkingCopy,
    images: &Images,
    by: By,
    expected: &Expected<'_>,
) -> Result<()> {
    let directory = TempDir::new_in(disk.path().parent().unwrap_or(Path::new("/tmp")))?;
    let image = directory.path().join("up.img");
    disk.copy_to(&image)?;
    match expected.seen {
        DiskView::Blank | DiskView::Unfinished => install(&image, images, expected),
        DiskView::Deployed {
            state: Ok(view), ..
        } => {
            boot(&image, images, by, view, expected)?;
            sound(&image, expected)
        }
        DiskView::Deployed { .. } => {
            recover(&image, images, expected)?;
            sound(&image, expected)
        }
    }
}

fn install(image: &Path, images: &Images, expected: &Expected<'_>) -> Result<()> {
    let disk = LoopDisk::attach(image)?;
    images
        .install(disk.node(), expected.next.unwrap_or("1"), false)
        .context("installing again")?;
    disk.detach()
}

fn boot(image: &Path, images: &Images, by: By, view: &View, expected: &Expected<'_>) -> Result<()> {
    let known = expected.known;
    note(image, known.part(Role::State)?, &view.decision.attempts)?;
    if by == By::Fsck {
        for role in [Role::State, Role::Recovery] {
            let status = e2fsck(image, known.part(role)?, "-p")?;
            ensure!(status <= 1, "e2fsck -p of {}: {status}", role.name());
        }
    }
    let disk = LoopDisk::attach(image)?;
    let running = Running::boot(&disk, images, Mode::Active)?;
    let states: Vec<&View> = expected
        .allowed
        .iter()
        .filter_map(|it| it.state())
        .collect();
    let found = replay::Expected {
        seen: view,
        allowed: &states,
        known: &known.state,
    };
    examine(&running.store(), found)?;
    {
        let recovery = Look::into_partition(&disk.partition(Role::Recovery.number()), "ro")?;
        let store = Store::new(recovery.path());
        let id = store.state()?.active;
        verify_snapshot(&store, &id).context("the recovery system")?;
        let allowed = |it: &&DiskView| matches!(it, DiskView::Deployed { recovery: Ok(known), .. } if *known == id);
        ensure!(
            expected.allowed.iter().any(allowed),
            "Linux finds recovery {id}"
        );
    }
    if expected.keeps_data {
        data_is_there(&disk)?;
    }
    let Some(next) = expected.next else {
        running.shut_down()?;
        return disk.detach();
    };
    running
        .upgrade(next, Target::System, Extent::Whole)
        .context("the next upgrade")?;
    let next = running.store().state()?;
    verify_snapshot(&running.store(), &next.active)?;
    running.shut_down()?;
    disk.detach()?;
    let seen = WorkingCopy::new(image, image.with_extension("seen"))?;
    let mut known = known.clone();
    known.state = known.state.any();
    let view = look_at(&seen, &known, false).context("after the next upgrade")?;
    ensure!(
        view.state().is_some_and(|view| view.state == next),
        "after the next upgrade: {view}"
    );
    Ok(())
}

/// Recovery boots, and resets the machine.
fn recover(image: &Path, images: &Images, expected: &Expected<'_>) -> Result<()> {
    let disk = LoopDisk::attach(image)?;
    let running = Running::boot(&disk, images, Mode::Recovery)?;
    verify_snapshot(&running.store(), &running.store().state()?.active)?;
    running
        .reset(expected.next.unwrap_or("1"), Wipe::Nothing)
        .context("resetting from recovery")?;
    running.shut_down()?;
    if expected.keeps_data {
        data_is_there(&disk)?;
    }
    disk.detach()
}

fn data_is_there(disk: &LoopDisk) -> Result<()> {
    for role in [Role::Persistent, Role::Oem] {
        let look = Look::into_partition(&disk.partition(role.number()), "rw")?;
        let found = fs_err::read_to_string(look.path().join(MINE.0))?;
        ensure!(found == MINE.1, "{}: {found:?}", role.name());
    }
    Ok(())
}

/// No file system has anything left to mend.
fn sound(image: &Path, expected: &Expected<'_>) -> Result<()> {
    let parts = table::by_linux(&fs_err::File::open(image)?, true)?;
    for role in [Role::State, Role::Recovery, Role::Persistent, Role::Oem] {
        let is_data = matches!(role, Role::Persistent | Role::Oem);
        if is_data && !expected.keeps_data {
            continue;
        }
        let part = parts.iter().find(|part| part.number == role.number());
        let part = part.with_context(|| format!("no partition {}", role.name()))?;
        let status = e2fsck(image, *part, "-fn")?;
        ensure!(status == 0, "e2fsck -fn of {}: {status}", role.name());
    }
    Ok(())
}
