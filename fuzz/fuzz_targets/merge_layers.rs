//! Several layers of well-formed entries over a small set of names.
#![no_main]

use cos_fuzz::Discard;
use cos_image::{Limits, fuzzing};
use libfuzzer_sys::fuzz_target;

const NAMES: &[&str] = &[
    "a",
    "b",
    "a/b",
    "b/a",
    "a/b/c",
    ".wh.a",
    "a/.wh.b",
    "a/.wh..wh..opq",
    "./",
];
const TARGETS: &[&str] = &[
    "a",
    "b",
    "a/b",
    "/b",
    "../a",
    "b/../a",
    "a/b/c/../../b",
    ".",
];
const FLAGS: &[u8] = b"0125346";

fn entry(code: [u8; 3]) -> Vec<u8> {
    let mut block = vec![0; 512];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, NAMES[usize::from(code[0]) % NAMES.len()].as_bytes());
    put(100, b"0000644\0");
    put(124, b"00000000000\0");
    put(148, b"        ");
    put(156, &[FLAGS[usize::from(code[1]) % FLAGS.len()]]);
    put(
        157,
        TARGETS[usize::from(code[2]) % TARGETS.len()].as_bytes(),
    );
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|&b| u32::from(b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

fuzz_target!(|data: &[u8]| {
    let layers: Vec<Vec<u8>> = data
        .split(|&b| b == 0xff)
        .take(8)
        .map(|layer| {
            layer
                .chunks_exact(3)
                .flat_map(|c| entry([c[0], c[1], c[2]]))
                .collect()
        })
        .collect();
    let blobs: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
    if let Ok(tree) = fuzzing::merge_layers(&blobs, &Discard, &Limits::default()) {
        cos_fuzz::assert_tree(&tree);
    }
});
