//! The boot rule in GRUB's language against the same rule in Rust: GRUB itself runs the one, over
//! random histories of boots, damage and repair, and writes what it tried to a real ext4 file system.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests look at the disk with plain std and stop at the first surprise"
)]

mod emulator;

use cos_boot::{
    Attempts, BootState, Choice, EnvironmentBlock, KernelArguments, MediumLoader, Once, SnapshotId,
    Tries, decide, snapshot_fragment, vendor_redirect,
};
use cos_testkit::{find_tool, need_tools, process};
use emulator::{BLOCK, Booted, Emulator, Place, loader};
use std::process::Command;

/// Histories that are tried, and boots in each.
const HISTORIES: u64 = 200;
const BOOTS: usize = 7;
/// GRUB mostly waits for its own clock: so many run at once.
const LANES: u64 = 4;

fn id(digit: char) -> SnapshotId {
    digit.to_string().repeat(12).parse().unwrap()
}

fn recovery() -> SnapshotId {
    id('9')
}

/// Numbers that are the same in every run (xorshift64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 11) % limit as u64).unwrap()
    }

    fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    fn some(&mut self, of: &[SnapshotId], chance: usize) -> Vec<SnapshotId> {
        let picked = of.iter().filter(|_| self.percent(chance));
        picked.cloned().collect()
    }

    fn state(&mut self, all: &[SnapshotId]) -> BootState {
        let mut ids = all.to_vec();
        for at in (1..ids.len()).rev() {
            ids.swap(at, self.below(at + 1));
        }
        ids.truncate(1 + self.below(ids.len()));
        let once = match self.below(6) {
            0 => Some(Once::Recovery),
            1 => Some(Once::Snapshot(ids[self.below(ids.len())].clone())),
            _ => None,
        };
        BootState {
            generation: 5 + self.0 % 1000,
            active: ids[0].clone(),
            passive: ids[1..].to_vec(),
            trial: self.some(&ids, 40),
            failed: self.some(&ids, 15),
            pinned: self.some(&ids, 20),
            once,
            tries: Tries {
                trial: 1 + u8::try_from(self.below(3)).unwrap(),
                good: 1 + u8::try_from(self.below(4)).unwrap(),
            },
        }
    }
}

/// What is wrong at one boot.
#[derive(Debug, Default)]
struct Trouble {
    kernels: Vec<SnapshotId>,
    initrds: Vec<SnapshotId>,
    next_entry: String,
}

impl Trouble {
    fn loads(&self, id: &SnapshotId) -> bool {
        !self.kernels.contains(id) && !self.initrds.contains(id)
    }
}

/// What should happen.
#[derive(Debug)]
struct Expected {
    choice: Choice,
    fallback: bool,
    /// What is to be in `attempt.env` then, where it could be written.
    attempts: Option<Attempts>,
}

/// What the words of older systems mean.
fn entry(state: &BootState, name: &str, trouble: &Trouble) -> Option<Choice> {
    let loads = |id: &&SnapshotId| trouble.loads(id);
    let wanted = match name {
        "recovery" => return Some(Choice::Recovery),
        "active" | "cos" => Some(state.active.clone()).filter(|id| trouble.loads(id)),
        "passive" | "fallback" => state.passive.iter().find(loads).cloned(),
        other => other.parse().ok().filter(|id| trouble.loads(id)),
    };
    wanted.map(Choice::Snapshot)
}

fn expect(state: &BootState, attempts: Option<&Attempts>, trouble: &Trouble) -> Expected {
    let known = attempts
        .cloned()
        .unwrap_or_default()
        .about(state.generation);
    let decision = match attempts {
        Some(_) => decide(state, &known, |id| trouble.loads(id)),
        None => without_notes(state, trouble),
    };
    let once = state.once.as_ref().filter(|_| !known.once_done);
    let once_boots = attempts.is_some()
        && once.is_some_and(|once| match once {
            Once::Recovery => true,
            Once::Snapshot(id) => trouble.loads(id),
        });
    let chosen = entry(state, &trouble.next_entry, trouble).filter(|_| !once_boots);
    match chosen {
        Some(choice) => Expected {
            choice,
            fallback: false,
            // Only that a choice for one boot was made by then, if one was.
            attempts: attempts.map(|as_they_lie| match once {
                Some(_) => Attempts {
                    once_done: true,
                    ..known
                },
                None => as_they_lie.clone(),
            }),
        },
        None => Expected {
            choice: decision.choice,
            fallback: decision.fallback,
            attempts: attempts.map(|_| decision.attempts),
        },
    }
}

/// Where nothing can be noted, nothing that needs a note boots: neither what is on trial nor what is to
/// boot once.
fn without_notes(state: &BootState, trouble: &Trouble) -> cos_boot::Decision {
    let mut certain = state.clone();
    certain.once = None;
    certain.failed.extend(certain.trial.clone());
    decide(&certain, &Attempts::default(), |id| trouble.loads(id))
}

