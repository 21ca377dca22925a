//! From a boot state to the entries that carry it out.
//!
//! FAT has no step in which an entry is exchanged for another: entries are made and removed, never renamed
//! or written over. Whichever step is the last one done, what boots is what the old state or the new one
//! says.

use super::entry::{PresentEntry, SealedEntry, TriesLeft, program_name};
use crate::{Attempts, BootState, SnapshotId};

/// Ranks that one state has for its entries; more than it names snapshots.
const RANKS: u64 = 16;
/// No entry that cOS makes has a higher rank.
const MAX_RANK: u64 = 1 << 60;

/// What is to be done to the entries, in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SealedPlan {
    /// Entries to be made, each with the name of its program.
    pub create: Vec<(SealedEntry, String)>,
    /// Then, those to be removed.
    pub remove: Vec<SealedEntry>,
    /// Programs that are named once all that is done; others may go.
    pub programs: Vec<String>,
}

/// An entry that there must be.
struct Wanted<'s> {
    snapshot: &'s SnapshotId,
    tries: Option<u8>,
    program: String,
}

impl Wanted<'_> {
    /// Whether an entry is the one, whatever it was tried already.
    fn is(&self, present: &PresentEntry) -> bool {
        present.entry.snapshot == *self.snapshot
            && present.entry.tries.is_some() == self.tries.is_some()
            && !present.entry.is_exhausted()
            && present.program.as_ref() == Some(&self.program)
    }

    fn entry(&self, rank: u64) -> SealedEntry {
        SealedEntry {
            rank,
            snapshot: self.snapshot.clone(),
            tries: self.tries.map(TriesLeft::new),
        }
    }
}

impl SealedPlan {
    /// The plan for a state in which the boot loader's notes are taken into account
    /// ([`sealed_attempts`]). `program` gives the SHA-256 of a snapshot's program; a snapshot without one
    /// gets no entry.
    pub fn new(
        state: &BootState,
        present: &[PresentEntry],
        program: impl Fn(&SnapshotId) -> Option<[u8; 32]>,
    ) -> Self {
        let (recovery, own): (Vec<_>, Vec<_>) =
            present.iter().partition(|it| it.entry.is_recovery());
        let wanted: Vec<Wanted<'_>> = state
            .snapshots()
            .filter(|id| !state.failed.contains(id))
            .filter_map(|id| {
                Some(Wanted {
                    snapshot: id,
                    tries: state.trial.contains(id).then(|| state.limit(id)),
                    program: program_name(&program(id)?),
                })
            })
            .collect();
        let kept = kept(&wanted, &own);
        let fresh = wanted.len() - kept.len();
        let highest = own.iter().map(|it| it.entry.rank);
        let highest = highest.filter(|&rank| rank <= MAX_RANK).max().unwrap_or(0);
        let generation = state.generation.min(MAX_RANK / RANKS);
        let base = generation.max(highest / RANKS + 1) * RANKS;
        let ranks = (base..base + RANKS).rev();
        let create = wanted[..fresh]
            .iter()
            .zip(ranks)
            .map(|(wanted, rank)| (wanted.entry(rank), wanted.program.clone()));
        // That a snapshot used up its tries is written nowhere else.
        let gave_up = |it: &SealedEntry| it.is_exhausted() && state.failed.contains(&it.snapshot);
        let remove = own
            .iter()
            .map(|it| &it.entry)
            .filter(|entry| !kept.contains(entry) && !gave_up(entry));
        let plan = Self {
            create: create.collect(),
            remove: remove.cloned().collect(),
            programs: Vec::new(),
        };
        let stays = recovery.iter().chain(&own);
        let stays = stays.filter(|it| !plan.remove.contains(&it.entry));
        let others = stays.filter_map(|it| it.program.clone()).collect();
        plan.naming(others)
    }

    /// The plan for another recovery system.
    pub fn recovery(snapshot: &SnapshotId, program: &[u8; 32], present: &[PresentEntry]) -> Self {
        let wanted = Wanted {
            snapshot,
            tries: None,
            program: program_name(program),
        };
        let is_old = |it: &&PresentEntry| it.entry.is_recovery() && !wanted.is(it);
        let is_there = present
            .iter()
            .any(|it| it.entry.is_recovery() && wanted.is(it));
        let create = (!is_there).then(|| (wanted.entry(0), wanted.program.clone()));
        let plan = Self {
            create: create.into_iter().collect(),
            remove: present
                .iter()
                .filter(is_old)
                .map(|it| it.entry.clone())
                // Made anew under the same name where it is torn.
                .filter(|it| it.snapshot != *snapshot || it.tries.is_some())
                .collect(),
            programs: Vec::new(),
        };
        let others = present.iter().filter(|it| !is_old(it));
        plan.naming(others.filter_map(|it| it.program.clone()).collect())
    }

    fn naming(mut self, others: Vec<String>) -> Self {
        self.programs = others;
        let created = self.create.iter().map(|(_, program)| program.clone());
        self.programs.extend(created);
        self.programs.sort();
        self.programs.dedup();
        self
    }
}

/// The entries of the last ones wanted that are there already, in the right order.
fn kept<'p>(wanted: &[Wanted<'_>], present: &[&'p PresentEntry]) -> Vec<&'p SealedEntry> {
    let mut kept: Vec<&SealedEntry> = Vec::new();
    let mut above = 0;
    for wanted in wanted.iter().rev() {
        let fitting = present
            .iter()
            .filter(|it| it.entry.rank > above && it.entry.rank <= MAX_RANK && wanted.is(it))
            .min_by_key(|it| it.entry.rank);
        let Some(found) = fitting else { break };
        above = found.entry.rank;
        kept.push(&found.entry);
    }
    kept
}

/// The boot loader's notes about `state`, from the names of the entries: which snapshots used up their
/// tries.
pub fn sealed_attempts(state: &BootState, present: &[PresentEntry]) -> Attempts {
    let newest = |id: &SnapshotId| {
        let own = present
            .iter()
            .map(|it| &it.entry)
            .filter(|it| !it.is_recovery() && it.snapshot == *id);
        own.max_by_key(|it| it.rank)
    };
    let mut attempts = Attempts::default().about(state.generation);
    for entry in state.snapshots().filter_map(newest) {
        let Some(tries) = entry.tries else { continue };
        if tries.left == 0 {
            attempts.failed.push(entry.snapshot.clone());
        } else if tries.done > 0 && attempts.snapshot.is_none() {
            attempts.snapshot = Some(entry.snapshot.clone());
            attempts.count = u8::try_from(tries.done).unwrap_or(u8::MAX);
        }
    }
    attempts
}
