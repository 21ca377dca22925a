//! A machine holds what it makes of an image against the statement of whoever sealed that.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;
#[path = "common/machinery.rs"]
mod machinery;

use cos_events::Silent;
use cos_ops::deploy::{DeployError, SnapshotSource};
use cos_ops::hooks::NoHooks;
use cos_ops::install::{InstallError, plan_install};
use cos_ops::sealed::{ARTIFACT_TYPE, SealedError, Statement, StatementFile};
use cos_ops::upgrade::{Extent, Outcome};
use cos_ops::{ErrorKind, OpsError};
use cos_store::{FileDigest, Snapshot, SnapshotId, verify_snapshot};
use cos_testkit::require_root;
use machinery::Machinery;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const SIZE: u64 = 96 << 20;
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Upgrades once, to learn what the image becomes; then the machine is as it was.
fn learn(machinery: &Machinery) -> (Snapshot, Vec<u8>) {
    let before = machinery.state();
    let made = machinery.upgrade(Extent::Whole, &NoHooks).unwrap();
    let id = made.snapshot.unwrap();
    let store = machinery.store();
    let snapshot = store.metadata(&id).unwrap();
    let root = fs_err::read(store.directory(&id).join("root.img")).unwrap();
    machinery.commit(&before);
    store.collect(&before, &[]).unwrap();
    (snapshot, root)
}

fn statement(machinery: &Machinery, snapshot: &Snapshot) -> Statement {
    Statement {
        version: Statement::VERSION,
        image: machinery.digest().parse().unwrap(),
        architecture: "amd64".into(),
        format: snapshot.format.clone(),
        compression: "zstd:1".into(),
        root_hash: snapshot.root_hash.clone(),
        size: snapshot.size,
        hash_offset: snapshot.hash_offset,
        kernel: snapshot.kernel,
        initrd: snapshot.initrd,
        kernel_arguments: String::new(),
        encrypted: false,
        date: 1_700_000_000,
        program: file(b"program"),
        root: None,
    }
}

fn file(bytes: &[u8]) -> StatementFile {
    StatementFile {
        digest: FileDigest(Sha256::digest(bytes).into()),
        size: bytes.len() as u64,
    }
}

/// Lists a statement beside the image, and the root image with it.
fn publish(machinery: &Machinery, statement: &Statement, root: &[u8]) {
    let layer = |name: &str, bytes: &[u8]| {
        json!({
            "mediaType": "application/octet-stream", "size": bytes.len(),
            "digest": machinery.server.add_blob(bytes),
            "annotations": {"org.opencontainers.image.title": name},
        })
    };
    let mut layers = vec![
        layer("statement.json", &statement.to_json().unwrap()),
        layer("system.efi", b"program"),
    ];
    if statement.root.is_some() {
        layers.push(layer("root.img", root));
    }
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": ARTIFACT_TYPE,
        "config": layer("config", b"{}"), "layers": layers,
        "subject": {"mediaType": MANIFEST, "digest": machinery.digest(), "size": 1},
    });
    let bytes = manifest.to_string().into_bytes();
    let digest = machinery.server.add_blob(&bytes);
    machinery.server.add_manifest(&digest, MANIFEST, &bytes);
    let entry: Value = json!({
        "mediaType": MANIFEST, "digest": digest, "size": bytes.len(), "artifactType": ARTIFACT_TYPE,
    });
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]});
    let page = index.to_string().into_bytes();
    machinery
        .server
        .list_referrers(&machinery.digest(), vec![page]);
}

fn upgraded(machinery: &Machinery) -> SnapshotId {
    let result = machinery.upgrade(Extent::Whole, &NoHooks).unwrap();
    assert_eq!(result.outcome, Outcome::Committed);
    result.snapshot.unwrap()
}

