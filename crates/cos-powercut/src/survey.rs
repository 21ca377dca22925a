//! Every operation, on one store and on a whole disk, and the table of what was found.

use crate::book;
use crate::disk::Histories;
use crate::disk::Recorded as DiskRecorded;
use crate::examine::{self, Again, Closer, Depth};
use crate::faults::{Outcome, fail_writes, kill_upgrades};
use crate::report::{HEAD, Report, Row};
use crate::scenario::{Scenario, lifecycle};
use anyhow::{Result, bail};
use cos_sys::checkpoint::checkpoint;
use serde_json::{Value, json};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// States drawn besides the enumerated ones, in each history.
const SAMPLES: usize = 4000;
/// What stands around the table there.
const MARKS: [&str; 2] = ["<!-- powercut: begin -->\n", "<!-- powercut: end -->\n"];

/// What to survey.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Only histories with an operation of which the name contains this.
    pub operation: Option<String>,
    /// By how much fewer samples are drawn.
    pub divisor: usize,
    /// Whether there are faults besides cuts, and the program that they strike.
    pub faults: Option<PathBuf>,
}

/// What was found of one operation.
#[derive(Debug, Clone)]
struct Found {
    line: String,
    json: Value,
    states: usize,
    bad: usize,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Survey {
    rows: Vec<Found>,
    looks: Closer,
    faults: Vec<(&'static str, Outcome)>,
    trouble: Vec<String>,
    took: Duration,
}

/// A history: its name for `--operation`, and how it is recorded.
type History = (
    &'static [&'static str],
    fn(&Histories) -> Result<DiskRecorded>,
);

/// The operations of each history on a whole disk.
const HISTORIES: [History; 6] = [
    (&["install"], Histories::install),
    (&["install over a system"], Histories::install_again),
    (
        &[
            "upgrade",
            "count a boot",
            "mark good",
            "roll back",
            "pin",
            "unpin",
            "boot recovery once",
            "boot it",
            "upgrade, without the oldest",
            "download an upgrade",
            "apply it",
            "upgrade the recovery",
        ],
        Histories::life,
    ),
    (&["reset", "reset with all data"], Histories::reset),
    (&["reset without room"], Histories::reset_anew),
    (&["grow"], Histories::growth),
];

/// Records and examines; `say` is told what is going on.
pub fn run(wanted: &Wanted, say: impl Fn(&str)) -> Result<Survey> {
    if let Some(reason) = crate::unavailable() {
        bail!("{reason}");
    }
    let begin = Instant::now();
    let depth = Depth::closer(SAMPLES / wanted.divisor.max(1));
    let mut survey = Survey::default();
    let is_wanted = |names: &[&str]| match &wanted.operation {
        None => true,
        Some(part) => names.iter().any(|name| name.contains(part.as_str())),
    };
    if is_wanted(&["store"]) {
        say("one store: snapshots, commits, notes");
        let mut scenario = Scenario::start(true, checkpoint)?;
        lifecycle(&mut scenario)?;
        let mut recorded = scenario.stop()?;
        let looks = examine::store(&mut recorded, depth)?;
        survey.add("store: ", &recorded.report, looks);
    }
    let histories = Histories::new()?;
    for (names, record) in HISTORIES {
        if !is_wanted(names) {
            continue;
        }
        say(&format!("a whole disk: {}", names.join(", ")));
        let mut recorded = record(&histories)?;
        let looks = recorded.examine(histories.images(), depth)?;
        survey.add("", &recorded.report, looks);
    }
    if let Some(program) = &wanted.faults {
        say("an upgrade that is killed at its system calls");
        let every = wanted.divisor.max(1);
        // A third of the calls, and all of the last, are some 2,200.
        let killed = kill_upgrades(&histories, program, 3 * every)?;
        survey.faults.push(("killed at a system call", killed));
        say("a disk that cannot write, sector by sector");
        let failed = fail_writes(every)?;
        survey.faults.push(("a sector cannot be written", failed));
    }
    survey.rows.extend(Found::again(&survey.looks.again));
    survey.took = begin.elapsed();
    say(&survey.to_string());
    Ok(survey)
}

impl Survey {
    fn add<V>(&mut self, prefix: &str, report: &Report<V>, looks: Closer)
    where
        V: PartialEq + Clone + fmt::Display,
    {
        for row in &report.rows {
            self.rows.push(Found::of(prefix, row));
        }
        self.trouble.extend(report.trouble.iter().cloned());
        self.looks.add(looks);
    }

