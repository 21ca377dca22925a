//! Operations on one store, recorded.

use crate::fixture::{add, first_state, id, make_disk};
use crate::{Known, Operation, Part, Recorder, Recording, Report, View};
use anyhow::{Context, Result};
use cos_boot::{Attempts, BootState, SNAPSHOTS_DIRECTORY, Tries};
use cos_store::Store;
use fs_err::File;
use std::path::{Path, PathBuf};

/// Large enough for more than one group of blocks.
pub const STATE_BYTES: u64 = 160 << 20;

/// A recorded sequence of operations on one store.
#[derive(Debug)]
pub struct Scenario {
    recorder: Recorder,
    store: Store,
    known: Known,
    operations: Vec<Operation<View>>,
    now: Vec<View>,
    part: Part,
    /// Whether the kernel writes back what is dirty whenever an operation has returned.
    busy: bool,
}

/// A recording with what is known about it.
#[derive(Debug)]
pub struct Recorded {
    /// What was recorded.
    pub recording: Recording,
    /// What was found; nothing yet.
    pub report: Report<View>,
    /// What the snapshots are.
    pub known: Known,
    /// Where the store is.
    pub part: Part,
}

impl Scenario {
    /// Starts on a new disk.
    pub fn start(busy: bool, checkpoint: cos_store::Checkpoint) -> Result<Self> {
        let temp = cos_testkit::temp_dir()?;
        let image = temp.path().join("disk.img");
        let part = make_disk(&image, STATE_BYTES)?;
        Self::start_on(&image, part, busy, checkpoint)
    }

    /// Starts on the disk `image`.
    pub fn start_on(
        image: &Path,
        part: Part,
        busy: bool,
        checkpoint: cos_store::Checkpoint,
    ) -> Result<Self> {
        let recorder = Recorder::start(image, part)?;
        let store = Store::with_checkpoint(recorder.mount_point(), checkpoint);
        let mut known = Known::default();
        let first = id('a')?;
        known.remember(&store, &first)?;
        let mut scenario = Self {
            now: vec![View::of(&first_state(&first), &Attempts::default())],
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
    pub fn run(
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
            between: Vec::new(),
            after,
        });
        if self.busy {
            self.recorder.write_back()?;
        }
        Ok(())
    }

    /// Writes a snapshot.
    pub fn add(&mut self, name: &'static str, digit: char) -> Result<()> {
        let id = id(digit)?;
        self.run(name, |store| add(store, &id), None)?;
        self.known.remember(&self.store, &id)
    }

    /// Remembers a snapshot that was written in another way.
    pub fn remember(&mut self, digit: char) -> Result<()> {
        self.known.remember(&self.store, &id(digit)?)
    }

    /// The disk that is recorded.
    pub fn disk(&self) -> PathBuf {
        self.recorder.disk()
    }

    /// Commits a state.
    pub fn commit(&mut self, name: &'static str, state: &BootState) -> Result<()> {
        let after = vec![View::of(state, &Attempts::default())];
        self.run(name, |store| Ok(store.commit(state)?), Some(after))
    }

    /// Removes what `state` does not name.
    pub fn collect(&mut self, name: &'static str, state: &BootState) -> Result<()> {
        let after = vec![View::of(state, &Attempts::default())];
        let collect = |store: &Store| {
            store.collect(state, &[])?;
            Ok(())
        };
        self.run(name, collect, Some(after))
    }

    /// What the kernel does by itself: the journal after some seconds, then everything to its place, in
    /// whichever order and without a flush in between.
    pub fn write_back(&mut self) -> Result<()> {
        let snapshots = File::open(self.store.root().join(SNAPSHOTS_DIRECTORY))?;
        snapshots.sync_all()?;
        self.recorder.write_back()?;
        self.run("the kernel writes back", |_| Ok(()), None)
    }

    /// Ends the recording.
    pub fn stop(self) -> Result<Recorded> {
        let recording = self.recorder.stop()?;
        Ok(Recorded {
            report: Report::new(&recording, self.operations)?,
            recording,
            known: self.known,
            part: self.part,
        })
    }
}

/// Everything that happens to a store: an upgrade that becomes good, a second one that pushes the
/// first snapshot out, and the notes of a boot.
pub fn lifecycle(scenario: &mut Scenario) -> Result<()> {
    let [first, second, third] = [id('a')?, id('b')?, id('c')?];
    scenario.add("write the second snapshot", 'b')?;
    let state = first_state(&first).deploy(&second, Tries::default())?;
    scenario.commit("commit it", &state)?;
    let state = state.prove(&second)?;
    scenario.commit("mark it good", &state)?;
    scenario.add("write the third snapshot", 'c')?;
    let state = state.deploy(&third, Tries::default())?;
    let state = state.pruned(2, Some(&second));
    scenario.commit("commit it, without the first", &state)?;
    scenario.collect("remove the first snapshot", &state)?;
    scenario.write_back()?;
    let attempts = Attempts {
        generation: state.generation,
        snapshot: Some(third),
        count: 1,
        ..Attempts::default()
    };
    scenario.run(
        "write notes in place",
        |store| Ok(store.write_attempts(&attempts)?),
        Some(vec![View::of(&state, &attempts)]),
    )
}

/// Another upgrade, whatever the state is.
pub fn upgrade(store: &Store) -> Result<()> {
    let new = id('f')?;
    let state = store.state()?.with_attempts(&Attempts::default());
    store.repair_attempts(&state)?;
    store.collect(&state, &[])?;
    add(store, &new)?;
    let next = state.deploy(&new, Tries::default())?;
    store.commit(&next)?;
    anyhow::ensure!(store.state()? == next, "another state than was committed");
    store.collect(&next, &[])?;
    Ok(())
}
