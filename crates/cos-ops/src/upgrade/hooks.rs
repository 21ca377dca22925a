//! Stages of cloud-config that run in an operation: `before-upgrade`, `after-upgrade-chroot`,
//! `after-upgrade`, `post-upgrade`, and those of the other operations alike.

use crate::OpsError;
use crate::stage::{self, StageRequest};
use cos_events::{Monitor, warn};
use cos_stages::{StepResult, Summary};
use std::path::Path;

/// When in an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before anything is written.
    Before,
    /// Inside the new root, before it is what it will be.
    AfterChroot,
    /// Before the commit.
    After,
    /// After the commit.
    Post,
}

impl Moment {
    /// The stage of this moment in an operation.
    pub fn stage(self, operation: &str) -> String {
        match self {
            Self::Before => format!("before-{operation}"),
            Self::AfterChroot => format!("after-{operation}-chroot"),
            Self::After => format!("after-{operation}"),
            Self::Post => format!("post-{operation}"),
        }
    }
}

/// What runs the hooks of an operation.
pub trait Hooks {
    /// Runs the hooks of a moment, in the system at `root` where one is given. A failing hook is an
    /// error: it stops an operation that is not committed yet.
    fn run(
        &self,
        operation: &str,
        moment: Moment,
        root: Option<&Path>,
        monitor: &dyn Monitor,
    ) -> Result<(), OpsError>;

    /// Whether there is anything to run at a moment in the system at `root`.
    fn any(
        &self,
        operation: &str,
        moment: Moment,
        root: &Path,
        monitor: &dyn Monitor,
    ) -> Result<bool, OpsError>;

    /// Whether there never is anything to run.
    fn are_none(&self) -> bool {
        false
    }
}

/// No hooks.
#[derive(Debug, Clone, Copy)]
pub struct NoHooks;

impl Hooks for NoHooks {
    fn run(&self, _: &str, _: Moment, _: Option<&Path>, _: &dyn Monitor) -> Result<(), OpsError> {
        Ok(())
    }

    fn any(&self, _: &str, _: Moment, _: &Path, _: &dyn Monitor) -> Result<bool, OpsError> {
        Ok(false)
    }

    fn are_none(&self) -> bool {
        true
    }
}

/// Hooks are stages of the machine's cloud-config.
#[derive(Debug, Clone)]
pub struct StageHooks {
    /// How stages are run; which one and where is filled in.
    pub request: StageRequest,
}

impl StageHooks {
    fn request(&self, stage: &str, root: Option<&Path>) -> StageRequest {
        let mut request = self.request.clone();
        stage.clone_into(&mut request.stage);
        if let Some(root) = root {
            root.clone_into(&mut request.root);
            request.running = false;
        }
        request
    }
}

impl Hooks for StageHooks {
    fn run(
        &self,
        operation: &str,
        moment: Moment,
        root: Option<&Path>,
        monitor: &dyn Monitor,
    ) -> Result<(), OpsError> {
        let stage = moment.stage(operation);
        let failed = |source| OpsError::Hook {
            stage: stage.clone(),
            source: Box::new(source),
        };
        let summary = stage::run(&self.request(&stage, root), monitor).map_err(failed)?;
        for warning in &summary.warnings {
            warn(monitor, format!("{stage}: {warning}"));
        }
        if summary.failed() {
            return Err(OpsError::HookFailed {
                failures: failures(&summary),
                stage,
            });
        }
        Ok(())
    }

    fn any(
        &self,
        operation: &str,
        moment: Moment,
        root: &Path,
        monitor: &dyn Monitor,
    ) -> Result<bool, OpsError> {
        let stage = moment.stage(operation);
        let request = self.request(&stage, Some(root));
        let summary = stage::plan(&request, monitor).map_err(|source| OpsError::Hook {
            stage,
            source: Box::new(source),
        })?;
        let runs = |step: &cos_stages::StepSummary| step.result == StepResult::Planned;
        Ok(summary.steps.iter().any(runs))
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
