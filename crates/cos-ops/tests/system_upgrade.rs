//! Upgrades of a machine whose COS_STATE is a real ext4, from a registry that behaves or does not:
//! whatever goes wrong, what boots stays what it was, and the next try succeeds.
#![expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]

#[path = "common/machinery.rs"]
mod machinery;

use cos_events::{Monitor, Silent};
use cos_ops::hooks::{HookError, Hooks, NewRoot, NoHooks, RootImage, changed};
use cos_ops::upgrade::{Extent, Outcome};
use cos_ops::{ErrorKind, OpsError};
use cos_store::verify_snapshot;
use cos_testkit::faulty_registry::Faults;
use machinery::{Machinery, VERSION_1, VERSION_2};
use std::error::Error as _;
use std::sync::Mutex;

#[test]
fn an_upgrade_is_whole_and_the_next_has_nothing_to_do() {
    let machinery = Machinery::start(64 << 20);
    let before = machinery.state();
    let result = machinery.upgrade(Extent::Whole, &NoHooks).unwrap();
    assert_eq!(result.outcome, Outcome::Committed);
    let id = result.snapshot.unwrap();
    let state = machinery.state();
    assert_eq!(
        (&state.active, state.passive.as_slice()),
        (&id, &[before.active][..])
    );
    assert_eq!(state.trial, std::slice::from_ref(&id));
    let snapshot = verify_snapshot(&machinery.store(), &id).unwrap();
    assert_eq!(
        snapshot.digest.as_deref(),
        Some(machinery.digest().as_str())
    );
    assert_eq!(machinery.file_of(&id, "etc/version"), VERSION_2);

    let again = machinery.upgrade(Extent::Whole, &NoHooks).unwrap();
    assert_eq!(
        (again.outcome, again.snapshot),
        (Outcome::UpToDate, Some(id))
    );
    assert_eq!(machinery.state(), state);
}

#[test]
fn a_registry_that_fails_changes_nothing_and_the_next_try_succeeds() {
    let machinery = Machinery::start(64 << 20);
    let before = machinery.state();
    let entries = machinery.entries();
    let faults = [
        (
            "cut",
            Faults {
                drop_after: Some((1000, u32::MAX)),
                ..Faults::default()
            },
        ),
        (
            "error",
            Faults {
                status: Some(500),
                ..Faults::default()
            },
        ),
        (
            "lie",
            Faults {
                corrupt: true,
                ..Faults::default()
            },
        ),
        (
            "gone",
            Faults {
                status: Some(404),
                ..Faults::default()
            },
        ),
    ];
    for (name, fault) in faults {
        machinery.server.misbehave(fault);
        let error = machinery.upgrade(Extent::Whole, &NoHooks).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Image, "{name}: {error}");
        assert_eq!(machinery.state(), before, "{name}");
        assert_eq!(machinery.entries(), entries, "{name}");
        machinery.check_disk();
    }
    machinery.server.misbehave(Faults {
        drop_after: Some((700_000, 2)),
        ..Faults::default()
    });
    let result = machinery.upgrade(Extent::Whole, &NoHooks).unwrap();
    assert_eq!(result.outcome, Outcome::Committed);
}

#[test]
fn a_download_that_was_cut_goes_on_in_the_next_run() {
    let mut machinery = Machinery::start(64 << 20);
    machinery.use_scratch();
    let asked = |machinery: &Machinery| -> Vec<String> {
        let requests = machinery.server.requests();
        let ranges = requests
            .iter()
            .filter_map(|it| it.headers.get("range").cloned());
        ranges.collect()
    };
    machinery.server.misbehave(Faults {
        drop_after: Some((600_000, 3)),
        unavailable: 0,
        ..Faults::default()
    });
    machinery.retries = 0;
    let error = machinery.upgrade(Extent::Whole, &NoHooks).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Image, "{error}");
    assert!(machinery.kept_bytes() >= 600_000);
    assert_eq!(asked(&machinery), Vec::<String>::new());
    machinery.server.misbehave(Faults::default());
    machinery.upgrade(Extent::Whole, &NoHooks).unwrap();
    let ranges = asked(&machinery);
    assert!(
        ranges.iter().any(|range| range.starts_with("bytes=6")),
        "{ranges:?}"
    );
    assert_eq!(machinery.kept_bytes(), 0);
}

