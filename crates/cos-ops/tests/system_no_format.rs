//! Installing onto partitions that somebody else made.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

mod common;

use common::disk::loop_disk::{LoopDisk, Mounted, Tools, tools};
use common::{Bench, TOOLS, check_ext4, grub};
use cos_events::Silent;
use cos_ops::hooks::NoHooks;
use cos_ops::install::documents::CloudConfig;
use cos_ops::install::{Firmware, InstallError, InstallRequest, install};
use cos_store::Store;

/// Not every kernel mounts FAT: GRUB for a BIOS reads its configuration from an ext4 as well.
fn request(bench: &Bench, disk: &LoopDisk<'_>) -> InstallRequest {
    let mut request = bench.request(&disk.node);
    request.no_format = true;
    request.firmware = Firmware::Bios;
    request
}

/// Partitions made by others: some known by name, some by label.
fn partition(disk: &LoopDisk<'_>, tools: &Tools) {
    let mut arguments = vec!["-n", "1:0:+1M", "-t", "1:ef02"];
    for part in [
        "2:0:+64M",
        "3:0:+64M",
        "4:0:+400M",
        "5:0:+600M",
        "6:0:+500M",
    ] {
        arguments.extend(["-n", part]);
    }
    arguments.extend(["-c", "2:efi", "-c", "3:oem", "-c", "5:state", disk.name()]);
    tools.run("sgdisk", &arguments);
    disk.apply(None, &[]).unwrap();
    let labels = [
        (2, "boot"),
        (3, "COS_OEM"),
        (4, "COS_RECOVERY"),
        (5, "mine"),
    ];
    for (number, label) in labels {
        tools.run("mkfs.ext4", &["-q", "-L", label, &disk.partition(number)]);
    }
    let persistent = disk.partition(6);
    tools.run("mkfs.xfs", &["-q", "-L", "COS_PERSISTE", &persistent]);
    let state = Mounted::new(&disk.partition(5), "ext4", "rw");
    fs_err::write(state.path().join("kept"), "as it was").unwrap();
}

fn uuids(disk: &LoopDisk<'_>, tools: &Tools) -> Vec<String> {
    let uuid = |number| {
        let node = disk.partition(number);
        tools.run("blkid", &["-p", "-s", "UUID", "-o", "value", &node])
    };
    (2..=6).map(uuid).collect()
}

#[test]
fn existing_partitions_keep_their_file_systems() {
    let Some(tools) = tools("existing_partitions_keep_their_file_systems", TOOLS) else {
        return;
    };
    let bench = Bench::new();
    let disk = LoopDisk::new(&tools, 2000, 512);
    partition(&disk, &tools);
    let mut request = request(&bench, &disk);
    let before = (disk.verified(&tools), uuids(&disk, &tools));
    request.cloud_configs = vec![CloudConfig {
        name: "a.yaml".into(),
        bytes: b"name: x\n".to_vec(),
    }];
    let done = install(&request, &NoHooks, &Silent).unwrap();
    assert_eq!((disk.verified(&tools), uuids(&disk, &tools)), before);
    check_ext4(&tools, &disk.node, &[2, 3, 4, 5]);
    let id = done.snapshot.id.as_str();
    for partition in [4, 5] {
        let state = grub(&tools, &disk.node, partition, "/cos/boot.env");
        assert!(state.contains(&format!("cos_active={id}\n")), "{state}");
    }
    assert_eq!(grub(&tools, &disk.node, 5, "/kept"), "as it was");
    assert_eq!(grub(&tools, &disk.node, 3, "/90_a.yaml"), "name: x\n");
    let configuration = grub(&tools, &disk.node, 2, "/EFI/cos/grub.cfg");
    assert!(configuration.contains("cos_disk,gpt5"), "{configuration}");

    let error = install(&request, &NoHooks, &Silent).unwrap_err();
    assert!(matches!(error, InstallError::Deployed { .. }), "{error}");
    request.force = true;
    request.source = bench.image("2");
    let second = install(&request, &NoHooks, &Silent).unwrap();
    assert_ne!(second.snapshot.id, done.snapshot.id);
    let state = Mounted::new(&disk.partition(5), "ext4", "ro");
    let store = Store::new(state.path());
    assert_eq!(store.list().unwrap().len(), 1, "the old one is collected");
    assert_eq!(store.state().unwrap().generation, 2);
}

#[test]
fn what_is_missing_or_of_no_use_is_named() {
    let Some(tools) = tools("what_is_missing_or_of_no_use_is_named", TOOLS) else {
        return;
    };
    let bench = Bench::new();
    let disk = LoopDisk::new(&tools, 2000, 512);
    let mut request = request(&bench, &disk);
    let refused = |request: &_| {
        let error = install(request, &NoHooks, &Silent).unwrap_err();
        error.to_string()
    };
    let missing = "has no partition efi, oem, recovery, state, persistent";
    let error = refused(&request);
    assert!(error.ends_with(missing), "{error}");
    partition(&disk, &tools);
    request.firmware = Firmware::Efi;
    request.source = bench.image("1");
    tools.run(
        "mkfs.ext4",
        &["-q", "-F", "-L", "OTHER", &disk.partition(3)],
    );
    let error = refused(&request);
    assert!(error.contains("not labelled COS_OEM"), "{error}");
    let recovery = disk.partition(4);
    tools.run(
        "mkfs.ext4",
        &["-q", "-F", "-L", "COS_OEM", &disk.partition(3)],
    );
    tools.run("mkfs.btrfs", &["-q", "-f", "-L", "COS_RECOVERY", &recovery]);
    let before = disk.digest();
    let error = refused(&request);
    assert!(error.contains("holds btrfs, and ext4 is needed"), "{error}");
    assert_eq!(disk.digest(), before, "something was written");
}
