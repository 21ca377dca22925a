//! Resetting machines whose disks are loop devices.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

mod common;

use common::disk::loop_disk::{LoopDisk, MIB, Mounted, tools};
use common::{Bench, Booted, TOOLS, check_ext4, grub, installed};
use cos_boot::BootState;
use cos_disk::live::FileSystem;
use cos_events::Silent;
use cos_ops::deploy::SnapshotSource;
use cos_ops::hooks::NoHooks;
use cos_ops::machine::Mode;
use cos_ops::reset::{Fate, ResetError, ResetPartitions, ResetRequest, plan_reset, reset};
use cos_store::{Store, VERSION_FLOOR};
use cos_testkit::swtpm::{Swtpm, require_swtpm};

fn request(bench: &Bench, disk: &LoopDisk<'_>, source: SnapshotSource) -> ResetRequest {
    ResetRequest {
        mode: Mode::Recovery,
        is_sealed: false,
        source,
        partitions: ResetPartitions {
            disk: "loop".into(),
            state: disk.partition(5).into(),
            loader: None,
            oem: Some(disk.partition(3).into()),
            persistent: Some(disk.partition(6).into()),
        },
        allow_downgrade: false,
        tpm: bench.path("tpm"),
        persistent: false,
        oem: false,
        temp_dir: bench.directory.path().to_owned(),
        search_path: None,
        now: 1_800_000_000,
    }
}

fn state(disk: &LoopDisk<'_>) -> (BootState, Vec<String>) {
    let mounted = Mounted::new(&disk.partition(5), "ext4", "ro");
    let store = Store::new(mounted.path());
    let names = store.list().unwrap().into_iter();
    let state = store.state().unwrap();
    (state, names.map(|it| it.id.to_string()).collect())
}

#[test]
fn recovery_brings_the_machine_back_and_images_do() {
    let Some(tools) = tools("recovery_brings_the_machine_back_and_images_do", TOOLS) else {
        return;
    };
    let bench = Bench::new();
    let disk = installed(&bench, &tools, 3000, |_| ());
    let first = state(&disk).0.active;

    // To another image: beside the old one, which then goes.
    let mut wanted = request(&bench, &disk, bench.image("2"));
    let before = disk.digest();
    let plan = plan_reset(&wanted, &Silent).unwrap();
    let removes = vec![first.to_string()];
    assert_eq!(plan.fate, Fate::Kept { removes });
    assert_eq!(disk.digest(), before, "a plan changes nothing");
    let done = reset(&wanted, &NoHooks, &Silent).unwrap();
    let (now, names) = state(&disk);
    assert_eq!((now.generation, &now.active), (2, &done.snapshot.id));
    assert_eq!(names, [done.snapshot.id.to_string()]);
    check_ext4(&tools, &disk.node, &[5]);
    let seen = grub(&tools, &disk.node, 5, "/cos/boot.env");
    assert!(
        seen.contains(&format!("cos_active={}\n", now.active)),
        "{seen}"
    );

    // Back to what recovery is.
    let booted = Booted::from(&disk.partition(4));
    wanted.source = SnapshotSource::Running(booted.running.clone());
    let done = reset(&wanted, &NoHooks, &Silent).unwrap();
    assert_eq!(done.snapshot.id, first);
    assert_eq!(state(&disk).0.active, first);
    let yaml = format!("/cos/snapshots/{first}/snapshot.yaml");
    assert!(grub(&tools, &disk.node, 5, &yaml).contains("action: reset"));

    // The same again: it is there and sound.
    reset(&wanted, &NoHooks, &Silent).unwrap();
    assert_eq!(state(&disk).0.generation, 4);
    // There, but not sound.
    {
        let mounted = Mounted::new(&disk.partition(5), "ext4", "rw");
        let image = mounted.path().join(first.directory()).join("root.img");
        let file = fs_err::OpenOptions::new().write(true).open(image).unwrap();
        std::os::unix::fs::FileExt::write_all_at(file.file(), b"?", 1 << 20).unwrap();
    }
    reset(&wanted, &NoHooks, &Silent).unwrap();
    let mounted = Mounted::new(&disk.partition(5), "ext4", "ro");
    cos_store::verify_snapshot(&Store::new(mounted.path()), &first).unwrap();
}