#[test]
fn another_root_hash_than_the_stated_one_is_refused_and_nothing_is_written() {
    if !require_root("another_root_hash_than_the_stated_one_is_refused_and_nothing_is_written") {
        return;
    }
    let machinery = Machinery::start(SIZE);
    let (snapshot, root) = learn(&machinery);
    let (before, names) = (machinery.state(), machinery.entries());
    let good = statement(&machinery, &snapshot);
    for (what, wrong) in [
        (
            "root image",
            Statement {
                root_hash: "1".repeat(64),
                ..good.clone()
            },
        ),
        (
            "kernel",
            Statement {
                kernel: FileDigest([1; 32]),
                ..good.clone()
            },
        ),
        (
            "initrd",
            Statement {
                initrd: FileDigest([1; 32]),
                ..good.clone()
            },
        ),
    ] {
        publish(&machinery, &wrong, &root);
        let error = machinery.upgrade(Extent::Whole, &NoHooks).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Image);
        match error {
            OpsError::Sealed(SealedError::Differs { what: found }) => assert_eq!(found, what),
            other => panic!("{what}: {other}"),
        }
        assert_eq!(
            (machinery.state(), machinery.entries()),
            (before.clone(), names.clone())
        );
    }
    publish(&machinery, &good, &root);
    assert_eq!(upgraded(&machinery), snapshot.id);
    machinery.check_disk();
}

#[test]
fn the_sealed_root_image_takes_the_place_of_one_that_came_out_otherwise() {
    if !require_root("the_sealed_root_image_takes_the_place_of_one_that_came_out_otherwise") {
        return;
    }
    let machinery = Machinery::start(SIZE);
    let (snapshot, root) = learn(&machinery);
    // Made with another compression, the image becomes another root image.
    let statement = Statement {
        compression: "lz4".into(),
        root: Some(file(&root)),
        ..statement(&machinery, &snapshot)
    };
    publish(&machinery, &statement, &root);
    let id = upgraded(&machinery);
    let taken = verify_snapshot(&machinery.store(), &id).unwrap();
    assert_eq!(taken.root_hash, snapshot.root_hash);
    assert_eq!(machinery.file_of(&id, "etc/version"), "two\n");

    // One that is not what was stated changes nothing.
    let machinery = Machinery::start(SIZE);
    let (snapshot, root) = learn(&machinery);
    let before = machinery.state();
    let mut other = root.clone();
    other[9000] ^= 1;
    let statement = Statement {
        compression: "lz4".into(),
        root: Some(file(&other)),
        ..self::statement(&machinery, &snapshot)
    };
    publish(&machinery, &statement, &other);
    let error = machinery.upgrade(Extent::Whole, &NoHooks).unwrap_err();
    assert!(matches!(error, OpsError::Damaged { .. }), "{error}");
    assert_eq!(machinery.state(), before);
}

#[test]
fn what_seals_an_image_and_cannot_be_used_is_told_where_it_need_not_be() {
    if !require_root("what_seals_an_image_and_cannot_be_used_is_told_where_it_need_not_be") {
        return;
    }
    let machinery = Machinery::start(SIZE);
    let (snapshot, root) = learn(&machinery);
    let about_another = Statement {
        image: format!("sha256:{}", "0".repeat(64)).parse().unwrap(),
        ..statement(&machinery, &snapshot)
    };
    publish(&machinery, &about_another, &root);
    assert_eq!(upgraded(&machinery), snapshot.id);
}

#[test]
fn what_is_installed_is_held_against_the_statement_too() {
    if !require_root("what_is_installed_is_held_against_the_statement_too") {
        return;
    }
    let machinery = Machinery::start(SIZE);
    let (snapshot, root) = learn(&machinery);
    let bench = common::Bench::new();
    let mut request = bench.request(&bench.disk_file("disk.img", 3 * common::GIB));
    request.force = true;
    request.source = SnapshotSource::Image(Box::new(machinery.image()));
    let good = statement(&machinery, &snapshot);
    publish(&machinery, &good, &root);
    let planned = plan_install(&request, &Silent).unwrap();
    assert_eq!(planned.snapshot.root_hash, snapshot.root_hash);
    let wrong = Statement {
        root_hash: "1".repeat(64),
        ..good
    };
    publish(&machinery, &wrong, &root);
    let error = plan_install(&request, &Silent).unwrap_err();
    let InstallError::Deploy(DeployError::Ops(OpsError::Sealed(why))) = error else {
        panic!("{error}");
    };
    assert!(
        matches!(why, SealedError::Differs { what: "root image" }),
        "{why}"
    );
}
