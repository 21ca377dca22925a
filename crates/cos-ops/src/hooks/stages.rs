//! Hooks that are stages of the machine's cloud-config: `before-upgrade`, `after-upgrade-chroot`,
//! `after-upgrade`, `post-upgrade`, and those of the other operations alike.

use super::chroot;
use super::{HookError, Hooks, NewRoot, RootImage};
use crate::stage::{self, StageOperationError, StageRequest};
use cos_events::{Monitor, warn};
use cos_stages::{StepResult, Summary};
use std::path::Path;

/// A hook that ran and failed.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("; "))]
struct StepsFailed(Vec<String>);

/// Hooks are stages of the machine's cloud-config.
pub struct StageHooks<'h> {
    /// The operation: `upgrade`.
    pub operation: String,
    /// How stages are run; which one and where is filled in.
    pub request: StageRequest,
    /// Worker threads for a root image that is made anew.
    pub threads: usize,
    /// Takes the events.
    pub monitor: &'h dyn Monitor,
}

impl std::fmt::Debug for StageHooks<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StageHooks")
            .field("operation", &self.operation)
            .finish_non_exhaustive()
    }
}

impl StageHooks<'_> {
    fn request(&self, stage: &str, root: Option<&Path>) -> StageRequest {
        let mut request = self.request.clone();
        stage.clone_into(&mut request.stage);
        if let Some(root) = root {
            root.clone_into(&mut request.root);
            request.running = false;
        }
        request
    }

    fn run(&self, stage: &str, root: Option<&Path>) -> Result<(), HookError> {
        let summary = stage::run(&self.request(stage, root), self.monitor)?;
        for warning in &summary.warnings {
            warn(self.monitor, format!("{stage}: {warning}"));
        }
        if summary.failed() {
            return Err(Box::new(StepsFailed(failures(&summary))));
        }
        Ok(())
    }

    /// Whether a stage has anything to run in the system at `root`.
    fn has(&self, stage: &str, root: &Path) -> Result<bool, StageOperationError> {
        let summary = stage::plan(&self.request(stage, Some(root)), self.monitor)?;
        let runs = |step: &cos_stages::StepSummary| step.result == StepResult::Planned;
        Ok(summary.steps.iter().any(runs))
    }
}

impl Hooks for StageHooks<'_> {
    fn before(&self) -> Result<(), HookError> {
        self.run(&format!("before-{}", self.operation), None)
    }

    fn after_chroot(&self, root: &RootImage<'_>) -> Result<Option<NewRoot>, HookError> {
        let stage = format!("after-{}-chroot", self.operation);
        chroot::changed(root, self.threads, self.monitor, |merged| {
            // The documents of the new image count too.
            if self.has(&stage, merged)? {
                self.run(&stage, Some(merged))?;
            }
            Ok(())
        })
    }

    fn after(&self) -> Result<(), HookError> {
        self.run(&format!("after-{}", self.operation), None)
    }

    fn post(&self) -> Result<(), HookError> {
        self.run(&format!("post-{}", self.operation), None)
    }
}

/// What failed, for people: step, key and message.
fn failures(summary: &Summary) -> Vec<String> {
    let steps = summary.steps.iter().flat_map(|step| {
        let each = step.failures.iter();
        each.map(move |failure| format!("{}: {}: {}", step.step, failure.key, failure.message))
    });
    summary.errors.iter().cloned().chain(steps).collect()
}
