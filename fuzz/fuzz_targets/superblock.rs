//! Superblocks: EROFS, dm-verity, and whatever a device may hold.
#![no_main]

use cos_fuzz::MemoryFile;
use cos_verity::RootHash;
use libfuzzer_sys::fuzz_target;
use std::io::Cursor;

const BLOCK: usize = 4096;

fn erofs(data: &[u8]) {
    let mut block = [0; BLOCK];
    let length = data.len().min(BLOCK);
    block[..length].copy_from_slice(&data[..length]);
    drop(cos_erofs::read_superblock(&mut &block[..]));
    // With the magic number and the checksum right, as Linux computes it.
    block[1024..1028].copy_from_slice(&0xe0f5_e1e2_u32.to_le_bytes());
    block[1028..1032].fill(0);
    let sum = !crc32c::crc32c(&block[1024..]);
    block[1028..1032].copy_from_slice(&sum.to_le_bytes());
    if let Ok(superblock) = cos_erofs::read_superblock(&mut &block[..]) {
        assert!(superblock.size() > 0 && superblock.volume_name.len() <= 16);
    }
}

fn verity(data: &[u8]) {
    let root_hash = RootHash([0x55; 32]);
    for image in [
        data.to_vec(),
        [b"verity\0\0\x01\0\0\0\x01\0\0\0", data].concat(),
    ] {
        if let Ok(superblock) = cos_verity::read_superblock(&mut &image[..], 0) {
            assert!(superblock.data_blocks > 0);
            assert!(superblock.hash_area_size() >= BLOCK as u64);
        }
        let verified = cos_verity::verify(&mut Cursor::new(&image), 0, &root_hash);
        assert!(verified.is_err());
    }
}

/// The start of the device, and the first descriptor of an ISO.
fn probe(data: &[u8]) {
    let (head, descriptor) = data.split_at(data.len().min(BLOCK));
    let device = MemoryFile::new(36864, &[(0, head), (32768, descriptor)]);
    let Some(found) = cos_sys::probe::probe(&device.0).unwrap() else {
        return;
    };
    for text in [found.label, found.uuid].into_iter().flatten() {
        assert!(!text.is_empty() && !text.contains(char::is_control));
    }
}

fuzz_target!(|data: &[u8]| {
    erofs(data);
    verity(data);
    probe(data);
});
