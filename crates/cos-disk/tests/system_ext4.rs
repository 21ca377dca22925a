//! ext4, checked by e2fsck, read by debugfs, GRUB and the kernel.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::{create, ext4_tools, find, noise, run};
use cos_disk::ext4::{self, Ext4Content, Ext4Entry, Ext4Options, Ext4Tools};
use cos_disk::{DiskError, Source};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use uuid::{Uuid, uuid};

const START: u64 = 3 << 20;
const ID: Uuid = uuid!("c05c05c0-1234-4321-8888-0123456789ab");
const TIME: i64 = 1_700_000_001;

fn file(path: &str, mode: u16, source: Source) -> Ext4Entry {
    Ext4Entry {
        path: path.into(),
        mode,
        content: Ext4Content::File(source),
    }
}

fn entries(host: &Path) -> Vec<Ext4Entry> {
    let directory = |path: &str, mode| Ext4Entry {
        path: path.into(),
        mode,
        content: Ext4Content::Directory,
    };
    let mut entries = vec![
        directory("/", 0o750),
        directory("cos/snapshots/1", 0o700),
        file("cos/snapshots/1/root.img", 0o444, Source::Host(host.into())),
        file(
            "cos/snapshots/1/vmlinuz",
            0o644,
            Source::Bytes(noise(9_000_001, 3)),
        ),
        file("cos/boot.env", 0o600, Source::Bytes(vec![b'#'; 1024])),
        file("empty", 0o644, Source::Bytes(Vec::new())),
        file("set-id", 0o4755, Source::Bytes(noise(4096, 5))),
    ];
    for number in 0..150 {
        let path = format!("oem/{number:03}-a-longer-name-for-a-configuration.yaml");
        entries.push(file(
            &path,
            0o644,
            Source::Bytes(noise(number * 40, number as u64)),
        ));
    }
    entries
}

struct Made {
    directory: tempfile::TempDir,
    disk: PathBuf,
    host: PathBuf,
    size: u64,
}

fn options() -> Ext4Options {
    Ext4Options::new("COS_STATE", ID, TIME)
}

/// A disk with a file system of content whose largest file has holes, made `name`.
fn make(tools: &Ext4Tools, free: u64) -> Made {
    let directory = tempfile::tempdir().unwrap();
    let host = directory.path().join("host");
    let image = create(&host);
    image.file().write_all_at(&noise(30 << 20, 7), 0).unwrap();
    image
        .file()
        .write_all_at(&noise(5000, 8), 600 << 20)
        .unwrap();
    let entries = entries(&host);
    let sizes: Vec<u64> = entries
        .iter()
        .filter_map(|entry| match &entry.content {
            Ext4Content::File(Source::Bytes(bytes)) => Some(bytes.len() as u64),
            Ext4Content::File(Source::Host(path)) => Some(path.metadata().unwrap().len()),
            Ext4Content::Directory => None,
        })
        .collect();
    let size = ext4::size_for(&sizes, 6, free, &options());
    let disk = directory.path().join("disk");
    let made = Made {
        directory,
        disk,
        host,
        size,
    };
    format(tools, &made.disk, &made.host, size);
    made
}

fn format(tools: &Ext4Tools, disk: &Path, host: &Path, size: u64) {
    let disk = create(disk);
    disk.set_len(START + size + (1 << 20)).unwrap();
    ext4::format(tools, &disk, START, size, &options(), &entries(host)).unwrap();
}

