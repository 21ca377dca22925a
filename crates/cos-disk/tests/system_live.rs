//! Partitions of disks of this kernel, judged by sgdisk, sfdisk, blkid, every file system's own
//! checker, and mounts.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::loop_disk::{LoopDisk, MIB, Mounted, Tools, apply, new, request, tools};
use cos_disk::live::{FileSystem, LayoutError, Machine, NewPartition, Target};
use fs_err::os::unix::fs::OpenOptionsExt;
use rustix::fs::{FlockOperation, OFlags};
use std::path::Path;
use std::time::{Duration, Instant};

const TABLE: [(&str, &str); 3] = [
    ("sgdisk", "gdisk"),
    ("sfdisk", "fdisk"),
    ("blkid", "util-linux"),
];

const MAKERS: [(&str, &str); 9] = [
    ("sgdisk", "gdisk"),
    ("sfdisk", "fdisk"),
    ("blkid", "util-linux"),
    ("e2fsck", "e2fsprogs"),
    ("fsck.vfat", "dosfstools"),
    ("xfs_repair", "xfsprogs"),
    ("btrfs", "btrfs-progs"),
    ("swaplabel", "util-linux"),
    ("mke2fs", "e2fsprogs"),
];

/// Every file system's own opinion of a partition.
fn checked(tools: &Tools, kind: &str, node: &str) {
    match kind {
        "ext2" | "ext3" | "ext4" => tools.run("e2fsck", &["-f", "-n", node]),
        "vfat" => tools.run("fsck.vfat", &["-n", node]),
        "xfs" => tools.run("xfs_repair", &["-n", node]),
        "btrfs" => tools.run("btrfs", &["check", "--readonly", node]),
        "swap" => tools.run("swaplabel", &[node]),
        other => panic!("{other}"),
    };
}

fn all() -> Vec<NewPartition> {
    vec![
        new("L_EXT2", 16, FileSystem::Ext2),
        new("L_EXT3", 32, FileSystem::Ext3),
        new("L_EXT4", 64, FileSystem::Ext4),
        new("L_XFS", 320, FileSystem::Xfs),
        new("L_BTRFS", 128, FileSystem::Btrfs),
        new("L_SWAP", 16, FileSystem::Swap),
        NewPartition {
            bootable: true,
            ..new("L_VFAT", 64, FileSystem::Vfat)
        },
    ]
}

#[test]
fn every_file_system_is_made_as_its_checker_wants_it() {
    let name = "every_file_system_is_made_as_its_checker_wants_it";
    let Some(tools) = tools(name, &MAKERS) else {
        return;
    };
    for sector_size in [512, 4096] {
        let disk = LoopDisk::new(&tools, 800, sector_size);
        let changes = disk.apply(None, &all()).unwrap();
        assert_eq!(changes.len(), 1 + 7 + 7, "{changes:?}");
        assert_eq!(
            disk.verified(&tools),
            [
                "l_ext2 0FC63DAF 16",
                "l_ext3 0FC63DAF 32",
                "l_ext4 0FC63DAF 64",
                "l_xfs 0FC63DAF 320",
                "l_btrfs 0FC63DAF 128",
                "l_swap 0657FD6D 16",
                "l_vfat C12A7328 64",
            ]
        );
        for (number, partition) in (1..).zip(all()) {
            let kind = partition.filesystem.name();
            let found = disk.blkid(&tools, number);
            assert_eq!(found, (kind.to_owned(), partition.fs_label.clone()));
            checked(&tools, kind, &disk.partition(number));
            if matches!(kind, "ext4" | "xfs" | "btrfs") {
                let mounted = Mounted::new(&disk.partition(number), kind, "");
                fs_err::write(mounted.path().join("file"), "kept").unwrap();
            }
        }
        disk.assert_settled(None, &all());
    }
}

