//! Verbs for the machine that `cos` runs on.

use super::RegistryArguments;
use super::trust::TrustArguments;
use clap::{Args, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct UpgradeArguments {
    /// The image [default: what this machine follows: see `cos switch` and /etc/cos/config.yaml].
    pub(crate) source: Option<String>,
    #[command(flatten)]
    pub(crate) options: UpgradeOptions,
}

#[derive(Debug, Args)]
pub(crate) struct SwitchArguments {
    /// The image to follow.
    pub(crate) source: String,
    #[command(flatten)]
    pub(crate) options: UpgradeOptions,
}

/// What `cos upgrade` and `cos switch` share.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
#[derive(Debug, Args)]
pub(crate) struct UpgradeOptions {
    /// Take the highest version among the tags of the image's repository that this rule allows, such
    /// as ">=1.2, <2".
    #[arg(long, value_name = "RULE")]
    pub(crate) version_rule: Option<String>,
    /// Upgrade the recovery system instead.
    #[arg(long)]
    pub(crate) recovery: bool,
    /// Only say whether there is something new.
    #[arg(long, conflicts_with_all = ["download_only", "apply", "reboot"])]
    pub(crate) check: bool,
    /// Prepare the new snapshot, and leave it to --apply to make it boot.
    #[arg(long, conflicts_with_all = ["apply", "reboot"])]
    pub(crate) download_only: bool,
    /// Make the snapshot boot that --download-only prepared.
    #[arg(long)]
    pub(crate) apply: bool,
    /// Reboot into the new snapshot at once.
    #[arg(long)]
    pub(crate) reboot: bool,
    /// Also deploy what runs already, or what failed before.
    #[arg(long)]
    pub(crate) force: bool,
    /// Also deploy an image of a lower version than one that was good on this machine.
    #[arg(long)]
    pub(crate) allow_downgrade: bool,
    #[command(flatten)]
    pub(crate) trust: TrustArguments,
    #[command(flatten)]
    pub(crate) registry: RegistryArguments,
    /// Keep temporary data here [default: on COS_PERSISTENT or COS_STATE, where there is more room].
    #[arg(long, value_name = "DIR")]
    pub(crate) temp_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct RollbackArguments {
    /// The snapshot to go back to, or the beginning of its name [default: the one before].
    #[arg(long, value_name = "ID")]
    pub(crate) to: Option<String>,
    /// Reboot into it at once.
    #[arg(long)]
    pub(crate) reboot: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SnapshotArguments {
    /// The snapshot, or the beginning of its name.
    pub(crate) id: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BootCommand {
    /// Boot something once, at the next boot.
    Once {
        /// recovery, a snapshot or the beginning of its name, or none to take that back.
        what: String,
        /// Reboot at once.
        #[arg(long)]
        reboot: bool,
    },
    #[command(flatten)]
    Assess(super::AssessCommand),
}

#[derive(Debug, Args)]
pub(crate) struct StatusArguments {
    /// Print the JSON Schema of `cos status --json` instead.
    #[arg(long)]
    pub(crate) schema: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SucArguments {
    /// Where the machine's root is mounted.
    #[arg(long, value_name = "DIR", default_value = "/host")]
    pub(crate) host: PathBuf,
    /// Arguments of `cos upgrade` on the machine; without an image among them, this container's own root
    /// becomes the new system, unless its os-release is the one that runs already.
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGS"
    )]
    pub(crate) upgrade: Vec<OsString>,
}