#[test]
fn e2fsck_is_content_and_dumpe2fs_tells_what_was_asked_for() {
    let name = "e2fsck_is_content_and_dumpe2fs_tells_what_was_asked_for";
    let (Some(tools), Some(e2fsck), Some(dumpe2fs)) = (
        ext4_tools(name),
        find(name, "e2fsck", "e2fsprogs"),
        find(name, "dumpe2fs", "e2fsprogs"),
    ) else {
        return;
    };
    let made = make(&tools, 100 << 20);
    let volume = format!("{}?offset={START}", made.disk.display());
    run(&e2fsck, &["-f", "-n", &volume]);

    let used = made.disk.metadata().unwrap().blocks() * 512;
    assert!(used < 50 << 20, "{used} bytes used for 40 MiB of data");

    let summary = run(&dumpe2fs, &[&volume]);
    let line = |key: &str| {
        let found = summary.lines().find_map(|line| line.strip_prefix(key));
        found
            .unwrap_or_else(|| panic!("no {key} in {summary}"))
            .trim()
            .to_owned()
    };
    let features = line("Filesystem features:");
    for feature in ["has_journal", "64bit", "resize_inode", "extent"] {
        assert!(features.split(' ').any(|f| f == feature), "{features}");
    }
    for feature in [
        "metadata_csum",
        "metadata_csum_seed",
        "orphan_file",
        "inline_data",
        "needs_recovery",
    ] {
        assert!(!features.split(' ').any(|f| f == feature), "{features}");
    }
    assert_eq!(line("Filesystem UUID:"), ID.to_string());
    let free: u64 = line("Free blocks:").parse().unwrap();
    assert!(
        free * 4096 >= 100 << 20 && free * 4096 < 160 << 20,
        "{free} blocks free"
    );
    for moment in ["Filesystem created:", "Last write time:", "Last checked:"] {
        assert!(
            line(moment).contains("Nov 14 22:13:21 2023"),
            "{moment} {}",
            line(moment)
        );
    }
}

#[test]
fn bytes_are_the_same_at_any_time_and_place() {
    let Some(tools) = ext4_tools("bytes_are_the_same_at_any_time_and_place") else {
        return;
    };
    let made = make(&tools, 0);
    // Another moment, another directory, a file that held something before.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let other = tempfile::tempdir().unwrap();
    let again = other.path().join("other");
    fs_err::write(&again, noise(80 << 20, 6)).unwrap();
    let disk = fs_err::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&again)
        .unwrap();
    ext4::format(
        &tools,
        &disk,
        START,
        made.size,
        &options(),
        &entries(&made.host),
    )
    .unwrap();
    disk.set_len(START + made.size + (1 << 20)).unwrap();
    disk.file()
        .write_all_at(&vec![0; START as usize], 0)
        .unwrap();
    assert!(common::same(&made.disk, &again));
}

#[test]
fn debugfs_shows_modes_owners_times_and_bytes() {
    let name = "debugfs_shows_modes_owners_times_and_bytes";
    let (Some(tools), Some(debugfs)) = (ext4_tools(name), find(name, "debugfs", "e2fsprogs"))
    else {
        return;
    };
    let made = make(&tools, 0);
    let volume = format!("{}?offset={START}", made.disk.display());
    let ask = |request: &str| run(&debugfs, &["-R", request, &volume]);
    for (path, mode) in [
        ("/", "0750"),
        ("/cos", "0755"),
        ("/set-id", "04755"),
        ("/lost+found", "0700"),
    ] {
        let stat = ask(&format!("stat {path}"));
        assert!(
            stat.contains(&format!("Mode:  {mode}")) || stat.contains(&format!("Mode: {mode}")),
            "{stat}"
        );
        assert!(stat.contains("User:     0   Group:     0"), "{stat}");
        for clock in ["atime", "ctime", "mtime", "crtime"] {
            assert!(
                stat.contains(&format!("{clock}: 0x6553f101:00000000")),
                "{path} {clock}: {stat}"
            );
        }
    }
    let out = made.directory.path().join("out");
    ask(&format!("dump cos/snapshots/1/root.img {}", out.display()));
    assert!(common::same(&made.host, &out));
    let stat = ask("stat cos/snapshots/1/root.img");
    assert!(!stat.contains("[u]"), "unwritten extents: {stat}");
}

#[test]
fn grub_reads_the_files() {
    let name = "grub_reads_the_files";
    let (Some(tools), Some(grub)) = (ext4_tools(name), find(name, "grub-fstest", "grub-common"))
    else {
        return;
    };
    let made = make(&tools, 0);
    // grub-fstest takes a whole disk: give it the partition as one.
    let volume = made.directory.path().join("volume");
    let image = create(&volume);
    let disk = fs_err::File::open(&made.disk).unwrap();
    image.set_len(made.size).unwrap();
    cos_disk::sparse::copy_range(&disk, START, made.size, &image, 0).unwrap();
    let host = made.host.to_str().unwrap();
    run(
        &grub,
        &[
            volume.to_str().unwrap(),
            "cmp",
            "(loop0)/cos/snapshots/1/root.img",
            host,
        ],
    );
    let listing = run(&grub, &[volume.to_str().unwrap(), "ls", "(loop0)/cos/"]);
    assert!(
        listing.contains("boot.env") && listing.contains("snapshots/"),
        "{listing}"
    );
}

