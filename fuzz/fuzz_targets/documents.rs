//! A manifest or an index, and a configuration.
#![no_main]

use cos_image::{Options, Platform, PlatformChoice, fuzzing};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [manifest, config] = cos_fuzz::parts(data);
    let platform = PlatformChoice::Prefer(Platform::linux("amd64"));
    let options = Options::new(platform, "/nonexistent");
    if let Err(error) = fuzzing::read_documents(manifest, config, &options) {
        assert!(!error.to_string().is_empty());
    }
});
