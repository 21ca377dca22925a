//! Partition tables, superblocks and loop devices, judged by the tools everybody uses.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use cos_sys::loop_device::{LoopDevice, LoopOptions};
use cos_sys::mount::{Mount, mount, unmount};
use cos_sys::{ext4, gpt, probe};
use cos_testkit::{need_tools, require_root, skip, temp_dir};
use fs_err::os::unix::fs::FileExt as _;
use fs_err::{File, OpenOptions};
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

const MIB: u64 = 1 << 20;

/// Runs a program that must succeed and returns what it printed.
#[expect(
    clippy::disallowed_methods,
    reason = "the oracle is looked up along the tester's PATH"
)]
fn run<S: AsRef<OsStr>>(program: &str, args: &[S]) -> String {
    let output = Command::new(program)
        .args(args)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {text}{errors}");
    text
}

fn empty_file(path: &Path, size: u64) {
    File::create(path).unwrap().set_len(size).unwrap();
}

/// Whether the process has `CAP_SYS_RESOURCE`, which root in a container may lack (bit 24 of
/// `CapEff`, `proc_pid_status(5)`).
fn has_sys_resource() -> bool {
    let status = fs_err::read_to_string("/proc/self/status").unwrap();
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .unwrap();
    u64::from_str_radix(effective.trim(), 16).unwrap() >> 24 & 1 == 1
}

#[test]
fn sgdisk_agrees_on_identity_and_finds_a_grown_table_clean() {
    need_tools(&["sgdisk"]);
    let temp = temp_dir().unwrap();
    let path = temp.path().join("disk.img");
    empty_file(&path, 32 * MIB);
    let disk = path.to_str().unwrap();
    run("sgdisk", &["-n1:2048:+4M", "-n2:0:+8M", disk]);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    let said = |number: &str| run("sgdisk", &["-i", number, disk]).to_lowercase();
    for number in [1, 2] {
        let uuid = gpt::partition_uuid(&file, 32 * MIB, 512, number)
            .unwrap()
            .unwrap();
        let said = said(&number.to_string());
        assert!(
            said.contains(&format!("partition unique guid: {uuid}")),
            "{said}"
        );
    }
    file.set_len(100 * MIB).unwrap();
    let grown = gpt::grow_in_table(&file, 100 * MIB, 512, 2).unwrap();
    assert_eq!(grown, Some(94 * MIB));
    assert!(run("sgdisk", &["-v", disk]).contains("No problems found"));
    assert!(
        said("2").contains("partition size: 192512 sectors (94.0 mib)"),
        "{}",
        said("2")
    );
    // The backup alone is enough, as after a power cut between the two.
    let zeros = vec![0; 34 * 512];
    file.write_all_at(&zeros, 512).unwrap();
    assert!(
        gpt::partition_uuid(&file, 100 * MIB, 512, 2)
            .unwrap()
            .is_some()
    );
    assert_eq!(gpt::grow_in_table(&file, 100 * MIB, 512, 2).unwrap(), None);
}

/// A power cut while the table grew: the kernel would find no partitions, and the machine no root.
#[test]
fn partitions_of_a_torn_table_are_made_known() {
    let name = "partitions_of_a_torn_table_are_made_known";
    if !require_root(name) {
        return;
    }
    need_tools(&["sgdisk", "losetup"]);
    let temp = temp_dir().unwrap();
    let path = temp.path().join("disk.img");
    empty_file(&path, 64 * MIB);
    let image = path.to_str().unwrap();
    run("sgdisk", &["-n1:2048:+4M", "-n2:0:+8M", image]);
    // -P: the device may have partitions; the kernel here looks for none by itself.
    let node = run("losetup", &["--find", "--show", "-P", image]);
    let node = node.trim();
    let disk = || {
        let devices = cos_sys::block::BlockDevices::list().unwrap();
        let name = node.strip_prefix("/dev/").unwrap();
        devices.by_name(name).unwrap().clone()
    };
    let revealed = gpt::reveal_partitions(&disk());
    let device = OpenOptions::new().write(true).open(node).unwrap();
    // The first of the entries is another one than the header's checksum says.
    device.write_all_at(&[0xa5; 16], 1024 + 16).unwrap();
    device.sync_all().unwrap();
    drop(device);
    let torn = gpt::reveal_partitions(&disk());
    let devices = cos_sys::block::BlockDevices::list().unwrap();
    let sizes: Vec<u64> = (1..=2)
        .filter_map(|number| {
            let name = format!("{}p{number}", node.strip_prefix("/dev/").unwrap());
            devices.by_name(&name).map(|it| it.size)
        })
        .collect();
    let mended = gpt::grow_in_table(
        &OpenOptions::new()
            .read(true)
            .write(true)
            .open(node)
            .unwrap(),
        64 * MIB,
        512,
        2,
    );
    run("losetup", &["--detach", node]);
    assert_eq!(revealed.unwrap(), 0, "an intact table is the kernel's");
    assert_eq!(torn.unwrap(), 2);
    assert_eq!(sizes, [4 * MIB, 8 * MIB]);
    mended.unwrap();
    assert!(run("sgdisk", &["-v", image]).contains("No problems found"));
}

