//! The entries, held against the boot rule.

use super::*;
use crate::{BootState, Choice, SnapshotId, Tries, decide};
use proptest::prelude::*;

fn id(digit: u8) -> SnapshotId {
    format!("{digit:x}").repeat(12).parse().unwrap()
}

fn digest(id: &SnapshotId) -> [u8; 32] {
    [id.as_str().as_bytes()[0]; 32]
}

fn present(name: &str, program: &SnapshotId) -> PresentEntry {
    PresentEntry {
        entry: SealedEntry::parse(name).unwrap(),
        program: Some(program_name(&digest(program))),
    }
}

/// The EFI system partition of a machine, and what systemd-boot does with it.
#[derive(Debug, Clone, Default)]
struct Partition(Vec<PresentEntry>);

impl Partition {
    /// Its menu: what used up its tries comes last, otherwise by name (boot.c, `boot_entry_compare`).
    fn menu(&self) -> Vec<&SealedEntry> {
        let whole = self.0.iter().filter(|it| it.program.is_some());
        let mut entries: Vec<&SealedEntry> = whole.map(|it| &it.entry).collect();
        entries.sort_by_key(|it| (it.is_exhausted(), std::cmp::Reverse(it.rank)));
        entries
    }

    fn first(&self) -> Option<SnapshotId> {
        self.menu().first().map(|it| it.snapshot.clone())
    }

    /// Boots the first entry, counting.
    fn boot(&mut self) {
        let Some(entry) = self.menu().first().copied().cloned() else {
            return;
        };
        for it in &mut self.0 {
            if it.entry == entry
                && let Some(tries) = &mut it.entry.tries
            {
                tries.left = tries.left.saturating_sub(1);
                tries.done += 1;
            }
        }
    }

    /// The partition after each step of a plan.
    fn steps(&self, plan: &SealedPlan) -> Vec<Self> {
        let mut steps = vec![self.clone()];
        let mut now = self.clone();
        for (entry, program) in &plan.create {
            assert!(
                !now.0.iter().any(|it| it.entry == *entry),
                "{entry} is written over"
            );
            // Torn, first.
            now.0.push(PresentEntry {
                entry: entry.clone(),
                program: None,
            });
            steps.push(now.clone());
            now.0.last_mut().unwrap().program = Some(program.clone());
            steps.push(now.clone());
        }
        for entry in &plan.remove {
            let before = now.0.len();
            now.0.retain(|it| it.entry != *entry);
            assert_eq!(now.0.len() + 1, before);
            steps.push(now.clone());
        }
        steps
    }

    fn known(&self, state: &BootState) -> BootState {
        state
            .clone()
            .with_attempts(&sealed_attempts(state, &self.0))
    }
}

/// What boots by the rule, before anything was tried.
fn by_rule(state: &BootState) -> Option<SnapshotId> {
    let attempts = crate::Attempts::default();
    match decide(state, &attempts, |_| true).choice {
        Choice::Snapshot(id) => Some(id),
        Choice::Recovery => None,
    }
}

#[derive(Debug, Clone)]
enum Event {
    Deploy(u8),
    RollBack,
    RollBackTo(u8),
    Prove,
    Prune,
    Boot(u8),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        3 => (1..8_u8).prop_map(Event::Deploy),
        1 => Just(Event::RollBack),
        1 => (1..8_u8).prop_map(Event::RollBackTo),
        2 => Just(Event::Prove),
        1 => Just(Event::Prune),
        2 => (1..5_u8).prop_map(Event::Boot),
    ];
    prop::collection::vec(event, 1..25)
}

fn next(known: &BootState, running: &SnapshotId, event: &Event) -> Option<BootState> {
    match event {
        Event::Deploy(digit) => {
            let next = known.deploy(&id(*digit), Tries::default()).ok()?;
            Some(next.pruned(3, Some(running)))
        }
        Event::RollBack => known.roll_back(running, None).ok(),
        Event::RollBackTo(digit) => known.roll_back(running, Some(&id(*digit))).ok(),
        Event::Prove => known.prove(running).ok(),
        Event::Prune => Some(known.clone().pruned(2, Some(running))),
        Event::Boot(_) => None,
    }
}

