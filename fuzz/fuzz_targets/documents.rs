//! Manifests, indexes and configurations.
#![no_main]

use cos_image::{Options, Platform, PlatformChoice, fuzzing};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: (&[u8], &[u8])| {
    let platform = PlatformChoice::Prefer(Platform::linux("amd64"));
    let options = Options::new(platform, "/nonexistent");
    if let Err(error) = fuzzing::read_documents(data.0, data.1, &options) {
        assert!(!error.to_string().is_empty());
    }
});
