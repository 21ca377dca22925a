//! From blobs to archives: digests, sizes, compression.

use super::support::*;
use crate::Digest;
use crate::ImageError;
use crate::Limits;
use crate::layer::decode::Compression;
use crate::layer::decode::Layer;
use std::io::Read as _;

#[test]
fn wrong_digests_and_sizes_fail_the_layer() {
    let tar = archive(&[member("a", b'0', b"hello")]);
    let good = Layer {
        blob: Some((Digest::sha256(&tar), tar.len() as u64)),
        compression: None,
        diff_id: Digest::sha256(&tar),
    };
    let limits = Limits::default();
    let read = |layer: &Layer| read_layer(layer, &tar, &limits).map(|(entries, _)| entries.len());
    assert_eq!(read(&good).unwrap(), 1);
    let other = Digest::sha256(b"other");
    let blob = Layer {
        blob: Some((other.clone(), tar.len() as u64)),
        ..good.clone()
    };
    assert!(matches!(read(&blob), Err(ImageError::WrongDigest { what, .. }) if what == "blob"));
    let diff = Layer {
        diff_id: other,
        ..good.clone()
    };
    assert!(
        matches!(read(&diff), Err(ImageError::WrongDigest { what, .. }) if what.starts_with("tar"))
    );
    for size in [tar.len() as u64 - 1, tar.len() as u64 + 1] {
        let sized = Layer {
            blob: Some((Digest::sha256(&tar), size)),
            ..good.clone()
        };
        assert!(matches!(read(&sized), Err(ImageError::BlobSize { .. })));
    }
    let declared = Layer {
        compression: Some(Compression::Gzip),
        ..good
    };
    assert!(matches!(
        read(&declared),
        Err(ImageError::CompressionMismatch { .. })
    ));
}

#[test]
fn damaged_compression_is_an_error() {
    let tar = archive(&[member("a", b'0', &vec![3; 100_000])]);
    let limits = Limits::default();
    let mut gzip = Vec::new();
    let mut encoder = flate2::read::GzEncoder::new(&tar[..], flate2::Compression::fast());
    encoder.read_to_end(&mut gzip).unwrap();
    for mut blob in [gzip, zstd::encode_all(&tar[..], 1).unwrap()] {
        let layer = |blob: &[u8]| Layer {
            blob: Some((Digest::sha256(blob), blob.len() as u64)),
            compression: None,
            diff_id: Digest::sha256(&tar),
        };
        assert!(read_layer(&layer(&blob), &blob, &limits).is_ok());
        let short = &blob[..blob.len() - 9];
        assert!(matches!(
            read_layer(&layer(short), short, &limits),
            Err(ImageError::Decompress { .. })
        ));
        let middle = blob.len() / 2;
        blob[middle] ^= 0xff;
        assert!(read_layer(&layer(&blob), &blob, &limits).is_err());
    }
    for magic in [&b"BZh91AY"[..], b"\xfd7zXZ\0"] {
        let layer = Layer {
            blob: None,
            compression: None,
            diff_id: Digest::sha256(magic),
        };
        let result = read_layer(&layer, magic, &limits);
        assert!(matches!(
            result,
            Err(ImageError::UnsupportedCompression { .. })
        ));
    }
}
