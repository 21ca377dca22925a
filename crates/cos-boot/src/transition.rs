//! Changes of the boot state, each from one whole state to the next.
//!
//! The state given is one in which the boot loader's notes are taken into account
//! ([`BootState::with_attempts`]); the one returned has the next generation.

use crate::{BootState, Once, SnapshotId, Tries};

/// Why a change cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransitionError {
    /// No snapshot has this name.
    #[error("there is no snapshot {0}")]
    Unknown(SnapshotId),
    /// There is nothing to go back to.
    #[error("there is no other snapshot to go back to")]
    Nothing,
    /// More snapshots are pinned than can be kept.
    #[error("too many snapshots are kept; unpin one first")]
    TooMany,
}

impl BootState {
    fn next(&self) -> Self {
        Self {
            generation: self.generation + 1,
            ..self.clone()
        }
    }

    fn known(&self, id: &SnapshotId) -> Result<(), TransitionError> {
        let known = self.snapshots().any(|other| other == id);
        known
            .then_some(())
            .ok_or_else(|| TransitionError::Unknown(id.clone()))
    }

    /// Makes `id` active and the others passive, those that are proven before those that are not.
    fn lead_with(&mut self, id: &SnapshotId) {
        let mut others: Vec<SnapshotId> =
            self.snapshots().filter(|it| *it != id).cloned().collect();
        others.sort_by_key(|it| self.failed.contains(it) || self.trial.contains(it));
        self.active = id.clone();
        self.passive = others;
        self.failed.retain(|it| it != id);
        self.once = None;
    }

    /// A new snapshot: active, on trial.
    pub fn deploy(&self, id: &SnapshotId, tries: Tries) -> Result<Self, TransitionError> {
        let mut state = self.next();
        state.lead_with(id);
        state.tries = tries;
        if !state.trial.contains(id) {
            state.trial.push(id.clone());
        }
        if state.snapshots().count() > crate::MAX_SNAPSHOTS {
            return Err(TransitionError::TooMany);
        }
        Ok(state)
    }

    /// Back to another snapshot: the first passive, or `to`. One that failed is given another trial.
    pub fn roll_back(
        &self,
        running: &SnapshotId,
        to: Option<&SnapshotId>,
    ) -> Result<Self, TransitionError> {
        let usable = |it: &&SnapshotId| !self.failed.contains(it);
        let target = match to {
            Some(id) => id.clone(),
            // After a fallback, what runs is what the machine already went back to; but for recovery.
            None if *running != self.active && usable(&running) && self.known(running).is_ok() => {
                running.clone()
            }
            None => {
                let first = self.passive.iter().find(usable);
                first.ok_or(TransitionError::Nothing)?.clone()
            }
        };
        self.known(&target)?;
        let mut state = self.next();
        if state.failed.contains(&target) && !state.trial.contains(&target) {
            state.trial.push(target.clone());
        }
        state.lead_with(&target);
        Ok(state)
    }

    /// The snapshot had a good boot.
    pub fn prove(&self, id: &SnapshotId) -> Result<Self, TransitionError> {
        self.known(id)?;
        let mut state = self.next();
        state.trial.retain(|it| it != id);
        state.failed.retain(|it| it != id);
        Ok(state)
    }

    /// The snapshot is not removed to make room, or may be again.
    pub fn pin(&self, id: &SnapshotId, pinned: bool) -> Result<Self, TransitionError> {
        self.known(id)?;
        let mut state = self.next();
        state.pinned.retain(|it| it != id);
        if pinned {
            state.pinned.push(id.clone());
        }
        Ok(state)
    }

    /// What boots once, or nothing any more.
    pub fn boot_once(&self, once: Option<Once>) -> Result<Self, TransitionError> {
        if let Some(Once::Snapshot(id)) = &once {
            self.known(id)?;
        }
        let mut state = self.next();
        state.once = once;
        Ok(state)
    }

