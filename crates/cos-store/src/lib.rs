//! Snapshots as they lie on COS_STATE, COS_RECOVERY and live media, and how they change.
//!
//! ```text
//! cos/
//!   boot.env                     which snapshots boot (see cos-boot)
//!   boot.env.next                the state before, until it becomes the next one
//!   attempt.env                  what the boot loader tried
//!   staged                       id of a snapshot that waits to be committed
//!   version-floor                the highest version that ever became good here
//!   failures/<id>.json           why a boot of the snapshot failed
//!   snapshots/<id>/
//!     root.img                   EROFS with its dm-verity tree behind it
//!     vmlinuz  initrd            copied out of the image
//!     boot.cfg                   what the boot loader must know, in its own language
//!     system.efi                 on sealed machines: the signed program that boots it
//!     snapshot.yaml              what this is and where it came from
//! ```
//!
//! The directory is the same on a partition and on an ISO, so one initrd and one boot loader
//! configuration serve them all.
//!
//! A [`Store`] is opened on a mounted partition. A new snapshot is a [`Draft`] until it is whole and
//! on the disk; it counts from the moment that [`Store::commit`] has switched the boot state, and not
//! before. What no boot state names is garbage, and [`Store::collect`] removes it.

mod draft;
mod error;
mod failure;
mod floor;
mod metadata;
mod store;
mod verified;
mod verify;

pub use cos_boot::{
    BOOT_CONFIG, COS_DIRECTORY, INITRD, InvalidSnapshotId, KERNEL, METADATA, PROGRAM, ROOT_IMAGE,
    SnapshotId,
};
pub use draft::Draft;
pub use error::StoreError;
pub use failure::{Failure, FailureStage};
pub use floor::{FloorSeal, VERSION_FLOOR, VersionFloor};
pub use metadata::{Action, MetadataError, Snapshot};
pub use store::{Checkpoint, Installed, Store};
pub use verified::{Accepted, SignedBy, Verified};
pub use verify::{Damage, FileDigest, file_digest, verify_snapshot};