#[test]
fn a_disk_too_small_is_known_before_anything_is_written() {
    let machinery = Machinery::start(16 << 20);
    machinery.fill(1 << 20);
    let (before, entries) = (machinery.state(), machinery.entries());
    let error = machinery.upgrade(Extent::Whole, &NoHooks).unwrap_err();
    let OpsError::Space { needed, free, .. } = &error else {
        panic!("{error}");
    };
    assert!(needed > free);
    assert_eq!((machinery.state(), machinery.entries()), (before, entries));
    machinery.empty();
    machinery.upgrade(Extent::Whole, &NoHooks).unwrap();
}

#[test]
fn what_was_downloaded_waits_until_it_is_applied() {
    let machinery = Machinery::start(64 << 20);
    let before = machinery.state();
    assert!(matches!(
        machinery.upgrade(Extent::Apply, &NoHooks),
        Err(OpsError::NothingStaged)
    ));
    let checked = machinery.upgrade(Extent::Check, &NoHooks).unwrap();
    assert_eq!(checked.outcome, Outcome::Available);
    let staged = machinery.upgrade(Extent::Download, &NoHooks).unwrap();
    assert_eq!(staged.outcome, Outcome::Staged);
    assert_eq!(machinery.state(), before);
    // The registry is not needed any more.
    machinery.server.misbehave(Faults {
        status: Some(500),
        ..Faults::default()
    });
    let applied = machinery.upgrade(Extent::Apply, &NoHooks).unwrap();
    assert_eq!(applied.outcome, Outcome::Committed);
    assert_eq!(Some(machinery.state().active), staged.snapshot);
    assert_eq!(machinery.store().staged(), None);
}

/// 1970, the first second that 32 bits do not hold, 2100, and a day that it may be.
const CLOCKS: [i64; 4] = [0, 1 << 31, 4_102_444_800, 1_800_000_000];

/// Makes another root of each.
struct Numbered(usize);

impl Hooks for Numbered {
    fn after_chroot(&self, root: &RootImage<'_>) -> Result<Option<NewRoot>, HookError> {
        changed(root, 1, &Silent, |root| {
            Ok(fs_err::write(root.join("etc/number"), self.0.to_string())?)
        })
    }

    fn before(&self) -> Result<(), HookError> {
        Ok(())
    }

    fn after(&self) -> Result<(), HookError> {
        Ok(())
    }

    fn post(&self) -> Result<(), HookError> {
        Ok(())
    }
}

#[test]
fn a_clock_that_jumps_changes_no_upgrade() {
    let mut machinery = Machinery::start(64 << 20);
    let mut last = machinery.state().generation;
    // From each time to each other, between the download and its application.
    let jumps = CLOCKS.map(|from| CLOCKS.map(|to| (from, to)));
    for (number, (from, to)) in jumps.into_iter().flatten().enumerate() {
        // Versions go up, whatever the clock does.
        let version = format!("1.0.{number}");
        machinery.release(&version);
        machinery.clock = from;
        let staged = machinery.upgrade(Extent::Download, &Numbered(number));
        assert_eq!(staged.unwrap().outcome, Outcome::Staged, "{from} {to}");
        machinery.clock = to;
        let applied = machinery.upgrade(Extent::Apply, &NoHooks).unwrap();
        assert_eq!(applied.outcome, Outcome::Committed, "{from} {to}");
        let (state, id) = (machinery.state(), applied.snapshot.unwrap());
        assert_eq!(state.active, id);
        assert!(state.generation > last);
        last = state.generation;
        let snapshot = verify_snapshot(&machinery.store(), &id).unwrap();
        assert_eq!(
            (snapshot.date, snapshot.image_version),
            (from, Some(version))
        );
        let again = machinery.upgrade(Extent::Whole, &NoHooks).unwrap();
        assert_eq!(again.outcome, Outcome::UpToDate, "{from} {to}");
    }
    machinery.check_disk();
}

#[test]
fn what_failed_is_not_tried_again_unasked() {
    let mut machinery = Machinery::start(64 << 20);
    let id = machinery
        .upgrade(Extent::Whole, &NoHooks)
        .unwrap()
        .snapshot
        .unwrap();
    let mut state = machinery.state();
    state.failed.push(id.clone());
    state.generation += 1;
    machinery.commit(&state);
    let error = machinery.upgrade(Extent::Whole, &NoHooks).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedBefore);
    assert!(error.to_string().contains(&machinery.digest()), "{error}");
    assert_eq!(machinery.state(), state);
    machinery.force = true;
    machinery.upgrade(Extent::Whole, &NoHooks).unwrap();
    let state = machinery.state();
    assert_eq!((state.active, state.failed), (id.clone(), vec![]));
    assert_eq!(state.trial, [id]);
}

