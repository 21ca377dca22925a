//! A disk on which operations are recorded.

use super::machine::{Images, Look, Running};
use super::recorded::{Data, Recorded};
use super::view::{DiskKnown, DiskView};
use super::{LoopDisk, parts_of};
use crate::loader::View;
use crate::{Operation, Recorder, Report};
use anyhow::{Context, Result};
use cos_ops::build::sizes::Role;
use cos_ops::machine::Mode;
use cos_store::Store;
use std::path::Path;

/// What may be found while an operation is under way, from what is there before and after it.
pub(super) type Between = fn(&DiskView, &DiskView) -> Vec<DiskView>;

/// Nothing besides.
pub(super) fn nothing(_: &DiskView, _: &DiskView) -> Vec<DiskView> {
    Vec::new()
}

/// What Linux finds, all of which is remembered.
pub(crate) fn observe(disk: &LoopDisk, known: &mut DiskKnown) -> Result<DiskView> {
    let look = |role: Role| Look::into_partition(&disk.partition(role.number()), "ro");
    let (state, recovery) = (look(Role::State)?, look(Role::Recovery)?);
    let (state, recovery) = (Store::new(state.path()), Store::new(recovery.path()));
    let boots = state.state()?;
    for id in boots.snapshots() {
        cos_store::verify_snapshot(&state, id)?;
        known.state.remember(&state, id)?;
    }
    let id = recovery.state()?.active;
    cos_store::verify_snapshot(&recovery, &id)?;
    known.recovery.remember(&recovery, &id)?;
    Ok(DiskView::Deployed {
        state: Ok(Box::new(View::of(&boots, &state.attempts(&boots)))),
        recovery: Ok(id),
    })
}

/// A disk on which operations are recorded.
#[derive(Debug)]
pub struct DiskHistory<'h> {
    images: &'h Images,
    recorder: Recorder,
    disk: LoopDisk,
    known: DiskKnown,
    now: DiskView,
    operations: Vec<Operation<DiskView>>,
    data: Vec<Data>,
}

impl<'h> DiskHistory<'h> {
    /// Starts on a disk that was cut: `seen` is what the boot loader sees on it.
    pub(super) fn resume(
        images: &'h Images,
        image: &Path,
        known: DiskKnown,
        seen: DiskView,
    ) -> Result<Self> {
        let recorder = Recorder::start_disk(image)?;
        let disk = LoopDisk::attach(&recorder.disk())?;
        Ok(Self {
            images,
            recorder,
            disk,
            known,
            now: seen,
            operations: Vec::new(),
            data: Vec::new(),
        })
    }

    /// Starts on the disk `image`.
    pub fn start(images: &'h Images, image: &Path) -> Result<Self> {
        let recorder = Recorder::start_disk(image)?;
        let disk = LoopDisk::attach(&recorder.disk())?;
        let mut history = Self {
            images,
            recorder,
            disk,
            known: DiskKnown::default(),
            now: DiskView::Blank,
            operations: Vec::new(),
            data: Vec::new(),
        };
        if parts_of(image).is_ok() {
            history.known.remember_disk(image)?;
            history.now = history.observe()?;
        }
        Ok(history)
    }

    /// What is there before the first operation is a disk that is being installed to.
    pub fn start_unfinished(&mut self) {
        self.now = DiskView::Unfinished;
    }

    /// Does something; once it has returned, what it made of the disk must boot.
    pub fn run(
        &mut self,
        name: &'static str,
        data: Data,
        between: Between,
        operation: impl FnOnce(&LoopDisk, &'h Images) -> Result<()>,
    ) -> Result<()> {
        operation(&self.disk, self.images).context(name)?;
        self.recorder.mark(name)?;
        let after = self.observe()?;
        let before = std::mem::replace(&mut self.now, after);
        self.data.push(data);
        self.operations.push(Operation {
            name,
            between: between(&before, &self.now),
            before: vec![before],
            after: vec![self.now.clone()],
        });
        Ok(())
    }

    /// Boots the installed system, and lets it do something.
    pub fn booted(
        &mut self,
        name: &'static str,
        operation: impl for<'r> FnOnce(&Running<'r>) -> Result<()>,
    ) -> Result<()> {
        self.run(name, Data::Untouched, nothing, |disk, images| {
            let running = Running::boot(disk, images, Mode::Active)?;
            operation(&running)?;
            running.shut_down()
        })
    }

    fn observe(&mut self) -> Result<DiskView> {
        observe(&self.disk, &mut self.known)
    }

    /// Remembers the boot loader that is on the disk now, besides the one before it.
    pub fn remember_loader(&mut self) -> Result<()> {
        self.known.remember_disk(&self.recorder.disk())
    }

    /// Something else that may boot before the first operation. Its recovery system may outlive the operation: the
    /// boot loader sees it until somebody mounts COS_RECOVERY, which replays the journal.
    pub(super) fn may_boot(&mut self, view: DiskView) {
        if let Some(first) = self.operations.first_mut() {
            let kept: Vec<DiskView> = first
                .after
                .iter()
                .map(|after| after.with_recovery_of(&view))
                .filter(|kept| !first.after.contains(kept))
                .collect();
            first.after.extend(kept);
            first.before.push(view);
        }
    }

    /// Ends the recording.
    pub fn stop(self) -> Result<Recorded> {
        self.disk.detach()?;
        let recording = self.recorder.stop()?;
        Ok(Recorded {
            report: Report::new(&recording, self.operations)?,
            recording,
            known: self.known,
            data: self.data,
            has_room: true,
        })
    }
}
