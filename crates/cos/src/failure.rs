//! From errors to exit codes.

use cos_config::ConfigError;
use cos_ops::feature::FeatureError;
use cos_ops::init::InitError;
use cos_ops::install::InstallError;
use cos_ops::reset::ResetError;
use cos_ops::stage::StageOperationError;
use cos_ops::{ErrorKind, OpsError};
use cos_sys::tool::ToolError;
use std::io;
use std::process::ExitCode;

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An argument that parses, and cannot be used.
    Argument {
        error: Box<dyn std::error::Error>,
        hint: Option<String>,
    },
    /// The operation failed.
    Operation(OpsError),
    /// Preparing an image failed.
    Init(InitError),
    /// Installing failed.
    Install(InstallError),
    /// Resetting failed.
    Reset(ResetError),
    /// A stage could not be run at all.
    Stage(StageOperationError),
    /// A feature could not be switched.
    Feature(FeatureError),
    /// The configuration cannot be used.
    Config(ConfigError),
    /// The machine could not be rebooted or powered off.
    Power(ToolError),
    /// The result could not be printed.
    Output(io::Error),
}

impl From<OpsError> for Failure {
    fn from(error: OpsError) -> Self {
        Self::Operation(error)
    }
}

impl From<InstallError> for Failure {
    fn from(error: InstallError) -> Self {
        Self::Install(error)
    }
}

impl From<ResetError> for Failure {
    fn from(error: ResetError) -> Self {
        Self::Reset(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl Failure {
    pub(crate) fn error(&self) -> &dyn std::error::Error {
        match self {
            Self::Argument { error, .. } => error.as_ref(),
            Self::Operation(error) => error,
            Self::Init(error) => error,
            Self::Install(error) => error,
            Self::Reset(error) => error,
            Self::Stage(error) => error,
            Self::Feature(error) => error,
            Self::Config(error) => error,
            Self::Power(error) => error,
            Self::Output(error) => error,
        }
    }

    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Argument { hint, .. } => hint.clone(),
            Self::Operation(error) => error.hint(),
            Self::Init(error) => error.hint(),
            Self::Install(error) => error.hint(),
            Self::Reset(error) => error.hint(),
            Self::Feature(error) => error.hint(),
            Self::Config(error) => error.hint(),
            Self::Power(error) => error.hint(),
            Self::Stage(_) | Self::Output(_) => None,
        }
    }

    /// Whether only the reader of our output went away, as `head` does.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// As `docs/src/reference/exit-codes.md` lists them.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Argument { .. }
            | Self::Config(_)
            | Self::Feature(FeatureError::Unknown { .. }) => 2,
            Self::Operation(error) => code_of(error.kind()),
            Self::Install(error) => code_of(error.kind()),
            Self::Reset(error) => code_of(error.kind()),
            Self::Init(InitError::Cancelled(_)) => 130,
            Self::Init(_) | Self::Stage(_) | Self::Feature(_) | Self::Power(_) => 4,
            Self::Output(_) => 1,
        })
    }
}

fn code_of(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Request => 2,
        ErrorKind::Image => 3,
        ErrorKind::Host => 4,
        ErrorKind::Cancelled => 130,
        ErrorKind::Busy => 7,
        ErrorKind::FailedBefore => 8,
        ErrorKind::Refused => 10,
    }
}
