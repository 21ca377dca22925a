use super::*;
use crate::live::{Occupant, Target};
use proptest::prelude::*;
use uuid::uuid;

const GUID: Uuid = uuid!("c0500000-0000-4000-8000-000000000001");

/// A disk of `mib` MiB with a table of partitions that begin and end at these MiB.
fn disk(mib: u64, block_size: u32, partitions: &[(u64, u64)]) -> DiskState {
    let unit = MIB / u64::from(block_size);
    let mut table = Table::blank(mib * MIB, block_size, GUID.to_bytes_le()).unwrap();
    let mut occupants = Vec::new();
    for (number, (start, end)) in (1..).zip(partitions) {
        assert!(table.add(&Entry {
            number,
            type_guid: types::LINUX_DATA.to_bytes_le(),
            unique_guid: [number as u8; 16],
            first: start * unit,
            last: end * unit - 1,
            attributes: 0,
            name: format!("part{number}"),
        }));
        occupants.push(Occupant {
            number,
            content: None,
            blank: false,
        });
    }
    DiskState {
        node: "/dev/vda".into(),
        size: mib * MIB,
        block_size,
        table: TableState::Present {
            table,
            has_backup: true,
        },
        occupants,
        mapped_labels: Vec::new(),
    }
}

fn bare(mib: u64, table: TableState) -> DiskState {
    DiskState {
        table,
        ..disk(mib, 512, &[])
    }
}

fn holds(disk: &mut DiskState, number: usize, kind: &'static str, label: &str, size: u64) {
    disk.occupants[number - 1].content = Some(Content {
        kind,
        label: (!label.is_empty()).then(|| label.to_owned()),
        size: Some(size),
        ..Content::default()
    });
}

fn request(expand: Option<u64>, add: &[NewPartition]) -> LayoutRequest {
    LayoutRequest {
        device: Target::Path("/dev/vda".into()),
        init_disk: false,
        disk_name: None,
        expand,
        add: add.to_vec(),
    }
}

fn new(label: &str, size_mib: u64, filesystem: FileSystem) -> NewPartition {
    NewPartition {
        fs_label: label.into(),
        size_mib,
        partition_label: None,
        filesystem,
        bootable: false,
    }
}

fn shown(request: &LayoutRequest, disk: &DiskState) -> String {
    match plan(request, disk, GUID) {
        Ok(plan) => plan.to_string(),
        Err(error) => format!("error: {error}"),
    }
}

/// The disk as it is when the plan was carried out up to its file systems.
fn with_table(disk: &DiskState, plan: &LayoutPlan) -> DiskState {
    let table = plan.table.clone().unwrap();
    let occupants = table.entries().map(|entry| {
        let before = disk.occupant(entry.number).cloned();
        before.unwrap_or(Occupant {
            number: entry.number,
            content: None,
            blank: true,
        })
    });
    DiskState {
        occupants: occupants.collect(),
        table: TableState::Present {
            table,
            has_backup: true,
        },
        ..disk.clone()
    }
}

/// And up to its end.
fn carried_out(disk: &DiskState, plan: &LayoutPlan) -> DiskState {
    let mut after = with_table(disk, plan);
    for change in &plan.changes {
        let (number, content) = match change {
            Change::MakeFileSystem {
                number,
                filesystem,
                label,
            } => {
                let entry = plan
                    .table
                    .as_ref()
                    .and_then(|table| table.entry(*number))
                    .unwrap();
                let blocks = entry.last + 1 - entry.first;
                let content = Content {
                    kind: filesystem.name(),
                    label: (!label.is_empty()).then(|| label.clone()),
                    size: Some(blocks * u64::from(disk.block_size)),
                    ..Content::default()
                };
                (*number, content)
            }
            Change::GrowFileSystem {
                number,
                content,
                to,
            } => {
                let content = Content {
                    size: Some(*to),
                    ..content.clone()
                };
                (*number, content)
            }
            _ => continue,
        };
        let occupant = after
            .occupants
            .iter_mut()
            .find(|it| it.number == number)
            .unwrap();
        occupant.content = Some(content);
        occupant.blank = false;
    }
    after
}