#[test]
fn only_one_operation_is_at_work() {
    let machinery = Machinery::start(64 << 20);
    let lock = cos_ops::machine::lock(&machinery.places, "reset").unwrap();
    let error = machinery.upgrade(Extent::Whole, &NoHooks).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(error.to_string().contains("cos reset"), "{error}");
    drop(lock);
    machinery.upgrade(Extent::Whole, &NoHooks).unwrap();
}

/// When in an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Before,
    AfterChroot,
    After,
    Post,
}

/// Notes the moments, changes the new root, and fails where it is told to.
#[derive(Default)]
struct Scripted {
    moments: Mutex<Vec<Moment>>,
    fails_at: Option<Moment>,
}

impl Scripted {
    fn at(&self, moment: Moment) -> Result<(), HookError> {
        self.moments.lock().unwrap().push(moment);
        if self.fails_at == Some(moment) {
            return Err("told to".into());
        }
        Ok(())
    }
}

impl Hooks for Scripted {
    fn before(&self) -> Result<(), HookError> {
        self.at(Moment::Before)
    }

    fn after_chroot(&self, root: &RootImage<'_>) -> Result<Option<NewRoot>, HookError> {
        changed(root, 1, &Silent, |root| {
            assert_eq!(fs_err::read_to_string(root.join("etc/version"))?, VERSION_2);
            fs_err::write(root.join("etc/site"), "by a hook\n")?;
            fs_err::remove_file(root.join("etc/unwanted"))?;
            self.at(Moment::AfterChroot)
        })
    }

    fn after(&self) -> Result<(), HookError> {
        self.at(Moment::After)
    }

    fn post(&self) -> Result<(), HookError> {
        self.at(Moment::Post)
    }
}

#[test]
fn what_hooks_change_in_the_new_root_is_part_of_it() {
    let machinery = Machinery::start(64 << 20);
    let hooks = Scripted::default();
    let id = machinery
        .upgrade(Extent::Whole, &hooks)
        .unwrap()
        .snapshot
        .unwrap();
    assert_eq!(
        *hooks.moments.lock().unwrap(),
        [
            Moment::Before,
            Moment::AfterChroot,
            Moment::After,
            Moment::Post
        ]
    );
    let snapshot = verify_snapshot(&machinery.store(), &id).unwrap();
    assert!(snapshot.modified_locally);
    assert_eq!(machinery.file_of(&id, "etc/site"), "by a hook\n");
    assert!(!machinery.has_file(&id, "etc/unwanted"));
    assert_eq!(machinery.file_of(&id, "etc/version"), VERSION_2);
}

#[test]
fn a_failing_hook_stops_before_the_commit_and_not_after_it() {
    let machinery = Machinery::start(64 << 20);
    let (before, entries) = (machinery.state(), machinery.entries());
    for moment in [Moment::Before, Moment::AfterChroot] {
        let hooks = Scripted {
            fails_at: Some(moment),
            ..Scripted::default()
        };
        let error = machinery.upgrade(Extent::Whole, &hooks).unwrap_err();
        let cause = error.source().unwrap().to_string();
        assert_eq!(cause, "told to");
        assert_eq!(
            (machinery.state(), machinery.entries()),
            (before.clone(), entries.clone())
        );
    }
    let hooks = Scripted {
        fails_at: Some(Moment::After),
        ..Scripted::default()
    };
    machinery.upgrade(Extent::Whole, &hooks).unwrap_err();
    assert_eq!(machinery.state(), before);
    let hooks = Scripted {
        fails_at: Some(Moment::Post),
        ..Scripted::default()
    };
    let result = machinery.upgrade(Extent::Whole, &hooks).unwrap();
    assert_eq!(result.outcome, Outcome::Committed);
    assert_ne!(machinery.state(), before);
}

#[test]
fn an_interrupted_upgrade_leaves_nothing() {
    struct Impatient;
    impl Monitor for Impatient {
        fn report(&self, _: cos_events::Event) {}
        fn is_cancelled(&self) -> bool {
            true
        }
    }
    let machinery = Machinery::start(64 << 20);
    let (before, entries) = (machinery.state(), machinery.entries());
    let error = machinery
        .upgrade_with(Extent::Whole, &NoHooks, &Impatient)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!((machinery.state(), machinery.entries()), (before, entries));
    machinery
        .upgrade_with(Extent::Whole, &NoHooks, &Silent)
        .unwrap();
    assert_eq!(
        machinery.file_of(&machinery.state().passive[0], "etc/version"),
        VERSION_1
    );
}
