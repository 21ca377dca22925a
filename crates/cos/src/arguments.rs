//! The command line.

mod assess;
pub(crate) mod install;
mod machine;
mod seal;
pub(crate) mod trust;

pub(crate) use assess::{AssessArguments, AssessCommand};
pub(crate) use machine::{
    BootCommand, RollbackArguments, SnapshotArguments, StatusArguments, SucArguments,
    SwitchArguments, UpgradeArguments, UpgradeOptions,
};
pub(crate) use seal::SealArguments;

use clap::{Args, Parser, Subcommand};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

const LONG_ABOUT: &str = "\
`docker build` your operating system.

cOS makes a container image that holds a kernel and systemd boot on machines, verified and immutable. \
SOURCE is an image: REF, oci:REF or docker:REF (registry), oci-layout:PATH[:TAG], \
oci-archive:PATH[:TAG], docker-archive:PATH[:TAG], docker-daemon:REF, podman:REF or dir:PATH.";

/// The arguments, with the verb that the program's name stands for: `cos-setup boot` is `cos stage
/// boot`, `cos-feature list` is `cos feature list`, `suc-upgrade` is what a controller's container runs.
pub(crate) fn by_name(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.collect();
    let name = arguments
        .first()
        .and_then(|program| Path::new(program).file_name()?.to_str());
    let verb = match name {
        Some("cos-setup") => "stage",
        Some("cos-feature") => "feature",
        Some("suc-upgrade") => "suc-upgrade",
        _ => return arguments,
    };
    arguments.insert(1, verb.into());
    arguments
}

/// `docker build` your operating system.
#[derive(Debug, Parser)]
#[command(name = "cos", version, propagate_version = true, long_about = LONG_ABOUT)]
pub(crate) struct Cli {
    /// Print events and results as JSON, one object a line, on standard output.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Show no progress.
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Turn an image into bootable media.
    #[command(subcommand)]
    Build(BuildCommand),
    /// Make keys: those that images, and those that sealed systems are signed with.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Work with images and root images.
    #[command(subcommand)]
    Image(ImageCommand),
    /// Say what keeps an image from booting, and how to mend it.
    Lint(LintArguments),
    /// Make the image this runs in bootable; for a Dockerfile: RUN cos init.
    Init(InitArguments),
    /// Install the live system, or an image, onto a disk of this machine.
    Install(Box<install::InstallArguments>),
    /// In recovery or a live system: bring a machine's system back to this one, or to an image.
    Reset(Box<install::ResetArguments>),
    /// Run a stage of the machine's cloud-config, with its .before and .after.
    Stage(StageArguments),
    /// Look at cloud-config documents.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Switch the features that the image brings.
    #[command(subcommand)]
    Feature(FeatureCommand),
    /// Upgrade the system, or the recovery system, to an image.
    Upgrade(UpgradeArguments),
    /// In a container on a machine: upgrade the machine that is mounted at /host.
    SucUpgrade(SucArguments),
    /// Upgrade to an image of another kind, and follow that from then on.
    Switch(SwitchArguments),
    /// Go back to another snapshot at the next boot.
    Rollback(RollbackArguments),
    /// Keep a snapshot from being removed to make room.
    Pin(SnapshotArguments),
    /// Let a snapshot be removed to make room again.
    Unpin(SnapshotArguments),
    /// Choose what boots, and judge what booted.
    #[command(subcommand)]
    Boot(BootCommand),
    /// Say what runs, what boots next, and whether this machine is well.
    Status(StatusArguments),
    /// Say whether the policy lets an image run: which rule, which signatures, whose.
    Verify(trust::VerifyArguments),
    /// Sign an image in its registry.
    Sign(trust::SignArguments),
    /// Seal an image in its registry: publish beside it, signed, what it becomes on machines that run nothing
    /// else.
    Seal(Box<SealArguments>),
    /// Look at the policy: which images may run.
    #[command(subcommand)]
    Policy(trust::PolicyCommand),
    /// Print a shell's completion script.
    Completion {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum BuildCommand {
    /// A disk that boots by BIOS and by UEFI.
    Disk(DiskArguments),
    /// An ISO that boots from CD and USB stick, by BIOS and by UEFI, into a live system.
    Iso(IsoArguments),
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Make keys for Secure Boot: PK, KEK and db, each with certificate and signed update.
    Generate(GenerateKeysArguments),
    /// Make a key pair for `cos sign`: PREFIX.key, for its owner alone, and PREFIX.pub, for policies.
    GenerateSigning(trust::GenerateSigningArguments),
}

#[derive(Debug, Args)]
pub(crate) struct GenerateKeysArguments {
    /// A directory that is empty or not there yet.
    pub(crate) directory: PathBuf,
    /// What the certificates are to be named after.
    #[arg(long, default_value = "cOS")]
    pub(crate) name: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Write the root image (EROFS and its dm-verity tree) and print its root hash.
    Root(RootArguments),
}

/// Where the image comes from; shared by every command that reads one.
#[derive(Debug, Args)]
pub(crate) struct SourceArguments {
    /// The image; see `cos help` for its forms.
    pub(crate) source: String,
    /// Architecture to take from a multi-platform image, as OCI names it [default: this machine's].
    #[arg(long, value_name = "ARCH")]
    pub(crate) arch: Option<String>,
    /// Lay the files of this directory over the image, owned by root. May be repeated.
    #[arg(long, value_name = "DIR")]
    pub(crate) overlay: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) registry: RegistryArguments,
    /// Refuse the image unless it is signed as this policy wants it.
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// Keep temporary data here [default: beside the result].
    #[arg(long, value_name = "DIR")]
    pub(crate) temp_dir: Option<PathBuf>,
}

/// How registries are reached.
#[derive(Debug, Clone, Args)]
pub(crate) struct RegistryArguments {
    /// Use plain HTTP with this registry. May be repeated.
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) insecure_registry: Vec<String>,
    /// Ask MIRROR before the registry HOST. May be repeated; tried in order.
    #[arg(long, value_name = "HOST=MIRROR")]
    pub(crate) mirror: Vec<String>,
    /// Trust the certificates in this PEM file, beside the system's. May be repeated.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_certificate: Vec<PathBuf>,
    /// Read registry credentials from this file instead of the standard places.
    #[arg(
        long,
        value_name = "FILE",
        env = "REGISTRY_AUTH_FILE",
        hide_env_values = true
    )]
    pub(crate) auth_file: Option<PathBuf>,
}