fn check(booted: &Booted, expected: &Expected, state: &BootState, history: &str) {
    let (id, mode, trial) = match &expected.choice {
        Choice::Recovery => (recovery(), "recovery", false),
        Choice::Snapshot(id) => {
            let mode = if *id == state.active {
                "active"
            } else {
                "passive"
            };
            (id.clone(), mode, state.trial.contains(id))
        }
    };
    let source = if mode == "recovery" {
        "PARTUUID=bbbb"
    } else {
        "PARTUUID=aaaa"
    };
    assert_eq!(booted.value("cos.snapshot"), Some(id.as_str()), "{history}");
    assert_eq!(booted.value("cos.mode"), Some(mode), "{history}");
    assert_eq!(booted.value("cos.source"), Some(source), "{history}");
    assert!(booted.has(&format!("of-{id}")), "{booted:?} {history}");
    assert_eq!(booted.has("cos.trial"), trial, "{booted:?} {history}");
    assert_eq!(
        booted.has("cos.fallback"),
        expected.fallback,
        "{booted:?} {history}"
    );
}

fn names(ids: &[SnapshotId]) -> String {
    let ids: Vec<&str> = ids.iter().map(SnapshotId::as_str).collect();
    ids.join(" ")
}

fn grubenv(next_entry: &str) -> Vec<u8> {
    let mut block = EnvironmentBlock::default();
    block.set("next_entry", next_entry).unwrap();
    block.to_bytes().unwrap()
}

/// One history: a state, and boots from it with trouble, repair and good boots between them.
fn live(emulator: &Emulator, numbers: &mut Numbers, all: &[SnapshotId]) {
    let mut state = numbers.state(all);
    let mut before = numbers.state(all);
    emulator.write(Place::NextBoot, &before.to_bytes().unwrap());
    emulator.write(Place::Boot, &state.to_bytes().unwrap());
    let mut attempts = Some(match numbers.below(3) {
        0 => Attempts::default(),
        1 => Attempts {
            generation: state.generation - 1,
            snapshot: Some(state.active.clone()),
            count: 1,
            failed: numbers.some(all, 50),
            once_done: true,
        },
        _ => Attempts::default().about(state.generation),
    });
    emulator.write(
        Place::Attempt,
        &attempts.as_ref().unwrap().to_bytes().unwrap(),
    );
    for _ in 0..BOOTS {
        if numbers.percent(5) {
            emulator.write(Place::Attempt, &[b'?'; BLOCK]);
            attempts = None;
        }
        if numbers.percent(5) {
            // The state before it is what counts from here on.
            emulator.write(Place::Boot, &[0; BLOCK]);
            state = before.clone();
        }
        let trouble = trouble(numbers, all);
        emulator.write(Place::Grubenv, &grubenv(&trouble.next_entry));
        let history = format!("{state:#?} {attempts:#?} {trouble:?}");
        let expected = expect(&state, attempts.as_ref(), &trouble);
        let booted = emulator.boot(
            "default",
            &names(&trouble.kernels),
            &names(&trouble.initrds),
        );
        check(&booted, &expected, &state, &history);
        let found = Attempts::from_bytes(&emulator.read(Place::Attempt)).ok();
        assert_eq!(found, expected.attempts, "{booted:?} {history}");
        attempts = found;
        if let Choice::Snapshot(id) = expected.choice
            && numbers.percent(40)
        {
            become_good(emulator, &mut state, &mut before, &mut attempts, &id);
        }
    }
}

fn trouble(numbers: &mut Numbers, all: &[SnapshotId]) -> Trouble {
    let mut trouble = Trouble::default();
    if numbers.percent(30) {
        trouble.kernels = numbers.some(all, 30);
        trouble.initrds = numbers.some(all, 20);
    }
    if numbers.percent(15) {
        let words = [
            "recovery",
            "active",
            "cos",
            "passive",
            "fallback",
            "bbbbbbbbbbbb",
            "nonsense",
        ];
        words[numbers.below(words.len())].clone_into(&mut trouble.next_entry);
    }
    trouble
}

/// What the operating system writes when a boot is good.
fn become_good(
    emulator: &Emulator,
    state: &mut BootState,
    before: &mut BootState,
    attempts: &mut Option<Attempts>,
    id: &SnapshotId,
) {
    let known = attempts.clone().unwrap_or_default().about(state.generation);
    if state.trial.contains(id) {
        let proven = state.clone().with_attempts(&known).prove(id);
        // A snapshot chosen by hand may be one that the state does not name.
        if let Ok(proven) = proven {
            *before = std::mem::replace(state, proven);
            emulator.write(Place::NextBoot, &before.to_bytes().unwrap());
            emulator.write(Place::Boot, &state.to_bytes().unwrap());
        }
    }
    let good = known.about(state.generation).after_good_boot();
    emulator.write(Place::Attempt, &good.to_bytes().unwrap());
    *attempts = Some(good);
}

