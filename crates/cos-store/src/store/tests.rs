use super::*;
use crate::{Action, FileDigest};
use cos_boot::{INITRD, KERNEL, ROOT_IMAGE, Tries};
use std::collections::BTreeMap;

/// The file systems under test directories cannot all be checkpointed, and need not be.
fn store(root: &Path) -> Store {
    Store::with_checkpoint(root, |_| Ok(()))
}

fn id(digit: char) -> SnapshotId {
    digit.to_string().repeat(12).parse().unwrap()
}

fn snapshot(id: &SnapshotId) -> Snapshot {
    Snapshot {
        version: Snapshot::VERSION,
        id: id.clone(),
        source: "dir:/".into(),
        follows: None,
        digest: None,
        format: "cos-root-v1".into(),
        root_hash: "1".repeat(64),
        size: 4,
        hash_offset: 0,
        kernel: FileDigest([0; 32]),
        initrd: FileDigest([0; 32]),
        program: None,
        modified_locally: false,
        date: 0,
        action: Action::Upgrade,
        kernel_arguments: String::new(),
        machine_arguments: String::new(),
        image_version: None,
        verified: None,
        labels: BTreeMap::new(),
    }
}

fn add(store: &Store, id: &SnapshotId) {
    let draft = store.draft().unwrap();
    for name in [ROOT_IMAGE, KERNEL, INITRD, "scratch"] {
        fs_err::write(draft.directory().join(name), name).unwrap();
    }
    assert_eq!(draft.finish(&snapshot(id), "set x=1\n").unwrap(), *id);
}

fn names(store: &Store) -> Vec<String> {
    let mut names = store.entries().unwrap();
    names.sort();
    names
}

#[test]
fn a_draft_becomes_a_snapshot_and_a_commit_makes_it_boot() {
    let temp = tempfile::tempdir().unwrap();
    let store = store(temp.path());
    add(&store, &id('a'));
    let first = BootState::first(id('a'));
    store.commit(&first).unwrap();
    assert_eq!(store.state().unwrap(), first);
    assert!(!store.directory(&id('a')).join("scratch").exists());

    add(&store, &id('b'));
    let second = first.deploy(&id('b'), Tries::default()).unwrap();
    store.commit(&second).unwrap();
    assert_eq!(store.state().unwrap(), second);
    // The state before is still there, for the boot loader and for us.
    assert_eq!(store.read_state(NEXT_BOOT_ENVIRONMENT).unwrap(), first);
    fs_err::write(temp.path().join(BOOT_ENVIRONMENT), "damaged").unwrap();
    assert_eq!(store.state().unwrap(), first);
}

#[test]
fn what_is_not_whole_is_not_committed() {
    let temp = tempfile::tempdir().unwrap();
    let store = store(temp.path());
    add(&store, &id('a'));
    fs_err::remove_file(store.directory(&id('a')).join(INITRD)).unwrap();
    let error = store.commit(&BootState::first(id('a'))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "snapshot aaaaaaaaaaaa is not complete: it has no initrd"
    );
    assert!(!temp.path().join(BOOT_ENVIRONMENT).exists());
}

#[test]
fn garbage_is_what_no_state_names() {
    let temp = tempfile::tempdir().unwrap();
    let store = store(temp.path());
    for digit in ['a', 'b', 'c', 'd'] {
        add(&store, &id(digit));
    }
    fs_err::create_dir(store.snapshots_directory().join(".draft-1")).unwrap();
    fs_err::create_dir(store.snapshots_directory().join("somebody's")).unwrap();
    let mut state = BootState::first(id('a'));
    state.passive.push(id('b'));
    store.stage(Some(&id('c'))).unwrap();
    assert_eq!(store.staged(), Some(id('c')));
    let removed = store.collect(&state, &[id('c')]).unwrap();
    assert_eq!(removed, [".draft-1", "dddddddddddd"]);
    assert_eq!(
        names(&store),
        ["aaaaaaaaaaaa", "bbbbbbbbbbbb", "cccccccccccc", "somebody's"]
    );
    store.stage(None).unwrap();
    assert_eq!(store.staged(), None);
}

