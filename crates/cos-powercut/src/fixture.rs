//! Snapshots of small files, for operations to be made of.

use anyhow::Result;
use cos_boot::{BootState, INITRD, KERNEL, ROOT_IMAGE, SnapshotId};
use cos_store::{Action, FileDigest, Snapshot, Store};
use std::collections::BTreeMap;

/// The snapshot that is named by a hexadecimal digit.
pub fn id(digit: char) -> Result<SnapshotId> {
    Ok(digit.to_string().repeat(12).parse()?)
}

/// What the store need not understand here, it is given plausibly.
pub fn snapshot(id: &SnapshotId) -> Snapshot {
    Snapshot {
        version: Snapshot::VERSION,
        id: id.clone(),
        source: "registry.example.org/os:1".into(),
        follows: None,
        digest: Some(format!("sha256:{}", id.as_str().repeat(6)[..64].to_owned())),
        format: "cos-root-v1".into(),
        root_hash: "1".repeat(64),
        size: 4096,
        hash_offset: 2048,
        kernel: FileDigest([2; 32]),
        initrd: FileDigest([3; 32]),
        modified_locally: false,
        date: 1_700_000_000,
        action: Action::Upgrade,
        kernel_arguments: "console=ttyS0 panic=30".into(),
        machine_arguments: String::new(),
        image_version: None,
        verified: None,
        labels: BTreeMap::new(),
    }
}

/// What the boot loader is told of it.
pub fn fragment(id: &SnapshotId) -> String {
    format!(
        "set cos_roothash={}\nset cos_arguments='quiet'\n",
        id.as_str().repeat(6)
    )
}

/// The files that are copied into a snapshot: no two blocks of any of them are alike.
pub fn files(id: &SnapshotId) -> [(&'static str, Vec<u8>); 3] {
    let bytes = |name: &str, blocks: usize, tail: usize| {
        let mut bytes = Vec::new();
        for block in 0..blocks {
            let line = format!("{id} {name} {block:08}\n");
            bytes.extend(line.bytes().cycle().take(4096));
        }
        bytes.truncate(blocks * 4096 - tail);
        bytes
    };
    [
        (ROOT_IMAGE, bytes("root", 40, 0)),
        (KERNEL, bytes("kernel", 9, 100)),
        (INITRD, bytes("initrd", 17, 3000)),
    ]
}

/// Writes a snapshot as an upgrade does, up to the commit.
pub fn add(store: &Store, id: &SnapshotId) -> Result<()> {
    let draft = store.draft()?;
    for (name, bytes) in files(id) {
        fs_err::write(draft.directory().join(name), bytes)?;
    }
    draft.finish(&snapshot(id), &fragment(id))?;
    Ok(())
}

/// The state of the new disk: one snapshot, good.
pub fn first_state(id: &SnapshotId) -> BootState {
    BootState {
        trial: Vec::new(),
        ..BootState::first(id.clone())
    }
}
