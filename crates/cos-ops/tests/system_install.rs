//! Installing, judged by other people's tools: onto files and onto disks of the kernel.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

mod common;

use common::disk::loop_disk::{LoopDisk, MIB, Mounted, tools};
use common::{Bench, Booted, GIB, TOOLS, check_ext4, grub, offset, verified};
use cos_disk::live::{FileSystem, NewPartition, Survey, WholeContent};
use cos_events::Silent;
use cos_ops::build::sizes::Role;
use cos_ops::deploy::{DeployError, SnapshotSource};
use cos_ops::hooks::{HookError, Hooks, NewRoot, NoHooks, RootImage};
use cos_ops::install::documents::CloudConfig;
use cos_ops::install::{InstallError, install, plan_install};
use cos_ops::{ErrorKind, OpsError};
use cos_store::{Action, Store, verify_snapshot};
use std::sync::Mutex;

#[test]
fn a_file_becomes_a_disk_that_others_understand() {
    let Some(tools) = tools("a_file_becomes_a_disk_that_others_understand", TOOLS) else {
        return;
    };
    let bench = Bench::new();
    let disk = bench.disk_file("disk.img", 3 * GIB);
    let mut request = bench.request(&disk);
    let error = install(&request, &NoHooks, &Silent).unwrap_err();
    assert!(matches!(error, InstallError::IsFile { .. }), "{error}");
    request.force = true;
    request.kernel_arguments = "quiet".into();
    request.cloud_configs = vec![CloudConfig {
        name: "user.yaml".into(),
        bytes: b"#cloud-config\nhostname: somebody\n".to_vec(),
    }];
    let planned = plan_install(&request, &Silent).unwrap();
    assert_eq!(Survey::of(&disk).unwrap().content, WholeContent::Nothing);
    let done = install(&request, &NoHooks, &Silent).unwrap();
    assert_eq!(done.snapshot.id, planned.snapshot.id);
    assert_ne!(done.disk, planned.disk, "identities are made up each time");

    let names = verified(&tools, &disk);
    assert_eq!(
        names,
        ["bios", "efi", "oem", "recovery", "state", "persistent"]
    );
    check_ext4(&tools, &disk, &[3, 4, 5, 6]);
    let efi = format!("{}@@{}", disk.display(), offset(&tools, &disk, 2));
    let listing = tools.run("mdir", &["-i", &efi, "-/", "-b", "::"]);
    assert!(listing.contains("EFI/BOOT/BOOTX64.EFI"), "{listing}");
    let configuration = tools.run("mtype", &["-i", &efi, "::/EFI/cos/grub.cfg"]);
    let state_uuid = &done.disk.as_ref().unwrap().partitions[4].uuid;
    assert!(configuration.contains(state_uuid), "{configuration}");
    let id = done.snapshot.id.as_str();
    for partition in [4, 5] {
        let state = grub(&tools, &disk, partition, "/cos/boot.env");
        assert!(state.contains(&format!("cos_active={id}\n")), "{state}");
        let path = format!("/cos/snapshots/{id}/boot.cfg");
        let fragment = grub(&tools, &disk, partition, &path);
        assert!(fragment.contains("console=ttyS0 quiet"), "{fragment}");
    }
    let document = grub(&tools, &disk, 3, "/90_user.yaml");
    assert_eq!(document, "#cloud-config\nhostname: somebody\n");
    let path = format!("/cos/snapshots/{id}/snapshot.yaml");
    let yaml = grub(&tools, &disk, 5, &path);
    assert!(yaml.contains("action: install") && yaml.contains("date: 1800000000"));
}