    /// Keeps `keep` snapshots in all, the last ones go first; pinned ones and `running` stay. Part of
    /// another change: the generation stays the same.
    #[must_use]
    pub fn pruned(mut self, keep: usize, running: Option<&SnapshotId>) -> Self {
        let mut excess = self.snapshots().count().saturating_sub(keep.max(1));
        let stays = |id: &SnapshotId| self.pinned.contains(id) || Some(id) == running;
        let mut kept = Vec::new();
        for id in self.passive.iter().rev() {
            if excess > 0 && !stays(id) {
                excess -= 1;
            } else {
                kept.push(id.clone());
            }
        }
        kept.reverse();
        self.passive = kept;
        self.forget_unknown();
        self
    }

    /// Drops a snapshot that is not active. Part of another change.
    #[must_use]
    pub fn without(mut self, id: &SnapshotId) -> Self {
        self.passive.retain(|it| it != id);
        self.forget_unknown();
        self
    }

    fn forget_unknown(&mut self) {
        let known: Vec<SnapshotId> = self.snapshots().cloned().collect();
        for list in [&mut self.trial, &mut self.failed, &mut self.pinned] {
            list.retain(|id| known.contains(id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(digit: char) -> SnapshotId {
        digit.to_string().repeat(12).parse().unwrap()
    }

    /// `active passives trial=… failed=… pinned=…`, by first digits.
    fn show(state: &BootState) -> String {
        let digits =
            |ids: &[SnapshotId]| -> String { ids.iter().map(|id| &id.as_str()[..1]).collect() };
        format!(
            "{} {} trial={} failed={} pinned={}",
            &state.active.as_str()[..1],
            digits(&state.passive),
            digits(&state.trial),
            digits(&state.failed),
            digits(&state.pinned)
        )
    }

    fn good(ids: &str) -> BootState {
        let mut ids = ids.chars().map(id);
        let mut state = BootState::first(ids.next().unwrap());
        state.trial.clear();
        state.passive = ids.collect();
        state
    }

    #[test]
    fn an_upgrade_puts_the_good_before_the_unproven() {
        let tries = Tries::default();
        let state = good("a").deploy(&id('b'), tries).unwrap();
        assert_eq!(show(&state), "b a trial=b failed= pinned=");
        let state = state.deploy(&id('c'), tries).unwrap();
        assert_eq!(show(&state), "c ab trial=bc failed= pinned=");
        assert_eq!(
            show(&state.pruned(2, Some(&id('a')))),
            "c a trial=c failed= pinned="
        );
    }

    #[test]
    fn what_runs_and_what_is_pinned_stays() {
        let state = good("abcd").pin(&id('d'), true).unwrap();
        let pruned = state.pruned(2, Some(&id('c')));
        assert_eq!(show(&pruned), "a cd trial= failed= pinned=d");
    }

    #[test]
    fn a_rollback_goes_to_the_first_that_did_not_fail() {
        let back = good("ab").roll_back(&id('a'), None).unwrap();
        assert_eq!(show(&back), "b a trial= failed= pinned=");
        // Twice is there and back again.
        assert_eq!(
            show(&back.roll_back(&id('b'), None).unwrap()),
            "a b trial= failed= pinned="
        );
        let mut fell_back = good("abc");
        fell_back.failed.push(id('a'));
        let stay = fell_back.roll_back(&id('b'), None).unwrap();
        assert_eq!(show(&stay), "b ca trial= failed=a pinned=");
        let again = fell_back.roll_back(&id('b'), Some(&id('a'))).unwrap();
        assert_eq!(show(&again), "a bc trial=a failed= pinned=");
        assert_eq!(
            good("a").roll_back(&id('a'), None),
            Err(TransitionError::Nothing)
        );
        assert_eq!(
            good("a").roll_back(&id('a'), Some(&id('f'))),
            Err(TransitionError::Unknown(id('f')))
        );
    }

    #[test]
    fn from_recovery_it_goes_back_like_from_anywhere() {
        let state = good("ab");
        let back = state.roll_back(&id('9'), None).unwrap();
        assert_eq!(back.active, id('b'));
    }

    #[test]
    fn each_change_is_a_generation() {
        let state = good("ab");
        for changed in [
            state.prove(&id('a')),
            state.pin(&id('b'), true),
            state.boot_once(Some(Once::Recovery)),
            state.roll_back(&id('a'), None),
        ] {
            assert_eq!(changed.unwrap().generation, state.generation + 1);
        }
    }
}
