//! A model of what boots, beside the code: the same histories of operations, boots, failures and crashes
//! are lived through by a few lists here, and by the boot state, the rule and a store in a directory.
//!
//! GRUB's script is held against the same rule in `cos-boot/tests/system_boot_rule.rs`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_macros,
    clippy::print_stdout,
    reason = "a test fails by panicking, and this shows how much it tried"
)]

use cos_boot::{
    BOOT_CONFIG, BootState, Choice, INITRD, KERNEL, METADATA, Once, ROOT_IMAGE, SnapshotId, Tries,
    decide,
};
use cos_powercut::fixture;
use cos_store::{Store, StoreError};
use cos_testkit::TempDir;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

const HISTORIES: u32 = 3000;
const LONGEST: usize = 40;
/// Snapshots kept in all.
const KEEP: usize = 2;
const TRIES: u8 = 3;
const GOOD_TRIES: u8 = 8;

/// What can happen.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// An upgrade to one of 14 images; the process may be killed at one of a commit's three checkpoints.
    Upgrade(u8, Option<u8>),
    /// Back to what was before.
    RollBack,
    /// The nth snapshot is pinned or not.
    Pin(u8, bool),
    /// Recovery, or the nth snapshot, boots once.
    Once(Option<u8>),
    /// A boot that becomes good.
    GoodBoot,
    /// A boot that fails, or is cut off.
    BadBoot,
    /// The kernel of the nth snapshot can no longer be read.
    Damage(u8),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (0..14u8, prop::option::weighted(0.3, 0..3u8)).prop_map(|(n, c)| Event::Upgrade(n, c)),
        1 => Just(Event::RollBack),
        1 => (0..4u8, any::<bool>()).prop_map(|(n, pinned)| Event::Pin(n, pinned)),
        1 => prop::option::of(0..4u8).prop_map(Event::Once),
        4 => Just(Event::GoodBoot),
        4 => Just(Event::BadBoot),
        1 => (0..4u8).prop_map(Event::Damage),
    ]
}

/// A snapshot, as the model knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    image: u8,
    /// Has had a good boot.
    proven: bool,
    /// Was given up.
    given_up: bool,
    pinned: bool,
    /// Boots in a row that did not become good.
    bad_boots: u8,
}

/// What boots once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnceOf {
    Recovery,
    Image(u8),
}

/// The model: who is asked in which order, and nothing of how that is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Model {
    order: Vec<Known>,
    once: Option<OnceOf>,
    damaged: BTreeSet<u8>,
}

impl Model {
    fn find(&mut self, image: u8) -> Option<&mut Known> {
        self.order.iter_mut().find(|it| it.image == image)
    }

    fn nth(&self, n: u8) -> u8 {
        self.order[usize::from(n) % self.order.len()].image
    }

    /// What boots now; `None` is recovery.
    fn boot(&mut self) -> Option<u8> {
        if let Some(once) = self.once.take() {
            match once {
                OnceOf::Recovery => return None,
                OnceOf::Image(image) if !self.damaged.contains(&image) => return Some(image),
                OnceOf::Image(_) => {}
            }
        }
        for known in &mut self.order {
            let limit = if known.proven { GOOD_TRIES } else { TRIES };
            if known.given_up {
                continue;
            }
            if known.bad_boots < limit && !self.damaged.contains(&known.image) {
                known.bad_boots += 1;
                let chosen = known.image;
                // Tries are counted in a row.
                for other in &mut self.order {
                    if other.image != chosen {
                        other.bad_boots = 0;
                    }
                }
                return Some(chosen);
            }
            known.given_up = true;
            known.bad_boots = 0;
        }
        None
    }

    /// A change of the state: what was counted begins anew.
    fn changed(&mut self) {
        for known in &mut self.order {
            known.bad_boots = 0;
        }
    }

    fn lead_with(&mut self, image: u8) {
        let mut lead = self.find(image).cloned().unwrap_or(Known {
            image,
            proven: false,
            given_up: false,
            pinned: false,
            bad_boots: 0,
        });
        lead.given_up = false;
        self.order.retain(|it| it.image != image);
        self.order.sort_by_key(|it| it.given_up || !it.proven);
        self.order.insert(0, lead);
        self.once = None;
        self.changed();
    }

    fn upgrade(&mut self, image: u8, running: Option<u8>) {
        self.lead_with(image);
        self.order[0].proven = false;
        let mut excess = self.order.len().saturating_sub(KEEP);
        for place in (1..self.order.len()).rev() {
            let it = &self.order[place];
            if excess > 0 && !it.pinned && Some(it.image) != running {
                self.order.remove(place);
                excess -= 1;
            }
        }
    }
}

fn id(image: u8) -> SnapshotId {
    format!("{image:012x}").parse().unwrap()
}