#[test]
fn a_disk_that_is_somebodys_is_refused() {
    let Some(tools) = tools("a_disk_that_is_somebodys_is_refused", TOOLS) else {
        return;
    };
    let bench = Bench::new();
    let disk = common::installed(&bench, &tools, 3000, |_| ());
    let before = disk.digest();
    let mut request = bench.request(&disk.node);
    let refused = |request: &_| install(request, &NoHooks, &Silent).unwrap_err();
    let error = refused(&request);
    assert!(matches!(error, InstallError::Deployed { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Request);
    request.force = true;
    {
        let _mounted = Mounted::new(&disk.partition(6), "ext4", "ro");
        let error = refused(&request);
        assert!(matches!(error, InstallError::InUse { .. }), "{error}");
        assert!(error.to_string().contains("is mounted on"), "{error}");
    }
    request.device = disk.partition(6).into();
    assert_eq!(refused(&request).kind(), ErrorKind::Request);
    request.device = "/dev/null".into();
    assert_eq!(refused(&request).kind(), ErrorKind::Request);
    assert_eq!(disk.digest(), before, "something was written");

    request.device = disk.node.clone();
    install(&request, &NoHooks, &Silent).unwrap();
    assert_ne!(disk.digest(), before);

    let other = LoopDisk::new(&tools, 3000, 512);
    tools.run("mkfs.xfs", &["-q", other.name()]);
    request.force = false;
    request.device = other.node.clone();
    let error = refused(&request);
    assert!(
        error.to_string().ends_with("is not empty: it holds xfs"),
        "{error}"
    );
    let small = LoopDisk::new(&tools, 300, 512);
    request.device = small.node.clone();
    let error = refused(&request);
    assert!(matches!(error, InstallError::Plan(_)), "{error}");
    assert!(error.hint().unwrap().starts_with("take a disk of at least"));
    let large_sectors = LoopDisk::new(&tools, 3000, 4096);
    request.device = large_sectors.node.clone();
    let error = refused(&request);
    assert!(matches!(error, InstallError::SectorSize { .. }), "{error}");
}

#[test]
fn a_disk_has_the_partitions_that_were_asked_for() {
    let Some(tools) = tools("a_disk_has_the_partitions_that_were_asked_for", TOOLS) else {
        return;
    };
    let bench = Bench::new();
    let extra = |name: &str, size_mib, filesystem, label: &str| NewPartition {
        fs_label: label.into(),
        size_mib,
        partition_label: Some(name.into()),
        filesystem,
        bootable: false,
    };
    // What was there before, and must not shine through.
    let disk = LoopDisk::new(&tools, 4000, 512);
    tools.run("sgdisk", &["-n", "1:0:0", disk.name()]);
    let mut request = bench.request(&disk.node);
    request.force = true;
    request.extras.persistent = FileSystem::Xfs;
    request.extras.partitions = vec![
        extra("data", 320, FileSystem::Xfs, "DATA"),
        extra("more", 120, FileSystem::Btrfs, "MORE"),
        extra("swap", 64, FileSystem::Swap, "swap"),
    ];
    request.partitions.insert(Role::Oem, 100 * MIB);
    install(&request, &NoHooks, &Silent).unwrap();
    let found = disk.verified(&tools);
    insta::assert_debug_snapshot!(found, @r#"
        [
            "bios 21686148 1",
            "efi C12A7328 256",
            "oem 0FC63DAF 100",
            "recovery 0FC63DAF 48",
            "state 0FC63DAF 66",
            "data 0FC63DAF 320",
            "more 0FC63DAF 120",
            "swap 0657FD6D 64",
            "persistent 0FC63DAF 3023",
        ]
        "#);
    let kinds: Vec<String> = (2..=9)
        .map(|number| {
            let (kind, label) = disk.blkid(&tools, number);
            format!("{kind} {label}")
        })
        .collect();
    insta::assert_snapshot!(kinds.join(", "), @"vfat COS_GRUB, ext4 COS_OEM, ext4 COS_RECOVERY, ext4 COS_STATE, xfs DATA, btrfs MORE, swap swap, xfs COS_PERSISTE");
    Mounted::new(&disk.partition(9), "xfs", "rw");
    check_ext4(&tools, &disk.node, &[3, 4, 5]);
}

#[test]
fn the_running_system_is_what_is_installed() {
    let Some(tools) = tools("the_running_system_is_what_is_installed", TOOLS) else {
        return;
    };
    let bench = Bench::new();
    let first = common::installed(&bench, &tools, 3000, |_| ());
    let booted = Booted::from(&first.partition(4));
    let second = LoopDisk::new(&tools, 3000, 512);
    let mut request = bench.request(&second.node);
    request.source = SnapshotSource::Running(booted.running.clone());
    let done = install(&request, &NoHooks, &Silent).unwrap();
    assert_eq!(done.snapshot.id, booted.running.id);
    assert_eq!(done.snapshot.action, Action::Install);
    assert_eq!(done.loaders, ["bios", "efi"]);
    let state = Mounted::new(&second.partition(5), "ext4", "ro");
    verify_snapshot(&Store::new(state.path()), &done.snapshot.id).unwrap();
    drop(state);

    request.force = true;
    request.kernel_arguments = "quiet".into();
    let own = install(&request, &NoHooks, &Silent).unwrap().snapshot;
    assert!(own.kernel_arguments.ends_with(" quiet"), "{own:?}");
    assert_eq!(own.machine_arguments, "quiet");
    let before = second.digest();
    let mut other = booted.running.clone();
    other.root_hash = "ab".repeat(32);
    request.source = SnapshotSource::Running(other);
    let error = install(&request, &NoHooks, &Silent).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Image, "{error}");
    // A byte of the running system's medium is not what it was.
    let copy = bench.path("medium");
    let mut damaged = booted.running.clone();
    let to = copy.join(damaged.id.directory());
    fs_err::create_dir_all(&to).unwrap();
    for name in ["root.img", "vmlinuz", "initrd", "snapshot.yaml"] {
        let from = damaged.store.join(damaged.id.directory()).join(name);
        fs_err::copy(from, to.join(name)).unwrap();
    }
    let image = fs_err::OpenOptions::new()
        .write(true)
        .open(to.join("root.img"));
    std::os::unix::fs::FileExt::write_all_at(image.unwrap().file(), b"?", 1 << 20).unwrap();
    damaged.store = copy;
    request.source = SnapshotSource::Running(damaged);
    let error = install(&request, &NoHooks, &Silent).unwrap_err();
    assert!(
        matches!(
            error,
            InstallError::Deploy(DeployError::Ops(OpsError::Damaged { .. }))
        ),
        "{error}"
    );
    assert_eq!(second.digest(), before, "something was written");
}

/// Notes its moments, and fails at one of them.
struct Recorder<'r> {
    seen: Mutex<Vec<&'static str>>,
    fails_at: &'static str,
    root: Option<&'r NewRoot>,
}

impl Recorder<'_> {
    fn at(&self, moment: &'static str) -> Result<(), HookError> {
        self.seen.lock().unwrap().push(moment);
        if moment == self.fails_at {
            return Err("no".into());
        }
        Ok(())
    }
}

