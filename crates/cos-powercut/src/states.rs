//! From a log, the disks as they would lie after a cut.

use crate::log::{Entry, Log};
use crate::working_copy::WorkingCopy;
use anyhow::Result;
use cos_testkit::Random;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// What disks write whole, in bytes.
const SECTOR: usize = 512;

/// How a state came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Right after a flush: everything before it is there.
    Flush,
    /// Right after a write: it and everything before it is there, in order.
    Write,
    /// Some of the writes since the last flush are there, in any order, some of them in part.
    Sampled,
}

/// A disk after a cut.
#[derive(Debug)]
pub struct State<'s> {
    /// How many entries of the log were under way before the cut.
    pub position: usize,
    /// How it came about.
    pub cut: Cut,
    /// Number among all states, from 0.
    pub number: usize,
    /// The disk.
    pub disk: &'s WorkingCopy,
}

/// Which states are drawn besides those that are enumerated.
#[derive(Debug, Clone, Copy)]
pub struct Sampling {
    /// The same seed draws the same states.
    pub seed: u64,
    /// How many.
    pub count: usize,
}

/// The states of a log.
#[derive(Debug)]
pub struct States<'l> {
    log: &'l Log,
    copy: WorkingCopy,
    data: Vec<Vec<u8>>,
}

/// Writes that may have reached the disk or not, in whichever order: `first..until` of the log.
struct Epoch {
    first: usize,
    until: usize,
}

impl<'l> States<'l> {
    /// Over the disk `base` as it was when the log began, with a working copy at `path`.
    pub fn new(log: &'l Log, base: &Path, path: PathBuf) -> Result<Self> {
        let entries = log.entries().iter();
        Ok(Self {
            copy: WorkingCopy::new(base, path)?,
            data: entries
                .map(|entry| log.data(entry))
                .collect::<Result<_>>()?,
            log,
        })
    }

