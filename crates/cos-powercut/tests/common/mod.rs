//! A disk with COS_STATE as `cos build disk` makes it.
#![allow(dead_code, reason = "every test binary uses its own part")]

pub(crate) mod scenario;

use cos_boot::{
    ATTEMPT_ENVIRONMENT, Attempts, BOOT_CONFIG, BOOT_ENVIRONMENT, BootState, METADATA,
    NEXT_BOOT_ENVIRONMENT, SnapshotId,
};
use cos_disk::ext4::{self, Ext4Content, Ext4Entry, Ext4Options, Ext4Tools};
use cos_disk::gpt::{self, PartitionRequest, Size, types};
use cos_powercut::Part;
use cos_powercut::fixture::{self, files, fragment, snapshot};
use fs_err::OpenOptions;
use std::path::Path;
use uuid::Uuid;

pub(crate) const MIB: u64 = 1 << 20;

pub(crate) fn id(digit: char) -> SnapshotId {
    fixture::id(digit).unwrap()
}

pub(crate) fn first_state() -> BootState {
    fixture::first_state(&id('a'))
}

/// Makes the disk: a partition table, and in it COS_STATE with one snapshot.
pub(crate) fn make_disk(path: &Path, bytes: u64) -> Part {
    let request = PartitionRequest {
        name: "state".into(),
        type_guid: types::LINUX_DATA,
        unique_guid: Uuid::from_u128(2),
        size: Size::Fixed(bytes),
        attributes: 0,
    };
    let layout = gpt::plan(&[request], None).unwrap();
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true);
    let file = options.open(path).unwrap();
    file.set_len(layout.total_bytes).unwrap();
    let table = &layout.partitions;
    gpt::write_table(&file, layout.total_bytes, Uuid::from_u128(1), table).unwrap();
    let part = Part {
        offset: table[0].offset(),
        size: table[0].bytes(),
        number: 1,
    };
    let first = id('a');
    let state = first_state().to_bytes().unwrap();
    let mut entries = vec![
        (BOOT_ENVIRONMENT.to_owned(), state.clone()),
        (NEXT_BOOT_ENVIRONMENT.to_owned(), state),
        (
            ATTEMPT_ENVIRONMENT.to_owned(),
            Attempts::default().to_bytes().unwrap(),
        ),
    ];
    let directory = first.directory();
    let yaml = snapshot(&first).to_yaml().unwrap().into_bytes();
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
    let tools = Ext4Tools::find(None).unwrap();
    ext4::format(&tools, &file, part.offset, part.size, &options, &entries).unwrap();
    file.sync_all().unwrap();
    part
}
