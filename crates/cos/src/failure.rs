//! From errors to exit codes.

use cos_ops::feature::FeatureError;
use cos_ops::init::InitError;
use cos_ops::install::InstallError;
use cos_ops::reset::ResetError;
use cos_ops::stage::StageOperationError;
use cos_ops::{ErrorKind, OpsError};
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
    /// The user is not root.
    NotRoot,
    /// Another operation changes the machine.
    Busy(Busy),
    /// A stage could not be run at all.
    Stage(StageOperationError),
    /// A feature could not be switched.
    Feature(FeatureError),
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

/// A user other than root changes no machine.
#[derive(Debug)]
struct NotRoot;

impl std::fmt::Display for NotRoot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("only root can do this")
    }
}

impl std::error::Error for NotRoot {}

/// Another operation is at work: which one.
#[derive(Debug)]
pub(crate) struct Busy(pub(crate) String);

impl std::fmt::Display for Busy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "another operation is at work: {}", self.0)
    }
}

impl std::error::Error for Busy {}

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
            Self::NotRoot => &NotRoot,
            Self::Busy(error) => error,
            Self::Stage(error) => error,
            Self::Feature(error) => error,
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
            Self::NotRoot => Some("run it with sudo, or as root".to_owned()),
            Self::Busy(_) => Some("wait until it has ended".to_owned()),
            Self::Feature(error) => error.hint(),
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
            Self::Argument { .. } | Self::Feature(FeatureError::Unknown { .. }) => 2,
            Self::Operation(error) => code_of(error.kind()),
            Self::Install(error) => code_of(error.kind()),
            Self::Reset(error) => code_of(error.kind()),
            Self::Init(InitError::Cancelled(_)) => 130,
            Self::Init(_) | Self::Stage(_) | Self::Feature(_) | Self::NotRoot | Self::Busy(_) => 4,
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
    }
}
