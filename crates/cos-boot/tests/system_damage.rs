//! `boot.env` and `attempt.env` with parts of them damaged, as GRUB itself finds them: a snapshot or
//! recovery boots, never nothing.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests look at the disk with plain std and stop at the first surprise"
)]
#![allow(dead_code, reason = "the emulator is used in part")]

mod emulator;

use cos_boot::{Attempts, BootState, EnvironmentBlock, SnapshotId, Tries};
use cos_testkit::need_tools;
use emulator::{BLOCK, Emulator, Place};
use std::collections::BTreeMap;

/// GRUB mostly waits for its own clock: so many run at once.
const LANES: usize = 4;
const WINDOW: usize = 64;
const PATTERNS: [u8; 3] = [0, b'x', b'\n'];

fn id(digit: char) -> SnapshotId {
    digit.to_string().repeat(12).parse().unwrap()
}

/// Where, which file, and with what.
fn damages() -> Vec<(Place, usize, u8)> {
    let mut damages = Vec::new();
    for place in [Place::Boot, Place::Attempt] {
        for at in (0..BLOCK / 2).step_by(WINDOW) {
            damages.extend(PATTERNS.map(|pattern| (place, at, pattern)));
        }
        damages.extend(PATTERNS.map(|pattern| (place, BLOCK - WINDOW, pattern)));
    }
    damages
}

/// One lane's share of the damages. Returns how often each system booted.
fn boot_damaged(lane: usize) -> BTreeMap<String, usize> {
    let (new, old, recovery) = (id('a'), id('b'), id('9'));
    let emulator = Emulator::new(&[new.clone(), old.clone()], &recovery);
    let mut before = BootState::first(old);
    before.trial.clear();
    let state = before.deploy(&new, Tries::default()).unwrap();
    let mut booted = BTreeMap::new();
    let share = damages().into_iter().skip(lane).step_by(LANES);
    for (place, at, pattern) in share {
        let attempts = Attempts {
            generation: state.generation,
            snapshot: Some(new.clone()),
            count: 1,
            ..Attempts::default()
        };
        let blocks = [
            (Place::NextBoot, before.to_bytes().unwrap()),
            (Place::Boot, state.to_bytes().unwrap()),
            (Place::Attempt, attempts.to_bytes().unwrap()),
            (
                Place::Grubenv,
                EnvironmentBlock::default().to_bytes().unwrap(),
            ),
        ];
        for (of, bytes) in &blocks {
            emulator.write(*of, bytes);
        }
        let mut bytes = emulator.read(place);
        bytes[at..at + WINDOW].fill(pattern);
        emulator.write(place, &bytes);
        let started = emulator.boot("default", "", "");
        let snapshot = started.value("cos.snapshot").unwrap_or_default().to_owned();
        let known = [id('a'), id('b'), id('9')];
        let boots = known.iter().any(|it| it.as_str() == snapshot);
        assert!(boots, "{place:?} {at} {pattern}: {started:?}");
        *booted.entry(snapshot).or_default() += 1;
    }
    booted
}

#[test]
fn a_damaged_block_boots_a_snapshot_or_recovery() {
    need_tools(&["grub-emu", "mke2fs", "debugfs", "sgdisk", "timeout"]);
    let mut booted = BTreeMap::<String, usize>::new();
    std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES)
            .map(|lane| scope.spawn(move || boot_damaged(lane)))
            .collect();
        for lane in lanes {
            for (snapshot, count) in lane.join().unwrap() {
                *booted.entry(snapshot).or_default() += count;
            }
        }
    });
    assert_eq!(booted.values().sum::<usize>(), damages().len());
    assert!(booted.contains_key(id('a').as_str()), "{booted:?}");
}

#[test]
fn when_no_state_can_be_read_recovery_boots() {
    need_tools(&["grub-emu", "mke2fs", "debugfs", "sgdisk", "timeout"]);
    let emulator = Emulator::new(&[id('a')], &id('9'));
    for place in [Place::Boot, Place::NextBoot, Place::Attempt] {
        emulator.write(place, &[0; BLOCK]);
    }
    let booted = emulator.boot("default", "", "");
    assert_eq!(booted.value("cos.mode"), Some("recovery"));
}
