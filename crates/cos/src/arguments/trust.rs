//! The arguments that say which images may run, and those of `cos verify`, `cos sign` and `cos keys`.

use super::RegistryArguments;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Which images this machine may run.
#[derive(Debug, Clone, Args)]
pub(crate) struct TrustArguments {
    /// Take this file alone for the policy, and not /etc/cos/policy.yaml and /etc/cos/policy.d.
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// This once, accept an image that is not signed as the policy wants it; `cos status` will say so.
    #[arg(long)]
    pub(crate) allow_unsigned: bool,
    /// This once, accept signatures that have expired.
    #[arg(long)]
    pub(crate) allow_stale: bool,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// The image; see `cos help` for its forms.
    pub(crate) source: String,
    /// Take this file alone for the policy, and not /etc/cos/policy.yaml and /etc/cos/policy.d.
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// Accept signatures that have expired.
    #[arg(long)]
    pub(crate) allow_stale: bool,
    #[command(flatten)]
    pub(crate) registry: RegistryArguments,
}

/// How a signature is put beside an image.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Format {
    /// Under cosign's tag, which every cosign finds.
    Tag,
    /// As a sigstore bundle among the image's referrers, as cosign does from version 3 on.
    Bundle,
}

#[derive(Debug, Args)]
pub(crate) struct SignArguments {
    /// The image in its registry. What it names now is signed, by its digest.
    pub(crate) image: String,
    /// The private key: ECDSA P-256, PKCS#8, as `cos keys generate-signing` makes it.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// Until when this is the newest image that machines should be shown: 30d, 12h, or a time as
    /// 2030-01-31T00:00:00Z. Machines take it for old after that, unless it is signed anew.
    #[arg(long, value_name = "WHEN")]
    pub(crate) expires: Option<String>,
    /// Sign this too. May be repeated.
    #[arg(long, short, value_name = "NAME=VALUE")]
    pub(crate) annotation: Vec<String>,
    /// How the signature is put beside the image.
    #[arg(long, value_enum, default_value_t = Format::Tag)]
    pub(crate) format: Format,
    #[command(flatten)]
    pub(crate) registry: RegistryArguments,
}

#[derive(Debug, Args)]
pub(crate) struct GenerateSigningArguments {
    /// The files' name without its end.
    #[arg(long, short, value_name = "PREFIX", default_value = "signing")]
    pub(crate) output: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Say whether the policy of this machine, or a file, is one, and list its rules.
    Check {
        /// The file [default: /etc/cos/policy.yaml and /etc/cos/policy.d].
        file: Option<PathBuf>,
    },
    /// Print the JSON Schema of policy files, for editors.
    Schema,
}
