//! Operations on one store, recorded.

use super::{MIB, first_state, id, make_disk};
use anyhow::{Context, Result};
use cos_boot::{Attempts, BootState, SNAPSHOTS_DIRECTORY};
use cos_powercut::fixture::add;
use cos_powercut::{Known, Operation, Part, Recorder, Recording, Report, View};
use cos_store::Store;
use fs_err::File;
use std::path::Path;

/// Large enough for more than one group of blocks.
pub(crate) const STATE_BYTES: u64 = 160 * MIB;

/// A recorded sequence of operations on one store.
pub(crate) struct Scenario {
    recorder: Recorder,
    store: Store,
    known: Known,
    operations: Vec<Operation>,
    now: Vec<View>,
    part: Part,
    /// Whether the kernel writes back what is dirty whenever an operation has returned.
    busy: bool,
}

/// A recording with what is known about it.
pub(crate) struct Recorded {
    pub(crate) recording: Recording,
    pub(crate) report: Report,
    pub(crate) known: Known,
    pub(crate) part: Part,
}

impl Scenario {
    pub(crate) fn start(busy: bool, checkpoint: cos_store::Checkpoint) -> Result<Self> {
        let temp = cos_testkit::temp_dir()?;
        let image = temp.path().join("disk.img");
        let part = make_disk(&image, STATE_BYTES);
        Self::start_on(&image, part, busy, checkpoint)
    }

    pub(crate) fn start_on(
        image: &Path,
        part: Part,
        busy: bool,
        checkpoint: cos_store::Checkpoint,
    ) -> Result<Self> {
        let recorder = Recorder::start(image, part)?;
        let store = Store::with_checkpoint(recorder.mount_point(), checkpoint);
        let mut known = Known::default();
        known.remember(&store, &id('a'))?;
        let mut scenario = Self {
            now: vec![View::of(&first_state(), &Attempts::default())],
            operations: Vec::new(),
            recorder,
            store,
            known,
            part,
            busy,
        };
        scenario.run("mount", |_| Ok(()), None)?;
        Ok(scenario)
    }

    /// Runs an operation; once it has returned, `after` must boot, or what boots now if there is none.
    pub(crate) fn run(
        &mut self,
        name: &'static str,
        operation: impl FnOnce(&Store) -> Result<()>,
        after: Option<Vec<View>>,
    ) -> Result<()> {
        operation(&self.store).context(name)?;
        self.recorder.mark(name)?;
        let after = after.unwrap_or_else(|| self.now.clone());
        let before = std::mem::replace(&mut self.now, after.clone());
        self.operations.push(Operation {
            name,
            before,
            after,
        });
        if self.busy {
            self.recorder.write_back()?;
        }
        Ok(())
    }

    pub(crate) fn add(&mut self, name: &'static str, digit: char) -> Result<()> {
        self.run(name, |store| add(store, &id(digit)), None)?;
        self.known.remember(&self.store, &id(digit))
    }

    pub(crate) fn commit(&mut self, name: &'static str, state: &BootState) -> Result<()> {
        let after = vec![View::of(state, &Attempts::default())];
        self.run(name, |store| Ok(store.commit(state)?), Some(after))
    }

    pub(crate) fn collect(&mut self, name: &'static str, state: &BootState) -> Result<()> {
        let after = vec![View::of(state, &Attempts::default())];
        let collect = |store: &Store| {
            store.collect(state, &[])?;
            Ok(())
        };
        self.run(name, collect, Some(after))
    }

    /// What the kernel does by itself: the journal after some seconds, then everything to its place, in
    /// whichever order and without a flush in between.
    pub(crate) fn write_back(&mut self) -> Result<()> {
        let snapshots = File::open(self.store.root().join(SNAPSHOTS_DIRECTORY))?;
        snapshots.sync_all()?;
        self.recorder.write_back()?;
        self.run("the kernel writes back", |_| Ok(()), None)
    }

    pub(crate) fn stop(self) -> Result<Recorded> {
        let recording = self.recorder.stop()?;
        Ok(Recorded {
            report: Report::new(&recording, self.operations)?,
            recording,
            known: self.known,
            part: self.part,
        })
    }
}