/// Checkpoints until one fails, as if the process had been killed there.
static LEFT: AtomicUsize = AtomicUsize::new(usize::MAX);

fn checkpoint(_: &Path) -> std::io::Result<()> {
    let left = LEFT.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
        Some(if left == usize::MAX {
            left
        } else {
            left.saturating_sub(1)
        })
    });
    match left {
        Ok(0) => Err(std::io::Error::other("killed")),
        _ => Ok(()),
    }
}

/// The code under test, with what a machine adds to it.
struct Machine {
    store: Store,
    damaged: BTreeSet<u8>,
    running: Option<u8>,
    _directory: TempDir,
}

impl Machine {
    fn new() -> Self {
        let directory = TempDir::new_in("/dev/shm")
            .or_else(|_| TempDir::new())
            .unwrap();
        let machine = Self {
            store: Store::with_checkpoint(directory.path(), checkpoint),
            damaged: BTreeSet::new(),
            running: Some(0),
            _directory: directory,
        };
        machine.write(0);
        let mut state = BootState::first(id(0));
        state.trial.clear();
        state.tries = Tries {
            trial: TRIES,
            good: GOOD_TRIES,
        };
        machine.store.commit(&state).unwrap();
        machine
            .store
            .write_attempts(&cos_boot::Attempts::default())
            .unwrap();
        machine
    }

    fn write(&self, image: u8) {
        let draft = self.store.draft().unwrap();
        for name in [ROOT_IMAGE, KERNEL, INITRD] {
            fs_err::write(draft.directory().join(name), "x").unwrap();
        }
        let new = id(image);
        draft
            .finish(&fixture::snapshot(&new), &fixture::fragment(&new))
            .unwrap();
    }

    /// The state with the boot loader's notes taken into account.
    fn state(&self) -> BootState {
        let state = self.store.state().unwrap();
        let attempts = self.store.attempts(&state);
        state.with_attempts(&attempts)
    }

    /// What boots; `None` is recovery.
    fn boot(&mut self) -> Option<u8> {
        let state = self.store.state().unwrap();
        let attempts = self.store.attempts(&state);
        let damaged: Vec<SnapshotId> = self.damaged.iter().map(|it| id(*it)).collect();
        let decision = decide(&state, &attempts, |it| !damaged.contains(it));
        self.store.write_attempts(&decision.attempts).unwrap();
        self.running = match decision.choice {
            Choice::Snapshot(chosen) => Some(u8::from_str_radix(chosen.as_str(), 16).unwrap()),
            Choice::Recovery => None,
        };
        self.running
    }

    fn good(&self) {
        let Some(running) = self.running.map(id) else {
            return;
        };
        let state = self.store.state().unwrap();
        let attempts = self.store.attempts(&state);
        if state.trial.contains(&running) {
            let next = state.with_attempts(&attempts).prove(&running).unwrap();
            self.store.commit(&next).unwrap();
        } else {
            self.store
                .write_attempts(&attempts.after_good_boot())
                .unwrap();
        }
    }

