//! What can go wrong in a step.

use cos_sys::root_path::RootPathError;
use cos_sys::tool::ToolError;
use cos_template::TemplateError;
use std::io;
use std::path::PathBuf;

/// Why a key of a step had not its whole effect.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// A value that cannot be used.
    #[error("{0}")]
    Value(String),
    /// A template.
    #[error("cannot fill in the template {name}")]
    Template {
        /// What the template is for.
        name: String,
        /// Why.
        source: TemplateError,
    },
    /// A file or directory.
    #[error("cannot make {what}")]
    Path {
        /// What was to be made, with its path.
        what: String,
        /// Why.
        source: RootPathError,
    },
    /// A command ended badly.
    #[error("{command}: {status}")]
    Command {
        /// The command, shortened.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
    },
    /// A program could not be started.
    #[error("cannot run {program}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// A program is missing.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// A program of the root is missing.
    #[error("{program} is not in this system; install the package {package} in the image")]
    Missing {
        /// The program.
        program: &'static str,
        /// The package that brings it.
        package: &'static str,
    },
    /// The kernel refused.
    #[error("cannot {action}")]
    Kernel {
        /// What was to be done.
        action: String,
        /// Why.
        source: io::Error,
    },
    /// Something could not be fetched.
    #[error("cannot fetch {what}")]
    Fetch {
        /// What.
        what: String,
        /// Why.
        source: cos_http::HttpError,
    },
    /// The user database.
    #[error("cannot change the account {name}")]
    Account {
        /// User or group.
        name: String,
        /// Why.
        source: cos_accounts::AccountsError,
    },
    /// The user database as a whole.
    #[error("cannot use the user database")]
    Accounts {
        /// Why.
        source: cos_accounts::AccountsError,
    },
    /// No user-data.
    #[error("no user-data")]
    Datasource {
        /// Why.
        source: cos_datasource::DatasourceError,
    },
    /// The partitions of a disk.
    #[error("cannot lay out the disk")]
    Layout {
        /// Why.
        source: cos_disk::live::LayoutError,
    },
    /// An image could not be unpacked.
    #[error("cannot unpack {image} into {}", .target.display())]
    Unpack {
        /// The image.
        image: String,
        /// The directory.
        target: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
