//! The floor with a made-up TPM: power cuts, and whoever writes to the disk.

use super::super::floor::{lower_to, raise_to, renew_in};
use super::*;
use cos_boot::COS_DIRECTORY;
use semver::Version;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

const FILE: &str = "cos/version-floor";

/// What stays over a power cut.
#[derive(Debug, Clone, Default)]
struct Memory {
    held: Held,
    highest: u64,
}

/// A TPM whose power is cut at a moment: before its first change, behind it, before the second…
struct Fake {
    memory: Rc<RefCell<Memory>>,
    cut: Option<usize>,
}

impl Fake {
    fn moment(&mut self) {
        match &mut self.cut {
            Some(0) => resume_unwind(Box::new("cut")),
            Some(left) => *left -= 1,
            None => {}
        }
    }

    fn change<T>(&mut self, change: impl FnOnce(&mut Memory) -> T) -> T {
        self.moment();
        let changed = change(&mut self.memory.borrow_mut());
        self.moment();
        changed
    }
}

fn count_on(memory: &mut Memory) -> u64 {
    memory.highest += 1;
    memory.held.count = Some(memory.highest);
    memory.highest
}

impl FloorCounter for Fake {
    fn held(&mut self) -> Result<Held, TpmError> {
        Ok(self.memory.borrow().held)
    }

    fn prepare(&mut self) -> Result<u64, TpmError> {
        let counted = self.memory.borrow().held.count;
        Ok(counted.unwrap_or_else(|| self.change(count_on)))
    }

    fn arm(&mut self, key: &Key) -> Result<(), TpmError> {
        self.change(|memory| memory.held.key = Some(*key));
        Ok(())
    }

    fn increment(&mut self) -> Result<u64, TpmError> {
        Ok(self.change(count_on))
    }
}

/// A machine with a TPM, all of which can be copied.
struct Rig {
    directory: tempfile::TempDir,
    memory: Rc<RefCell<Memory>>,
}