    /// Returns whether it was committed.
    fn upgrade(&mut self, image: u8, killed: Option<u8>) -> bool {
        let before = self.state();
        self.store.collect(&before, &[]).unwrap();
        if !before.snapshots().any(|it| *it == id(image)) {
            self.write(image);
            self.damaged.remove(&image);
        }
        let tries = Tries {
            trial: TRIES,
            good: GOOD_TRIES,
        };
        let running = self.running.map(id);
        let next = before.deploy(&id(image), tries).unwrap();
        let next = next.pruned(KEEP, running.as_ref());
        if let Some(checkpoints) = killed {
            LEFT.store(usize::from(checkpoints), Ordering::SeqCst);
        }
        let outcome = self.store.commit(&next);
        LEFT.store(usize::MAX, Ordering::SeqCst);
        match outcome {
            Ok(()) => {
                self.store.collect(&next, &[]).unwrap();
                true
            }
            Err(StoreError::Checkpoint { .. }) => self.store.state().unwrap() == next,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Both have the same snapshots, in the same order and standing.
fn agree(model: &Model, machine: &Machine) -> Result<(), TestCaseError> {
    let state = machine.state();
    let order: Vec<SnapshotId> = state.snapshots().cloned().collect();
    let wanted: Vec<SnapshotId> = model.order.iter().map(|it| id(it.image)).collect();
    prop_assert_eq!(&order, &wanted);
    for known in &model.order {
        let it = id(known.image);
        prop_assert_eq!(state.trial.contains(&it), !known.proven, "trial of {}", it);
        prop_assert_eq!(state.failed.contains(&it), known.given_up, "failed: {}", it);
        prop_assert_eq!(state.pinned.contains(&it), known.pinned, "pinned: {}", it);
        prop_assert!(
            machine.store.is_whole(&it).is_ok(),
            "{} is named and gone",
            it
        );
    }
    for name in [BOOT_CONFIG, METADATA] {
        prop_assert!(machine.store.directory(&order[0]).join(name).exists());
    }
    Ok(())
}

fn live(events: &[Event]) -> Result<(), TestCaseError> {
    let mut machine = Machine::new();
    let mut model = Model::default();
    model.order.push(Known {
        image: 0,
        proven: true,
        given_up: false,
        pinned: false,
        bad_boots: 0,
    });
    for event in events {
        step(*event, &mut model, &mut machine)?;
        agree(&model, &machine)?;
    }
    Ok(())
}

fn step(event: Event, model: &mut Model, machine: &mut Machine) -> Result<(), TestCaseError> {
    match event {
        Event::Upgrade(image, killed) => upgrade(image, killed, model, machine)?,
        Event::RollBack => roll_back(model, machine)?,
        Event::Pin(n, pinned) => {
            let image = model.nth(n);
            let next = machine.state().pin(&id(image), pinned).unwrap();
            machine.store.commit(&next).unwrap();
            model.find(image).unwrap().pinned = pinned;
            model.changed();
        }
        Event::Once(n) => {
            let what = n.map_or(OnceOf::Recovery, |n| OnceOf::Image(model.nth(n)));
            let once = match what {
                OnceOf::Recovery => Once::Recovery,
                OnceOf::Image(image) => Once::Snapshot(id(image)),
            };
            let next = machine.state().boot_once(Some(once)).unwrap();
            machine.store.commit(&next).unwrap();
            model.once = Some(what);
            model.changed();
        }
        Event::GoodBoot => boot(true, model, machine)?,
        Event::BadBoot => boot(false, model, machine)?,
        Event::Damage(n) => {
            let image = model.nth(n);
            model.damaged.insert(image);
            machine.damaged.insert(image);
        }
    }
    Ok(())
}

fn upgrade(
    image: u8,
    killed: Option<u8>,
    model: &mut Model,
    machine: &mut Machine,
) -> Result<(), TestCaseError> {
    let running = machine.running;
    let is_new = !model.order.iter().any(|it| it.image == image);
    // More than can be named are refused.
    if is_new && model.order.iter().filter(|it| it.pinned).count() > 8 {
        return Ok(());
    }
    let committed = machine.upgrade(image, killed);
    prop_assert!(committed || killed.is_some());
    // Whether or not it is named then, it was written anew.
    if is_new {
        model.damaged.remove(&image);
    }
    if committed {
        model.upgrade(image, running);
    }
    Ok(())
}

fn roll_back(model: &mut Model, machine: &Machine) -> Result<(), TestCaseError> {
    let active = model.order[0].image;
    let usable = |it: &&Known| !it.given_up;
    let fallback = |it: &&Known| Some(it.image) == machine.running && it.image != active;
    let usables = || model.order.iter().filter(usable);
    let target = usables().find(fallback);
    let target = target.or_else(|| usables().find(|it| it.image != active));
    let target = target.map(|it| it.image);
    // Recovery runs another one than all of these.
    let running = id(machine.running.unwrap_or(u8::MAX));
    match (machine.state().roll_back(&running, None), target) {
        (Ok(next), Some(target)) => {
            machine.store.commit(&next).unwrap();
            model.lead_with(target);
        }
        (Err(_), None) => {}
        (done, wanted) => prop_assert!(false, "rollback: {:?}, not {:?}", done, wanted),
    }
    Ok(())
}

fn boot(is_good: bool, model: &mut Model, machine: &mut Machine) -> Result<(), TestCaseError> {
    let booted = machine.boot();
    prop_assert_eq!(booted, model.boot(), "what boots");
    if let Some(image) = booted {
        prop_assert!(!model.damaged.contains(&image), "{} does not load", image);
    }
    if is_good {
        machine.good();
        if let Some(known) = booted.and_then(|image| model.find(image)) {
            if !known.proven {
                known.proven = true;
                known.given_up = false;
            }
            model.changed();
        }
    }
    Ok(())
}

#[test]
fn what_boots_is_what_the_model_says() {
    let histories = AtomicUsize::new(0);
    let events = AtomicUsize::new(0);
    let mut runner = TestRunner::new(Config {
        cases: HISTORIES,
        failure_persistence: None,
        ..Config::default()
    });
    let strategy = prop::collection::vec(event(), 1..LONGEST);
    let outcome = runner.run(&strategy, |history| {
        histories.fetch_add(1, Ordering::Relaxed);
        events.fetch_add(history.len(), Ordering::Relaxed);
        live(&history)
    });
    println!(
        "{} histories, {} events",
        histories.load(Ordering::Relaxed),
        events.load(Ordering::Relaxed)
    );
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
