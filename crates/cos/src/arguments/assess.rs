//! Arguments of the verbs that judge a boot.

use clap::{Args, Subcommand};

/// What units run, not people.
#[derive(Debug, Subcommand)]
pub(crate) enum AssessCommand {
    /// Run the health checks; a snapshot on trial that fails one reboots the machine. Run by
    /// cos-assess.service.
    Assess(AssessArguments),
    /// Mark this boot as good: its trial ends, and the tries it took are given back. Run by
    /// cos-boot-good.service.
    Good,
    /// Reboot if this boot is of a snapshot on trial and is not good by now. Run by
    /// cos-boot-deadline.timer.
    Expire,
    /// Reboot if this boot ended in a shell that nobody asked for. Run by emergency.service.
    Emergency,
    /// Find out why snapshots failed that left no word. Run by cos-diagnose.service.
    Diagnose,
}

/// How much time health checks get.
#[derive(Debug, Args)]
pub(crate) struct AssessArguments {
    /// Seconds that one run of a check may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub(crate) timeout: u32,
    /// How often a check is run before it counts as failed.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) tries: u32,
    /// Seconds between two runs of a check.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub(crate) pause: u32,
}