fn floor(node: &str) -> Option<String> {
    let mounted = Mounted::new(node, "ext4", "ro");
    Store::new(mounted.path()).version_floor().unwrap()
}

/// Damaged where the rest is sound, it alone is noted anew; where the file system does not give it away, all is.
fn a_lost_floor_keeps_nobody_from_a_reset(disk: &LoopDisk<'_>, wanted: &ResetRequest) {
    let node = disk.partition(5);
    for damaged in [&b""[..], b"not a version\n", b"\xff\xfe"] {
        {
            let mounted = Mounted::new(&node, "ext4", "rw");
            fs_err::write(mounted.path().join(VERSION_FLOOR), damaged).unwrap();
        }
        let plan = plan_reset(wanted, &Silent).unwrap();
        let said = plan.to_string();
        assert!(said.contains("version floor: made anew, as it"), "{said}");
        let done = reset(wanted, &NoHooks, &Silent).unwrap();
        assert!(matches!(done.fate, Fate::Kept { .. }) && done.floor.is_some());
        assert_eq!(floor(&node), None);
    }
    {
        let mounted = Mounted::new(&node, "ext4", "rw");
        fs_err::create_dir(mounted.path().join(VERSION_FLOOR)).unwrap();
    }
    let done = reset(wanted, &NoHooks, &Silent).unwrap();
    let said = done.to_string();
    assert!(
        said.contains("made anew, as its version floor cannot be read"),
        "{said}"
    );
    assert_eq!(floor(&node), None);
    assert_eq!(state(disk).0.active, done.snapshot.id);
}

#[test]
fn what_cannot_be_kept_is_made_anew() {
    let Some(tools) = tools("what_cannot_be_kept_is_made_anew", TOOLS) else {
        return;
    };
    let bench = Bench::new();
    let disk = installed(&bench, &tools, 3000, |_| ());
    let node = disk.partition(5);
    {
        // Room for one snapshot and no more.
        let mounted = Mounted::new(&node, "ext4", "rw");
        let space = rustix::fs::statvfs(mounted.path()).unwrap();
        let filler = vec![1; (space.f_bavail * space.f_frsize - 5 * MIB) as usize];
        fs_err::write(mounted.path().join("filler"), filler).unwrap();
        Store::new(mounted.path())
            .set_version_floor("2.1.0")
            .unwrap();
    }
    let mut wanted = request(&bench, &disk, bench.image("2"));
    wanted.allow_downgrade = true;
    let plan = plan_reset(&wanted, &Silent).unwrap();
    assert!(
        plan.to_string().contains("a second snapshot needs"),
        "{plan}"
    );
    let done = reset(&wanted, &NoHooks, &Silent).unwrap();
    assert_eq!(state(&disk).0.active, done.snapshot.id);
    check_ext4(&tools, &disk.node, &[5]);
    assert_eq!(disk.blkid(&tools, 5).1, "COS_STATE");
    // What can be read is never lowered by the way.
    assert_eq!((plan.floor, done.floor.as_deref()), (None, None));
    assert_eq!(floor(&node).as_deref(), Some("2.1.0"));
    wanted.allow_downgrade = false;
    let error = reset(&wanted, &NoHooks, &Silent).unwrap_err();
    assert!(error.to_string().contains("2.1.0 was good"), "{error}");
    a_lost_floor_keeps_nobody_from_a_reset(&disk, &wanted);

    // No boot state, then no file system.
    {
        let mounted = Mounted::new(&node, "ext4", "rw");
        fs_err::remove_dir_all(mounted.path().join("cos")).unwrap();
    }
    let plan = plan_reset(&wanted, &Silent).unwrap();
    assert!(
        plan.to_string().contains("boot state cannot be read"),
        "{plan}"
    );
    let file = fs_err::OpenOptions::new().write(true).open(&node).unwrap();
    std::os::unix::fs::FileExt::write_all_at(file.file(), &[7; 8192], 0).unwrap();
    file.sync_all().unwrap();
    drop(file);
    let plan = plan_reset(&wanted, &Silent).unwrap();
    assert!(plan.to_string().contains("cannot be mounted"), "{plan}");
    reset(&wanted, &NoHooks, &Silent).unwrap();
    assert_eq!(state(&disk).0.active, done.snapshot.id);
}

