//! What cOS and the boot loader agree on.
//!
//! GRUB finds `cos/boot.env` on the partition (or medium) it is pointed at, learns from it which
//! snapshots there are and from `cos/attempt.env` how often it tried them, decides by the
//! [rule](decide) which one boots, sources that snapshot's `boot.cfg`, and hands the kernel a command
//! line that tells `cos-init` where the root image is and what its root hash must be.

mod arguments;
mod attempts;
mod environment;
mod grub;
mod manifest;
mod rule;
mod sealed;
mod snapshot_id;
mod state;
mod transition;

pub use arguments::{ArgumentsError, KernelArguments};
pub use attempts::{ATTEMPT_ENVIRONMENT, Attempts};
pub use environment::{EnvironmentBlock, EnvironmentError};
pub use grub::{
    DISK_LOADER_DIRECTORY, DiskLoader, MediumLoader, snapshot_fragment, vendor_redirect,
};
pub use manifest::{
    BiosLoader, EfiFile, EfiLoader, LOADER_DIRECTORY, LoaderManifest, MANIFEST_PATH, ManifestError,
};
pub use rule::{Choice, Decision, decide};
pub use sealed::{
    ENCRYPT_WORD, ENROLMENT_DIRECTORY, LOADER_CONFIGURATION, PresentEntry,
    SEALED_ENTRIES_DIRECTORY, SEALED_PROGRAMS_DIRECTORY, SEALED_WORD, SealedEntry, SealedPlan,
    TriesLeft, entry_program, entry_text, loader_configuration, program_name, sealed_attempts,
    sealed_command_line, sealed_os_release,
};
pub use snapshot_id::{
    BOOT_CONFIG, COS_DIRECTORY, INITRD, InvalidSnapshotId, KERNEL, METADATA, PROGRAM, ROOT_IMAGE,
    SNAPSHOTS_DIRECTORY, SnapshotId,
};
pub use state::{
    BOOT_ENVIRONMENT, BootState, MAX_SNAPSHOTS, MAX_TRIES, NEXT_BOOT_ENVIRONMENT, Once, StateError,
    Tries,
};
pub use transition::TransitionError;