#[test]
fn partitions_are_added_behind_the_last_and_then_it_is_expanded() {
    let disk = disk(1000, 512, &[(1, 2), (2, 300)]);
    let wanted = request(
        Some(0),
        &[
            new("COS_SWAP", 64, FileSystem::Swap),
            NewPartition {
                partition_label: Some("data".into()),
                ..new("COS_DATA", 128, FileSystem::Btrfs)
            },
        ],
    );
    let made = plan(&wanted, &disk, GUID).unwrap();
    insta::assert_snapshot!(made, @"
    add partition 3 (COS_SWAP) of 64 MiB at 300 MiB
    add partition 4 (COS_DATA) of 635 MiB at 364 MiB
    make swap COS_SWAP on partition 3
    make btrfs COS_DATA on partition 4
    ");
    let entry = made.table.as_ref().unwrap().entry(4).unwrap();
    assert_eq!(entry.name, "data");
    assert_eq!(entry.type_guid, types::LINUX_DATA.to_bytes_le());
    assert_eq!((entry.first, entry.last + 1), (364 * 2048, 999 * 2048));

    let after = carried_out(&disk, &made);
    insta::assert_snapshot!(shown(&wanted, &after), @"");
    let interrupted = with_table(&disk, &made);
    insta::assert_snapshot!(shown(&wanted, &interrupted), @"
    make swap COS_SWAP on partition 3
    make btrfs COS_DATA on partition 4
    ");
}

#[test]
fn the_partition_that_ends_last_grows_with_its_file_system() {
    let mut disk = disk(100, 512, &[(50, 60), (1, 50)]);
    holds(&mut disk, 1, "ext4", "COS_PERSISTENT", 10 * MIB);
    let wanted = request(Some(0), &[]);
    insta::assert_snapshot!(shown(&wanted, &disk), @"
    grow partition 1 from 10 MiB to 49 MiB
    grow the ext4 on partition 1 to 49 MiB
    ");
    let made = plan(&wanted, &disk, GUID).unwrap();
    insta::assert_snapshot!(shown(&wanted, &carried_out(&disk, &made)), @"");
    insta::assert_snapshot!(shown(&wanted, &with_table(&disk, &made)), @"grow the ext4 on partition 1 to 49 MiB");

    insta::assert_snapshot!(shown(&request(Some(32), &[]), &disk), @"
    grow partition 1 from 10 MiB to 32 MiB
    grow the ext4 on partition 1 to 32 MiB
    ");
    // Nothing is shrunk.
    insta::assert_snapshot!(shown(&request(Some(5), &[]), &disk), @"");
    insta::assert_snapshot!(shown(&request(Some(60), &[]), &disk), @"error: partition 1 needs 60 MiB, but /dev/vda has 49 MiB free");
}

#[test]
fn a_file_system_is_not_grown_by_less_than_it_can() {
    let mut disk = disk(100, 512, &[(1, 99)]);
    holds(&mut disk, 1, "ext4", "", 95 * MIB);
    let wanted = request(Some(0), &[]);
    insta::assert_snapshot!(shown(&wanted, &disk), @"grow the ext4 on partition 1 to 98 MiB");
    disk.occupants[0].content.as_mut().unwrap().grain = 4 * MIB;
    insta::assert_snapshot!(shown(&wanted, &disk), @"");
}

#[test]
fn what_cannot_grow_is_told() {
    let mut disk = disk(100, 512, &[(1, 50)]);
    insta::assert_snapshot!(shown(&request(Some(0), &[]), &disk), @"
    grow partition 1 from 49 MiB to 98 MiB
    warning: partition 1 grows, but holds nothing that could grow with it
    ");
    holds(&mut disk, 1, "vfat", "COS_GRUB", 49 * MIB);
    insta::assert_snapshot!(shown(&request(Some(0), &[]), &disk), @"
    grow partition 1 from 49 MiB to 98 MiB
    warning: partition 1 grows, but the vfat on it cannot
    ");
}

#[test]
fn what_is_there_is_left_as_it_is() {
    let mut disk = disk(100, 512, &[(1, 10), (10, 20), (20, 30)]);
    disk.mapped_labels = vec!["IN_LUKS".into()];
    holds(&mut disk, 1, "xfs", "SAME", 9 * MIB);
    holds(&mut disk, 2, "xfs", "SAME", 9 * MIB);
    let named = |label: &str| NewPartition {
        partition_label: Some("part3".into()),
        ..new(label, 10, FileSystem::Ext4)
    };
    for partition in [
        new("SAME", 10, FileSystem::Ext4),
        new("IN_LUKS", 10, FileSystem::Ext4),
        named(""),
    ] {
        insta::allow_duplicates! {
            insta::assert_snapshot!(shown(&request(None, &[partition]), &disk), @"");
        }
    }
    insta::assert_snapshot!(
        shown(&request(None, &[named("OTHER")]), &disk),
        @"warning: partition 3 is taken for OTHER, but holds something else, and is left as it is"
    );
    // A partition that an earlier request made, and somebody has used for something else since.
    let wanted = request(None, &[new("MINE", 10, FileSystem::Ext4)]);
    let made = plan(&wanted, &disk, GUID).unwrap();
    let mut later = carried_out(&disk, &made);
    holds(&mut later, 4, "crypto_LUKS", "", 0);
    insta::assert_snapshot!(
        shown(&wanted, &later),
        @"warning: partition 4 is taken for MINE, but holds crypto_LUKS, and is left as it is"
    );
    assert_eq!(plan(&wanted, &later, GUID).unwrap().table, None);
}

#[test]
fn a_new_table_is_written_only_when_asked_for_and_only_on_an_empty_disk() {
    let mut wanted = request(None, &[new("DATA", 0, FileSystem::Ext4)]);
    let empty = bare(64, TableState::Absent);
    insta::assert_snapshot!(shown(&wanted, &empty), @"error: /dev/vda has no partition table");
    wanted.init_disk = true;
    insta::assert_snapshot!(shown(&wanted, &empty), @"
    write a new partition table, GUID c0500000-0000-4000-8000-000000000001
    add partition 1 (DATA) of 62 MiB at 1 MiB
    make ext4 DATA on partition 1
    ");
    wanted.disk_name = Some("2D0A9A3C-0A3B-4B0A-8F2B-2B7D9C1D7F11".into());
    insta::assert_snapshot!(shown(&wanted, &empty), @"
    write a new partition table, GUID 2d0a9a3c-0a3b-4b0a-8f2b-2b7d9c1d7f11
    add partition 1 (DATA) of 62 MiB at 1 MiB
    make ext4 DATA on partition 1
    ");
    wanted.disk_name = Some("my disk".into());
    insta::assert_snapshot!(plan(&wanted, &empty, GUID).unwrap().warnings.join("\n"), @r#"the disk name "my disk" is ignored: a GUID partition table has no name but its GUID"#);
    insta::assert_snapshot!(shown(&wanted, &bare(64, TableState::Mbr)), @"error: /dev/vda has an MBR partition table; only GUID partition tables are changed");
    insta::assert_snapshot!(shown(&wanted, &bare(64, TableState::Occupied("ext4"))), @"error: /dev/vda has no partition table, but holds ext4");
    let tiny = DiskState {
        size: 16384,
        ..empty
    };
    insta::assert_snapshot!(shown(&wanted, &tiny), @"error: /dev/vda is too small for a partition table");
    let none = request(Some(0), &[]);
    insta::assert_snapshot!(shown(&none, &disk(64, 512, &[])), @"error: /dev/vda has no partition that could be expanded");
}

#[test]
fn a_damaged_copy_of_the_table_is_restored() {
    let mut disk = disk(64, 512, &[(1, 63)]);
    if let TableState::Present { has_backup, .. } = &mut disk.table {
        *has_backup = false;
    }
    let made = plan(&request(Some(0), &[]), &disk, GUID).unwrap();
    insta::assert_snapshot!(made, @"restore the damaged backup partition table");
    assert!(made.table.is_some());
}

#[test]
fn what_does_not_fit_is_refused() {
    let disk = disk(400, 512, &[(1, 100)]);
    let refused = |add: &[NewPartition]| shown(&request(None, add), &disk);
    insta::assert_snapshot!(refused(&[new("A", 300, FileSystem::Ext4)]), @"error: A needs 300 MiB, but /dev/vda has 299 MiB free");
    insta::assert_snapshot!(refused(&[new("A", 299, FileSystem::Ext4)]), @"
    add partition 2 (A) of 299 MiB at 100 MiB
    make ext4 A on partition 2
    ");
    insta::assert_snapshot!(refused(&[new("A", 299, FileSystem::Xfs)]), @"error: partition A is too small for xfs, which takes 300 MiB");
    insta::assert_snapshot!(refused(&[new("A", 0, FileSystem::Xfs)]), @"error: A needs 300 MiB, but /dev/vda has 299 MiB free");
    insta::assert_snapshot!(
        refused(&[new("A", 0, FileSystem::Ext4), new("B", 1, FileSystem::Ext4)]),
        @"error: partition A takes all that is free, but is not the last to be added"
    );
    insta::assert_snapshot!(refused(&[new("A", 1 << 60, FileSystem::Ext4)]), @"error: no disk has 1152921504606846976 MiB");
    insta::assert_snapshot!(refused(&[new("A", 1 << 40, FileSystem::Ext4)]), @"error: A needs 1099511627776 MiB, but /dev/vda has 299 MiB free");
    insta::assert_snapshot!(shown(&request(Some(u64::MAX), &[]), &disk), @"error: no disk has 18446744073709551615 MiB");
    insta::assert_snapshot!(
        refused(&[new("A", 1, FileSystem::Ext4), new("A", 2, FileSystem::Vfat)]),
        @"error: partition A is to be added twice"
    );
    insta::assert_snapshot!(refused(&[new("", 1, FileSystem::Ext4)]), @"error: a partition to add has neither a file system label nor a name");
    let many: Vec<_> = (0..128)
        .map(|at| new(&format!("P{at}"), 1, FileSystem::Ext2))
        .collect();
    insta::assert_snapshot!(refused(&many), @"error: the partition table has no room for more partitions");
}

#[test]
fn labels_that_a_file_system_cannot_have_are_refused() {
    let disk = disk(64, 512, &[(1, 10)]);
    for (filesystem, label) in [
        (FileSystem::Ext4, "seventeen letters"),
        (FileSystem::Xfs, "thirteen char"),
        (FileSystem::Vfat, "twelve chars"),
        (FileSystem::Vfat, "a/b"),
        (FileSystem::Vfat, "NO NAME"),
        (FileSystem::Vfat, "größe"),
        (FileSystem::Swap, "sixteen letters!"),
        (FileSystem::Btrfs, "a/b"),
        (FileSystem::Ext4, "line\nend"),
        (FileSystem::Ext4, " blank"),
    ] {
        let wanted = request(None, &[new(label, 1, filesystem)]);
        let error = plan(&wanted, &disk, GUID).unwrap_err();
        assert!(
            matches!(error, LayoutError::Label { .. }),
            "{label}: {error}"
        );
    }
    let named = NewPartition {
        partition_label: Some("n".repeat(37)),
        ..new("A", 1, FileSystem::Ext4)
    };
    let error = plan(&request(None, &[named]), &disk, GUID).unwrap_err();
    assert!(
        matches!(error, LayoutError::PartitionName { .. }),
        "{error}"
    );
}

#[test]
fn an_efi_system_partition_is_typed_and_one_that_no_firmware_reads_is_told() {
    let disk = disk(64, 512, &[]);
    let bootable = |filesystem| NewPartition {
        bootable: true,
        ..new("ESP", 8, filesystem)
    };
    let made = plan(&request(None, &[bootable(FileSystem::Vfat)]), &disk, GUID).unwrap();
    let entry = made.table.unwrap().entry(1).unwrap();
    assert_eq!(entry.type_guid, types::EFI_SYSTEM.to_bytes_le());
    insta::assert_snapshot!(shown(&request(None, &[bootable(FileSystem::Ext4)]), &disk), @"
    add partition 1 (ESP) of 8 MiB at 1 MiB
    make ext4 ESP on partition 1
    warning: partition ESP is to be an EFI system partition, but no firmware reads ext4
    ");
}

proptest! {
    /// Whatever is asked for: partitions that were there stay where they were, nothing overlaps
    /// (or the table would not have taken it), and asking again changes nothing.
    #[test]
    fn a_plan_that_was_carried_out_leaves_nothing_to_do(
        mib in 8u64..3000,
        large_blocks: bool,
        used in 2u64..2000,
        sizes in proptest::collection::vec((0u64..500, 0usize..7), 0..5),
        expand in proptest::option::of(0u64..2500),
    ) {
        let block_size = if large_blocks { 4096 } else { 512 };
        let mut before = disk(mib, block_size, &[(1, used.min(mib - 2))]);
        holds(&mut before, 1, "ext4", "FIRST", (used.min(mib - 2) - 1) * MIB);
        let add: Vec<_> = (0..)
            .zip(&sizes)
            .map(|(at, (size, kind))| new(&format!("P{at}"), *size, FileSystem::ALL[*kind]))
            .collect();
        let wanted = request(expand, &add);
        let Ok(made) = plan(&wanted, &before, GUID) else { return Ok(()) };
        let Some(table) = &made.table else {
            prop_assert!(made.changes.is_empty());
            return Ok(());
        };
        let TableState::Present { table: old, .. } = &before.table else { unreachable!() };
        let (was, is) = (old.entry(1).unwrap(), table.entry(1).unwrap());
        prop_assert!(is.first == was.first && is.last >= was.last);
        prop_assert_eq!(table.entries().count(), 1 + add.len());
        for (entry, (size, _)) in table.entries().skip(1).zip(&sizes) {
            let blocks = entry.last + 1 - entry.first;
            prop_assert!(blocks * u64::from(block_size) >= size * MIB);
            prop_assert_eq!(entry.first % table.alignment(), 0);
        }
        let after = carried_out(&before, &made);
        let again = plan(&wanted, &after, GUID).unwrap();
        prop_assert_eq!(again.changes, Vec::<Change>::new());
        prop_assert_eq!(again.table, None);
    }
}
