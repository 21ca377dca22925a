//! The boot rule, as `grub.cfg` carries it out: used to tell what boots next, and to hold GRUB's
//! script against.

use crate::{Attempts, BootState, Once, SnapshotId};

/// What boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// A snapshot.
    Snapshot(SnapshotId),
    /// The recovery system.
    Recovery,
}

/// What boots, and what the boot loader has noted by then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What boots.
    pub choice: Choice,
    /// Whether something that comes before it was given up.
    pub fallback: bool,
    /// The notes afterwards.
    pub attempts: Attempts,
}

/// Decides which snapshot boots. `loads` says of a snapshot whether its kernel and initrd can be
/// read. It is the first of active and passives that has tries left and loads; failing that,
/// recovery. What is to boot once goes before all of them, and uses up no try.
pub fn decide(
    state: &BootState,
    attempts: &Attempts,
    loads: impl Fn(&SnapshotId) -> bool,
) -> Decision {
    let mut attempts = attempts.clone().about(state.generation);
    if let Some(once) = state.once.as_ref().filter(|_| !attempts.once_done) {
        attempts.once_done = true;
        let choice = match once {
            Once::Recovery => Some(Choice::Recovery),
            Once::Snapshot(id) => loads(id).then(|| Choice::Snapshot(id.clone())),
        };
        if let Some(choice) = choice {
            return Decision {
                choice,
                fallback: false,
                attempts,
            };
        }
    }
    let mut fallback = false;
    for id in state.snapshots() {
        if state.failed.contains(id) || attempts.failed.contains(id) {
            fallback = true;
            continue;
        }
        if attempts.snapshot.as_ref() != Some(id) {
            attempts.snapshot = Some(id.clone());
            attempts.count = 0;
        }
        if attempts.count < state.limit(id) && loads(id) {
            attempts.count += 1;
            return Decision {
                choice: Choice::Snapshot(id.clone()),
                fallback,
                attempts,
            };
        }
        attempts.failed.push(id.clone());
        attempts.snapshot = None;
        attempts.count = 0;
        fallback = true;
    }
    Decision {
        choice: Choice::Recovery,
        fallback,
        attempts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tries;

    fn id(digit: char) -> SnapshotId {
        digit.to_string().repeat(12).parse().unwrap()
    }

    fn state() -> BootState {
        BootState {
            passive: vec![id('b')],
            trial: vec![id('a')],
            tries: Tries { trial: 3, good: 2 },
            ..BootState::first(id('a'))
        }
    }

    /// What boots, boot after boot, when no boot ever becomes good.
    fn boots(state: &BootState, count: usize, loads: impl Fn(&SnapshotId) -> bool) -> String {
        let mut attempts = Attempts::default();
        let boot = |_| {
            let decision = decide(state, &attempts, &loads);
            attempts = decision.attempts;
            match decision.choice {
                Choice::Snapshot(id) => id.as_str()[..1].to_owned(),
                Choice::Recovery => "R".to_owned(),
            }
        };
        (0..count).map(boot).collect()
    }

    #[test]
    fn tries_are_used_up_in_order_and_recovery_is_last() {
        assert_eq!(boots(&state(), 8, |_| true), "aaabbRRR");
    }

    #[test]
    fn what_does_not_load_is_passed_over_at_once() {
        assert_eq!(boots(&state(), 4, |it| *it != id('a')), "bbRR");
        assert_eq!(boots(&state(), 2, |_| false), "RR");
    }

    #[test]
    fn once_is_once_and_costs_no_try() {
        let mut state = state();
        state.once = Some(Once::Recovery);
        assert_eq!(boots(&state, 6, |_| true), "Raaabb");
    }

    #[test]
    fn a_good_boot_gives_its_tries_back_and_a_fallback_stays() {
        let state = state();
        let mut attempts = Attempts::default();
        for _ in 0..4 {
            attempts = decide(&state, &attempts, |_| true).attempts;
        }
        for _ in 0..5 {
            attempts = attempts.after_good_boot();
            let decision = decide(&state, &attempts, |_| true);
            assert_eq!(decision.choice, Choice::Snapshot(id('b')));
            assert!(decision.fallback);
            attempts = decision.attempts;
        }
    }
}
