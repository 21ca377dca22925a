//! The cpio archives of an initrd, as `cos lint` looks into them.
#![no_main]

// Private to the crate that lints; this is its own file.
#[path = "../../crates/cos-ops/src/lint/initrd.rs"]
mod initrd;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Err(error) = initrd::contains(data, b"usr/bin/cos-init") {
        assert!(!error.to_string().is_empty());
    }
});
