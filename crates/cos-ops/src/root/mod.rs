//! From an image to its root image.

pub mod boot_files;
pub mod convert;
pub mod layout;
pub(crate) mod snapshot;