impl Rig {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs_err::create_dir(directory.path().join(COS_DIRECTORY)).unwrap();
        let memory = Memory {
            highest: 7,
            ..Memory::default()
        };
        Self {
            directory,
            memory: Rc::new(RefCell::new(memory)),
        }
    }

    /// One on which a version was good.
    fn with_floor(version: &str) -> Self {
        let rig = Self::new();
        rig.raise(version).unwrap();
        rig
    }

    fn store(&self) -> Store {
        Store::with_checkpoint(self.directory.path(), |_| Ok(()))
    }

    fn file(&self) -> Option<Vec<u8>> {
        fs_err::read(self.directory.path().join(FILE)).ok()
    }

    fn put(&self, file: Option<&[u8]>) {
        let path = self.directory.path().join(FILE);
        match file {
            Some(bytes) => fs_err::write(path, bytes).unwrap(),
            None => fs_err::remove_file(path).unwrap(),
        }
    }

    /// Does something with the floor; power goes at a moment. `None` where it went.
    fn until<T>(
        &self,
        cut: Option<usize>,
        act: impl FnOnce(&mut FloorKeeper<'_>) -> T,
    ) -> Option<T> {
        let fake = Fake {
            memory: Rc::clone(&self.memory),
            cut,
        };
        let store = self.store();
        let acted =
            AssertUnwindSafe(|| act(&mut FloorKeeper::with(&store, Ok(Some(Box::new(fake))))));
        catch_unwind(acted).ok()
    }

    fn act<T>(&self, act: impl FnOnce(&mut FloorKeeper<'_>) -> T) -> T {
        self.until(None, act).unwrap()
    }

    fn raise(&self, version: &str) -> Result<(), FloorError> {
        let version = Version::parse(version).unwrap();
        self.act(|keeper| raise_to(keeper, &version))
    }

    fn lower(&self, version: Option<&str>) -> Result<(), FloorError> {
        let version = version.map(|version| Version::parse(version).unwrap());
        self.act(|keeper| lower_to(keeper, version.as_ref()))
    }

    fn believed(&self) -> Result<Option<String>, FloorError> {
        self.act(believed)
    }

    fn floor(&self) -> String {
        self.believed().unwrap().unwrap()
    }

    fn set_back(&self) -> SetBack {
        match self.believed() {
            Err(FloorError::SetBack(how)) => how,
            other => unreachable!("{other:?}"),
        }
    }

    /// The same store on a machine without a TPM, or with one that fails.
    fn elsewhere<T>(&self, fails: bool, act: impl FnOnce(&mut FloorKeeper<'_>) -> T) -> T {
        let store = self.store();
        let none = if fails { Err(broken()) } else { Ok(None) };
        act(&mut FloorKeeper::with(&store, none))
    }
}

fn believed(keeper: &mut FloorKeeper<'_>) -> Result<Option<String>, FloorError> {
    keeper.believed()
}

fn broken() -> TpmError {
    TpmError::Malformed {
        command: "TPM2_NV_Read",
        reason: "it ends too early",
    }
}

/// Every moment at which the power can go while `act` is done to a machine that is made by `start`.
fn cuts(
    start: impl Fn() -> Rig,
    act: impl Fn(&mut FloorKeeper<'_>) -> Result<(), FloorError>,
    mut check: impl FnMut(Rig),
) -> usize {
    for cut in 0.. {
        let rig = start();
        match rig.until(Some(cut), &act) {
            None => check(rig),
            Some(done) => {
                done.unwrap();
                return cut;
            }
        }
    }
    unreachable!()
}

#[test]
fn a_cut_leaves_the_old_floor_or_the_new_one_and_the_next_boot_completes_it() {
    let raised = |from: &'static str, to: &'static str, start: &dyn Fn() -> Rig| {
        let version = Version::parse(to).unwrap();
        let act = |keeper: &mut FloorKeeper<'_>| raise_to(keeper, &version);
        cuts(start, act, |rig| {
            let floor = rig.believed().unwrap().unwrap_or_default();
            assert!(floor == from || floor == to, "{floor}");
            rig.raise(to).unwrap();
            assert_eq!(rig.floor(), to);
            let now = rig.file();
            assert!(matches!(
                rig.act(|keeper| keeper.standing()).unwrap(),
                Standing::Sealed { pending: false, .. }
            ));
            // And nothing more is counted.
            rig.raise(to).unwrap();
            assert_eq!(rig.file(), now);
        })
    };
    // The counter, the key; each before and behind.
    assert_eq!(raised("", "2.0.0", &Rig::new), 4);
    let plain = || {
        let rig = Rig::new();
        rig.store().set_version_floor("1.0.0").unwrap();
        rig
    };
    assert_eq!(raised("1.0.0", "2.0.0", &plain), 4);
    assert_eq!(raised("1.0.0", "1.0.0", &plain), 4);
    let start = || Rig::with_floor("2.0.0");
    assert_eq!(raised("2.0.0", "2.1.0", &start), 2);
}

#[test]
fn a_cut_while_the_floor_is_lowered_leaves_one_that_can_be_lowered() {
    let version = Version::parse("1.0.0").unwrap();
    let start = || Rig::with_floor("2.0.0");
    let moments = cuts(
        start,
        |keeper| lower_to(keeper, Some(&version)),
        |rig| {
            // Written, and not yet counted: it is what somebody asked for.
            assert_eq!(rig.floor(), "1.0.0");
            let pending = rig.file();
            rig.raise("1.5.0").unwrap();
            assert_eq!(rig.floor(), "1.5.0");
            rig.put(pending.as_deref());
            assert!(matches!(rig.set_back(), SetBack::Other { .. }));
        },
    );
    assert_eq!(moments, 2);
}

#[test]
fn a_floor_that_is_not_the_last_one_is_told_and_a_good_boot_does_not_make_it_one() {
    let rig = Rig::with_floor("1.0.0");
    let old = rig.file().unwrap();
    rig.raise("2.0.0").unwrap();
    let now = String::from_utf8(rig.file().unwrap()).unwrap();
    let other = Rig::with_floor("1.0.0");
    for (file, how) in [
        (
            Some(old.clone()),
            SetBack::Other {
                count: 8,
                counted: 9,
            },
        ),
        (None, SetBack::Gone),
        // Rewritten, with the right number; what a machine without a TPM writes; of another machine.
        (Some(now.replace("2.0.0", "1.0.0").into()), SetBack::Foreign),
        (Some(b"1.0.0\n".to_vec()), SetBack::Foreign),
        (other.file(), SetBack::Foreign),
    ] {
        rig.put(Some(now.as_bytes()));
        rig.put(file.as_deref());
        assert_eq!(rig.set_back(), how);
        let error = rig.believed().unwrap_err();
        assert!(error.to_string().contains("was set back"), "{error}");
        assert!(error.hint().unwrap().contains("--allow-downgrade"));
        assert_eq!(error.kind(), ErrorKind::Refused);
        // The system that was put back with it boots well, and nothing comes of that.
        for version in ["1.0.0", "3.0.0"] {
            let raised = rig.raise(version);
            assert!(matches!(raised, Err(FloorError::SetBack(_))), "{raised:?}");
            assert_eq!(rig.file(), file);
        }
    }
    // A damaged one is no reason to have another.
    rig.put(Some(b"\xff"));
    assert!(matches!(rig.raise("3.0.0"), Err(FloorError::Store(_))));
    assert_eq!(rig.file().unwrap(), b"\xff");
}

#[test]
fn who_asks_for_it_has_a_new_floor_whatever_there_was() {
    let rig = Rig::with_floor("1.0.0");
    let old = rig.file();
    rig.raise("2.0.0").unwrap();
    for file in [old.as_deref(), None, Some(&b"\xff"[..]), Some(b"3.0.0")] {
        for version in [Some("1.5.0"), None] {
            rig.raise("2.0.0").unwrap();
            let before = rig.file();
            rig.put(file);
            rig.lower(version).unwrap();
            assert_eq!(rig.believed().unwrap().as_deref(), version);
            // From now on the one before it is one that was set back, too.
            rig.put(before.as_deref());
            assert!(matches!(rig.set_back(), SetBack::Other { .. }));
            rig.lower(Some("1.0.0")).unwrap();
        }
    }
    // Never up, and not for nothing.
    let rig = Rig::with_floor("2.0.0");
    let now = rig.file();
    rig.lower(None).unwrap();
    rig.lower(Some("3.0.0")).unwrap();
    assert_eq!(rig.file(), now);
}

#[test]
fn without_its_tpm_a_floor_is_not_believed_and_who_asks_for_it_has_one_all_the_same() {
    for fails in [false, true] {
        let rig = Rig::with_floor("2.0.0");
        let now = rig.file();
        let version = Version::parse("3.0.0").unwrap();
        rig.elsewhere(fails, |keeper| {
            let error = keeper.believed().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Refused);
            assert!(error.hint().unwrap().contains("--allow-downgrade"));
        });
        rig.elsewhere(fails, |keeper| raise_to(keeper, &version).unwrap_err());
        assert_eq!(rig.file(), now);
        let lowered = rig.elsewhere(fails, |keeper| lower_to(keeper, Some(&version)));
        assert_eq!(lowered.is_err(), fails);
        assert_eq!(rig.file().unwrap(), b"3.0.0\n");
        let believed = rig.elsewhere(fails, believed);
        assert_eq!(believed.unwrap().as_deref(), Some("3.0.0"));
        // Its TPM, once it is there again, does not know that one.
        assert_eq!(rig.set_back(), SetBack::Foreign);
    }
}

#[test]
fn a_tpm_that_fails_stops_nothing_where_it_never_vouched() {
    let rig = Rig::new();
    let version = Version::parse("2.0.0").unwrap();
    let raised = rig.elsewhere(true, |keeper| raise_to(keeper, &version));
    assert!(matches!(raised, Err(FloorError::Unsealed(_))), "{raised:?}");
    assert_eq!(rig.file().unwrap(), b"2.0.0\n");
    rig.elsewhere(true, |keeper| {
        assert_eq!(keeper.believed().unwrap().as_deref(), Some("2.0.0"));
        assert!(keeper.trouble().is_some());
    });
    // The next good boot with a TPM that works has it vouch.
    rig.raise("2.0.0").unwrap();
    let text = String::from_utf8(rig.file().unwrap()).unwrap();
    assert!(text.starts_with("2.0.0\ncounter 8\nseal "), "{text}");
}

#[test]
fn a_tpm_that_was_cleared_vouches_anew() {
    let rig = Rig::with_floor("2.0.0");
    rig.memory.borrow_mut().held = Held::default();
    assert_eq!(rig.floor(), "2.0.0");
    rig.raise("2.0.0").unwrap();
    assert_eq!(rig.floor(), "2.0.0");
    assert_eq!(rig.memory.borrow().held.count, Some(9));
    // Half of it is as good as nothing.
    rig.memory.borrow_mut().held.count = None;
    assert_eq!(rig.floor(), "2.0.0");
    rig.raise("2.1.0").unwrap();
    assert_eq!(rig.floor(), "2.1.0");
}

#[test]
fn a_store_that_is_made_anew_has_a_floor_in_step() {
    let rig = Rig::with_floor("2.0.0");
    let renew = || {
        rig.act(renew_in).unwrap();
        rig.believed().unwrap()
    };
    // What is in step stays.
    assert_eq!(renew().as_deref(), Some("2.0.0"));
    // So is what was kept, and what is there instead.
    let now = rig.file();
    for version in ["1.0.0", "2.0.0"] {
        let floor = rig.memory.borrow().held.in_step(Some(version));
        rig.put(floor.to_text().as_deref().map(str::as_bytes));
        assert_eq!(renew().as_deref(), Some(version));
    }
    assert_eq!(rig.file(), now);
    // A new system that has not had a good boot.
    for lost in [None, Some(&b"1.0.0\n"[..]), Some(b"\xff")] {
        rig.put(lost);
        assert_eq!(renew(), None);
    }
    rig.raise("1.2.0").unwrap();
    assert_eq!(rig.floor(), "1.2.0");
    // Without a TPM, the floor is kept and none is made up.
    let plain = Rig::new();
    let renew = || {
        plain.elsewhere(false, renew_in).unwrap();
        plain.file()
    };
    assert_eq!(renew(), None);
    let floor = Held::default().in_step(Some("2.0.0"));
    plain.put(floor.to_text().as_deref().map(str::as_bytes));
    assert_eq!(renew().unwrap(), b"2.0.0\n");
}