#[test]
fn the_kernel_mounts_and_writes_it_and_it_grows_to_a_tebibyte() {
    let name = "the_kernel_mounts_and_writes_it_and_it_grows_to_a_tebibyte";
    let (Some(tools), Some(mount), Some(umount), Some(resize), Some(losetup), Some(e2fsck)) = (
        ext4_tools(name),
        find(name, "mount", "mount"),
        find(name, "umount", "mount"),
        find(name, "resize2fs", "e2fsprogs"),
        find(name, "losetup", "mount"),
        find(name, "e2fsck", "e2fsprogs"),
    ) else {
        return;
    };
    if !cos_testkit::require_root(name) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk");
    let target = directory.path().join("mnt");
    fs_err::create_dir(&target).unwrap();
    let disk = create(&path);
    let content = noise(3 << 20, 4);
    let entry = file("data", 0o640, Source::Bytes(content.clone()));
    ext4::format(&tools, &disk, START, 64 << 20, &options(), &[entry]).unwrap();
    disk.set_len(START + (1 << 40)).unwrap();
    let at = START.to_string();
    let device = run(
        &losetup,
        &["-f", "--show", "-o", &at, path.to_str().unwrap()],
    );
    let (device, target) = (device.trim(), target.to_str().unwrap());
    let checked = std::panic::catch_unwind(|| {
        run(&mount, &["-t", "ext4", device, target]);
        let read = std::panic::catch_unwind(|| {
            assert!(fs_err::read(format!("{target}/data")).unwrap() == content);
            let meta = fs_err::metadata(format!("{target}/data")).unwrap();
            assert_eq!(
                (meta.mode(), meta.uid(), meta.mtime()),
                (0o100_640, 0, TIME)
            );
            fs_err::write(format!("{target}/new"), noise(10 << 20, 2)).unwrap();
        });
        run(&umount, &[target]);
        read.unwrap();
        run(&e2fsck, &["-f", "-n", device]);
        run(&resize, &["-f", device]);
        let verdict = run(&e2fsck, &["-f", "-n", device]);
        assert!(verdict.contains("/268435456 blocks"), "{verdict}");
    });
    run(&losetup, &["-d", device]);
    checked.unwrap();
}

#[test]
fn what_does_not_fit_is_refused_with_numbers() {
    let Some(tools) = ext4_tools("what_does_not_fit_is_refused_with_numbers") else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let disk = create(&directory.path().join("disk"));
    for (size, bytes) in [(1 << 20, 1), (32 << 20, 30 << 20)] {
        let entry = file("data", 0o640, Source::Bytes(vec![1; bytes]));
        let error = ext4::format(&tools, &disk, 0, size, &options(), &[entry]).unwrap_err();
        match &error {
            DiskError::Ext4Full {
                needed, available, ..
            } => assert!(needed > available),
            other => panic!("{other}"),
        }
        assert!(error.hint().unwrap().contains("MiB larger"));
    }
    let error = ext4::format(
        &tools,
        &create(&directory.path().join("what?")),
        0,
        32 << 20,
        &options(),
        &[],
    )
    .unwrap_err();
    assert!(matches!(error, DiskError::Ext4Path { .. }));
}

#[test]
fn size_for_suffices_from_small_to_large() {
    let name = "size_for_suffices_from_small_to_large";
    let (Some(tools), Some(e2fsck)) = (ext4_tools(name), find(name, "e2fsck", "e2fsprogs")) else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let host = directory.path().join("host");
    let path = directory.path().join("disk");
    // Sparse files: the sizes count, not the bytes.
    for size in [
        0,
        10_u64 << 20,
        120 << 20,
        128 << 20,
        700 << 20,
        3 << 30,
        40 << 30,
    ] {
        create(&host).set_len(size).unwrap();
        let needed = ext4::size_for(&[size], 0, 0, &options());
        let entry = file("data", 0o644, Source::Host(host.clone()));
        ext4::format(&tools, &create(&path), 0, needed, &options(), &[entry]).unwrap();
        run(&e2fsck, &["-f", "-n", path.to_str().unwrap()]);
    }
}