/// A TPM that vouched for the floor of an earlier system, as tpm2-tools make it.
fn armed_tpm(bench: &Bench) -> Swtpm {
    let tpm = Swtpm::start(bench.directory.path()).unwrap();
    let attributes = "ownerwrite|authwrite|ownerread|authread|no_da";
    let (counter, key) = ("0x01a34f53", "0x01a34f54");
    let secret = bench.path("secret");
    fs_err::write(&secret, [7; 32]).unwrap();
    let counts = format!("{attributes}|nt=counter");
    for (program, arguments) in [
        (
            "tpm2_nvdefine",
            [counter, "-C", "o", "-s", "8", "-a", &counts].as_slice(),
        ),
        ("tpm2_nvincrement", &[counter]),
        (
            "tpm2_nvdefine",
            &[key, "-C", "o", "-s", "32", "-a", attributes],
        ),
        ("tpm2_nvwrite", &[key, "-i", secret.to_str().unwrap()]),
    ] {
        tpm.tpm2(program, arguments).unwrap();
    }
    tpm
}

#[test]
fn a_new_store_is_in_step_with_the_tpm() {
    let name = "a_new_store_is_in_step_with_the_tpm";
    if !require_swtpm(name) {
        return;
    }
    let Some(tools) = tools(name, TOOLS) else {
        return;
    };
    let bench = Bench::new();
    let tpm = armed_tpm(&bench);
    let disk = installed(&bench, &tools, 3000, |_| ());
    check_ext4(&tools, &disk.node, &[5]);
    let floor = || {
        let mounted = Mounted::new(&disk.partition(5), "ext4", "ro");
        let floor = Store::new(mounted.path()).floor().unwrap().unwrap();
        assert_eq!(floor.seal.unwrap().count, 1);
        floor.version
    };
    assert_eq!(floor(), None);
    let spoil = |with: Option<&str>| {
        let mounted = Mounted::new(&disk.partition(5), "ext4", "rw");
        let path = mounted.path().join(VERSION_FLOOR);
        match with {
            Some(text) => fs_err::write(path, text).unwrap(),
            None => fs_err::remove_dir_all(mounted.path().join("cos")).unwrap(),
        }
    };
    // A floor that cannot be believed stops an image, and not the recovery system.
    spoil(Some("1.0.0\n"));
    let mut wanted = request(&bench, &disk, bench.image("2"));
    let error = reset(&wanted, &NoHooks, &Silent).unwrap_err();
    assert!(error.to_string().contains("was set back"), "{error}");
    assert_eq!(error.kind(), cos_ops::ErrorKind::Refused);
    let booted = Booted::from(&disk.partition(4));
    wanted.source = SnapshotSource::Running(booted.running.clone());
    reset(&wanted, &NoHooks, &Silent).unwrap();
    assert_eq!(floor(), None);
    // Made anew, it is in step as well.
    spoil(None);
    let done = reset(&wanted, &NoHooks, &Silent).unwrap();
    assert!(matches!(done.fate, Fate::Anew { .. }));
    assert_eq!(floor(), None);
    wanted.source = bench.image("2");
    reset(&wanted, &NoHooks, &Silent).unwrap();
    // One that is damaged stops no image either, and is then in step; one that was set back does not stop who asks.
    for (with, allow_downgrade) in [("", false), ("1.0.0\n", true)] {
        spoil(Some(with));
        wanted.allow_downgrade = allow_downgrade;
        let done = reset(&wanted, &NoHooks, &Silent).unwrap();
        assert!(matches!(done.fate, Fate::Kept { .. }) && done.floor.is_some());
        assert_eq!(floor(), None);
    }
    drop(tpm);
}

#[test]
fn a_clock_that_jumps_resets_all_the_same() {
    let Some(tools) = tools("a_clock_that_jumps_resets_all_the_same", TOOLS) else {
        return;
    };
    let bench = Bench::new();
    let disk = installed(&bench, &tools, 3000, |_| ());
    // 2100, 1970, the first second that 32 bits do not hold, and back to what it may be.
    for (number, clock) in [4_102_444_800, 0, 1 << 31, 1_800_000_000]
        .into_iter()
        .enumerate()
    {
        let mut wanted = request(&bench, &disk, bench.image(&number.to_string()));
        wanted.now = clock;
        wanted.persistent = true;
        if number % 2 == 1 {
            // COS_STATE is made anew.
            let mounted = Mounted::new(&disk.partition(5), "ext4", "rw");
            fs_err::remove_dir_all(mounted.path().join("cos")).unwrap();
        }
        let done = reset(&wanted, &NoHooks, &Silent).unwrap();
        assert_eq!(done.snapshot.date, clock);
        assert_eq!(state(&disk).0.active, done.snapshot.id);
        check_ext4(&tools, &disk.node, &[5, 6]);
    }
}

