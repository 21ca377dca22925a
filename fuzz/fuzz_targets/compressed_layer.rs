//! A compressed layer: gzip's members and zstd's frames, and how much may come of them.
#![no_main]

use cos_fuzz::Count;
use cos_image::{Limits, fuzzing};
use libfuzzer_sys::fuzz_target;
use std::io::Write as _;

const FREE: u64 = 64 << 10;
const EXPANSION: u64 = 20;

/// The fuzzer's bytes, or a stream of them repeated, so that there is something to unpack.
fn blob(data: &[u8]) -> Option<Vec<u8>> {
    let (form, data) = data.split_first()?;
    let repeated = || data.repeat(1 << (form >> 5));
    Some(match form & 3 {
        0 => {
            let mut out = Vec::new();
            for piece in repeated().chunks(4096) {
                let mut member = flate2::write::GzEncoder::new(out, flate2::Compression::fast());
                member.write_all(piece).ok()?;
                out = member.finish().ok()?;
            }
            out
        }
        1 => zstd::encode_all(&repeated()[..], 1).ok()?,
        2 => [b"\x28\xb5\x2f\xfd", data].concat(),
        _ => data.to_vec(),
    })
}

fuzz_target!(|data: &[u8]| {
    let Some(blob) = blob(data) else {
        return;
    };
    let limits = Limits {
        expansion: EXPANSION,
        free_expansion: FREE,
        ..Limits::default()
    };
    let store = Count::default();
    if let Err(error) = fuzzing::merge_layers(&[&blob], &store, &limits) {
        assert!(!error.to_string().is_empty());
    }
    // Nothing that a layer holds is more than what it may decompress to.
    assert!(store.0.into_inner() <= FREE.max(blob.len() as u64 * EXPANSION));
});
