//! An ISO 9660 medium, from its descriptors on.
#![no_main]

use libfuzzer_sys::fuzz_target;

/// Sector of the first volume descriptor; what is in front of it is nothing to the reader.
const FIRST: usize = 16 * 2048;

fuzz_target!(|data: &[u8]| {
    let mut image = vec![0; FIRST];
    image.extend_from_slice(data);
    for path in [
        "user-data",
        "ec2/latest/meta-data.json",
        "a/b/c/d/e/f/g/h/i",
    ] {
        cos_datasource::fuzz_iso9660(&image, path);
    }
});
