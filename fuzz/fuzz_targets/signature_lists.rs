//! What a registry says are an image's signatures: a manifest, a list of referrers, a link to more.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [manifest, index, link] = cos_fuzz::parts(data);
    let link = String::from_utf8_lossy(link);
    let found = cos_image::fuzzing::read_signature_lists(manifest, index, &link);
    // Every entry takes bytes to write down.
    assert!(found <= data.len());
});
