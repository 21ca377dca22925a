//! Which states are judged, and which are booted.

use super::boot::{Firmware, Start};
use crate::disk::DiskView;
use crate::examine::SEED;
use crate::report::Report;
use crate::states::{Cut, State};
use cos_testkit::Random;
use std::collections::BTreeMap;
use std::ops::Range;

/// Of so many states that are booted, one goes all the way.
const ALL_THE_WAY: usize = 6;
/// Where among those it is.
const WHICH: usize = 3;
/// Kinds of cuts, in turn.
const CUTS: [Cut; 3] = [Cut::Sampled, Cut::Write, Cut::Flush];

/// States by the part of the recording that they are of.
#[derive(Debug)]
pub(super) struct Draw {
    phases: Vec<Phase>,
}

/// The states of one part: where it is in the log, and how each was cut, with its number.
type Phase = (Range<usize>, Vec<(Cut, usize)>);

/// Those that were drawn, by number.
#[derive(Debug)]
pub(super) struct Drawn(BTreeMap<usize, Start>);

impl Draw {
    pub(super) fn new(report: &Report<DiskView>) -> Self {
        let rows = report.rows.iter();
        Self {
            phases: rows.map(|row| (row.within.clone(), Vec::new())).collect(),
        }
    }

    /// Takes a state into account.
    pub(super) fn add(&mut self, state: &State<'_>) {
        let mut phases = self.phases.iter_mut();
        if let Some((_, states)) = phases.find(|(within, _)| within.contains(&state.position)) {
            states.push((state.cut, state.number));
        }
    }

    /// Draws states to boot, from one part after the other, cut in one way after the other, by either firmware in
    /// turn.
    pub(super) fn choose(self, count: usize) -> Drawn {
        let mut random = Random::new(SEED);
        let phases = self.phases.iter().map(|(_, states)| states);
        let phases: Vec<_> = phases.filter(|states| !states.is_empty()).collect();
        let mut drawn = BTreeMap::new();
        let turns = 0..count * phases.len();
        for turn in turns {
            let number = drawn.len();
            if number == count {
                break;
            }
            let states = phases[turn % phases.len()];
            let cut = CUTS[turn % CUTS.len()];
            let alike: Vec<usize> = states
                .iter()
                .filter(|(kind, it)| *kind == cut && !drawn.contains_key(it))
                .map(|(_, it)| *it)
                .collect();
            if alike.is_empty() {
                continue;
            }
            let start = Start {
                firmware: [Firmware::Bios, Firmware::Uefi][number % 2],
                all_the_way: number % ALL_THE_WAY == WHICH % count,
            };
            drawn.insert(alike[random.below(alike.len())], start);
        }
        Drawn(drawn)
    }
}

impl Drawn {
    /// Whether a state is looked at: all that are drawn, and those to boot.
    pub(super) fn is_judged(&self, state: &State<'_>) -> bool {
        state.cut == Cut::Sampled || self.0.contains_key(&state.number)
    }

    /// How a state is booted, if it is.
    pub(super) fn start_of(&self, state: &State<'_>) -> Option<Start> {
        self.0.get(&state.number).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cuts_and_firmware_take_turns() {
        let draw = Draw {
            phases: (0..4)
                .map(|phase| {
                    let states = (0..30).map(|it| (CUTS[it % 3], phase * 100 + it));
                    (
                        0..1,
                        if phase == 2 {
                            Vec::new()
                        } else {
                            states.collect()
                        },
                    )
                })
                .collect(),
        };
        let Drawn(drawn) = draw.choose(12);
        assert_eq!(drawn.len(), 12);
        let of = |phase: usize| drawn.keys().filter(|it| **it / 100 == phase).count();
        assert_eq!([of(0), of(1), of(2), of(3)], [4, 4, 0, 4]);
        let count = |is: fn(&Start) -> bool| drawn.values().filter(|it| is(it)).count();
        assert_eq!(count(|it| it.firmware == Firmware::Uefi), 6);
        assert_eq!(count(|it| it.all_the_way), 2);
    }

    #[test]
    fn no_more_are_drawn_than_there_are() {
        let draw = Draw {
            phases: vec![(0..1, vec![(Cut::Write, 7)])],
        };
        assert_eq!(draw.choose(5).0.len(), 1);
        let none = Draw { phases: Vec::new() };
        assert!(none.choose(5).0.is_empty());
    }
}
