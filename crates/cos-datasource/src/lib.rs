//! User-data from clouds and attached media.
//!
//! [`fetch`] asks the providers it is told to ask: first what is attached to the machine, one after
//! the other, then the metadata services on the network, all at once under one deadline. The first
//! good answer wins. Which services are asked at all depends on what the firmware says the machine
//! is ([`Dmi`]): most clouds answer at the same address, and one must not be taken for another.
//!
//! Everything that is read is bounded: user-data by [`USER_DATA_LIMIT`], also after decompression,
//! metadata by [`METADATA_LIMIT`]. The book's page on datasources says what each provider is asked.

mod cache;
mod cdrom;
mod config_drive;
mod dmi;
mod document;
mod encoding;
mod endpoints;
mod error;
mod fetch;
mod file;
mod guest_info;
mod iso9660;
mod media;
mod network;
mod privileged;
mod provider;
mod seed;
mod user_data;
mod vmware;

pub use cache::{Cache, CacheError, Cached, fetch_cached};
pub use dmi::Dmi;
pub use endpoints::Endpoints;
pub use error::{DatasourceError, Refusal, Said};
pub use fetch::{Machine, Request, fetch};
pub use guest_info::{GuestInfo, NoGuestInfo, VmwareTools};
pub use media::{BlockMedia, Media, MediaError, Medium, MediumDescription, NoMedia};
pub use provider::{Provider, UnknownProvider};
pub use user_data::UserData;

/// The largest user-data and vendor-data taken, in bytes, before and after decompression.
pub const USER_DATA_LIMIT: u64 = 16 << 20;
/// The largest metadata document taken, in bytes.
pub const METADATA_LIMIT: u64 = 1 << 20;
/// The usual [`Request::deadline`].
pub const DEFAULT_DEADLINE: std::time::Duration = std::time::Duration::from_mins(1);

/// Reads one file of an ISO 9660 image held in memory. For the fuzz target.
#[cfg(feature = "fuzzing")]
pub fn fuzz_iso9660(image: &[u8], path: &str) {
    if let Ok(iso) = iso9660::Iso::open(image) {
        drop(iso.read(path, METADATA_LIMIT));
    }
}