/// How the root image is made.
#[derive(Debug, Args)]
pub(crate) struct FormatArguments {
    /// auto, none, lz4, zstd or zstd:LEVEL. auto: zstd where the image's kernel reads it, else lz4.
    #[arg(long, value_name = "METHOD", default_value = "auto")]
    pub(crate) compression: String,
    /// Threads to use [default: all cores].
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct RootArguments {
    #[command(flatten)]
    pub(crate) source: SourceArguments,
    #[command(flatten)]
    pub(crate) format: FormatArguments,
    /// Where to write the root image.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Also write the hash tree alone, for `veritysetup verify FILE SIDECAR HASH`.
    #[arg(long, value_name = "FILE")]
    pub(crate) verity_sidecar: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct DiskArguments {
    #[command(flatten)]
    pub(crate) source: SourceArguments,
    #[command(flatten)]
    pub(crate) format: FormatArguments,
    /// Where to write the disk.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Disk format, raw or qcow2 [default: from the name of the output, else raw].
    #[arg(long = "format", id = "disk_format", value_name = "FORMAT")]
    pub(crate) disk_format: Option<String>,
    /// Size of the whole disk, such as 8GiB [default: what the content needs; grown at first boot].
    #[arg(long, value_name = "SIZE")]
    pub(crate) size: Option<String>,
    /// Size of one partition (efi, oem, recovery, state, persistent), such as state=4GiB. May be repeated.
    #[arg(long, value_name = "NAME=SIZE")]
    pub(crate) partition: Vec<String>,
    /// Seal the system with the keys in this directory: it boots by UEFI alone, as one signed program
    /// with its root hash in it.
    #[arg(long, value_name = "DIR")]
    pub(crate) sealed: Option<PathBuf>,
    /// Encrypt COS_OEM and COS_PERSISTENT at the first boot, to be unlocked by the machine's TPM, or by a
    /// passphrase where there is none.
    #[arg(long, requires = "sealed")]
    pub(crate) encrypt: bool,
    /// Put this cloud-config on COS_OEM. May be repeated.
    #[arg(long, value_name = "FILE")]
    pub(crate) cloud_config: Vec<PathBuf>,
    /// Append to the kernel command line of the image.
    #[arg(long, value_name = "ARGS")]
    pub(crate) kernel_arguments: Option<String>,
    /// Print the partitions and their sizes, write no disk.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct IsoArguments {
    #[command(flatten)]
    pub(crate) source: SourceArguments,
    #[command(flatten)]
    pub(crate) format: FormatArguments,
    /// Where to write the ISO.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Volume label.
    #[arg(long, value_name = "LABEL", default_value = "COS_LIVE")]
    pub(crate) label: String,
    /// Append to the kernel command line of the image.
    #[arg(long, value_name = "ARGS")]
    pub(crate) kernel_arguments: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct LintArguments {
    #[command(flatten)]
    pub(crate) source: SourceArguments,
    /// Fail on warnings too.
    #[arg(long)]
    pub(crate) strict: bool,
}

#[derive(Debug, Args)]
pub(crate) struct InitArguments {
    /// Root directory of the image.
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(crate) root: PathBuf,
    /// Release of the kernel to build for, when the image has several.
    #[arg(long, value_name = "RELEASE")]
    pub(crate) kernel: Option<String>,
    /// Print what would be done, do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StageArguments {
    /// The stage: pre-rootfs, rootfs, initramfs, fs, boot, network, reconcile, or any that a document
    /// names.
    pub(crate) stage: String,
    /// Print what would run, in order, and why each other step would not; change nothing. Conditions
    /// (`if`) are run to know.
    #[arg(long)]
    pub(crate) plan: bool,
    /// Take unknown keys for errors.
    #[arg(long, conflicts_with = "compat")]
    pub(crate) strict: bool,
    /// Take unknown keys for warnings [default, unless /etc/cos/config.yaml says strict: true].
    #[arg(long)]
    pub(crate) compat: bool,
    /// Read this file, directory or URL, or standard input (-), instead of /system/oem, /oem,
    /// /usr/local/cloud-config and the kernel command line. May be repeated.
    #[arg(long, value_name = "SOURCE")]
    pub(crate) source: Vec<String>,
    /// Work on the system in this directory; commands run in a chroot.
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(crate) root: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Say what is wrong with documents, with file, line and column.
    Check(CheckArguments),
    /// Print the JSON Schema of documents, for editors.
    Schema,
    /// Say what a key means; all of them when none is named.
    Explain {
        /// The key, such as files, files.path or runcmd.
        key: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    /// Files and directories; standard input when it is -.
    #[arg(required = true)]
    pub(crate) files: Vec<String>,
    /// Take unknown keys for warnings.
    #[arg(long)]
    pub(crate) compat: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum FeatureCommand {
    /// List the features of the image, and which are enabled.
    List(FeatureRoot),
    /// Enable a feature from the next boot on.
    Enable(FeatureArguments),
    /// Disable a feature from the next boot on.
    Disable(FeatureArguments),
}

#[derive(Debug, Args)]
pub(crate) struct FeatureRoot {
    /// Work on the system in this directory.
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(crate) root: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct FeatureArguments {
    /// The feature.
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) root: FeatureRoot,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;
    use std::fmt::Write as _;

    #[test]
    fn the_definitions_hold_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn other_names_are_verbs() {
        let words = |list: &[&str]| by_name(list.iter().map(OsString::from));
        assert_eq!(words(&["/usr/bin/cos-setup", "boot"])[1], "stage");
        assert_eq!(words(&["cos", "lint", "x"])[1], "lint");
        assert_eq!(words(&["cos-feature", "list"])[1], "feature");
        assert_eq!(words(&["/usr/bin/suc-upgrade"])[1], "suc-upgrade");
    }

    /// Every verb with its long help, as a page of the book.
    fn reference(command: &clap::Command, name: &str, page: &mut String) {
        let mut command = command.clone().term_width(100).bin_name(name);
        write!(
            page,
            "\n## `{name}`\n\n```text\n{}\n```\n",
            command.render_long_help()
        )
        .unwrap();
        for verb in command
            .get_subcommands()
            .filter(|verb| verb.get_name() != "help")
        {
            reference(verb, &format!("{name} {}", verb.get_name()), page);
        }
    }

    /// `COS_UPDATE_DOCS=1 cargo test -p cos` writes the page anew.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "the variable is for developers")]
    fn the_book_shows_this_command_line() {
        let mut page =
            "# Commands\n\nMade from the definitions in `crates/cos/src/arguments.rs`.\n"
                .to_owned();
        let mut command = Cli::command().term_width(100);
        command.build();
        reference(&command, "cos", &mut page);
        let page: String = page
            .lines()
            .map(|line| line.trim_end().to_owned() + "\n")
            .collect();
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../docs/src/reference/commands.md"
        );
        if std::env::var_os("COS_UPDATE_DOCS").is_some() {
            fs_err::write(path, &page).unwrap();
        }
        let book = fs_err::read_to_string(path).unwrap();
        assert_eq!(book, page, "run: COS_UPDATE_DOCS=1 cargo test -p cos");
    }
}
