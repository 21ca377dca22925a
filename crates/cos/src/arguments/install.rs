//! The arguments of `cos install` and `cos reset`.

use super::trust::TrustArguments;
use super::{FormatArguments, RegistryArguments, SourceArguments};
use clap::Args;
use std::path::PathBuf;

/// An image in the place of the system that runs, and how to get at it.
#[derive(Debug, Args)]
pub(crate) struct ImageArguments {
    /// Take this image and not the system that runs; see `cos help` for its forms.
    #[arg(long, value_name = "SOURCE")]
    pub(crate) image: Option<String>,
    #[command(flatten)]
    pub(crate) registry: RegistryArguments,
    #[command(flatten)]
    pub(crate) trust: TrustArguments,
    /// Keep temporary data here.
    #[arg(long, value_name = "DIR", default_value = "/var/tmp")]
    pub(crate) temp_dir: PathBuf,
    #[command(flatten)]
    pub(crate) format: FormatArguments,
}

impl ImageArguments {
    /// The same for an image from `source`, as the commands that build media take it.
    pub(crate) fn source(&self, source: &str) -> SourceArguments {
        SourceArguments {
            source: source.to_owned(),
            arch: None,
            overlay: Vec::new(),
            registry: self.registry.clone(),
            policy: None,
            temp_dir: Some(self.temp_dir.clone()),
        }
    }
}

/// What happens to the machine when all is done.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct AfterwardsArguments {
    /// Restart the machine when all is done.
    #[arg(long, conflicts_with = "poweroff")]
    pub(crate) reboot: bool,
    /// Switch the machine off when all is done.
    #[arg(long)]
    pub(crate) poweroff: bool,
}

#[derive(Debug, Args)]
pub(crate) struct InstallArguments {
    /// The disk, such as /dev/vda. Without it, the disks are listed, and a terminal is asked.
    pub(crate) device: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) image: ImageArguments,
    /// Read what is not said here from this file (YAML).
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Put this cloud-config on COS_OEM: a file, or an http or https URL. May be repeated.
    #[arg(long, value_name = "FILE|URL")]
    pub(crate) cloud_config: Vec<String>,
    /// Size of one partition (efi, oem, recovery, state, persistent), such as state=8GiB. May be repeated.
    #[arg(long, value_name = "NAME=SIZE")]
    pub(crate) partition: Vec<String>,
    /// One more partition in front of persistent: data=10GiB, data=10GiB:xfs or data=10GiB:xfs:LABEL;
    /// ext4, xfs, btrfs, vfat or swap. May be repeated.
    #[arg(long, value_name = "NAME=SIZE[:FS[:LABEL]]")]
    pub(crate) extra_partition: Vec<String>,
    /// File system of persistent: ext4, xfs or btrfs.
    #[arg(long, value_name = "persistent=FS")]
    pub(crate) filesystem: Vec<String>,
    /// Keep the partitions and file systems that are there; found by name or label.
    #[arg(long, conflicts_with_all = ["partition", "extra_partition", "filesystem"])]
    pub(crate) no_format: bool,
    /// Which boot loaders: auto (all that the image brings), bios or efi.
    #[arg(long, value_name = "FIRMWARE")]
    pub(crate) firmware: Option<String>,
    /// Append to the kernel command line of the image.
    #[arg(long, value_name = "ARGS")]
    pub(crate) kernel_arguments: Option<String>,
    /// Print the disk as it is and as it would be, write nothing to it.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Overwrite a disk that is not empty; take a file for a disk.
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) afterwards: AfterwardsArguments,
}

#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub(crate) struct ResetArguments {
    /// In a live system: the disk whose system is reset. Recovery resets the disk it was booted from.
    pub(crate) device: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) image: ImageArguments,
    /// Also take an image of a lower version than one that was good on this machine.
    #[arg(long)]
    pub(crate) allow_downgrade: bool,
    /// Wipe COS_PERSISTENT too.
    #[arg(long)]
    pub(crate) persistent: bool,
    /// Wipe COS_OEM, the cloud-config of this machine, too.
    #[arg(long)]
    pub(crate) oem: bool,
    /// Print what would be done, change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Ask nothing.
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) afterwards: AfterwardsArguments,
}
