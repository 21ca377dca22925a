use super::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Documents and blobs by digest.
#[derive(Default)]
struct Memory(BTreeMap<Digest, Vec<u8>>);

impl Memory {
    fn put(&mut self, media_type: &str, document: &Value) -> Value {
        let bytes = document.to_string().into_bytes();
        let digest = Digest::sha256(&bytes);
        let descriptor = json!({
            "mediaType": media_type, "digest": digest.to_string(), "size": bytes.len(),
        });
        self.0.insert(digest, bytes);
        descriptor
    }
}

impl Repository for Memory {
    fn manifest(&self, digest: &Digest, _: u64, _: &dyn Monitor) -> Result<Vec<u8>, ImageError> {
        Ok(self.0[digest].clone())
    }

    fn blob<'r>(
        &'r self,
        digest: &Digest,
        _: u64,
        _: &'r dyn Monitor,
    ) -> Result<Box<dyn Read + Send + 'r>, ImageError> {
        Ok(Box::new(&self.0[digest][..]))
    }
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

fn options(choice: &str) -> Options {
    let platform = match choice.strip_prefix('~') {
        Some(preferred) => PlatformChoice::Prefer(preferred.parse().unwrap()),
        None => PlatformChoice::Exactly(choice.parse().unwrap()),
    };
    Options::new(platform, "/nowhere")
}

fn manifest(memory: &mut Memory, architecture: &str, layer_type: &str) -> Value {
    let digest = Digest::sha256(b"layer").to_string();
    let config = json!({
        "architecture": architecture, "os": "linux",
        "rootfs": { "type": "layers", "diff_ids": [digest] },
    });
    let config = memory.put(CONFIG, &config);
    json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": config,
        "layers": [{ "mediaType": layer_type, "digest": digest, "size": 5 }],
    })
}

fn find(memory: &Memory, document: &Value, choice: &str) -> Result<Found, ImageError> {
    let first = First {
        bytes: document.to_string().into_bytes(),
        media_type: None,
    };
    resolve(memory, first, "test", &options(choice), &cos_events::Silent)
}

fn index(memory: &mut Memory, platforms: &[&str]) -> Value {
    let mut manifests = Vec::new();
    for platform in platforms {
        let parsed: Platform = platform.parse().unwrap();
        let document = manifest(memory, &parsed.architecture, LAYER);
        let mut descriptor = memory.put(MANIFEST, &document);
        descriptor["platform"] = json!({ "os": parsed.os, "architecture": parsed.architecture });
        if let Some(variant) = &parsed.variant {
            descriptor["platform"]["variant"] = json!(variant);
        }
        manifests.push(descriptor);
    }
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests })
}

#[test]
fn the_platform_chooses_from_an_index() {
    let mut memory = Memory::default();
    let document = index(
        &mut memory,
        &["linux/amd64", "linux/arm64/v8", "unknown/unknown"],
    );
    let found = find(&memory, &document, "arm64").unwrap();
    assert_eq!(found.config.architecture().to_string(), "arm64");
    assert_ne!(found.digest, found.reference_digest);
    let error = find(&memory, &document, "riscv64").err().unwrap();
    let message = "test has no image for linux/riscv64 (there is: linux/amd64, linux/arm64/v8)";
    assert_eq!(error.to_string(), message);
    assert!(find(&memory, &document, "~riscv64").is_err());
}

#[test]
fn the_only_image_is_taken_unless_another_was_asked_for() {
    let mut memory = Memory::default();
    let document = manifest(&mut memory, "arm64", LAYER);
    assert!(find(&memory, &document, "~amd64").is_ok());
    assert!(matches!(
        find(&memory, &document, "amd64"),
        Err(ImageError::NoSuchPlatform { .. })
    ));
    let document = index(&mut memory, &["linux/arm64", "unknown/unknown"]);
    assert!(find(&memory, &document, "~amd64").is_ok());
    assert!(find(&memory, &document, "amd64").is_err());
}

#[test]
fn indexes_nest_only_so_deep() {
    let mut memory = Memory::default();
    let mut document = manifest(&mut memory, "amd64", LAYER);
    let mut media_type = MANIFEST;
    for depth in 0..6 {
        assert_eq!(
            find(&memory, &document, "amd64").is_ok(),
            depth <= MAX_NESTING,
            "{depth}"
        );
        let inner = memory.put(media_type, &document);
        document = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [inner] });
        media_type = INDEX;
    }
}

#[test]
fn documents_that_are_not_what_they_seem_are_refused() {
    let mut memory = Memory::default();
    let good = manifest(&mut memory, "amd64", LAYER);
    let changed = |key: &str, value: Value| {
        let mut document = good.clone();
        document[key] = value;
        find(&memory, &document, "amd64").err().unwrap()
    };
    assert!(matches!(
        changed("manifests", json!([])),
        ImageError::AmbiguousManifest { .. }
    ));
    assert!(matches!(
        changed("schemaVersion", json!(1)),
        ImageError::SchemaVersion1 { .. }
    ));
    assert!(matches!(
        changed("fsLayers", json!([])),
        ImageError::SchemaVersion1 { .. }
    ));
    assert!(matches!(
        changed("mediaType", json!("a/b")),
        ImageError::UnsupportedManifest { .. }
    ));
    assert!(matches!(
        changed("layers", json!([])),
        ImageError::LayerCount { .. }
    ));
    assert!(matches!(
        changed("layers", json!(7)),
        ImageError::Document { .. }
    ));
    let mut chart = good["config"].clone();
    chart["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json");
    assert!(matches!(
        changed("config", chart),
        ImageError::NotAnImage { .. }
    ));
    let mut size = good["config"].clone();
    size["size"] = json!(1_u64 << 40);
    assert!(matches!(
        changed("config", size.clone()),
        ImageError::DocumentTooLarge { .. }
    ));
    size["size"] = json!(10);
    assert!(matches!(
        changed("config", size),
        ImageError::BlobSize { .. }
    ));
}

#[test]
fn a_declared_type_must_be_the_documents_own() {
    let mut memory = Memory::default();
    let good = manifest(&mut memory, "amd64", LAYER);
    let first = First {
        bytes: good.to_string().into_bytes(),
        media_type: Some(INDEX.into()),
    };
    let contradicted = resolve(
        &memory,
        first,
        "test",
        &options("amd64"),
        &cos_events::Silent,
    );
    assert!(matches!(
        contradicted,
        Err(ImageError::AmbiguousManifest { .. })
    ));
}

#[test]
fn layer_types_are_known_or_refused() {
    let mut memory = Memory::default();
    let mut compression = |layer_type: &str| {
        let document = manifest(&mut memory, "amd64", layer_type);
        find(&memory, &document, "amd64").map(|found| found.layers[0].compression)
    };
    assert_eq!(compression(LAYER).unwrap(), Some(Compression::Gzip));
    let docker = "application/vnd.docker.image.rootfs.diff.tar";
    assert_eq!(compression(docker).unwrap(), None);
    assert_eq!(
        compression(&format!("{docker}.gzip")).unwrap(),
        Some(Compression::Gzip)
    );
    let zstd = "application/vnd.oci.image.layer.v1.tar+zstd";
    assert_eq!(compression(zstd).unwrap(), Some(Compression::Zstd));
    for foreign in [
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    ] {
        assert!(matches!(
            compression(foreign),
            Err(ImageError::ForeignLayer { .. })
        ));
    }
    let encrypted = "application/vnd.oci.image.layer.v1.tar+gzip+encrypted";
    assert!(matches!(
        compression(encrypted),
        Err(ImageError::UnsupportedLayer { .. })
    ));
}