fn tools() {
    need_tools(&[
        "grub-emu",
        "grub-script-check",
        "mke2fs",
        "debugfs",
        "sgdisk",
        "timeout",
    ]);
}

#[test]
fn grub_decides_as_the_rule_says() {
    tools();
    let all = ['a', 'b', 'c', 'd'].map(id);
    std::thread::scope(|scope| {
        for lane in 0..LANES {
            let all = &all;
            scope.spawn(move || {
                let emulator = Emulator::new(all, &recovery());
                for seed in (1..=HISTORIES).filter(|seed| seed % LANES == lane) {
                    let mut numbers = Numbers(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
                    live(&emulator, &mut numbers, all);
                }
            });
        }
    });
}

/// Two snapshots, the first one on trial.
fn upgraded() -> (Emulator, BootState) {
    tools();
    let (new, old) = (id('a'), id('b'));
    let emulator = Emulator::new(&[new.clone(), old.clone()], &recovery());
    let mut state = BootState::first(old);
    state.trial.clear();
    let state = state.deploy(&new, Tries::default()).unwrap();
    emulator.write(Place::Boot, &state.to_bytes().unwrap());
    (emulator, state)
}

#[test]
fn a_count_that_is_none_does_not_give_tries_without_end() {
    let (emulator, state) = upgraded();
    let mut block = EnvironmentBlock::from_bytes(&Attempts::default().to_bytes().unwrap()).unwrap();
    block
        .set("attempt_generation", &state.generation.to_string())
        .unwrap();
    block
        .set("attempt_snapshot", state.active.as_str())
        .unwrap();
    for count in ["damaged", "xx xx", "xxy", "xxxxxxxxxx"] {
        block.set("attempt_count", count).unwrap();
        emulator.write(Place::Attempt, &block.to_bytes().unwrap());
        let modes: Vec<String> = (0..4)
            .map(|_| {
                let booted = emulator.boot("default", "", "");
                booted.value("cos.mode").unwrap().to_owned()
            })
            .collect();
        assert_eq!(modes.last().unwrap(), "passive", "{count}: {modes:?}");
    }
}

#[test]
fn when_nothing_loads_the_machine_starts_over() {
    let (emulator, _) = upgraded();
    let all = names(&[id('a'), id('b'), recovery()]);
    assert_eq!(emulator.boot("default", &all, "").line, "reboot");
}

#[test]
fn a_menu_entry_boots_its_snapshot_and_costs_no_try() {
    let (emulator, state) = upgraded();
    emulator.write(Place::Attempt, &Attempts::default().to_bytes().unwrap());
    let mut block = EnvironmentBlock::default();
    block.set("extra_cmdline", "everywhere").unwrap();
    block.set("extra_passive_cmdline", "quiet one").unwrap();
    emulator.write(Place::Grubenv, &block.to_bytes().unwrap());
    for (name, mode) in [("a", "active"), ("b", "passive")] {
        let booted = emulator.boot(&name.repeat(12), "", "");
        assert_eq!(booted.value("cos.mode"), Some(mode));
        assert_eq!(booted.value("cos.snapshot"), Some(&*name.repeat(12)));
        assert_eq!(booted.has("cos.trial"), mode == "active", "{booted:?}");
        assert!(booted.has("everywhere"), "{booted:?}");
        assert_eq!(booted.has("quiet") && booted.has("one"), mode == "passive");
    }
    let booted = emulator.boot("recovery", "", "");
    assert_eq!(booted.value("cos.snapshot"), Some(recovery().as_str()));
    let attempts = Attempts::from_bytes(&emulator.read(Place::Attempt)).unwrap();
    assert_eq!(attempts.about(state.generation).count, 0);
}

#[test]
fn every_configuration_is_grub_script() {
    tools();
    let medium = MediumLoader {
        title: "Debian".into(),
        uuid: "2026-01-01-00-00-00-00".into(),
        timeout: 3,
    };
    let directory = cos_testkit::temp_dir().unwrap();
    let arguments = KernelArguments::new("console=ttyS0 panic=30").unwrap();
    let fragment = snapshot_fragment(&"ab".repeat(32).parse().unwrap(), &arguments);
    for text in [
        loader().render(),
        medium.render(),
        vendor_redirect(),
        fragment,
    ] {
        let path = directory.path().join("grub.cfg");
        std::fs::write(&path, &text).unwrap();
        process::run(Command::new(find_tool("grub-script-check").unwrap()).arg(&path)).unwrap();
        std::fs::write(&path, text + "\nif true; then\n").unwrap();
        let broken = Command::new(find_tool("grub-script-check").unwrap())
            .arg(&path)
            .output();
        assert!(!broken.unwrap().status.success());
    }
}
