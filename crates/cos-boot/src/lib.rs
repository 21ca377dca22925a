//! What cOS and the boot loader agree on.
//!
//! GRUB finds `cos/boot.env` on the partition (or medium) it is pointed at, learns from it which
//! snapshot boots, sources that snapshot's `boot.cfg`, and hands the kernel a command line that
//! tells `cos-init` where the root image is and what its root hash must be.

mod arguments;
mod environment;
mod grub;
mod manifest;
mod state;

pub use arguments::{ArgumentsError, KernelArguments};
pub use environment::{EnvironmentBlock, EnvironmentError};
pub use grub::{
    DISK_LOADER_DIRECTORY, DiskLoader, MediumLoader, snapshot_fragment, vendor_redirect,
};
pub use manifest::{
    BiosLoader, EfiFile, EfiLoader, LOADER_DIRECTORY, LoaderManifest, MANIFEST_PATH, ManifestError,
};
pub use state::{BOOT_ENVIRONMENT, BootState, StateError};
