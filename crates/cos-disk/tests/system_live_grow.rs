//! Expanding the last partition of disks of this kernel with what is on it, judged by every file
//! system's own checker and by mounts.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::loop_disk::{LoopDisk, MIB, Mounted, Tools, apply, new, request, tools};
use cos_disk::live::{FileSystem, LayoutError, Machine};

const TOOLS: [(&str, &str); 9] = [
    ("sgdisk", "gdisk"),
    ("sfdisk", "fdisk"),
    ("blkid", "util-linux"),
    ("e2fsck", "e2fsprogs"),
    ("resize2fs", "e2fsprogs"),
    ("mkfs.fat", "dosfstools"),
    ("xfs_repair", "xfsprogs"),
    ("btrfs", "btrfs-progs"),
    ("swaplabel", "util-linux"),
];

/// A disk of twice its former size, whose one partition is still full of a file system with a file in
/// it.
fn grown_disk(tools: &Tools, filesystem: FileSystem, mib: u64, sector_size: u32) -> LoopDisk<'_> {
    let disk = LoopDisk::new(tools, mib, sector_size);
    disk.apply(None, &[new("DATA", 0, filesystem)]).unwrap();
    if filesystem != FileSystem::Swap {
        let mounted = Mounted::new(&disk.partition(1), filesystem.name(), "");
        fs_err::write(mounted.path().join("file"), "kept").unwrap();
    }
    disk.enlarge(2 * mib);
    disk
}

fn expected(filesystem: FileSystem, mib: u64) -> [String; 2] {
    [
        format!(
            "grow partition 1 from {} MiB to {} MiB",
            mib - 2,
            2 * mib - 2
        ),
        format!(
            "grow the {} on partition 1 to {} MiB",
            filesystem.name(),
            2 * mib - 2
        ),
    ]
}

/// Whether the kernel lets this process grow a mounted ext4 (`CAP_SYS_RESOURCE`, bit 24 of `CapEff`).
fn may_grow_mounted_ext4() -> bool {
    let status = fs_err::read_to_string("/proc/self/status").unwrap();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    u64::from_str_radix(effective.unwrap().trim(), 16).unwrap() >> 24 & 1 == 1
}

fn check(tools: &Tools, filesystem: FileSystem, node: &str) {
    match filesystem {
        FileSystem::Ext4 => tools.run("e2fsck", &["-f", "-n", node]),
        FileSystem::Xfs => tools.run("xfs_repair", &["-n", node]),
        _ => tools.run("btrfs", &["check", "--readonly", node]),
    };
}

#[test]
fn a_file_system_that_is_not_mounted_grows_once_with_its_partition() {
    let name = "a_file_system_that_is_not_mounted_grows_once_with_its_partition";
    let Some(tools) = tools(name, &TOOLS) else {
        return;
    };
    for (filesystem, mib, sector_size) in [
        (FileSystem::Ext4, 100, 512),
        (FileSystem::Ext4, 100, 4096),
        (FileSystem::Xfs, 400, 512),
        (FileSystem::Btrfs, 200, 512),
    ] {
        let disk = grown_disk(&tools, filesystem, mib, sector_size);
        assert_eq!(disk.apply(Some(0), &[]).unwrap(), expected(filesystem, mib));
        disk.verified(&tools);
        let node = disk.partition(1);
        check(&tools, filesystem, &node);
        {
            let mounted = Mounted::new(&node, filesystem.name(), "");
            assert_eq!(fs_err::read(mounted.path().join("file")).unwrap(), b"kept");
            // Without what an ext4 or XFS keeps for itself.
            assert!(
                mounted.mib() > 2 * mib - 2 - mib / 4,
                "{filesystem} {}",
                mounted.mib()
            );
        }
        disk.assert_settled(Some(0), &[]);
    }
}

#[test]
fn a_mounted_file_system_grows_while_it_is_used() {
    let name = "a_mounted_file_system_grows_while_it_is_used";
    let Some(tools) = tools(name, &TOOLS) else {
        return;
    };
    for (filesystem, mib) in [
        (FileSystem::Xfs, 400),
        (FileSystem::Btrfs, 200),
        (FileSystem::Ext4, 100),
    ] {
        if filesystem == FileSystem::Ext4 && !may_grow_mounted_ext4() {
            cos_testkit::skip(name, "growing a mounted ext4 takes CAP_SYS_RESOURCE");
            continue;
        }
        let disk = grown_disk(&tools, filesystem, mib, 512);
        let node = disk.partition(1);
        let mounted = Mounted::new(&node, filesystem.name(), "");
        let used = fs_err::File::create(mounted.path().join("used")).unwrap();
        assert_eq!(disk.apply(Some(0), &[]).unwrap(), expected(filesystem, mib));
        assert!(
            mounted.mib() > 2 * mib - 2 - mib / 4,
            "{filesystem} {}",
            mounted.mib()
        );
        // Also while the superblock on the disk is an old one.
        assert_eq!(disk.apply(Some(0), &[]).unwrap(), Vec::<String>::new());
        drop(used);
        drop(mounted);
        check(&tools, filesystem, &node);
        disk.assert_settled(Some(0), &[]);
    }
}