impl Hooks for Recorder<'_> {
    fn before(&self) -> Result<(), HookError> {
        self.at("before")
    }

    fn after_chroot(&self, root: &RootImage<'_>) -> Result<Option<NewRoot>, HookError> {
        assert!(root.path.is_file() && root.scratch.is_dir());
        self.at("chroot")?;
        Ok(self.root.cloned())
    }

    fn after(&self) -> Result<(), HookError> {
        self.at("after")
    }

    fn post(&self) -> Result<(), HookError> {
        self.at("post")
    }
}

#[test]
fn hooks_run_at_their_moments_and_stop_what_fails() {
    let Some(tools) = tools("hooks_run_at_their_moments_and_stop_what_fails", TOOLS) else {
        return;
    };
    let bench = Bench::new();
    let disk = LoopDisk::new(&tools, 3000, 512);
    let request = bench.request(&disk.node);
    let content = || Survey::of(&disk.node).unwrap().content;
    for (fails_at, seen, left) in [
        ("before", 1, WholeContent::Nothing),
        ("chroot", 2, WholeContent::Nothing),
        ("after", 3, WholeContent::Unfinished),
    ] {
        let hooks = Recorder {
            seen: Mutex::default(),
            fails_at,
            root: None,
        };
        let error = install(&request, &hooks, &Silent).unwrap_err();
        assert!(error.to_string().contains("-install"), "{error}");
        assert_eq!(hooks.seen.lock().unwrap().len(), seen);
        assert_eq!(content(), left);
    }
    // What a hook made of the root is what is installed.
    let (path, verity) = (bench.path("new.img"), another_root(&bench));
    let new = NewRoot { path, verity };
    let hooks = Recorder {
        seen: Mutex::default(),
        fails_at: "post",
        root: Some(&new),
    };
    let done = install(&request, &hooks, &Silent).unwrap();
    let seen = hooks.seen.lock().unwrap().clone();
    assert_eq!(seen, ["before", "chroot", "after", "post"]);
    assert!(done.snapshot.modified_locally);
    assert_eq!(done.snapshot.root_hash, new.verity.root_hash.to_string());
    let state = Mounted::new(&disk.partition(5), "ext4", "ro");
    verify_snapshot(&Store::new(state.path()), &done.snapshot.id).unwrap();
}

/// A root image of another version, as a hook would leave it.
fn another_root(bench: &Bench) -> cos_verity::Verity {
    let SnapshotSource::Image(image) = bench.image("2") else {
        panic!("not an image");
    };
    let mut loaded = cos_ops::root::convert::load(&image, bench.directory.path(), &Silent).unwrap();
    let mut options = fs_err::OpenOptions::new();
    options.read(true).write(true).create_new(true);
    let file = options.open(bench.path("new.img")).unwrap();
    loaded.write_root(&file, None, &Silent).unwrap()
}
