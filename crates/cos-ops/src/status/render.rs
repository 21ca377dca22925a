//! The screen.

use super::{FloorPlace, FloorStatus, SnapshotStatus, Standing, Status};
use crate::build::sizes::Bytes;
use crate::machine::Mode;
use std::fmt;
use time::OffsetDateTime;

/// Most lines of a failed boot's journal that are shown.
const JOURNAL_LINES: usize = 12;

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.well {
            "is well"
        } else {
            "needs attention"
        };
        writeln!(f, "This machine {verdict}.")?;
        for problem in &self.problems {
            writeln!(f, "  ! {problem}")?;
        }
        let good = match (self.running.good, self.running.mode) {
            (Some(true), _) => ", this boot is good",
            (_, Mode::Active | Mode::Passive) => ", this boot is not yet known to be good",
            _ => "",
        };
        let (mode, id) = (self.running.mode.name(), &self.running.snapshot);
        writeln!(f, "\nruns       {id} ({mode}{good})")?;
        writeln!(f, "boots next {}", self.next_boot)?;
        for snapshot in &self.snapshots {
            let role = if snapshot.active { "active" } else { "passive" };
            write_snapshot(f, role, snapshot)?;
        }
        if let Some(id) = &self.staged {
            writeln!(f, "staged     {id}: `cos upgrade --apply` makes it boot")?;
        }
        if let Some(snapshot) = &self.recovery {
            write_snapshot(f, "recovery", snapshot)?;
        }
        if let Some(floor) = &self.version_floor {
            writeln!(f, "floor      {floor}")?;
        }
        for usage in &self.disk {
            let (free, size) = (Bytes(usage.free).to_string(), Bytes(usage.size).to_string());
            writeln!(f, "space      {:<14} {free} of {size} free", usage.name)?;
        }
        if let Some(health) = &self.health {
            let failed = health.failures.len();
            writeln!(f, "health     {} checks, {failed} failed", health.checks)?;
        }
        let stages: Vec<String> = self
            .stages
            .iter()
            .map(|stage| match stage.failed {
                0 => stage.stage.clone(),
                failed => format!("{} ({failed} failed)", stage.stage),
            })
            .collect();
        writeln!(f, "stages     {}", stages.join(", "))?;
        let journal = self.fallback.iter().flat_map(|it| &it.journal);
        let lines: Vec<&String> = journal.collect();
        if !lines.is_empty() {
            writeln!(f, "\nThe end of the failed boot's journal:")?;
            let skipped = lines.len().saturating_sub(JOURNAL_LINES);
            for line in &lines[skipped..] {
                writeln!(f, "  {line}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for FloorStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self.place {
            FloorPlace::File => "",
            FloorPlace::Tpm => ", in step with the TPM",
        };
        write!(f, "version {}{place}", self.version)
    }
}

fn write_snapshot(
    f: &mut fmt::Formatter<'_>,
    role: &str,
    snapshot: &SnapshotStatus,
) -> fmt::Result {
    let mut marks = vec![match snapshot.standing {
        Standing::Good => "good".to_owned(),
        Standing::Failed => "failed".to_owned(),
        Standing::Trial => {
            let [used, limit] = snapshot.tries;
            format!("on trial, {used} of {limit} tries used")
        }
    }];
    for (is, word) in [
        (snapshot.pinned, "pinned"),
        (snapshot.modified_locally, "modified locally"),
        (!snapshot.whole, "incomplete"),
    ] {
        if is {
            marks.push(word.to_owned());
        }
    }
    let source = snapshot.source.as_deref().unwrap_or("of unknown origin");
    writeln!(
        f,
        "{role:<10} {} {source} ({})",
        snapshot.id,
        marks.join(", ")
    )?;
    if let Some(digest) = &snapshot.digest {
        writeln!(f, "           {digest}")?;
    }
    if let Some(verified) = &snapshot.verified {
        writeln!(f, "           {verified}")?;
    }
    let made = snapshot
        .date
        .and_then(|date| OffsetDateTime::from_unix_timestamp(date).ok());
    let size = Bytes(snapshot.bytes);
    match made {
        Some(made) => writeln!(f, "           made {} {}, {size}", made.date(), made.time()),
        None => writeln!(f, "           {size}"),
    }
}