proptest! {
    #[test]
    fn entries_boot_what_the_rule_says_and_cuts_leave_the_old_or_the_new(events in events(), cut in any::<prop::sample::Index>()) {
        let recovery = id(15);
        let mut partition = Partition(vec![present("cos-0-ffffffffffff.conf", &recovery)]);
        let mut state = BootState::first(id(9));
        let first = SealedPlan::new(&state, &partition.0, |id| Some(digest(id)));
        partition = partition.steps(&first).pop().unwrap();
        let mut running = id(9);
        for event in events {
            if let Event::Boot(times) = event {
                for _ in 0..times {
                    running = partition.first().unwrap();
                    partition.boot();
                }
                continue;
            }
            let known = partition.known(&state);
            let Some(next) = next(&known, &running, &event) else { continue };
            let plan = SealedPlan::new(&next, &partition.0, |id| Some(digest(id)));
            let (old, new) = (partition.first(), by_rule(&next).unwrap_or(recovery.clone()));
            let steps = partition.steps(&plan);
            for step in &steps {
                let boots = step.first();
                prop_assert!(boots == old || boots.as_ref() == Some(&new), "{event:?} {step:?}");
            }
            let last = steps.last().unwrap().clone();
            prop_assert_eq!(last.first(), Some(new.clone()));
            let named: Vec<&str> = last.0.iter().filter_map(|it| it.program.as_deref()).collect();
            prop_assert!(named.iter().all(|name| plan.programs.iter().any(|it| it == name)));
            // What was cut is completed by the same plan made anew.
            let torn = &steps[cut.index(steps.len())];
            let rest = SealedPlan::new(&torn.known(&next), &torn.0, |id| Some(digest(id)));
            let completed = torn.steps(&rest).pop().unwrap();
            let wanted = by_rule(&torn.known(&next)).unwrap_or(recovery.clone());
            prop_assert_eq!(completed.first(), Some(wanted));
            // Once is enough.
            let again = SealedPlan::new(&last.known(&next), &last.0, |id| Some(digest(id)));
            prop_assert!(again.create.is_empty() && again.remove.is_empty(), "{again:?}");
            partition = last;
            state = next;
        }
    }

    #[test]
    fn tries_run_out_as_by_the_rule(trial in 1..6_u8) {
        let state = BootState {
            passive: vec![id(11)],
            trial: vec![id(10)],
            tries: Tries { trial, good: 8 },
            ..BootState::first(id(10))
        };
        let mut partition = Partition(vec![present("cos-0-ffffffffffff.conf", &id(15))]);
        let plan = SealedPlan::new(&state, &partition.0, |id| Some(digest(id)));
        partition = partition.steps(&plan).pop().unwrap();
        let mut attempts = crate::Attempts::default();
        for _ in 0..trial + 2 {
            let decision = decide(&state, &attempts, |_| true);
            attempts = decision.attempts;
            prop_assert_eq!(partition.first().map(Choice::Snapshot), Some(decision.choice));
            partition.boot();
        }
        prop_assert_eq!(partition.known(&state).failed, vec![id(10)]);
    }

    #[test]
    fn foreign_names_and_texts_never_panic(name in "\\PC{0,40}", text in prop::collection::vec(any::<u8>(), 0..60)) {
        drop((SealedEntry::parse(&name), entry_program(&text)));
    }
}

#[test]
fn entries_are_read_as_they_are_named() {
    for name in [
        "cos-12-0123456789ab.conf",
        "cos-12-0123456789ab+3-0.conf",
        "cos-0-0123456789ab.conf",
    ] {
        let entry = SealedEntry::parse(name).unwrap();
        assert_eq!(entry.to_string(), name);
    }
    let tried = SealedEntry::parse("cos-12-0123456789ab+2.conf").unwrap();
    assert_eq!(tried.tries, Some(TriesLeft { left: 2, done: 0 }));
    assert_eq!(tried.id(), "cos-12-0123456789ab.conf");
    for foreign in [
        "cos-1-x.conf",
        "cos-0123456789ab.conf",
        "cos-1-0123456789ab",
        "cos-1-0123456789ab+.conf",
        "a.conf",
    ] {
        assert_eq!(SealedEntry::parse(foreign), None, "{foreign}");
    }
}

#[test]
fn a_torn_entry_names_no_program() {
    let program = program_name(&[0xab; 32]);
    assert_eq!(program, "abababababababab.efi");
    let text = entry_text("cOS \"1\"\nefi /x", &program);
    assert_eq!(entry_program(text.as_bytes()), Some(program));
    for length in 0..text.len() {
        assert_eq!(entry_program(&text.as_bytes()[..length]), None, "{length}");
    }
}

#[test]
fn a_recovery_system_takes_the_place_of_the_other() {
    let (old, new) = (id(1), id(2));
    let present = [
        present("cos-0-111111111111.conf", &old),
        present("cos-31-333333333333.conf", &id(3)),
    ];
    let plan = SealedPlan::recovery(&new, &digest(&new), &present);
    let names: Vec<String> = plan.create.iter().map(|it| it.0.to_string()).collect();
    assert_eq!(names, ["cos-0-222222222222.conf"]);
    assert_eq!(plan.remove, [present[0].entry.clone()]);
    let programs = [&id(2), &id(3)].map(|id| program_name(&digest(id)));
    assert_eq!(plan.programs, programs);
    let again = SealedPlan::recovery(&old, &digest(&old), &present);
    assert_eq!((again.create.len(), again.remove.len()), (0, 0));
}

#[test]
fn the_command_line_names_the_root_hash_and_no_disk() {
    let root_hash = "ab".repeat(32).parse().unwrap();
    let arguments = KernelArguments::new("panic=30").unwrap();
    let line = |encrypted| sealed_command_line(&root_hash, &arguments, encrypted);
    let hash = "ab".repeat(32);
    assert_eq!(
        line(false),
        format!("cos.sealed cos.roothash={hash} panic=30")
    );
    assert_eq!(
        line(true),
        format!("cos.sealed cos.roothash={hash} cos.encrypt systemd.gpt_auto=0 panic=30")
    );
}