#[test]
fn a_growth_that_was_interrupted_is_finished() {
    let name = "a_growth_that_was_interrupted_is_finished";
    let wanted = [&TOOLS[..], &[("partx", "util-linux")]].concat();
    let Some(tools) = tools(name, &wanted) else {
        return;
    };
    let disk = grown_disk(&tools, FileSystem::Ext4, 100, 512);
    // The table is written, and neither the kernel nor the file system knows.
    let file = fs_err::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&disk.node)
        .unwrap();
    let grown = cos_sys::gpt::grow_in_table(&file, 200 * MIB, 512, 1).unwrap();
    assert_eq!(grown, Some(198 * MIB));
    drop(file);
    assert_eq!(
        disk.apply(Some(0), &[]).unwrap(),
        [
            "tell the kernel of partition 1",
            "grow the ext4 on partition 1 to 198 MiB"
        ]
    );
    check(&tools, FileSystem::Ext4, &disk.partition(1));
    disk.assert_settled(Some(0), &[]);

    // A torn primary table.
    disk.scribble(512, &[0xff; 700]);
    assert_eq!(
        disk.apply(Some(0), &[]).unwrap(),
        ["restore the damaged primary partition table"]
    );
    disk.verified(&tools);
    disk.assert_settled(Some(0), &[]);
}

/// An ext4 leaves out a last group of blocks that is too small: that is not tried again at every boot.
#[test]
fn an_ext4_that_cannot_have_all_of_its_partition_is_settled() {
    let name = "an_ext4_that_cannot_have_all_of_its_partition_is_settled";
    let Some(tools) = tools(name, &TOOLS) else {
        return;
    };
    // Groups of 128 MiB, whose tables take more than 2 MiB.
    for size in [641, 643] {
        let disk = LoopDisk::new(&tools, size + 2, 512);
        let wanted = [new("DATA", 0, FileSystem::Ext4)];
        disk.apply(None, &wanted).unwrap();
        disk.assert_settled(Some(0), &[]);
        let disk = LoopDisk::new(&tools, 600, 512);
        disk.apply(None, &wanted).unwrap();
        disk.enlarge(size + 2);
        assert_eq!(disk.apply(Some(0), &[]).unwrap().len(), 2);
        check(&tools, FileSystem::Ext4, &disk.partition(1));
        disk.assert_settled(Some(0), &[]);
    }
}

#[test]
fn swap_space_is_made_anew_with_its_name() {
    let name = "swap_space_is_made_anew_with_its_name";
    let Some(tools) = tools(name, &TOOLS) else {
        return;
    };
    let disk = grown_disk(&tools, FileSystem::Swap, 50, 512);
    let node = disk.partition(1);
    let before = tools.run("swaplabel", &[&node]);
    assert!(before.contains("DATA"), "{before}");
    assert_eq!(
        disk.apply(Some(0), &[]).unwrap(),
        expected(FileSystem::Swap, 50)
    );
    assert_eq!(tools.run("swaplabel", &[&node]), before);
    disk.assert_settled(Some(0), &[]);
    disk.enlarge(150);

    // In use, as by swapon.
    let outcome = {
        use fs_err::os::unix::fs::OpenOptionsExt;
        let _holder = fs_err::OpenOptions::new()
            .read(true)
            .custom_flags(rustix::fs::OFlags::EXCL.bits().cast_signed())
            .open(&node)
            .unwrap();
        apply(&request(disk.target(), Some(0), &[]), &Machine::default()).unwrap()
    };
    assert_eq!(outcome.changes, ["grow partition 1 from 98 MiB to 148 MiB"]);
    assert!(outcome.warnings[0].contains("in use"), "{outcome:?}");
    assert_eq!(
        disk.apply(Some(0), &[]).unwrap(),
        ["grow the swap on partition 1 to 148 MiB"]
    );
    assert_eq!(tools.run("swaplabel", &[&node]), before);
}

#[test]
fn an_added_partition_is_expanded_and_a_fat_is_not() {
    let name = "an_added_partition_is_expanded_and_a_fat_is_not";
    let Some(tools) = tools(name, &TOOLS) else {
        return;
    };
    let disk = LoopDisk::new(&tools, 300, 512);
    let add = [
        new("FAT", 50, FileSystem::Vfat),
        new("DATA", 20, FileSystem::Ext4),
    ];
    disk.apply(Some(100), &add).unwrap();
    assert_eq!(
        disk.verified(&tools),
        ["fat EBD0A0A2 50", "data 0FC63DAF 100"]
    );
    check(&tools, FileSystem::Ext4, &disk.partition(2));
    disk.assert_settled(Some(100), &add);
    disk.assert_settled(Some(30), &add);
    let error = disk.apply(Some(1000), &add).unwrap_err();
    assert!(matches!(error, LayoutError::NoRoom { .. }), "{error}");
    disk.assert_settled(Some(100), &add);

    let disk = LoopDisk::new(&tools, 100, 512);
    disk.apply(None, &add[..1]).unwrap();
    let wanted = request(disk.target(), Some(0), &add[..1]);
    let outcome = apply(&wanted, &Machine::default()).unwrap();
    assert_eq!(outcome.changes, ["grow partition 1 from 50 MiB to 98 MiB"]);
    assert_eq!(
        outcome.warnings,
        ["partition 1 grows, but the vfat on it cannot"]
    );
    disk.assert_settled(Some(0), &add[..1]);
}