#[test]
fn a_dropped_draft_leaves_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let store = store(temp.path());
    drop(store.draft().unwrap());
    assert_eq!(names(&store), Vec::<String>::new());
}

#[test]
fn notes_are_written_in_place_and_mended() {
    let temp = tempfile::tempdir().unwrap();
    let store = store(temp.path());
    let state = BootState::first(id('a'));
    fs_err::create_dir(temp.path().join(COS_DIRECTORY)).unwrap();
    assert!(store.repair_attempts(&state).unwrap());
    assert!(!store.repair_attempts(&state).unwrap());
    let mut attempts = store.attempts(&state);
    attempts.snapshot = Some(id('a'));
    attempts.count = 2;
    store.write_attempts(&attempts).unwrap();
    assert_eq!(store.attempts(&state), attempts);
    fs_err::write(temp.path().join(ATTEMPT_ENVIRONMENT), [0; 1024]).unwrap();
    assert_eq!(store.attempts(&state).count, 0);
    assert!(store.repair_attempts(&state).unwrap());
}

#[test]
fn failures_are_noted_by_snapshot() {
    let temp = tempfile::tempdir().unwrap();
    let store = store(temp.path());
    let failure = crate::Failure {
        stage: crate::FailureStage::Health,
        reason: "10-net.sh: exit status 1".into(),
        time: 9,
        journal: (0..100).map(|line| line.to_string()).collect(),
    };
    store.note_failure(&id('a'), &failure).unwrap();
    let noted = store.failure(&id('a')).unwrap();
    assert_eq!(noted.reason, failure.reason);
    assert_eq!(noted.journal.last().map(String::as_str), Some("99"));
    assert_eq!(noted.journal.len(), 60);
    store.forget_failures(&[]).unwrap();
    assert_eq!(store.failure(&id('a')), None);
}

#[test]
fn what_the_committed_state_names_is_not_removed() {
    let temp = tempfile::tempdir().unwrap();
    let store = store(temp.path());
    add(&store, &id('a'));
    store.commit(&BootState::first(id('a'))).unwrap();
    // A state that was computed and not committed decides nothing.
    let another = BootState::first(id('b'));
    assert_eq!(store.collect(&another, &[]).unwrap(), Vec::<String>::new());
    assert_eq!(names(&store), ["aaaaaaaaaaaa"]);
}

#[test]
fn a_damaged_snapshot_is_exchanged_for_a_whole_one_of_its_name() {
    let temp = tempfile::tempdir().unwrap();
    let store = store(temp.path());
    add(&store, &id('a'));
    store.commit(&BootState::first(id('a'))).unwrap();
    let kernel = store.directory(&id('a')).join(KERNEL);
    fs_err::write(&kernel, "half").unwrap();
    add(&store, &id('a'));
    assert_eq!(fs_err::read(&kernel).unwrap(), KERNEL.as_bytes());
    assert_eq!(names(&store), ["aaaaaaaaaaaa"]);
}

#[test]
fn nothing_is_committed_that_does_not_read_back() {
    let temp = tempfile::tempdir().unwrap();
    add(&store(temp.path()), &id('a'));
    let first = BootState::first(id('a'));
    store(temp.path()).commit(&first).unwrap();
    let damages = Store::with_checkpoint(temp.path(), |root| {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).open(root.join(NEXT_BOOT_ENVIRONMENT))?;
        file.write_all(b"#")?;
        file.write_all(b"something else")
    });
    let next = first.prove(&id('a')).unwrap();
    fs_err::write(temp.path().join(NEXT_BOOT_ENVIRONMENT), "").unwrap();
    let error = damages.commit(&next).unwrap_err();
    assert!(matches!(error, StoreError::ReadBack { .. }), "{error}");
    assert_eq!(store(temp.path()).state().unwrap(), first);
}