#[test]
fn partitions_are_added_to_a_table_of_sgdisk_and_what_was_there_stays() {
    let name = "partitions_are_added_to_a_table_of_sgdisk_and_what_was_there_stays";
    let Some(tools) = tools(name, &MAKERS) else {
        return;
    };
    let disk = LoopDisk::new(&tools, 200, 512);
    // The place of the new partition bears the remains of another file system.
    let file = disk.file();
    let remains = ["-q", "-F", "-t", "ext4", "-L", "REMAINS", "-E"];
    for offset in [MIB, 51 * MIB] {
        let offset = format!("offset={offset}");
        tools.run(
            "mke2fs",
            &[&remains[..], &[&offset, file.to_str().unwrap(), "40M"]].concat(),
        );
    }
    tools.run("sgdisk", &["-n5:1M:+50M", "-c5:first", disk.name()]);
    let wanted = [new("DATA", 0, FileSystem::Ext4)];
    let changes = disk.apply(None, &wanted).unwrap();
    assert_eq!(
        changes,
        [
            "tell the kernel of partition 5",
            "add partition 1 (DATA) of 148 MiB at 51 MiB",
            "make ext4 DATA on partition 1",
        ]
    );
    assert_eq!(
        disk.verified(&tools),
        ["data 0FC63DAF 148", "first 0FC63DAF 50"]
    );
    assert_eq!(disk.blkid(&tools, 5), ("ext4".into(), "REMAINS".into()));
    checked(&tools, "ext4", &disk.partition(5));
    checked(&tools, "ext4", &disk.partition(1));
    disk.assert_settled(None, &wanted);
    // The remains are known by their label too.
    disk.assert_settled(None, &[new("REMAINS", 10, FileSystem::Ext2)]);
    let error = disk
        .apply(None, &[new("MORE", 1, FileSystem::Ext4)])
        .unwrap_err();
    assert!(
        matches!(error, LayoutError::NoRoom { available: 0, .. }),
        "{error}"
    );
}

#[test]
fn every_file_system_is_made_on_the_least_that_is_taken_for_it() {
    let name = "every_file_system_is_made_on_the_least_that_is_taken_for_it";
    let Some(tools) = tools(name, &MAKERS) else {
        return;
    };
    let least = [
        new("A", 1, FileSystem::Ext2),
        new("B", 1, FileSystem::Ext3),
        new("C", 1, FileSystem::Ext4),
        new("D", 300, FileSystem::Xfs),
        new("E", 110, FileSystem::Btrfs),
        new("F", 1, FileSystem::Swap),
        new("G", 1, FileSystem::Vfat),
    ];
    for sector_size in [512, 4096] {
        let disk = LoopDisk::new(&tools, 420, sector_size);
        disk.apply(None, &least).unwrap();
        for (number, partition) in (1..).zip(&least) {
            checked(&tools, partition.filesystem.name(), &disk.partition(number));
        }
        disk.assert_settled(None, &least);
    }
}

#[test]
fn the_place_of_a_new_partition_is_blank_before_its_file_system_is_made() {
    let name = "the_place_of_a_new_partition_is_blank_before_its_file_system_is_made";
    let Some(tools) = tools(name, &MAKERS) else {
        return;
    };
    let disk = LoopDisk::new(&tools, 50, 512);
    disk.scribble(MIB, &vec![7; 48 * MIB as usize]);
    let programs = tempfile::tempdir().unwrap();
    let seen = programs.path().join("seen");
    let script = format!(
        "#!/bin/sh\nfor last; do :; done\ncat $last > {}\nexit 1\n",
        seen.display()
    );
    broken(programs.path(), "mke2fs", &script);
    let machine = Machine {
        search_path: Some(programs.path().as_os_str()),
        ..Machine::default()
    };
    let wanted = request(disk.target(), None, &[new("DATA", 0, FileSystem::Ext4)]);
    let error = apply(&wanted, &machine).unwrap_err();
    assert!(matches!(error, LayoutError::Make { .. }), "{error}");
    let seen = fs_err::read(&seen).unwrap();
    assert_eq!(seen.len(), 48 * MIB as usize);
    for (at, part) in seen.chunks(MIB as usize).enumerate() {
        let wanted = if at == 0 || at == 47 { 0 } else { 7 };
        assert!(part.iter().all(|&byte| byte == wanted), "{at}");
    }
}

/// Puts a script into a directory of programs.
fn broken(directory: &Path, program: &str, script: &str) {
    let file = fs_err::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o755)
        .open(directory.join(program));
    std::io::Write::write_all(&mut file.unwrap(), script.as_bytes()).unwrap();
}