#[test]
fn blkid_agrees_on_every_file_system_known_here() {
    need_tools(&["mke2fs", "fsck.fat", "mkfs.erofs", "xorriso"]);
    let temp = temp_dir().unwrap();
    let tree = temp.path().join("tree");
    fs_err::create_dir(&tree).unwrap();
    let at = |file: &str| temp.path().join(file).to_str().unwrap().to_owned();
    let source = tree.to_str().unwrap();
    for file in ["ext4", "fat16", "fat32"] {
        empty_file(Path::new(&at(file)), 64 * MIB);
    }
    run(
        "mke2fs",
        &["-q", "-t", "ext4", "-L", "COS_STATE", &at("ext4")],
    );
    run("mkfs.vfat", &["-F", "16", "-n", "COS_GRUB", &at("fat16")]);
    run("mkfs.vfat", &["-F", "32", "-n", "COS_GRUB", &at("fat32")]);
    let uuid = "1b4e28ba-2fa1-11d2-883f-0016d3cca427";
    run("mkfs.erofs", &["-U", uuid, &at("erofs"), source]);
    run(
        "xorriso",
        &[
            "-as",
            "mkisofs",
            "-quiet",
            "-V",
            "COS_LIVE",
            "-o",
            &at("iso9660"),
            source,
        ],
    );
    for file in ["ext4", "fat16", "fat32", "erofs", "iso9660"] {
        let found = probe::probe(&File::open(at(file)).unwrap())
            .unwrap()
            .unwrap();
        let said = run("blkid", &["-p", "-o", "export", &at(file)]);
        let value = |key: &str| {
            said.lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
                .map(str::to_owned)
        };
        assert_eq!(Some(found.kind.to_owned()), value("TYPE"), "{file}");
        assert_eq!(found.uuid, value("UUID"), "{file}");
        assert_eq!(found.label, value("LABEL"), "{file}");
    }
}

#[test]
fn a_mounted_ext4_grows_on_a_loop_device() {
    let name = "a_mounted_ext4_grows_on_a_loop_device";
    if !require_root(name) {
        return;
    }
    if !has_sys_resource() {
        skip(name, "resizing a mounted ext4 takes CAP_SYS_RESOURCE");
        return;
    }
    need_tools(&["mke2fs", "e2fsck"]);
    let temp = temp_dir().unwrap();
    let image = temp.path().join("ext4.img");
    let place = temp.path().join("mnt");
    fs_err::create_dir(&place).unwrap();
    // The file system begins at 1 MiB of the file and fills 16 of the 48 MiB that the device has.
    empty_file(&image, 64 * MIB);
    let path = image.to_str().unwrap();
    run(
        "mke2fs",
        &[
            "-q",
            "-t",
            "ext4",
            "-b",
            "4096",
            "-E",
            "offset=1048576",
            path,
            "16M",
        ],
    );
    let device = LoopDevice::attach(
        &image,
        LoopOptions {
            offset: MIB,
            size_limit: 48 * MIB,
            autoclear: true,
            ..LoopOptions::default()
        },
    )
    .unwrap();
    mount(&Mount {
        source: device.path().to_str().unwrap().into(),
        target: place.clone(),
        fstype: "ext4".into(),
        options: "noatime".into(),
    })
    .unwrap();
    let size = || probe::probe(device.file()).unwrap().unwrap().size;
    assert_eq!(size(), Some(16 * MIB));
    let grown = ext4::grow_mounted(&File::open(&place).unwrap(), 48 * MIB / 4096);
    let sync = device.file().sync_all();
    unmount(&place, false).unwrap();
    grown.unwrap();
    sync.unwrap();
    assert_eq!(size(), Some(48 * MIB));
    run("e2fsck", &["-f", "-n", device.path().to_str().unwrap()]);
}

#[test]
fn a_read_only_loop_device_cannot_be_written() {
    let name = "a_read_only_loop_device_cannot_be_written";
    if !require_root(name) {
        return;
    }
    let temp = temp_dir().unwrap();
    let image = temp.path().join("image");
    fs_err::write(&image, vec![7; 8192]).unwrap();
    let options = LoopOptions {
        read_only: true,
        direct_io: true,
        ..LoopOptions::default()
    };
    let device = LoopDevice::attach(&image, options).unwrap();
    let node = device.path().to_owned();
    let written = OpenOptions::new()
        .write(true)
        .open(&node)
        .and_then(|file| file.write_all_at(&[0; 512], 0));
    let read = fs_err::read(&node);
    device.detach().unwrap();
    assert_eq!(read.unwrap(), vec![7; 8192]);
    let refused = written.unwrap_err().kind();
    assert_eq!(refused, std::io::ErrorKind::PermissionDenied);
    assert_eq!(fs_err::read(&image).unwrap(), vec![7; 8192]);
}
