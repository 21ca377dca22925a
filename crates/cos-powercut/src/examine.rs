//! Looking at every state of a recording, and closer at a sample.

use crate::loader::{grub_reads, look};
use crate::replay::{self, By};
use crate::report::{Report, Row};
use crate::scenario::{Recorded, upgrade};
use crate::states::{Cut, Sampling, State, States};
use crate::{Recording, View};
use anyhow::{Context, Result};
use std::fmt;

/// Of so many states one is read by grub-fstest too.
const GRUB_SAMPLE: usize = 97;
/// Of so many states one is brought up by Linux, which then carries out another upgrade.
const REPLAY_SAMPLE: usize = 29;
/// What is drawn is the same in every run.
pub const SEED: u64 = 0x000c_0505;

/// How much is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Depth {
    /// States drawn besides the enumerated ones.
    pub samples: usize,
    /// Whether a sample of all states is looked at closer.
    pub closer: bool,
}

impl Depth {
    /// Every state, as the boot loader sees it.
    pub fn samples(samples: usize) -> Self {
        Self {
            samples,
            closer: false,
        }
    }

    /// A sample of them by GRUB itself and by Linux too.
    pub fn closer(samples: usize) -> Self {
        Self {
            samples,
            closer: true,
        }
    }
}

/// How many states were looked at closer, and what was wrong with them then.
#[derive(Debug, Default)]
pub struct Closer {
    /// Read by `grub-fstest` too.
    pub by_grub: usize,
    /// Brought up after the kernel's replay of the journal.
    pub by_kernel: usize,
    /// Brought up after `e2fsck -p`.
    pub by_fsck: usize,
    /// What came of cutting the power a second time, while the machine came up and was upgraded.
    pub again: Again,
    /// What was wrong.
    pub trouble: Vec<String>,
}

/// Cuts in what follows a cut.
#[derive(Debug, Default, Clone)]
pub struct Again {
    /// First cuts.
    pub cuts: usize,
    /// Writes of what followed.
    pub writes: usize,
    /// Flushes of what followed.
    pub flushes: usize,
    /// States looked at that boot what booted after the first cut.
    pub old: usize,
    /// States looked at that boot what was upgraded to.
    pub new: usize,
    /// States that were lost.
    pub lost: usize,
    /// States that boot nothing.
    pub nothing: usize,
}

impl Again {
    /// Counts what was found in one recording.
    pub fn add<V>(&mut self, row: &Row<V>) {
        self.cuts += 1;
        self.writes += row.writes;
        self.flushes += row.flushes;
        self.old += row.old;
        self.new += row.new;
        self.lost += row.lost;
        self.nothing += row.nothing;
    }

    /// States looked at.
    pub fn states(&self) -> usize {
        self.old + self.new + self.lost + self.nothing
    }
}

impl Closer {
    /// Adds what another examination found.
    pub fn add(&mut self, other: Self) {
        self.by_grub += other.by_grub;
        self.by_kernel += other.by_kernel;
        self.by_fsck += other.by_fsck;
        self.again.cuts += other.again.cuts;
        self.again.writes += other.again.writes;
        self.again.flushes += other.again.flushes;
        self.again.old += other.again.old;
        self.again.new += other.again.new;
        self.again.lost += other.again.lost;
        self.again.nothing += other.again.nothing;
        self.trouble.extend(other.trouble);
    }
}

/// Makes every state of a recording, counts what `look` sees in it, and hands it to `closer`.
pub fn each<V: PartialEq + Clone + fmt::Display>(
    recording: &Recording,
    report: &mut Report<V>,
    samples: usize,
    mut look: impl FnMut(&State<'_>) -> Result<V>,
    mut closer: impl FnMut(&State<'_>, &str, &Result<V>, &Report<V>) -> Result<()>,
) -> Result<()> {
    let copy = recording.scratch().join("copy.img");
    let mut states = States::new(&recording.log, &recording.base(), copy)?;
    let sampling = Sampling {
        seed: SEED,
        count: samples,
    };
    states.each(report.within(), sampling, |state| {
        let found = look(state);
        let what = format!("{:?} state {}", state.cut, state.number);
        report.count(state.position, &what, &found);
        closer(state, &what, &found, report)
    })
}

/// Looks at every state of a store.
pub fn store(recorded: &mut Recorded, depth: Depth) -> Result<Closer> {
    let Recorded {
        recording,
        report,
        known,
        part,
    } = recorded;
    let part = *part;
    let paths = known.paths();
    let mut looks = Closer::default();
    let closer = |state: &State<'_>, what: &str, found: &Result<View>, report: &Report<View>| {
        if !depth.closer {
            return Ok(());
        }
        if state.number.is_multiple_of(GRUB_SAMPLE) {
            looks.by_grub += 1;
            for path in &paths {
                grub_reads(state.disk, part, path).context(what.to_owned())?;
            }
        }
        // Mounting writes the superblock, on which everything else depends.
        let mounting = state.position < report.rows[0].within.end;
        let drawn = state.cut == Cut::Flush || state.number.is_multiple_of(REPLAY_SAMPLE);
        let Ok(seen) = found else { return Ok(()) };
        if mounting || drawn {
            let by = [By::Kernel, By::Fsck][state.number % 2];
            let expected = replay::Expected {
                seen,
                allowed: &report.allowed(state.position),
                known,
            };
            match replay::check(state.disk, part, by, expected, upgrade) {
                Ok(()) if by == By::Kernel => looks.by_kernel += 1,
                Ok(()) => looks.by_fsck += 1,
                Err(error) => looks.trouble.push(format!(
                    "{what}, entry {}, {by:?}: {error:#}",
                    state.position
                )),
            }
        }
        Ok(())
    };
    each(
        recording,
        report,
        depth.samples,
        |state| look(state.disk, part, known),
        closer,
    )?;
    Ok(looks)
}
