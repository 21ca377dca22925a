//! What an installation would do, for people and for programs.

use super::existing::Existing;
use super::{InstallRequest, Prepared, Target, refusal};
use crate::build::plan::{DiskDescription, DiskPlan};
use crate::build::sizes::Bytes;
use cos_disk::live::{Survey, SurveyedPartition, WholeContent};
use cos_store::Snapshot;
use serde::Serialize;
use std::fmt::{self, Write as _};
use std::path::PathBuf;

/// An installation, planned or done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InstallResult {
    /// The disk.
    pub device: PathBuf,
    /// Whether nothing was written.
    pub dry_run: bool,
    /// The snapshot on it.
    pub snapshot: Snapshot,
    /// What was on the disk.
    pub before: Present,
    /// Its partitions from now on; absent when those that are there are taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskDescription>,
    /// Whether everything that was on the disk is lost.
    pub erases: bool,
    /// Boot loaders: `bios`, `efi`.
    pub loaders: Vec<&'static str>,
    #[serde(skip)]
    text: String,
}

/// A disk as it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Present {
    /// Bytes in all.
    pub size: u64,
    /// What was on it, in words.
    pub content: String,
    /// Its partitions.
    pub partitions: Vec<PresentPartition>,
}

/// A partition as it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PresentPartition {
    /// Position in the partition table, from 1.
    pub number: u32,
    /// Name in the partition table.
    pub name: String,
    /// Label of the file system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What is on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filesystem: Option<&'static str>,
    /// First byte on the disk.
    pub start: u64,
    /// Length in bytes.
    pub size: u64,
}

impl Present {
    fn of(survey: &Survey) -> Self {
        let partition = |found: &SurveyedPartition| PresentPartition {
            number: found.number,
            name: found.name.clone(),
            label: found.content.as_ref().and_then(|it| it.label.clone()),
            filesystem: found.content.as_ref().map(|it| it.kind),
            start: found.start,
            size: found.size,
        };
        let partitions = match &survey.content {
            WholeContent::Partitions(partitions) => partitions.iter().map(partition).collect(),
            _ => Vec::new(),
        };
        Self {
            size: survey.size,
            content: refusal::describe(&survey.content),
            partitions,
        }
    }
}

impl fmt::Display for InstallResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The result of a prepared installation.
pub(super) fn result(
    request: &InstallRequest,
    prepared: &Prepared,
    dry_run: bool,
) -> InstallResult {
    let payload = &prepared.payload;
    let loaders = [
        ("bios", payload.bios.is_some()),
        ("efi", !payload.efi.is_empty()),
    ];
    let mut result = InstallResult {
        device: request.device.clone(),
        dry_run,
        snapshot: payload.snapshot.clone(),
        before: Present::of(&prepared.survey),
        disk: match &prepared.target {
            Target::New(plan) => Some(plan.describe()),
            Target::Existing(_) => None,
        },
        erases: matches!(prepared.target, Target::New(_)),
        loaders: loaders
            .into_iter()
            .filter_map(|(name, is_there)| is_there.then_some(name))
            .collect(),
        text: String::new(),
    };
    // Writing to a String cannot fail.
    let _infallible = match &prepared.target {
        Target::New(plan) => describe_new(&mut result, plan),
        Target::Existing(existing) => describe_existing(&mut result, existing),
    };
    result
}

fn describe_new(result: &mut InstallResult, plan: &DiskPlan) -> fmt::Result {
    let mut text = String::new();
    describe_before(&mut text, result)?;
    let is_blank = result.before.content == "nothing";
    let (will, lost) = if result.dry_run {
        ("will have", "Everything on it will be lost.")
    } else {
        ("has", "What was on it is lost.")
    };
    writeln!(text, "It {will}:\n{plan}")?;
    if !is_blank {
        writeln!(text, "{lost}")?;
    }
    describe_snapshot(&mut text, result)?;
    result.text = text;
    Ok(())
}

fn describe_existing(result: &mut InstallResult, existing: &Existing) -> fmt::Result {
    let mut text = String::new();
    describe_before(&mut text, result)?;
    writeln!(
        text,
        "Its partitions and file systems stay; written to: {existing}."
    )?;
    describe_snapshot(&mut text, result)?;
    result.text = text;
    Ok(())
}

fn describe_before(text: &mut String, result: &InstallResult) -> fmt::Result {
    let before = &result.before;
    let (device, size) = (result.device.display(), Bytes(before.size));
    if before.partitions.is_empty() {
        return writeln!(text, "{device} ({size}) held {}.\n", before.content);
    }
    writeln!(text, "{device} ({size}) held:")?;
    for partition in &before.partitions {
        let label = partition.label.as_deref().unwrap_or("-");
        let (start, size) = (Bytes(partition.start), Bytes(partition.size));
        let (start, size) = (start.to_string(), size.to_string());
        writeln!(
            text,
            "{:>2}  {:<10}  {label:<14}  {start:>10}  {size:>10}  {}",
            partition.number,
            partition.name,
            partition.filesystem.unwrap_or("-")
        )?;
    }
    writeln!(text)
}

fn describe_snapshot(text: &mut String, result: &InstallResult) -> fmt::Result {
    let snapshot = &result.snapshot;
    let modified = if snapshot.modified_locally {
        ", modified locally"
    } else {
        ""
    };
    writeln!(
        text,
        "snapshot {} of {}{modified}, boots by {}\nroot hash: {}",
        snapshot.id,
        snapshot.source,
        result.loaders.join(" and "),
        snapshot.root_hash
    )
}
