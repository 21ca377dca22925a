//! Layers to a root image: whatever tree can be merged can be written.
#![no_main]

use cos_erofs::{Compression, ErofsError, Identity, KernelVersion, Options, Spool};
use cos_events::Silent;
use cos_image::{Limits, fuzzing};
use libfuzzer_sys::fuzz_target;
use std::path::Path;

const FORMS: [(Compression, KernelVersion); 3] = [
    (Compression::None, KernelVersion::new(5, 4)),
    (Compression::Lz4, KernelVersion::new(5, 13)),
    (Compression::Zstd { level: 1 }, KernelVersion::new(6, 12)),
];

/// Makes the checksums of headers right.
fn fixed(data: &[u8]) -> Vec<u8> {
    let mut fixed = data.to_vec();
    for block in fixed
        .chunks_exact_mut(512)
        .filter(|block| block[257..262] == *b"ustar")
    {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    fixed
}

fuzz_target!(|data: &[u8]| {
    let Some((form, data)) = data.split_first() else {
        return;
    };
    let (compression, kernel) = FORMS[usize::from(*form) % FORMS.len()];
    let options = Options {
        chunk_size: 4096 << (form / 64),
        ..Options::new(compression, kernel, 0)
    };
    let limits = Limits {
        total_size: 1 << 24,
        ..Limits::default()
    };
    let spool = Spool::new(Path::new("/dev/shm"), options, |_| false).unwrap();
    let layer = fixed(data);
    let Ok(tree) = fuzzing::merge_layers(&[&layer], &spool, &limits) else {
        return;
    };
    let mut image = Vec::new();
    match cos_erofs::write(&tree, &spool, &Identity::default(), &mut image, &Silent) {
        Ok(summary) => {
            assert_eq!(summary.size, image.len() as u64);
            let superblock = cos_erofs::read_superblock(&mut &image[..]).unwrap();
            assert_eq!(superblock.size(), summary.size);
            assert_eq!(superblock.inodes, summary.inodes);
        }
        // Names and attributes have limits that are told beforehand.
        Err(ErofsError::Write(error) | ErofsError::Read(error)) => panic!("{error}"),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
