//! A history of a whole disk, and what is found in it.

use super::check::{Expected, bring_up};
use super::history::DiskHistory;
use super::machine::Images;
use super::view::{DiskKnown, DiskView, look_at};
use crate::examine::{Closer, Depth, each};
use crate::loader::{View, grub_reads};
use crate::replay::{By, note};
use crate::{Cut, Entry, Part, Recording, Report, State};
use anyhow::{Context, Result};
use cos_boot::Attempts;
use cos_ops::build::sizes::Role;
use cos_ops::upgrade::{Extent, Target};
use cos_testkit::TempDir;
use std::ops::Range;

/// Of so many states one is read by grub-fstest too.
const GRUB_SAMPLE: usize = 197;
/// Of so many states one is brought up.
const UP_SAMPLE: usize = 83;
/// Of so many states one is brought up while the power is cut again.
const AGAIN_SAMPLE: usize = 331;
/// States drawn of each of those, besides the enumerated ones.
const AGAIN_SAMPLES: usize = 40;
/// Where an operation writes nothing unless it makes them anew.
pub(super) const DATA: [Role; 2] = [Role::Oem, Role::Persistent];

/// A history that was recorded.
#[derive(Debug)]
pub struct Recorded {
    /// What was recorded.
    pub recording: Recording,
    /// What was found; nothing yet.
    pub report: Report<DiskView>,
    pub(super) known: DiskKnown,
    /// What each operation makes of the data on COS_PERSISTENT and COS_OEM.
    pub(super) data: Vec<Data>,
    /// Whether there is room for an upgrade from the beginning on.
    pub(super) has_room: bool,
}

/// What becomes of somebody's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    /// It is kept, as nothing is written there at all.
    Untouched,
    /// It is kept.
    Kept,
    /// It is lost.
    Lost,
}

impl Recorded {
    /// Looks at every state; closer at a sample.
    pub fn examine(&mut self, images: &Images, depth: Depth) -> Result<Closer> {
        let Self {
            recording,
            report,
            known,
            data,
            has_room,
        } = self;
        let mut looks = Closer::default();
        untouched(recording, report, known, data, &mut looks.trouble);
        let entries = recording.log.entries();
        let loader = entries
            .iter()
            .any(|entry| entry.writes() && known.is_loader(&range(entry)));
        let closer =
            |state: &State<'_>, what: &str, found: &Result<DiskView>, report: &Report<DiskView>| {
                let Ok(seen) = found else { return Ok(()) };
                let allowed = report.allowed(state.position);
                if !depth.closer || !allowed.contains(&seen) {
                    return Ok(());
                }
                let rows = report.rows.iter().zip(data.iter());
                let row = rows
                    .clone()
                    .find(|(row, _)| row.within.contains(&state.position));
                let is_old = row.is_some_and(|(row, _)| row.operation.before.contains(seen));
                let expected = Expected {
                    seen,
                    allowed: &allowed,
                    known,
                    keeps_data: row.is_none_or(|(_, data)| *data != Data::Lost),
                    next: (*has_room || !is_old).then_some("next"),
                };
                let told = looks.closer(state, images, &expected);
                told.with_context(|| format!("{what}, entry {}", state.position))
            };
        each(
            recording,
            report,
            depth.samples,
            |state| look_at(state.disk, known, loader),
            closer,
        )?;
        Ok(looks)
    }
}

impl Closer {
    /// Looks closer at a state, if it is drawn. What is wrong with the disk is no error.
    fn closer(
        &mut self,
        state: &State<'_>,
        images: &Images,
        expected: &Expected<'_>,
    ) -> Result<()> {
        let (number, known) = (state.number, expected.known);
        let boots = expected.seen.state().is_some();
        if number.is_multiple_of(GRUB_SAMPLE) && boots {
            self.by_grub += 1;
            for path in known.state.paths() {
                grub_reads(state.disk, known.part(Role::State)?, &path)?;
            }
        }
        let at_flush = state.cut == Cut::Flush && number.is_multiple_of(3);
        if number.is_multiple_of(UP_SAMPLE) || at_flush {
            let by = [By::Kernel, By::Fsck][number % 2];
            match bring_up(state.disk, images, by, expected) {
                Ok(()) if by == By::Kernel => self.by_kernel += 1,
                Ok(()) => self.by_fsck += 1,
                Err(error) => self.trouble.push(format!(
                    "{:?} state {number}, entry {}, {by:?}: {error:#}",
                    state.cut, state.position
                )),
            }
        }
        if number % AGAIN_SAMPLE == 1 && boots && expected.next.is_some() {
            let mut again = cut_again(state, images, expected)?;
            again.examine(images, Depth::samples(AGAIN_SAMPLES))?;
            for row in &again.report.rows {
                self.again.add(row);
            }
            let told = again.report.trouble.into_iter();
            self.trouble.extend(
                told.map(|line| {
                    format!("cut at {:?} state {number}, and again: {line}", state.cut)
                }),
            );
        }
        Ok(())
    }
}

/// Boots a disk that was cut, which replays its journals, and upgrades it; recorded like any operation.
fn cut_again(state: &State<'_>, images: &Images, expected: &Expected<'_>) -> Result<Recorded> {
    let parent = state.disk.path().parent().context("no directory")?;
    let directory = TempDir::new_in(parent)?;
    let image = directory.path().join("cut.img");
    state.disk.copy_to(&image)?;
    let seen = expected.seen.clone();
    let view = seen.state().context("nothing boots")?;
    note(
        &image,
        expected.known.part(Role::State)?,
        &view.decision.attempts,
    )?;
    let noted = |view: &View| View::of(&view.state, &expected_attempts(expected, view));
    let booted = seen.with_view(noted);
    let mut history = DiskHistory::resume(images, &image, expected.known.clone(), booted)?;
    history.booted("recover from a cut, and upgrade", |it| {
        it.upgrade("again", Target::System, Extent::Whole)
    })?;
    // Once its journal is replayed, the disk may show what the boot loader did not see yet.
    for view in expected.allowed {
        history.may_boot(view.with_view(noted));
    }
    history.stop()
}

/// The notes after the boot loader has started what it saw, as far as they are about another state.
fn expected_attempts(expected: &Expected<'_>, view: &View) -> Attempts {
    let seen = expected.seen.state();
    let noted = seen.map(|seen| seen.decision.attempts.clone());
    noted.unwrap_or_default().about(view.state.generation)
}

fn range(entry: &Entry) -> Range<u64> {
    entry.at..entry.at + entry.length
}

/// Persistent data cannot be lost by what does not write to it.
fn untouched(
    recording: &Recording,
    report: &Report<DiskView>,
    known: &DiskKnown,
    promised: &[Data],
    trouble: &mut Vec<String>,
) {
    let data: Vec<Part> = DATA
        .iter()
        .filter_map(|role| known.part(*role).ok())
        .collect();
    for (row, promised) in report.rows.iter().zip(promised) {
        if *promised != Data::Untouched {
            continue;
        }
        let entries = &recording.log.entries()[row.within.start - 1..row.within.end - 1];
        let touches = |entry: &&Entry| {
            let range = range(entry);
            let inside =
                |part: &Part| range.start < part.offset + part.size && part.offset < range.end;
            entry.writes() && data.iter().any(inside)
        };
        if let Some(entry) = entries.iter().find(touches) {
            trouble.push(format!(
                "{}: writes to other people's data at {:?}",
                row.operation.name,
                range(entry)
            ));
        }
    }
}
