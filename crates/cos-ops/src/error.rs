//! What can go wrong in an operation, and whose fault it is.

use crate::build::plan::PlanError;
use crate::build::sizes::{Bytes, SizeError};
use crate::hooks::HookError;
use crate::machine::{MachineError, Mode};
use crate::root::boot_files::BootFilesError;
use crate::root::layout::LayoutError;
use crate::sealed::SealedError;
use crate::trust::FloorError;
use cos_boot::{ArgumentsError, EnvironmentError, TransitionError};
use cos_disk::DiskError;
use cos_erofs::ErofsError;
use cos_events::Cancelled;
use cos_image::ImageError;
use cos_store::{Damage, InvalidSnapshotId, MetadataError, SnapshotId, StoreError};
use cos_sys::root_path::RootPathError;
use cos_trust::TrustError;
use cos_verity::VerityError;
use std::io;
use std::path::{Path, PathBuf};

/// Whose fault an error is; decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// What the user asked for cannot be.
    Request,
    /// The image is missing, refused, damaged or incomplete.
    Image,
    /// This machine lacks a program, space or permission.
    Host,
    /// The user asked to stop.
    Cancelled,
    /// Another operation is at work on this machine.
    Busy,
    /// The image was tried on this machine before, and failed.
    FailedBefore,
    /// The policy of this machine does not let the image run.
    Refused,
}

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum OpsError {
    /// The user asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// The image could not be found or read.
    #[error("cannot use the image {image}")]
    Image {
        /// As the user named it.
        image: String,
        /// Why.
        source: Box<ImageError>,
    },
    /// An overlay directory could not be laid over the image.
    #[error("cannot lay {} over the image", .directory.display())]
    Overlay {
        /// The directory.
        directory: PathBuf,
        /// Why.
        source: Box<ImageError>,
    },
    /// The image cannot be booted.
    #[error("the image cannot be booted")]
    BootFiles(#[from] BootFilesError),
    /// The boot loader in the image is for another kind of machine than the image.
    #[error("the image is for {image}, its boot loader for {loader}")]
    Architecture {
        /// What `cos init` saw when it ran.
        loader: String,
        /// What the image says.
        image: String,
    },
    /// The system cannot be sealed.
    #[error(transparent)]
    Sealed(#[from] SealedError),
    /// The tree cannot become a root image.
    #[error("the image cannot become a root image")]
    Layout(#[from] LayoutError),
    /// The root image could not be written.
    #[error("cannot write the root image {}", .path.display())]
    WriteRoot {
        /// Where to.
        path: PathBuf,
        /// Why.
        source: ErofsError,
    },
    /// The hash tree could not be written.
    #[error("cannot write the hash tree of {}", .path.display())]
    WriteVerity {
        /// The root image.
        path: PathBuf,
        /// Why.
        source: VerityError,
    },
    /// Contents could not be kept on the way.
    #[error("cannot keep file contents in {}", .directory.display())]
    Spool {
        /// Directory of the temporary file.
        directory: PathBuf,
        /// Why.
        source: ErofsError,
    },
    /// Kernel or initrd could not be copied out of the image.
    #[error("cannot copy the {what} out of the image")]
    Extract {
        /// Which file.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A file on the way could not be written.
    #[error("cannot write {}", .path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A temporary directory could not be made.
    #[error("cannot make a temporary directory in {}", .directory.display())]
    TempDir {
        /// Where.
        directory: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Kernel arguments given by the user cannot be passed on.
    #[error("the kernel arguments cannot be used")]
    Arguments(#[from] ArgumentsError),
    /// The image lacks a boot loader for the medium.
    #[error("the image brings no boot loader for {firmware}")]
    NoLoader {
        /// `BIOS`, `UEFI`.
        firmware: &'static str,
    },
    /// The boot state does not fit its block.
    #[error("cannot write the boot state")]
    BootState(#[source] EnvironmentError),
    /// The snapshot cannot be described.
    #[error("cannot describe the snapshot")]
    Metadata(#[from] MetadataError),
    /// A size the user gave.
    #[error(transparent)]
    Size(#[from] SizeError),
    /// The disk cannot be laid out.
    #[error("cannot lay out the disk")]
    Plan(#[from] PlanError),
    /// A cloud-config file could not be read.
    #[error("cannot read the cloud-config {}", .path.display())]
    CloudConfig {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The medium could not be written.
    #[error("cannot write {}", .path.display())]
    Medium {
        /// Which result.
        path: PathBuf,
        /// Why.
        source: DiskError,
    },
    /// The kernel gave no random bytes.
    #[error("cannot make up identities")]
    Random(#[source] getrandom::Error),
    /// A root hash that is none.
    #[error("{text:?} is not a root hash")]
    RootHash {
        /// What was found.
        text: String,
    },
    /// A snapshot that is there already cannot be used.
    #[error("snapshot {id} of the running system cannot be used")]
    Damaged {
        /// Which one.
        id: SnapshotId,
        /// Why.
        source: Damage,
    },
    /// The running system is not the snapshot that it says it is.
    #[error("snapshot {id} is not the system that runs: its root hash is another")]
    NotRunning {
        /// Which one.
        id: SnapshotId,
    },
    /// A file of the running system could not be read.
    #[error("cannot read the boot loader of the running system")]
    Pristine(#[source] RootPathError),
    /// Something the image brings could not be looked into.
    #[error("cannot look into the image")]
    Inspect(#[source] io::Error),
    /// The machine cannot be worked on.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// The snapshots of a partition cannot be worked on.
    #[error("cannot work on the snapshots")]
    Store(#[from] StoreError),
    /// The boot state cannot be changed as asked.
    #[error(transparent)]
    Transition(#[from] TransitionError),
    /// The operation is not one for the system that runs.
    #[error("cannot {operation}: this is a {} system", .mode.name())]
    WrongMode {
        /// What was asked for.
        operation: &'static str,
        /// Which system runs.
        mode: Mode,
    },
    /// Nobody says what to upgrade to.
    #[error("nothing says which image to upgrade to")]
    NoSource,
    /// A rule for versions, and no registry to ask for them.
    #[error("{source_name} has no versions to choose from")]
    NotAChannel {
        /// The image.
        source_name: String,
    },
    /// No tag of a repository is a version that the rule allows.
    #[error("none of the {tags} tags of {repository} is a version {rule}")]
    NoVersion {
        /// The repository.
        repository: String,
        /// The rule.
        rule: String,
        /// How many tags it has.
        tags: usize,
    },
    /// The image was tried before, and did not become good.
    #[error(
        "this image failed before, as snapshot {id}{}{}",
        .digest.as_ref().map(|it| format!(" ({it})")).unwrap_or_default(),
        .reason.as_ref().map(|it| format!(": {it}")).unwrap_or_default()
    )]
    FailedBefore {
        /// The snapshot.
        id: SnapshotId,
        /// Digest of its manifest.
        digest: Option<String>,
        /// Why it failed, where that is known.
        reason: Option<String>,
    },
    /// A hook changed the root of a sealed system, whose signed program names another root hash.
    #[error("a hook changed the root image, and this system is sealed: it would not boot")]
    SealedRoot,
    /// The policy does not let the image run, or cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The image is of a lower version than one that was good here.
    #[error(
        "{image} {}, and version {floor} was good on this machine",
        .version.as_ref().map_or("says no version".to_owned(), |it| format!("is version {it}"))
    )]
    Downgrade {
        /// The image.
        image: String,
        /// Its version.
        version: Option<String>,
        /// The version below which nothing is deployed unasked.
        floor: String,
    },
    /// The version floor.
    #[error(transparent)]
    Floor(#[from] FloorError),
    /// What was downloaded was never judged by a policy.
    #[error("the downloaded snapshot {id} was not verified when it was made")]
    NotVerified {
        /// Which one.
        id: SnapshotId,
    },
    /// A signature that was put into a registry is not there.
    #[error("the registry took the signature of {image}, and does not give it back")]
    SignatureGone {
        /// The image.
        image: String,
    },
    /// Nothing was downloaded.
    #[error("no downloaded snapshot waits to be applied")]
    NothingStaged,
    /// A text that is no snapshot's name.
    #[error(transparent)]
    SnapshotName(InvalidSnapshotId),
    /// A beginning that several snapshots' names have.
    #[error("the names of several snapshots begin with {text}")]
    Ambiguous {
        /// The beginning.
        text: String,
    },
    /// There is not enough room.
    #[error("{} needs {} and has {} free", .path.display(), Bytes(*.needed), Bytes(*.free))]
    Space {
        /// A directory of the file system.
        path: PathBuf,
        /// Bytes needed.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// Health checks could not be looked for.
    #[error("cannot look for health checks in {}", .path.display())]
    ListChecks {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A hook failed.
    #[error("hook {stage} failed")]
    Hook {
        /// The stage.
        stage: &'static str,
        /// Why.
        source: HookError,
    },
}

impl OpsError {
    /// Whose fault it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Cancelled(_) => ErrorKind::Cancelled,
            Self::Downgrade { .. } | Self::NotVerified { .. } => ErrorKind::Refused,
            Self::Trust(error) if error.is_refusal() => ErrorKind::Refused,
            Self::Trust(TrustError::Random(_) | TrustError::WriteKey { .. }) => ErrorKind::Host,
            Self::Image { .. }
            | Self::SignatureGone { .. }
            | Self::BootFiles(_)
            | Self::Architecture { .. }
            | Self::Layout(_)
            | Self::Damaged { .. }
            | Self::NotRunning { .. }
            | Self::NoVersion { .. } => ErrorKind::Image,
            Self::Arguments(_)
            | Self::Trust(_)
            | Self::Size(_)
            | Self::Plan(_)
            | Self::NoLoader { .. }
            | Self::Transition(_)
            | Self::WrongMode { .. }
            | Self::NoSource
            | Self::NotAChannel { .. }
            | Self::SnapshotName(_)
            | Self::Ambiguous { .. }
            | Self::NothingStaged => ErrorKind::Request,
            Self::Sealed(error) => error.kind(),
            Self::Floor(error) => error.kind(),
            Self::FailedBefore { .. } => ErrorKind::FailedBefore,
            Self::Machine(MachineError::Locked { .. }) => ErrorKind::Busy,
            _ => ErrorKind::Host,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Image { source, .. } | Self::Overlay { source, .. } => source.hint(),
            Self::BootFiles(error) => error.hint(),
            Self::Sealed(error) => error.hint(),
            Self::Floor(error) => error.hint(),
            Self::Architecture { image, .. } => {
                Some(format!("build the image with --platform linux/{image}"))
            }
            Self::Size(error) | Self::Plan(PlanError::Size(error)) => error.hint(),
            Self::Plan(PlanError::Disk(error)) | Self::Medium { source: error, .. } => error.hint(),
            Self::Machine(error) => error.hint(),
            Self::WrongMode { mode, .. } => Some(mode_hint(*mode).to_owned()),
            Self::NoSource => {
                Some("name one, or set upgrade.source in /etc/cos/config.yaml".to_owned())
            }
            Self::FailedBefore { .. } => {
                Some("--force gives it another trial; `cos status` tells more".to_owned())
            }
            Self::SnapshotName(_) | Self::Ambiguous { .. } | Self::Transition(_) => {
                Some("`cos status` lists the snapshots".to_owned())
            }
            Self::Trust(error) => error.hint(),
            Self::Downgrade { .. } => Some(
                "--allow-downgrade deploys it all the same; `cos rollback` goes back to a snapshot that is here"
                    .to_owned(),
            ),
            Self::NotVerified { .. } => {
                Some("download it again, or say --allow-unsigned".to_owned())
            }
            Self::NothingStaged => Some("`cos upgrade --download-only` comes first".to_owned()),
            Self::NoLoader { .. } => {
                Some("install GRUB for it in the Dockerfile before `RUN cos init`".to_owned())
            }
            _ => None,
        }
    }

    /// What a failure to read `image` is.
    pub(crate) fn image(image: &cos_image::Source, source: ImageError) -> Self {
        match source {
            ImageError::Cancelled(cancelled) => cancelled.into(),
            source => Self::Image {
                image: image.to_string(),
                source: Box::new(source),
            },
        }
    }

    /// What a failure to lay `directory` over the image is.
    pub(crate) fn overlay(directory: &Path, source: ImageError) -> Self {
        match source {
            ImageError::Cancelled(cancelled) => cancelled.into(),
            source => Self::Overlay {
                directory: directory.to_path_buf(),
                source: Box::new(source),
            },
        }
    }

    /// What a failure to write the root image at `path` is.
    pub(crate) fn write_root(path: &Path, source: ErofsError) -> Self {
        match source {
            ErofsError::Cancelled(cancelled) => cancelled.into(),
            source => Self::WriteRoot {
                path: path.to_path_buf(),
                source,
            },
        }
    }
}

fn mode_hint(mode: Mode) -> &'static str {
    match mode {
        Mode::Live => "install it onto a disk with `cos install` first",
        Mode::Recovery => "boot the installed system, or use `cos reset`",
        Mode::Active | Mode::Passive => "boot the recovery system first: `cos boot once recovery`",
    }
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancellation_stays_one_on_its_way_up() {
        let source = "dir:/".parse().unwrap();
        for error in [
            OpsError::image(&source, Cancelled.into()),
            OpsError::overlay(Path::new("/x"), Cancelled.into()),
            OpsError::write_root(Path::new("/x"), Cancelled.into()),
        ] {
            assert_eq!(error.kind(), ErrorKind::Cancelled);
            assert_eq!(error.to_string(), "cancelled");
        }
    }
}
