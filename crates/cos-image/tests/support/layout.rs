//! Writes OCI image layouts from ready-made layers.

use cos_image::Digest;
use serde_json::json;
use std::io::Write;
use std::path::Path;

/// How a layer is packed.
#[derive(Clone, Copy)]
pub(crate) enum Pack {
    Plain,
    Gzip,
    /// Two gzip members, one after the other.
    GzipMembers,
    Zstd,
    /// Frames with skippable frames around them, as zstd:chunked has.
    ZstdChunked,
}

impl Pack {
    fn media_type(self) -> &'static str {
        match self {
            Self::Plain => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip | Self::GzipMembers => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd | Self::ZstdChunked => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }

    pub(crate) fn pack(self, tar: &[u8]) -> Vec<u8> {
        let half = tar.len() / 2;
        match self {
            Self::Plain => tar.to_vec(),
            Self::Gzip => gzip(tar),
            Self::GzipMembers => [gzip(&tar[..half]), gzip(&tar[half..])].concat(),
            Self::Zstd => zstd::encode_all(tar, 1).unwrap(),
            Self::ZstdChunked => {
                let skippable = |length: u32| {
                    let mut frame = 0x184D_2A5E_u32.to_le_bytes().to_vec();
                    frame.extend(length.to_le_bytes());
                    frame.resize(8 + length as usize, 0xaa);
                    frame
                };
                [
                    zstd::encode_all(&tar[..half], 1).unwrap(),
                    skippable(100),
                    zstd::encode_all(&tar[half..], 1).unwrap(),
                    skippable(70_000),
                    skippable(64),
                ]
                .concat()
            }
        }
    }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn put(layout: &Path, bytes: &[u8]) -> Digest {
    let digest = Digest::sha256(bytes);
    let dir = layout.join("blobs/sha256");
    fs_err::create_dir_all(&dir).unwrap();
    fs_err::write(dir.join(digest.hex()), bytes).unwrap();
    digest
}

fn descriptor(media_type: &str, layout: &Path, bytes: &[u8]) -> serde_json::Value {
    let digest = put(layout, bytes).to_string();
    json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
}

/// Writes a layout with one image, tagged `latest`.
pub(crate) fn write(layout: &Path, layers: &[(Vec<u8>, Pack)]) {
    write_for(layout, layers, "amd64", |_| {});
}

/// As [`write`], for a processor, and with the last word on the manifest.
pub(crate) fn write_for(
    layout: &Path,
    layers: &[(Vec<u8>, Pack)],
    architecture: &str,
    change: impl FnOnce(&mut serde_json::Value),
) {
    let diff_ids: Vec<String> = layers
        .iter()
        .map(|(tar, _)| Digest::sha256(tar).to_string())
        .collect();
    let config = json!({
        "architecture": architecture, "os": "linux",
        "config": { "Labels": { "made.by": "a test" } },
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let config = descriptor(
        "application/vnd.oci.image.config.v1+json",
        layout,
        config.to_string().as_bytes(),
    );
    let layers: Vec<serde_json::Value> = layers
        .iter()
        .map(|(tar, pack)| descriptor(pack.media_type(), layout, &pack.pack(tar)))
        .collect();
    let mut manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config, "layers": layers,
    });
    change(&mut manifest);
    let mut manifest = descriptor(
        "application/vnd.oci.image.manifest.v1+json",
        layout,
        manifest.to_string().as_bytes(),
    );
    manifest["annotations"] = json!({ "org.opencontainers.image.ref.name": "latest" });
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    fs_err::write(layout.join("index.json"), index.to_string()).unwrap();
    fs_err::write(
        layout.join("oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )
    .unwrap();
}
