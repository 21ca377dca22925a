//! Any bytes as one layer. Checksums are made right first, or nothing would get past them.
#![no_main]

use cos_fuzz::Discard;
use cos_image::{Limits, fuzzing};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let limits = Limits {
        total_size: 1 << 24,
        ..Limits::default()
    };
    let raw = fuzzing::merge_layers(&[data], &Discard, &limits);
    let mut fixed = data.to_vec();
    for block in fixed.chunks_exact_mut(512) {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|&b| u32::from(b)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    for result in [raw, fuzzing::merge_layers(&[&fixed], &Discard, &limits)] {
        match result {
            Ok(tree) => cos_fuzz::assert_tree(&tree),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
});