    /// Whether nothing was lost, and something boots in every state.
    pub fn is_good(&self) -> bool {
        let faults = self.faults.iter().all(|(_, it)| it.trouble.is_empty());
        faults && self.rows.iter().all(|row| row.bad == 0) && self.looks.trouble.is_empty()
    }

    /// The operations in one line.
    pub fn json(&self) -> Value {
        let rows: Vec<&Value> = self.rows.iter().map(|row| &row.json).collect();
        json!({ "operations": rows })
    }

    fn table(&self) -> String {
        let lines: String = self.rows.iter().map(|row| row.line.as_str()).collect();
        format!("{HEAD}{lines}")
    }

    fn faults(&self) -> String {
        if self.faults.is_empty() {
            return String::new();
        }
        let head =
            "\n| fault of an upgrade | times | old | new | trouble |\n|---|--:|--:|--:|--:|\n";
        let line = |(what, it): &(&str, Outcome)| {
            let (times, old, new, trouble) = (it.faults, it.old, it.new, it.trouble.len());
            format!("| {what} | {times} | {old} | {new} | {trouble} |\n")
        };
        format!("{head}{}", self.faults.iter().map(line).collect::<String>())
    }

    fn summary(&self) -> String {
        let states: usize = self.rows.iter().map(|row| row.states).sum();
        let Closer {
            by_grub,
            by_kernel,
            by_fsck,
            ..
        } = &self.looks;
        format!(
            "{states} states in {} minutes; read by `grub-fstest` too: {by_grub}; brought up by Linux \
             and upgraded: {by_kernel} after the kernel's replay of the journals, {by_fsck} after \
             `e2fsck`'s; cut again while they came up: {}.",
            self.took.as_secs().div_ceil(60),
            self.looks.again.cuts
        )
    }

    /// Writes the table into the book.
    pub fn write_docs(&self, workspace: &Path) -> Result<()> {
        let (table, summary, faults) = (self.table(), self.summary(), self.faults());
        book::write(workspace, MARKS, &format!("{table}\n{summary}\n{faults}"))
    }
}

impl Found {
    fn of<V>(prefix: &str, row: &Row<V>) -> Self {
        let name = format!("{prefix}{}", row.operation.name);
        let seen = [row.old, row.new, row.between, row.lost, row.nothing];
        Self::new(&name, row.writes, row.flushes, seen)
    }

    fn again(again: &Again) -> Option<Self> {
        let seen = [again.old, again.new, 0, again.lost, again.nothing];
        let name = "come up after a cut and upgrade, cut again";
        (again.cuts > 0).then(|| Self::new(name, again.writes, again.flushes, seen))
    }

    fn new(name: &str, writes: usize, flushes: usize, seen: [usize; 5]) -> Self {
        let [old, new, between, lost, nothing] = seen;
        let states: usize = seen.iter().sum();
        Self {
            line: format!(
                "| {name} | {writes} | {flushes} | {states} | {old} | {new} | {between} | {lost} | {nothing} |\n"
            ),
            json: json!({
                "name": name,
                "writes": writes,
                "flushes": flushes,
                "states": states,
                "boots_old": old,
                "boots_new": new,
                "boots_between": between,
                "lost": lost,
                "boots_nothing": nothing,
            }),
            states,
            bad: lost + nothing,
        }
    }
}

impl fmt::Display for Survey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{}\n{}", self.table(), self.summary())?;
        writeln!(f, "{}", self.faults())?;
        for (_, outcome) in &self.faults {
            for line in outcome.said.iter().chain(&outcome.trouble) {
                writeln!(f, "{line}")?;
            }
        }
        for line in self.trouble.iter().chain(&self.looks.trouble) {
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}
