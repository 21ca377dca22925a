//! Running a stage: every step in its order, every failure told, none of them the end.

use crate::actions;
use crate::condition;
use crate::context::{Context, Host};
use crate::diagnostic::{Diagnostic, Severity};
use crate::document::Loaded;
use crate::error::{StepError, chain};
use crate::facts::Facts;
use crate::plan::{self, PlannedStep};
use crate::shell::Shell;
use crate::summary::{Failure, StepResult, StepSummary, Summary};
use cos_sys::root_path::{Root, RootPathError};
use cos_template::{Limits, Templates};
use std::time::Instant;

/// Why a stage could not be run at all.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The root.
    #[error("cannot use the root directory")]
    Root {
        /// Why.
        source: RootPathError,
    },
}

/// What a key's action tells of itself.
pub(crate) struct Report<'s> {
    summary: &'s mut StepSummary,
    key: &'static str,
}

/// How much output of one step is kept, in bytes: its end.
const OUTPUT: usize = 8 << 10;

impl Report<'_> {
    /// The key whose action runs now.
    pub(crate) fn key(&mut self, key: &'static str) {
        self.key = key;
    }

    pub(crate) fn failed(&mut self, error: &StepError) {
        self.summary.failures.push(Failure {
            key: self.key.to_owned(),
            message: chain(error),
        });
    }

    /// Takes a result, and its error for one of the step's.
    pub(crate) fn take<T>(&mut self, result: Result<T, StepError>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.failed(&error);
                None
            }
        }
    }

    /// A document that was not there when this stage's documents were read.
    pub(crate) fn brought(&mut self, document: String) {
        self.summary.brought.push(document);
    }

    pub(crate) fn warn(&mut self, message: impl Into<String>) {
        self.summary.warnings.push(message.into());
    }

    /// Keeps the end of what a command said.
    pub(crate) fn output(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        let output = &mut self.summary.output;
        output.push_str(text);
        output.push('\n');
        let mut over = output.len().saturating_sub(OUTPUT);
        while !output.is_char_boundary(over) {
            over += 1;
        }
        output.drain(..over);
    }
}

/// What the parts of a stage would do, with the reason of each step left out, changing nothing. Shell
/// conditions (`if`) are run to know.
pub fn preview(
    loaded: &Loaded,
    parts: &[String],
    host: &Host<'_>,
    summary: &mut Summary,
) -> Result<(), StageError> {
    each_step(loaded, parts, host, summary, &mut |_, _, _| {})
}

/// Runs parts of a stage: the stage itself, its `.before`, its `.after`.
pub fn run(
    loaded: &Loaded,
    parts: &[String],
    host: &Host<'_>,
    summary: &mut Summary,
) -> Result<(), StageError> {
    each_step(
        loaded,
        parts,
        host,
        summary,
        &mut |planned, context, summary| {
            let mut report = Report { summary, key: "" };
            actions::run(planned.step, context, &mut report);
            summary.result = if summary.failures.is_empty() {
                StepResult::Done
            } else {
                StepResult::Failed
            };
        },
    )
}

type Act<'a> = dyn FnMut(&PlannedStep<'_>, &Context<'_>, &mut StepSummary) + 'a;

fn each_step(
    loaded: &Loaded,
    parts: &[String],
    host: &Host<'_>,
    summary: &mut Summary,
    act: &mut Act<'_>,
) -> Result<(), StageError> {
    let started = Instant::now();
    let root = Root::open(&host.root).map_err(|source| StageError::Root { source })?;
    let templates = Templates::new(
        host.environment.iter().cloned().collect(),
        Limits::default(),
    );
    let probed = Facts::probe(&root);
    summary.findings.clone_from(&loaded.diagnostics);
    for part in parts {
        let plan = plan::plan(&loaded.documents, part);
        summary.warnings.extend(plan.warnings);
        let refused = plan.refused.map(|refused| refused.to_string());
        summary.errors.extend(refused);
        for planned in &plan.steps {
            if host.monitor.checkpoint().is_err() {
                summary.errors.push("stopped before the end".into());
                summary.duration_ms += millis(started);
                return Ok(());
            }
            // Steps change what the next ones are judged by.
            let facts = probed.again(&root);
            let context = Context {
                host,
                root: &root,
                facts: &facts,
                shell: Shell::new(&host.root),
                templates: &templates,
            };
            summary.steps.push(one_step(planned, &context, act));
        }
    }
    summary.duration_ms += millis(started);
    Ok(())
}

fn one_step(planned: &PlannedStep<'_>, context: &Context<'_>, act: &mut Act<'_>) -> StepSummary {
    let started = Instant::now();
    let mut summary = StepSummary {
        step: planned.id.clone(),
        stage: planned.stage.clone(),
        source: planned.source.to_owned(),
        line: planned.at.line,
        result: StepResult::Planned,
        reason: None,
        duration_ms: 0,
        failures: Vec::new(),
        warnings: Vec::new(),
        output: String::new(),
        brought: Vec::new(),
    };
    match condition::skipped_because(&planned.step.step, context) {
        Some(reason) => {
            summary.result = StepResult::Skipped;
            summary.reason = Some(reason);
        }
        None => act(planned, context, &mut summary),
    }
    summary.duration_ms = millis(started);
    summary
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Whether findings alone make a stage fail.
pub(crate) fn any_errors(diagnostics: &[Diagnostic]) -> bool {
    diagnostics
        .iter()
        .any(|finding| finding.severity == Severity::Error)
}
