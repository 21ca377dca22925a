//! Which states boot the old, which the new, and which nothing.

use crate::recorder::Recording;
use anyhow::{Result, ensure};
use std::fmt;
use std::ops::Range;

/// An operation, and what may boot when the power is cut in it.
///
/// `V` is what is seen of a disk: a [`View`](crate::View) of one store, a [`DiskView`](crate::DiskView) of
/// all of it.
#[derive(Debug, Clone)]
pub struct Operation<V> {
    /// Its name, that of its [mark](crate::Mark).
    pub name: &'static str,
    /// What may boot before it.
    pub before: Vec<V>,
    /// What else may be found while it is under way, and only then: a disk that is known as unfinished,
    /// one that boots only recovery.
    pub between: Vec<V>,
    /// What may boot once it has returned; besides, what boots while it is under way.
    pub after: Vec<V>,
}

/// What a state boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// What booted before the operation.
    Old,
    /// What boots after it.
    New,
    /// What is foreseen for the time in between.
    Between,
    /// What booted before an operation that had returned.
    Lost,
    /// Nothing, or something in between.
    Nothing,
}

/// What was found for one operation.
#[derive(Debug, Clone)]
pub struct Row<V> {
    /// The operation.
    pub operation: Operation<V>,
    /// Positions in the log that belong to it. The last one is the moment it had returned.
    pub within: Range<usize>,
    /// Writes it made.
    pub writes: usize,
    /// Flushes it made.
    pub flushes: usize,
    /// States looked at, of each [`Verdict`].
    pub old: usize,
    /// See [`Verdict::New`].
    pub new: usize,
    /// See [`Verdict::Between`].
    pub between: usize,
    /// See [`Verdict::Lost`].
    pub lost: usize,
    /// See [`Verdict::Nothing`].
    pub nothing: usize,
}

/// What was found.
#[derive(Debug, Clone)]
pub struct Report<V> {
    /// An operation each, in the order of time.
    pub rows: Vec<Row<V>>,
    /// What was found in states that are lost or boot nothing, each with the first such state.
    pub trouble: Vec<String>,
}

/// So many kinds of bad states are described.
const DESCRIBED: usize = 12;

impl<V: PartialEq + Clone + fmt::Display> Report<V> {
    /// An empty report on the operations of a recording, which must have the same names as its marks.
    pub fn new(recording: &Recording, operations: Vec<Operation<V>>) -> Result<Self> {
        ensure!(
            operations.len() == recording.marks.len(),
            "{} operations, {} marks",
            operations.len(),
            recording.marks.len()
        );
        let mut first = 0;
        let mut rows = Vec::new();
        for (operation, (mark, end)) in operations.into_iter().zip(&recording.marks) {
            ensure!(
                operation.name == mark.name,
                "{} is marked {}",
                operation.name,
                mark.name
            );
            let entries = &recording.log.entries()[first..*end];
            rows.push(Row {
                operation,
                within: first + 1..end + 1,
                writes: entries.iter().filter(|entry| entry.writes()).count(),
                flushes: entries.iter().filter(|entry| entry.flags.flush()).count(),
                old: 0,
                new: 0,
                between: 0,
                lost: 0,
                nothing: 0,
            });
            first = *end;
        }
        Ok(Self {
            rows,
            trouble: Vec::new(),
        })
    }

    /// All positions that belong to an operation.
    pub fn within(&self) -> Range<usize> {
        1..self.rows.last().map_or(1, |row| row.within.end)
    }

    /// What may boot or be found at a position.
    pub fn allowed(&self, position: usize) -> Vec<&V> {
        let Some(row) = self.rows.iter().find(|row| row.within.contains(&position)) else {
            return Vec::new();
        };
        let before = row.operation.before.iter();
        let returned = position + 1 == row.within.end;
        let before = before.filter(|view| !returned || row.operation.after.contains(view));
        let between = row.operation.between.iter().filter(|_| !returned);
        before.chain(between).chain(&row.operation.after).collect()
    }

    /// Counts a state.
    pub fn count(&mut self, position: usize, what: &str, found: &Result<V>) -> Verdict {
        let Some(index) = self
            .rows
            .iter()
            .position(|row| row.within.contains(&position))
        else {
            return Verdict::Nothing;
        };
        let verdict = match found {
            Ok(view) => self.judge(index, position, view),
            Err(_) => Verdict::Nothing,
        };
        let row = &mut self.rows[index];
        let counter = match verdict {
            Verdict::Old => &mut row.old,
            Verdict::New => &mut row.new,
            Verdict::Between => &mut row.between,
            Verdict::Lost => &mut row.lost,
            Verdict::Nothing => &mut row.nothing,
        };
        *counter += 1;
        if matches!(verdict, Verdict::Lost | Verdict::Nothing) && self.trouble.len() < DESCRIBED {
            let found = match found {
                Ok(view) => format!("{verdict:?}: {view}"),
                Err(error) => format!("{verdict:?}: {error:#}"),
            };
            if !self.trouble.iter().any(|known| known.ends_with(&found)) {
                let name = row.operation.name;
                let line = format!("{name}, {what}, entry {position} of {:?}", row.within);
                self.trouble.push(format!("{line}: {found}"));
            }
        }
        verdict
    }

    fn judge(&self, index: usize, position: usize, view: &V) -> Verdict {
        let knows = |row: &Row<V>| {
            let operation = &row.operation;
            operation.before.contains(view) || operation.after.contains(view)
        };
        let row = &self.rows[index];
        let is_new = row.operation.after.contains(view);
        let returned = position + 1 == row.within.end;
        if row.operation.before.contains(view) && (is_new || !returned) {
            Verdict::Old
        } else if is_new {
            Verdict::New
        } else if row.operation.between.contains(view) && !returned {
            Verdict::Between
        } else if self.rows[..=index].iter().any(knows) {
            Verdict::Lost
        } else {
            Verdict::Nothing
        }
    }

    /// States that boot nothing, or not what they must.
    pub fn bad(&self) -> usize {
        self.rows.iter().map(|row| row.lost + row.nothing).sum()
    }

    /// States looked at.
    pub fn states(&self) -> usize {
        self.rows.iter().map(Row::states).sum()
    }
}

impl<V> Row<V> {
    /// States looked at.
    pub fn states(&self) -> usize {
        self.old + self.new + self.between + self.lost + self.nothing
    }
}

/// The head of the table that rows are written into.
pub const HEAD: &str = "\
| operation | writes | flushes | states | old | new | between | lost | nothing |
|---|--:|--:|--:|--:|--:|--:|--:|--:|
";

impl<V> fmt::Display for Row<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            self.operation.name,
            self.writes,
            self.flushes,
            self.states(),
            self.old,
            self.new,
            self.between,
            self.lost,
            self.nothing
        )
    }
}

impl<V> fmt::Display for Report<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEAD)?;
        self.rows.iter().try_for_each(|row| row.fmt(f))
    }
}
