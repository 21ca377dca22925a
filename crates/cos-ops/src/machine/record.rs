//! What decides at boot which snapshot runs: the store's boot state, and on sealed machines the entries of
//! systemd-boot, which follow from it.

use super::{Access, LOADER_LABEL, Machine, MachineError, Mounted, Target};
use crate::OpsError;
use crate::sealed::{Firmware, Loader, SealedError, entry_title};
use cos_boot::{
    Attempts, BootState, Once, PresentEntry, SealedEntry, SealedPlan, SnapshotId, sealed_attempts,
};
use cos_store::{PROGRAM, Store};

/// How a machine's boot loader learns what boots.
#[derive(Debug, Default)]
pub(crate) struct BootRecord {
    /// On sealed machines; GRUB reads the boot state itself.
    loader: Option<Loader>,
    _mounted: Option<Mounted>,
}

impl Machine {
    /// The record of this machine's boot loader.
    pub(crate) fn boot_record(&self, access: Access) -> Result<BootRecord, MachineError> {
        if !self.boot.sealed {
            return Ok(BootRecord::default());
        }
        let partition = self.partition(LOADER_LABEL)?;
        let target = self.places.run.join("partitions").join(LOADER_LABEL);
        let mounted = Mounted::new(&partition.device.node, &target, "vfat", access)?;
        Ok(BootRecord {
            loader: Some(Loader::new(mounted.place())),
            _mounted: Some(mounted),
        })
    }
}

impl BootRecord {
    /// That of systemd-boot on a mounted EFI system partition.
    pub(crate) fn sealed(loader: Loader) -> Self {
        Self {
            loader: Some(loader),
            _mounted: None,
        }
    }

    /// The boot loader's notes about `state`.
    pub(crate) fn attempts(&self, store: &Store, state: &BootState) -> Result<Attempts, OpsError> {
        Ok(match &self.loader {
            None => store.attempts(state),
            Some(loader) => sealed_attempts(state, &loader.entries()?),
        })
    }

    /// The boot state, with the boot loader's notes taken into account.
    pub(crate) fn known(&self, store: &Store) -> Result<BootState, OpsError> {
        Ok(self.known_and_attempts(store)?.0)
    }

    /// The same, and the notes.
    pub(crate) fn known_and_attempts(
        &self,
        store: &Store,
    ) -> Result<(BootState, Attempts), OpsError> {
        let state = store.state()?;
        let attempts = self.attempts(store, &state)?;
        let mut known = state.with_attempts(&attempts);
        if self.loader.is_some() {
            known.once = once()?;
        }
        Ok((known, attempts))
    }

    /// Makes `state` what boots. The moment at which that takes effect is [`Store::commit`]; what a sealed
    /// machine still lacks then is made up for by [`BootRecord::complete`].
    pub(crate) fn commit(
        &self,
        store: &Store,
        state: &BootState,
        target: Target,
    ) -> Result<(), OpsError> {
        let Some(loader) = &self.loader else {
            return Ok(store.commit(state)?);
        };
        let present = loader.entries()?;
        let plan = plan(store, state, target, &present)?;
        place(loader, store, &plan, &present)?;
        store.commit(&BootState {
            once: None,
            ..state.clone()
        })?;
        loader.carry_out(&plan, |entry| title(store, entry))?;
        match target {
            Target::System => set_once(loader, state.once.as_ref()),
            Target::Recovery => Ok(()),
        }
    }

    /// Completes a commit that was cut behind its switch. Returns whether there was one.
    pub(crate) fn complete(&self, store: &Store, target: Target) -> Result<bool, OpsError> {
        let Some(loader) = &self.loader else {
            return Ok(false);
        };
        let present = loader.entries()?;
        let state = store.state()?;
        let known = state
            .clone()
            .with_attempts(&sealed_attempts(&state, &present));
        let plan = plan(store, &known, target, &present)?;
        if plan.create.is_empty() && plan.remove.is_empty() {
            return Ok(false);
        }
        place(loader, store, &plan, &present)?;
        loader.carry_out(&plan, |entry| title(store, entry))?;
        Ok(true)
    }
}

/// What boots once, as the firmware keeps it.
fn once() -> Result<Option<Once>, SealedError> {
    let entry = Firmware::default().once()?;
    let entry = entry.as_deref().and_then(SealedEntry::parse);
    Ok(entry.map(|entry| {
        if entry.is_recovery() {
            Once::Recovery
        } else {
            Once::Snapshot(entry.snapshot)
        }
    }))
}

fn set_once(loader: &Loader, once: Option<&Once>) -> Result<(), OpsError> {
    let Some(once) = once else {
        return Ok(Firmware::default().set_once(None)?);
    };
    let entries = loader.entries()?;
    let is_meant = |entry: &&SealedEntry| match once {
        Once::Snapshot(id) => !entry.is_recovery() && entry.snapshot == *id,
        Once::Recovery => entry.is_recovery(),
    };
    let found = entries.iter().map(|it| &it.entry).filter(is_meant);
    let entry = found
        .max_by_key(|it| it.rank)
        .ok_or_else(|| SealedError::NoEntry(once.to_string()))?;
    Ok(Firmware::default().set_once(Some(&entry.id()))?)
}

fn plan(
    store: &Store,
    state: &BootState,
    target: Target,
    present: &[PresentEntry],
) -> Result<SealedPlan, OpsError> {
    let program = |id: &SnapshotId| {
        let snapshot = store.metadata(id).ok()?;
        Some(snapshot.program?.0)
    };
    let active = program(&state.active);
    let active = active.ok_or_else(|| SealedError::NoProgram(state.active.clone()))?;
    Ok(match target {
        Target::System => SealedPlan::new(state, present, program),
        Target::Recovery => SealedPlan::recovery(&state.active, &active, present),
    })
}

/// Puts the programs of new entries there.
fn place(
    loader: &Loader,
    store: &Store,
    plan: &SealedPlan,
    present: &[PresentEntry],
) -> Result<(), OpsError> {
    let mut staying = plan.programs.clone();
    staying.extend(present.iter().filter_map(|it| it.program.clone()));
    for (entry, _) in &plan.create {
        let id = &entry.snapshot;
        let program = store.metadata(id)?.program;
        let digest = program.ok_or_else(|| SealedError::NoProgram(id.clone()))?;
        loader.place(&store.directory(id).join(PROGRAM), &digest, &staying)?;
    }
    Ok(())
}

fn title(store: &Store, entry: &SealedEntry) -> String {
    let version = store.metadata(&entry.snapshot).ok();
    let version = version.and_then(|it| it.image_version);
    entry_title(entry, version.as_deref())
}
