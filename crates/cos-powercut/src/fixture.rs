//! Snapshots of small files, and a disk with one of them, for operations to be made of.

use crate::Part;
use anyhow::{Context, Result};
use cos_boot::{
    ATTEMPT_ENVIRONMENT, Attempts, BOOT_CONFIG, BOOT_ENVIRONMENT, BootState, INITRD, KERNEL,
    METADATA, NEXT_BOOT_ENVIRONMENT, ROOT_IMAGE, SnapshotId,
};
use cos_disk::ext4::{self, Ext4Content, Ext4Entry, Ext4Options, Ext4Tools};
use cos_disk::gpt::{self, PartitionRequest, Size, types};
use cos_store::{Action, FileDigest, Snapshot, Store};
use fs_err::OpenOptions;
use std::collections::BTreeMap;
use std::path::Path;
use uuid::Uuid;

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
        program: None,
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

/// Makes the disk: a partition table, and in it COS_STATE with one snapshot.
pub fn make_disk(path: &Path, bytes: u64) -> Result<Part> {
    let request = PartitionRequest {
        name: "state".into(),
        type_guid: types::LINUX_DATA,
        unique_guid: Uuid::from_u128(2),
        size: Size::Fixed(bytes),
        attributes: 0,
    };
    let layout = gpt::plan(&[request], None)?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true);
    let file = options.open(path)?;
    file.set_len(layout.total_bytes)?;
    let table = &layout.partitions;
    gpt::write_table(&file, layout.total_bytes, Uuid::from_u128(1), table)?;
    let first = table.first().context("no partition")?;
    let part = Part {
        offset: first.offset(),
        size: first.bytes(),
        number: 1,
    };
    let first = id('a')?;
    let state = first_state(&first).to_bytes()?;
    let mut entries = vec![
        (BOOT_ENVIRONMENT.to_owned(), state.clone()),
        (NEXT_BOOT_ENVIRONMENT.to_owned(), state),
        (
            ATTEMPT_ENVIRONMENT.to_owned(),
            Attempts::default().to_bytes()?,
        ),
    ];
    let directory = first.directory();
    let yaml = snapshot(&first).to_yaml()?.into_bytes();
    entries.push((format!("{directory}/{METADATA}"), yaml));
    entries.push((
        format!("{directory}/{BOOT_CONFIG}"),
        fragment(&first).into_bytes(),
    ));
    for (name, bytes) in files(&first) {
        entries.push((format!("{directory}/{name}"), bytes));
    }
    let entries: Vec<Ext4Entry> = entries
        .into_iter()
        .map(|(path, bytes)| Ext4Entry {
            path,
            mode: 0o644,
            content: Ext4Content::File(bytes.as_slice().into()),
        })
        .collect();
    let options = Ext4Options::new("COS_STATE", Uuid::from_u128(3), 1_700_000_000);
    let tools = Ext4Tools::find(None)?;
    ext4::format(&tools, &file, part.offset, part.size, &options, &entries)?;
    file.sync_all()?;
    Ok(part)
}
