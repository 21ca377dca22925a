//! What came of a stage: for people, for `cos status`, and kept in `/run/cos/stages/STAGE.json`.

use crate::diagnostic::Diagnostic;
use crate::run::any_errors;
use cos_sys::root_path::{Root, RootPathError};
use serde::Serialize;
use std::fmt;
use std::path::Path;

/// Where summaries are kept, one file a stage.
pub const DIRECTORY: &str = "/run/cos/stages";

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StepResult {
    /// It would run.
    Planned,
    /// It ran, and nothing failed.
    Done,
    /// It ran, and something in it failed.
    Failed,
    /// A condition kept it from running.
    Skipped,
}

/// Something in a step that failed.
#[derive(Debug, Clone, Serialize)]
pub struct Failure {
    /// The key.
    pub key: String,
    /// What happened.
    pub message: String,
}

/// What came of a step.
#[derive(Debug, Clone, Serialize)]
pub struct StepSummary {
    /// Its name, `DOCUMENT.STEP`.
    pub step: String,
    /// Its stage, `.before` or `.after` included.
    pub stage: String,
    /// The file, URL or other name of where it comes from.
    pub source: String,
    /// The line in it.
    pub line: usize,
    /// What became of it.
    pub result: StepResult,
    /// Why it was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Milliseconds it took.
    pub duration_ms: u64,
    /// What failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<Failure>,
    /// What did not stop it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The end of what its commands said.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub output: String,
    /// Documents it brought: user-data.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub brought: Vec<String>,
}

/// What came of a stage.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// The stage.
    pub stage: String,
    /// Milliseconds it took.
    pub duration_ms: u64,
    /// What was found in the documents.
    pub findings: Vec<Diagnostic>,
    /// What kept steps from being run in order.
    pub errors: Vec<String>,
    /// What may not be as meant.
    pub warnings: Vec<String>,
    /// The steps, in the order they ran.
    pub steps: Vec<StepSummary>,
}

impl Summary {
    /// An empty summary of a stage that is about to run.
    pub fn new(stage: &str) -> Self {
        Self {
            stage: stage.to_owned(),
            duration_ms: 0,
            findings: Vec::new(),
            errors: Vec::new(),
            warnings: Vec::new(),
            steps: Vec::new(),
        }
    }

    /// Whether anything failed.
    pub fn failed(&self) -> bool {
        any_errors(&self.findings) || !self.errors.is_empty() || self.count(StepResult::Failed) > 0
    }

    fn count(&self, result: StepResult) -> usize {
        self.steps
            .iter()
            .filter(|step| step.result == result)
            .count()
    }

    /// Keeps the summary in `/run/cos/stages` of `root`, for root alone: output may hold secrets.
    pub fn keep(&self, root: &Root) -> Result<(), RootPathError> {
        let name: String = self
            .stage
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || "-_.".contains(c) {
                    c
                } else {
                    '_'
                }
            })
            .collect();
        let path = Path::new(DIRECTORY).join(format!("{name}.json"));
        // A type of strings and numbers always serialises.
        let json = serde_json::to_vec_pretty(self).unwrap_or_default();
        let metadata = cos_sys::root_file::Metadata {
            mode: Some(0o600),
            ..Default::default()
        };
        root.write(&path, &json, &metadata)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        for error in &self.errors {
            writeln!(f, "error: {error}")?;
        }
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        for step in &self.steps {
            write_step(f, step)?;
        }
        let planned = self.count(StepResult::Planned);
        if planned > 0 || self.steps.is_empty() {
            let skipped = self.count(StepResult::Skipped);
            return writeln!(
                f,
                "stage {}: {planned} to run, {skipped} to skip",
                self.stage
            );
        }
        writeln!(
            f,
            "stage {}: {} done, {} failed, {} skipped in {}.{:03} s",
            self.stage,
            self.count(StepResult::Done),
            self.count(StepResult::Failed),
            self.count(StepResult::Skipped),
            self.duration_ms / 1000,
            self.duration_ms % 1000
        )
    }
}

fn write_step(f: &mut fmt::Formatter<'_>, step: &StepSummary) -> fmt::Result {
    let word = match step.result {
        StepResult::Planned => "run ",
        StepResult::Done => "done",
        StepResult::Failed => "FAIL",
        StepResult::Skipped => "skip",
    };
    writeln!(
        f,
        "{word}  {:<16} {}  ({}:{})",
        step.stage, step.step, step.source, step.line
    )?;
    if let Some(reason) = &step.reason {
        writeln!(f, "      because {reason}")?;
    }
    for warning in &step.warnings {
        writeln!(f, "      warning: {warning}")?;
    }
    for failure in &step.failures {
        writeln!(f, "      {}: {}", failure.key, failure.message)?;
    }
    if step.result == StepResult::Failed {
        for line in step.output.lines() {
            writeln!(f, "      | {line}")?;
        }
    }
    Ok(())
}
