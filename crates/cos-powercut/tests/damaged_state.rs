//! `boot.env` and `attempt.env` with any part of them damaged, as Linux finds them: what can be read is a
//! state, what cannot is named, and the next upgrade makes it whole again.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_macros,
    clippy::print_stdout,
    reason = "a test fails by panicking, and this shows how much it tried"
)]

use cos_boot::{
    ATTEMPT_ENVIRONMENT, Attempts, BOOT_ENVIRONMENT, BootState, INITRD, KERNEL,
    NEXT_BOOT_ENVIRONMENT, ROOT_IMAGE, SnapshotId, Tries,
};
use cos_powercut::fixture::{self, id};
use cos_store::Store;
use cos_testkit::TempDir;

const BLOCK: usize = 1024;
const LENGTHS: [usize; 5] = [1, 7, 64, 512, 1024];
const PATTERNS: [u8; 5] = [0, 0xff, b'x', b'\n', b'#'];

fn add(store: &Store, id: &SnapshotId) {
    let draft = store.draft().unwrap();
    for name in [ROOT_IMAGE, KERNEL, INITRD] {
        fs_err::write(draft.directory().join(name), "x").unwrap();
    }
    draft
        .finish(&fixture::snapshot(id), &fixture::fragment(id))
        .unwrap();
}

/// Two snapshots, one of them on trial and tried once.
fn upgraded() -> (TempDir, Store, BootState) {
    let temp = TempDir::new_in("/dev/shm")
        .or_else(|_| TempDir::new())
        .unwrap();
    let store = Store::with_checkpoint(temp.path(), |_| Ok(()));
    let (old, new) = (id('a').unwrap(), id('b').unwrap());
    add(&store, &old);
    add(&store, &new);
    store.commit(&fixture::first_state(&old)).unwrap();
    let state = fixture::first_state(&old);
    let state = state.deploy(&new, Tries::default()).unwrap();
    store.commit(&state).unwrap();
    store
        .write_attempts(&Attempts {
            generation: state.generation,
            snapshot: Some(new),
            count: 1,
            ..Attempts::default()
        })
        .unwrap();
    (temp, store, state)
}

/// Every damage of a block: where, how long, with what.
fn damages() -> impl Iterator<Item = (usize, usize, u8)> {
    LENGTHS.into_iter().flat_map(|length| {
        let starts = (0..BLOCK)
            .step_by(length.div_ceil(4))
            .filter(move |at| at + length <= BLOCK);
        starts.flat_map(move |at| PATTERNS.map(|pattern| (at, length, pattern)))
    })
}

#[test]
fn an_upgrade_makes_a_damaged_state_whole() {
    let (_temp, store, state) = upgraded();
    let path = store.root().join(BOOT_ENVIRONMENT);
    let good = fs_err::read(&path).unwrap();
    let previous = fs_err::read(store.root().join(NEXT_BOOT_ENVIRONMENT)).unwrap();
    let previous = BootState::from_bytes(&previous).unwrap();
    let (mut same, mut other, mut before) = (0, 0, 0);
    for (at, length, pattern) in damages() {
        let mut bytes = good.clone();
        bytes[at..at + length].fill(pattern);
        fs_err::write(&path, &bytes).unwrap();
        // The state before it is beside it: there is always one.
        let found = store.state().unwrap();
        match () {
            () if found == state => same += 1,
            () if found == previous => before += 1,
            () => other += 1,
        }
        let found = found.with_attempts(&store.attempts(&state));
        // Nothing of what boots is removed on the strength of a damaged state.
        let next = found.deploy(&id('b').unwrap(), Tries::default());
        let next = next.unwrap_or_else(|error| panic!("{at} {length} {pattern}: {error}"));
        store.commit(&next).unwrap();
        assert_eq!(store.state().unwrap(), next);
        store.commit(&previous).unwrap();
        store.commit(&state).unwrap();
    }
    println!("{same} times the same state, {before} times the one before, {other} times another");
    assert!(same > 0 && before > 0);
}

#[test]
fn when_both_states_are_damaged_the_error_names_the_file() {
    let (_temp, store, _) = upgraded();
    for name in [BOOT_ENVIRONMENT, NEXT_BOOT_ENVIRONMENT] {
        fs_err::write(store.root().join(name), [0; BLOCK]).unwrap();
    }
    let error = store.state().unwrap_err().to_string();
    assert!(error.contains("cos/boot.env"), "{error}");
}

#[test]
fn damaged_notes_say_nothing_wrong_and_are_made_anew() {
    let (_temp, store, state) = upgraded();
    let path = store.root().join(ATTEMPT_ENVIRONMENT);
    let good = fs_err::read(&path).unwrap();
    let mut count = 0;
    for (at, length, pattern) in damages() {
        let mut bytes = good.clone();
        bytes[at..at + length].fill(pattern);
        fs_err::write(&path, &bytes).unwrap();
        let attempts = store.attempts(&state);
        assert_eq!(attempts.generation, state.generation);
        store.repair_attempts(&state).unwrap();
        let bytes = fs_err::read(&path).unwrap();
        assert!(Attempts::from_bytes(&bytes).is_ok(), "{at} {length}");
        count += 1;
    }
    println!("{count} damages");
}