#[test]
fn an_interrupted_request_is_finished_by_the_next() {
    let name = "an_interrupted_request_is_finished_by_the_next";
    let wanted = [&MAKERS[..], &[("partx", "util-linux")]].concat();
    let Some(tools) = tools(name, &wanted) else {
        return;
    };
    let disk = LoopDisk::new(&tools, 100, 512);
    // The tool dies with half of its work done.
    let script = "#!/bin/sh\nfor last; do :; done\nyes | head -c 200000 > $last\nkill -9 $$\n";
    let programs = tempfile::tempdir().unwrap();
    broken(programs.path(), "mke2fs", script);
    let wanted = [new("DATA", 50, FileSystem::Ext4)];
    let machine = Machine {
        search_path: Some(programs.path().as_os_str()),
        ..Machine::default()
    };
    let error = apply(&request(disk.target(), None, &wanted), &machine).unwrap_err();
    assert!(matches!(error, LayoutError::Make { .. }), "{error}");
    let only_made = ["make ext4 DATA on partition 1"];
    assert_eq!(disk.apply(None, &wanted).unwrap(), only_made);
    checked(&tools, "ext4", &disk.partition(1));
    disk.assert_settled(None, &wanted);

    // The power goes when the table is written and the kernel knows nothing of it.
    disk.scribble(MIB, &vec![0; MIB as usize]);
    tools.run("partx", &["-d", "--nr", "1", disk.name()]);
    assert!(!Path::new(&disk.partition(1)).exists());
    assert_eq!(
        disk.apply(None, &wanted).unwrap(),
        ["tell the kernel of partition 1", only_made[0]]
    );
    checked(&tools, "ext4", &disk.partition(1));
    assert_eq!(disk.verified(&tools), ["data 0FC63DAF 50"]);
}

#[test]
fn what_is_refused_leaves_the_disk_as_it_is() {
    let name = "what_is_refused_leaves_the_disk_as_it_is";
    let Some(tools) = tools(name, &MAKERS) else {
        return;
    };
    let wanted = [new("DATA", 10, FileSystem::Ext4)];
    let refused = |disk: &LoopDisk<'_>, expand, add: &[NewPartition]| {
        let before = disk.digest();
        let error = disk.apply(expand, add).unwrap_err();
        assert_eq!(disk.digest(), before);
        error
    };
    let disk = LoopDisk::new(&tools, 100, 512);
    tools.run("mke2fs", &["-q", "-F", "-L", "WHOLE", disk.name()]);
    let error = refused(&disk, None, &wanted);
    assert!(
        matches!(error, LayoutError::Occupied { kind: "ext4", .. }),
        "{error}"
    );

    let disk = LoopDisk::new(&tools, 100, 512);
    let script = disk.file().with_file_name("script");
    fs_err::write(&script, "label: dos\n2048 20480 83\n").unwrap();
    let sh = cos_sys::tool::Tool::find("sh", "dash", None).unwrap();
    let line = format!(
        "sfdisk -q --no-reread --no-tell-kernel {} < {}",
        disk.name(),
        script.display()
    );
    common::run(&sh, &["-c", &line]);
    let error = refused(&disk, None, &wanted);
    assert!(matches!(error, LayoutError::Mbr { .. }), "{error}");

    // Neither copy of the table is whole.
    let disk = LoopDisk::new(&tools, 100, 512);
    disk.apply(None, &wanted).unwrap();
    disk.scribble(600, b"x");
    disk.scribble(100 * MIB - 512 + 60, b"x");
    let error = refused(&disk, None, &wanted);
    assert!(matches!(error, LayoutError::Table { .. }), "{error}");

    // The table was changed behind the back of the kernel.
    let disk = LoopDisk::new(&tools, 100, 512);
    disk.apply(None, &wanted).unwrap();
    let holder = fs_err::File::open(disk.partition(1)).unwrap();
    rustix::fs::sync();
    tools.run(
        "sgdisk",
        &["-d1", "-n1:30M:+5M", disk.file().to_str().unwrap()],
    );
    disk.scribble(0, &fs_err::read(disk.file()).unwrap()[..34 * 512]);
    let error = refused(&disk, Some(0), &[]);
    assert!(
        matches!(error, LayoutError::KernelDisagrees { number: 1, .. }),
        "{error}"
    );
    drop(holder);

    let disk = LoopDisk::new(&tools, 100, 512);
    for (add, size) in [
        (new("A", 200, FileSystem::Ext4), None),
        (new("A", 1 << 50, FileSystem::Ext4), None),
        (new("A", 1, FileSystem::Ext4), Some(u64::MAX)),
    ] {
        refused(&disk, size, &[add]);
    }
}