    /// Makes every state in `within` (positions in the log), and hands each to `look`.
    ///
    /// A flush makes everything that was logged before it durable, a FUA write itself.
    pub fn each(
        &mut self,
        within: Range<usize>,
        sampling: Sampling,
        mut look: impl FnMut(&State<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut random = Random::new(sampling.seed);
        let drawn = self.draw(&within, sampling.count, &mut random);
        let mut drawn = drawn.into_iter().peekable();
        let mut number = 0;
        let log = self.log;
        let mut show = |position, cut, disk: &WorkingCopy| {
            number += 1;
            look(&State {
                position,
                cut,
                number: number - 1,
                disk,
            })
        };
        for epoch in epochs(log.entries()) {
            while let Some(position) = drawn.next_if(|&position| position <= epoch.until) {
                self.scatter(epoch.first..position, &mut random)?;
                show(position, Cut::Sampled, &self.copy)?;
                self.copy.undo()?;
            }
            for position in epoch.first..epoch.until {
                let entry = &log.entries()[position];
                if !entry.writes() {
                    continue;
                }
                self.copy.write(entry.at, &self.data[position])?;
                if within.contains(&(position + 1)) {
                    show(position + 1, Cut::Write, &self.copy)?;
                }
            }
            if let Some(entry) = log.entries().get(epoch.until) {
                // A flush that carries data writes it after the flush.
                if within.contains(&(epoch.until + 1)) && !entry.writes() {
                    show(epoch.until + 1, Cut::Flush, &self.copy)?;
                }
            }
        }
        Ok(())
    }

    /// Positions at which there is something to lose, in ascending order: half of them drawn among all
    /// positions, half among the flushes, so that what lies between two of them counts even if it is
    /// little.
    fn draw(&self, within: &Range<usize>, count: usize, random: &mut Random) -> Vec<usize> {
        let entries = self.log.entries();
        let epochs: Vec<Vec<usize>> = epochs(entries)
            .map(|Epoch { first, until }| {
                let something = |end: &usize| entries[first..*end].iter().any(Entry::writes);
                let positions = (first + 1..=until).filter(something);
                positions.filter(|it| within.contains(it)).collect()
            })
            .filter(|positions: &Vec<usize>| !positions.is_empty())
            .collect();
        if epochs.is_empty() {
            return Vec::new();
        }
        let all: Vec<usize> = epochs.iter().flatten().copied().collect();
        let mut drawn: Vec<usize> = (0..count)
            .map(|number| {
                let among = if number % 2 == 0 {
                    &all
                } else {
                    &epochs[random.below(epochs.len())]
                };
                among[random.below(among.len())]
            })
            .collect();
        drawn.sort_unstable();
        drawn
    }

    /// Writes some of `range`, in any order, and some of them only in part.
    fn scatter(&mut self, range: Range<usize>, random: &mut Random) -> Result<()> {
        let entries = self.log.entries();
        let share = [5, 25, 50, 75, 95][random.below(5)];
        let torn_share = [0, 20, 60][random.below(3)];
        let mut order: Vec<usize> = range.filter(|&it| entries[it].writes()).collect();
        let in_order = random.chance(50);
        if !in_order {
            random.shuffle(&mut order);
        }
        // What is forced to the disk is there, and last where others wrote before it.
        let (forced, loose): (Vec<_>, Vec<_>) =
            order.into_iter().partition(|&it| entries[it].flags.fua());
        for it in loose {
            if !random.chance(share) {
                continue;
            }
            if random.chance(torn_share) {
                self.tear(it, random)?;
            } else {
                self.copy.try_write(entries[it].at, &self.data[it])?;
            }
        }
        for it in forced {
            self.copy.try_write(entries[it].at, &self.data[it])?;
        }
        Ok(())
    }

    /// Writes only some sectors of a write.
    fn tear(&mut self, it: usize, random: &mut Random) -> Result<()> {
        let at = self.log.entries()[it].at;
        let share = [10, 50, 90][random.below(3)];
        let sectors = self.data[it].chunks(SECTOR).enumerate();
        for (index, sector) in sectors {
            if random.chance(share) {
                self.copy.try_write(at + (index * SECTOR) as u64, sector)?;
            }
        }
        Ok(())
    }
}

/// The entries between two flushes. A flush that carries data is the first of the epoch behind it.
fn epochs(entries: &[Entry]) -> impl Iterator<Item = Epoch> {
    let mut next = Some((0, 0));
    std::iter::from_fn(move || {
        let (first, search_from) = next?;
        let rest = entries.iter().skip(search_from);
        let flush = rest.take_while(|entry| !entry.flags.flush()).count() + search_from;
        next = (flush < entries.len()).then_some((flush, flush + 1));
        Some(Epoch {
            first,
            until: flush.min(entries.len()),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const SECTORS: u64 = 64;

    /// A log of writes `(sector, sectors, flags, byte)`.
    fn log(directory: &Path, entries: &[(u64, u64, u64, u8)]) -> Log {
        let sector = |numbers: [u64; 4]| {
            let mut bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
            bytes.resize(SECTOR, 0);
            bytes
        };
        let mut bytes = sector([0x006a_7366_7773_6872, 1, entries.len() as u64, 512]);
        for &(at, sectors, flags, byte) in entries {
            bytes.extend(sector([at, sectors, flags, 0]));
            bytes.resize(bytes.len() + SECTOR * sectors as usize, byte);
        }
        let path = directory.join("log");
        fs_err::write(&path, bytes).unwrap();
        Log::open(&path, SECTORS * SECTOR as u64).unwrap()
    }

    /// The first byte of each sector of a disk.
    fn sectors(disk: &WorkingCopy) -> Vec<u8> {
        let bytes = fs_err::read(disk.path()).unwrap();
        bytes.chunks(SECTOR).map(|sector| sector[0]).collect()
    }

    fn states(entries: &[(u64, u64, u64, u8)], count: usize) -> Vec<(usize, Cut, Vec<u8>)> {
        let temp = cos_testkit::temp_dir().unwrap();
        let base = temp.path().join("base");
        fs_err::write(&base, vec![0; SECTORS as usize * SECTOR]).unwrap();
        let log = log(temp.path(), entries);
        let mut states = States::new(&log, &base, temp.path().join("copy")).unwrap();
        let mut seen = Vec::new();
        states
            .each(0..usize::MAX, Sampling { seed: 1, count }, |state| {
                assert_eq!(state.number, seen.len());
                let sectors = sectors(state.disk)[..4].to_vec();
                seen.push((state.position, state.cut, sectors));
                Ok(())
            })
            .unwrap();
        seen
    }

    #[test]
    fn every_write_and_every_flush_is_a_state() {
        let log = [(0, 1, 0, 1), (1, 1, 0, 2), (0, 0, 1, 0), (0, 1, 0, 3)];
        assert_eq!(
            states(&log, 0),
            [
                (1, Cut::Write, vec![1, 0, 0, 0]),
                (2, Cut::Write, vec![1, 2, 0, 0]),
                (3, Cut::Flush, vec![1, 2, 0, 0]),
                (4, Cut::Write, vec![3, 2, 0, 0]),
            ]
        );
    }

    #[test]
    fn what_was_not_flushed_is_lost_reordered_and_torn_and_nothing_else() {
        // A flush first, so that an empty epoch is met; then a FUA write among loose ones.
        let log = [
            (0, 0, 1, 0),
            (3, 1, 0, 9),
            (0, 0, 1, 0),
            (0, 2, 0, 1),
            (2, 1, 2, 5),
            (0, 2, 0, 2),
            (0, 0, 1, 0),
            (3, 1, 0, 8),
        ];
        let seen = states(&log, 6000);
        let drawn = |position| -> BTreeSet<Vec<u8>> {
            let of = seen
                .iter()
                .filter(|(at, cut, _)| *at == position && *cut == Cut::Sampled);
            of.map(|(_, _, sectors)| sectors.clone()).collect()
        };
        // The first write may be there or not, before the flush and not after it.
        assert_eq!(drawn(2), [vec![0, 0, 0, 0], vec![0, 0, 0, 9]].into());
        let last = drawn(6);
        assert!(last.iter().all(|it| it[3] == 9 && it[2] == 5), "{last:?}");
        let torn: BTreeSet<_> = last.iter().map(|it| (it[0], it[1])).collect();
        // Nothing, either one, torn ones, and the first one over the second.
        let all: BTreeSet<_> = (0..3).flat_map(|a| (0..3).map(move |b| (a, b))).collect();
        assert_eq!(torn, all);
        assert_eq!(
            drawn(8),
            [vec![2, 2, 5, 9], vec![2, 2, 5, 8]].into(),
            "a sample begins where the last flush ended"
        );
        assert_eq!(seen.iter().filter(|it| it.1 == Cut::Sampled).count(), 6000);
    }

    #[test]
    fn the_same_seed_makes_the_same_states() {
        let log = [(0, 2, 0, 1), (1, 2, 0, 2), (2, 2, 0, 3)];
        assert_eq!(states(&log, 50), states(&log, 50));
    }
}