#[test]
fn wiped_partitions_are_new_and_others_stay() {
    let Some(tools) = tools("wiped_partitions_are_new_and_others_stay", TOOLS) else {
        return;
    };
    let bench = Bench::new();
    let disk = installed(&bench, &tools, 3000, |request| {
        request.extras.persistent = FileSystem::Xfs;
    });
    let (oem, persistent) = (disk.partition(3), disk.partition(6));
    let leave = |node: &str, kind: &str| {
        let mounted = Mounted::new(node, kind, "rw");
        fs_err::write(mounted.path().join("mine"), "x").unwrap();
    };
    let kept = |node: &str, kind: &str| {
        let mounted = Mounted::new(node, kind, "ro");
        mounted.path().join("mine").exists()
    };
    leave(&oem, "ext4");
    leave(&persistent, "xfs");
    let mut wanted = request(&bench, &disk, bench.image("1"));
    reset(&wanted, &NoHooks, &Silent).unwrap();
    assert!(kept(&oem, "ext4") && kept(&persistent, "xfs"));

    wanted.persistent = true;
    wanted.oem = true;
    // Somebody works there: nothing is changed at all.
    let before = state(&disk).0.generation;
    {
        let mounted = Mounted::new(&persistent, "xfs", "rw");
        let _open = fs_err::File::open(mounted.path()).unwrap();
        let error = reset(&wanted, &NoHooks, &Silent).unwrap_err();
        assert!(matches!(error, ResetError::InUse { .. }), "{error}");
    }
    assert_eq!(state(&disk).0.generation, before);
    let uuid = |node: &str| tools.run("blkid", &["-p", "-s", "UUID", "-o", "value", node]);
    let old = (uuid(&oem), uuid(&persistent));
    // Mounted as the initrd leaves it, and used by nobody.
    let mount = tempfile::tempdir().unwrap();
    cos_sys::mount::mount(&cos_sys::mount::Mount {
        source: oem.clone(),
        target: mount.path().into(),
        fstype: "ext4".into(),
        options: String::new(),
    })
    .unwrap();
    let done = reset(&wanted, &NoHooks, &Silent).unwrap();
    assert_eq!(done.wipes, ["COS_PERSISTENT", "COS_OEM"]);
    assert!(!kept(&oem, "ext4") && !kept(&persistent, "xfs"));
    assert_ne!(old, (uuid(&oem), uuid(&persistent)));
    let named = |number, kind: &str, label: &str| {
        assert_eq!(disk.blkid(&tools, number), (kind.into(), label.into()));
    };
    named(3, "ext4", "COS_OEM");
    named(6, "xfs", "COS_PERSISTE");
    check_ext4(&tools, &disk.node, &[3, 5]);
}

#[test]
fn the_system_that_runs_is_not_reset() {
    let bench = Bench::new();
    let mut wanted = ResetRequest {
        mode: Mode::Active,
        is_sealed: false,
        source: bench.image("1"),
        partitions: ResetPartitions {
            disk: "vda".into(),
            state: "/dev/null".into(),
            loader: None,
            oem: None,
            persistent: None,
        },
        allow_downgrade: false,
        tpm: bench.path("tpm"),
        persistent: true,
        oem: false,
        temp_dir: bench.directory.path().to_owned(),
        search_path: None,
        now: 0,
    };
    let error = plan_reset(&wanted, &Silent).unwrap_err();
    assert!(
        error.hint().unwrap().contains("cos boot once recovery"),
        "{error}"
    );
    wanted.mode = Mode::Recovery;
    let error = plan_reset(&wanted, &Silent).unwrap_err();
    assert!(matches!(error, ResetError::NoPartition { .. }), "{error}");
}
