//! What came of it.

use super::boot::{Firmware, Start};
use crate::book;
use crate::disk::DiskView;
use crate::report::{Report, Verdict};
use anyhow::Result;
use serde_json::{Value, json};
use std::fmt;
use std::path::Path;
use std::time::Duration;

/// What stands around the table in the book.
const MARKS: [&str; 2] = [
    "<!-- powercut boot: begin -->\n",
    "<!-- powercut boot: end -->\n",
];
const HEAD: &str = "| part of the recording | writes | flushes | states judged | booted by BIOS | by UEFI | all the way | \
    old | new | lost | nothing |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n";

/// States of one part that were booted.
#[derive(Debug, Clone, Copy, Default)]
struct Booted {
    bios: usize,
    uefi: usize,
    all_the_way: usize,
    old: usize,
    new: usize,
    lost: usize,
    nothing: usize,
}

/// What came of booting states.
#[derive(Debug)]
pub struct Boots {
    report: Report<DiskView>,
    booted: Vec<Booted>,
    trouble: Vec<String>,
    /// Whether a disk that must not come up was found out.
    pub(super) is_spoiled_found: bool,
    took: Duration,
}

impl Boots {
    pub(super) fn new(report: &Report<DiskView>) -> Self {
        Self {
            report: report.clone(),
            booted: vec![Booted::default(); report.rows.len()],
            trouble: Vec::new(),
            is_spoiled_found: false,
            took: Duration::ZERO,
        }
    }

    /// Counts a state that was booted; `trouble` is why that failed.
    pub(super) fn add(
        &mut self,
        position: usize,
        start: Start,
        verdict: Verdict,
        trouble: Option<anyhow::Error>,
    ) {
        let mut rows = self.report.rows.iter();
        let row = rows.position(|row| row.within.contains(&position));
        let Some(booted) = row.and_then(|row| self.booted.get_mut(row)) else {
            return;
        };
        match start.firmware {
            Firmware::Bios => booted.bios += 1,
            _ => booted.uefi += 1,
        }
        booted.all_the_way += usize::from(start.all_the_way);
        match (&trouble, verdict) {
            (None, Verdict::Old) => booted.old += 1,
            (None, Verdict::New | Verdict::Between) => booted.new += 1,
            (None, Verdict::Lost) => booted.lost += 1,
            (Some(_), _) | (None, Verdict::Nothing) => booted.nothing += 1,
        }
        if let Some(error) = trouble {
            self.trouble
                .push(format!("entry {position}, {:?}: {error:#}", start.firmware));
        }
    }

    /// Takes what was judged, and how long all of it took.
    pub(super) fn finish(&mut self, report: &Report<DiskView>, took: Duration) {
        self.trouble.extend(report.trouble.iter().cloned());
        self.report = report.clone();
        self.took = took;
    }

    /// Whether nothing was lost, and every state that was booted came up as the rule wants.
    pub fn is_good(&self) -> bool {
        let judged = |row: &crate::Row<DiskView>| row.lost + row.nothing == 0;
        let booted = |it: &Booted| it.lost + it.nothing == 0;
        self.trouble.is_empty()
            && self.is_spoiled_found
            && self.report.rows.iter().all(judged)
            && self.booted.iter().all(booted)
    }

    /// The parts in one line.
    pub fn json(&self) -> Value {
        let rows = self.report.rows.iter().zip(&self.booted);
        let rows: Vec<Value> = rows
            .map(|(row, booted)| {
                json!({
                    "name": row.operation.name,
                    "writes": row.writes,
                    "flushes": row.flushes,
                    "states": row.old + row.new + row.between + row.lost + row.nothing,
                    "booted": booted.bios + booted.uefi,
                    "boots_old": booted.old,
                    "boots_new": booted.new,
                    "lost": booted.lost,
                    "boots_nothing": booted.nothing,
                })
            })
            .collect();
        json!({ "operations": rows })
    }

    fn table(&self) -> String {
        let rows = self.report.rows.iter().zip(&self.booted);
        let lines = rows.map(|(row, booted)| {
            let Booted {
                bios,
                uefi,
                all_the_way,
                old,
                new,
                lost,
                nothing,
            } = booted;
            let (name, writes, flushes) = (row.operation.name, row.writes, row.flushes);
            let judged = row.old + row.new + row.between + row.lost + row.nothing;
            format!(
                "| {name} | {writes} | {flushes} | {judged} | {bios} | {uefi} | {all_the_way} | {old} | {new} | {lost} \
                 | {nothing} |\n"
            )
        });
        format!("{HEAD}{}", lines.collect::<String>())
    }

    fn summary(&self) -> String {
        let sum = |of: fn(&Booted) -> usize| self.booted.iter().map(of).sum::<usize>();
        let judged = self.report.rows.iter();
        let judged: usize = judged.map(|row| row.old + row.new + row.between).sum();
        let spoiled = if self.is_spoiled_found {
            "found out"
        } else {
            "not found out"
        };
        format!(
            "{judged} states judged, {} booted up to the mounted root, {} of them to the login and to another upgrade, in {} \
             minutes. The last state, with another sector in its root image, was {spoiled}.",
            sum(|it| it.bios + it.uefi),
            sum(|it| it.all_the_way),
            self.took.as_secs().div_ceil(60)
        )
    }

    /// Writes the table into the book.
    pub fn write_docs(&self, workspace: &Path) -> Result<()> {
        let text = format!("{}\n{}\n", self.table(), self.summary());
        book::write(workspace, MARKS, &text)
    }
}

impl fmt::Display for Boots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{}\n{}", self.table(), self.summary())?;
        for line in &self.trouble {
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}