#[test]
fn without_its_tool_nothing_is_written() {
    let Some(tools) = tools("without_its_tool_nothing_is_written", &TABLE) else {
        return;
    };
    let disk = LoopDisk::new(&tools, 400, 512);
    let before = disk.digest();
    for (filesystem, package) in [
        (FileSystem::Ext3, "e2fsprogs"),
        (FileSystem::Xfs, "xfsprogs"),
        (FileSystem::Btrfs, "btrfs-progs"),
        (FileSystem::Vfat, "dosfstools"),
        (FileSystem::Swap, "util-linux"),
    ] {
        let wanted = request(disk.target(), None, &[new("A", 0, filesystem)]);
        let machine = Machine {
            search_path: Some("/nonexistent".as_ref()),
            ..Machine::default()
        };
        let error = apply(&wanted, &machine).unwrap_err();
        let hint = format!("install the package {package}");
        assert_eq!(error.hint(), Some(hint), "{error}");
    }
    assert_eq!(disk.digest(), before);
}

#[test]
fn a_disk_in_use_is_left_alone_and_a_locked_one_waited_for() {
    let name = "a_disk_in_use_is_left_alone_and_a_locked_one_waited_for";
    let Some(tools) = tools(name, &MAKERS) else {
        return;
    };
    let disk = LoopDisk::new(&tools, 100, 512);
    let before = disk.digest();
    let wanted = [new("DATA", 10, FileSystem::Ext4)];
    let holder = fs_err::OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::EXCL.bits().cast_signed())
        .open(&disk.node)
        .unwrap();
    let error = disk.apply(None, &wanted).unwrap_err();
    assert!(matches!(error, LayoutError::Busy { .. }), "{error}");
    drop(holder);
    assert_eq!(disk.digest(), before);

    let udev = fs_err::File::open(&disk.node).unwrap();
    rustix::fs::flock(&udev, FlockOperation::LockShared).unwrap();
    let begin = Instant::now();
    let waiting = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(700));
        drop(udev);
    });
    assert_eq!(disk.apply(None, &wanted).unwrap().len(), 3);
    assert!(begin.elapsed() >= Duration::from_millis(700));
    waiting.join().unwrap();
    checked(&tools, "ext4", &disk.partition(1));

    // A partition that is mounted is no obstacle to adding others.
    let mounted = Mounted::new(&disk.partition(1), "ext4", "");
    fs_err::write(mounted.path().join("file"), "kept").unwrap();
    let more = [new("MORE", 10, FileSystem::Ext4)];
    assert_eq!(disk.apply(None, &more).unwrap().len(), 2);
    drop(mounted);
    assert_eq!(
        disk.verified(&tools),
        ["data 0FC63DAF 10", "more 0FC63DAF 10"]
    );
    checked(&tools, "ext4", &disk.partition(1));
    checked(&tools, "ext4", &disk.partition(2));
}

#[test]
fn a_disk_is_found_by_a_label_a_name_and_its_partition() {
    let name = "a_disk_is_found_by_a_label_a_name_and_its_partition";
    let Some(tools) = tools(name, &TABLE) else {
        return;
    };
    let label = format!("T{}", std::process::id());
    let wanted = [NewPartition {
        partition_label: Some(format!("n{label}")),
        ..new(&label, 10, FileSystem::Ext4)
    }];
    let (one, two) = (
        LoopDisk::new(&tools, 50, 512),
        LoopDisk::new(&tools, 50, 512),
    );
    one.apply(None, &wanted).unwrap();
    let expand = |target: Target, boot: Option<&str>| {
        let machine = Machine {
            boot_device: boot.map(Path::new),
            ..Machine::default()
        };
        apply(&request(target, Some(0), &[]), &machine).map(|outcome| outcome.changes)
    };
    let by_label = || Target::Label(label.clone());
    assert_eq!(expand(by_label(), None).unwrap().len(), 2);
    assert_eq!(one.verified(&tools), [format!("n{label} 0FC63DAF 48")]);

    two.apply(None, &wanted).unwrap();
    let error = expand(by_label(), None).unwrap_err();
    assert!(
        matches!(&error, LayoutError::Ambiguous { disks, .. } if disks.len() == 2),
        "{error}"
    );
    let error = expand(Target::Label(format!("n{label}")), None).unwrap_err();
    assert!(matches!(error, LayoutError::Ambiguous { .. }), "{error}");
    assert_eq!(
        expand(by_label(), Some(&two.partition(1))).unwrap().len(),
        2
    );
    assert_eq!(
        expand(Target::Boot(two.partition(1).into()), None)
            .unwrap()
            .len(),
        0
    );
    let error = expand(Target::Label(format!("x{label}")), None).unwrap_err();
    assert!(matches!(error, LayoutError::NoSuchLabel { .. }), "{error}");
}
