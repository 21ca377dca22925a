//! The arguments of `cos seal`.

use super::{FormatArguments, RegistryArguments};
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct SealArguments {
    /// The image in its registry. What it names now is sealed, by its digest.
    pub(crate) image: String,
    /// The directory with the keys of Secure Boot, as `cos keys generate` makes it.
    #[arg(long, value_name = "DIR")]
    pub(crate) keys: PathBuf,
    /// Sign what is published with this private key, as `cos sign` signs images. Machines whose policy wants
    /// images signed take no other.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Encrypt COS_OEM and COS_PERSISTENT, as `cos build disk --encrypt` does: for machines that were made so.
    #[arg(long)]
    pub(crate) encrypt: bool,
    /// Publish the root image too, for machines that make another one of the image.
    #[arg(long)]
    pub(crate) with_root: bool,
    /// Append to the kernel command line of the image.
    #[arg(long, value_name = "ARGS")]
    pub(crate) kernel_arguments: Option<String>,
    /// Architecture to take from a multi-platform image, as OCI names it [default: this machine's].
    #[arg(long, value_name = "ARCH")]
    pub(crate) arch: Option<String>,
    /// Refuse the image unless it is signed as this policy wants it.
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) format: FormatArguments,
    /// Keep temporary data here [default: TMPDIR, or /tmp].
    #[arg(long, value_name = "DIR")]
    pub(crate) temp_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) registry: RegistryArguments,
}
