//! `cos upgrade`: a new snapshot from an image, committed once it is whole.
//!
//! The order is that of every operation: resolve to a digest, look whether there is anything to do,
//! make sure of the space, hooks, write beside what is there, read back, commit, tidy up. Until the
//! commit the old system is untouched; after it, nothing here can undo it.

mod download;
mod follow;
mod space;

pub use crate::machine::Target;
pub use follow::Wanted;

use crate::OpsError;
use crate::build::payload::step;
use crate::hooks::{HookError, Hooks, RootImage};
use crate::machine::{Access, BootRecord, Machine, MachineError, MountedStore};
use crate::root::convert::{ImageRequest, load_trusted};
use crate::root::snapshot::{Described, boot_config, replace_root, write_snapshot};
use crate::sealed::{Seal, Seals};
use crate::trust::{self, FloorQuestion, Gate, Trusted};
use cos_boot::{BootState, KernelArguments, Tries};
use cos_config::Config;
use cos_events::{Monitor, Task, warn};
use cos_image::Source;
use cos_store::{Action, Draft, ROOT_IMAGE, Snapshot, SnapshotId, Store, verify_snapshot};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// How far to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Say whether there is something new.
    Check,
    /// Write the snapshot, do not commit it.
    Download,
    /// Commit what was downloaded before.
    Apply,
    /// All of it.
    Whole,
}

/// What to upgrade, and to what.
#[derive(Debug, Clone)]
pub struct UpgradeRequest {
    /// What to follow, and whether later upgrades do too.
    pub wanted: Wanted,
    /// How to read the image; its source is found out here.
    pub image: ImageRequest,
    /// Which place.
    pub target: Target,
    /// How far.
    pub extent: Extent,
    /// Whether to deploy what runs already, or what failed before.
    pub force: bool,
    /// Whether the image may be of a lower version than one that was good here.
    pub allow_downgrade: bool,
    /// Where temporary data may be kept: directories of file systems, the one with more room is taken.
    /// The partition itself is always one of them.
    pub scratch: Vec<PathBuf>,
    /// The time, seconds since 1970. It is noted, and decides nothing.
    pub now: i64,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Nothing new.
    UpToDate,
    /// There is something new; nothing was changed.
    Available,
    /// The signatures have expired: what the registry shows may be old. Nothing was changed.
    Stale,
    /// The snapshot waits for `--apply`.
    Staged,
    /// It boots next.
    Committed,
}

/// What came of an upgrade.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeResult {
    /// What came of it.
    pub outcome: Outcome,
    /// Which place.
    pub target: Target,
    /// The image.
    pub source: String,
    /// Digest of its manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The snapshot it is, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotId>,
    /// Until when the signatures speak for the image as the newest, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// Snapshots that were removed to make room.
    pub removed: Vec<String>,
}

/// One upgrade under way.
struct Upgrade<'u> {
    request: &'u UpgradeRequest,
    machine: &'u Machine,
    record: &'u BootRecord,
    config: &'u Config,
    hooks: &'u dyn Hooks,
    monitor: &'u dyn Monitor,
    /// What is known of the place before anything is done.
    before: BootState,
}

/// Upgrades.
pub fn upgrade(
    request: &UpgradeRequest,
    machine: &Machine,
    config: &Config,
    hooks: &dyn Hooks,
    monitor: &dyn Monitor,
) -> Result<UpgradeResult, OpsError> {
    if !machine.is_installed() && request.target == Target::Recovery {
        return Err(OpsError::WrongMode {
            operation: "upgrade the recovery system",
            mode: machine.boot.mode,
        });
    }
    if machine.boot.mode == crate::machine::Mode::Live {
        return Err(OpsError::WrongMode {
            operation: "upgrade",
            mode: machine.boot.mode,
        });
    }
    let _lock = match request.extent {
        Extent::Check => None,
        _ => Some(crate::machine::lock(&machine.places, "upgrade")?),
    };
    let access = match request.extent {
        Extent::Check => Access::Read,
        _ => Access::Write,
    };
    let mounted = open(request.target, machine, access)?;
    let store = mounted.store();
    let record = machine.boot_record(access)?;
    if access == Access::Write && record.complete(store, request.target)? {
        warn(
            monitor,
            "completed a commit that was cut off before".to_owned(),
        );
    }
    let before = record.known(store)?;
    let upgrade = Upgrade {
        record: &record,
        request,
        machine,
        config,
        hooks,
        monitor,
        before,
    };
    upgrade.run(store)
}

fn open(target: Target, machine: &Machine, access: Access) -> Result<MountedStore, MachineError> {
    match target {
        Target::System => machine.state(access),
        Target::Recovery => machine.recovery(access),
    }
}

impl Upgrade<'_> {
    fn run(&self, store: &Store) -> Result<UpgradeResult, OpsError> {
        if self.request.extent == Extent::Apply {
            return self.apply_staged(store);
        }
        let (source, follows) = self.followed()?;
        let image = &self.request.image;
        let trusted = trust::resolve(&source, &image.options, &image.gate, self.monitor)?;
        let digest = trusted.resolved().digest().map(ToString::to_string);
        let expires = trusted.verified().and_then(|it| it.expires.clone());
        let result = |outcome, snapshot| UpgradeResult {
            outcome,
            target: self.request.target,
            source: source.to_string(),
            digest: digest.clone(),
            snapshot,
            expires: expires.clone(),
            removed: Vec::new(),
        };
        if trusted.is_stale() && self.request.extent == Extent::Check {
            return Ok(result(Outcome::Stale, None));
        }
        let trusted = trusted.fresh()?;
        if let Some(id) = self.present(store, digest.as_deref())? {
            return Ok(result(Outcome::UpToDate, Some(id)));
        }
        let name = source.to_string();
        let version = trusted.version().cloned();
        let question = self.question(&name, version.as_ref());
        self.ask_floor(store, &question)?;
        let seals = self.seals(&trusted)?;
        if self.request.extent == Extent::Check {
            return Ok(result(Outcome::Available, None));
        }
        let staged = store.staged();
        if let Some(id) = staged.filter(|id| is_image(store, id, digest.as_deref())) {
            return match self.request.extent {
                Extent::Download => Ok(result(Outcome::Staged, Some(id))),
                _ => self.apply(store, id),
            };
        }
        store.stage(None)?;
        store.collect(&self.before, &[])?;
        let id = self.write(store, &source, follows, (trusted, seals))?;
        if self.request.extent == Extent::Download {
            store.stage(Some(&id))?;
            return Ok(result(Outcome::Staged, Some(id)));
        }
        let removed = self.commit(store, &id, &question)?;
        Ok(UpgradeResult {
            removed,
            ..result(Outcome::Committed, Some(id))
        })
    }

    /// What seals the image. A sealed machine boots nothing else.
    fn seals(&self, image: &Trusted) -> Result<Option<Seals>, OpsError> {
        let request = &self.request.image;
        let (options, gate) = (&request.options, &request.gate);
        if self.machine.boot.sealed {
            Seals::find(image, options, gate, self.monitor).map(Some)
        } else {
            Seals::find_any(image, options, gate, self.monitor)
        }
    }

    fn question<'q>(
        &'q self,
        image: &'q str,
        version: Option<&'q semver::Version>,
    ) -> FloorQuestion<'q> {
        FloorQuestion {
            image,
            version,
            allow_downgrade: self.request.allow_downgrade,
            tpm: &self.machine.places.tpm,
        }
    }

    /// The floor is kept on COS_STATE, and counts for the recovery system too: it is what a machine is
    /// reset to.
    fn ask_floor(&self, store: &Store, question: &FloorQuestion<'_>) -> Result<(), OpsError> {
        match self.request.target {
            Target::System => question.ask(store, self.monitor),
            Target::Recovery => question.ask(&self.machine.own_store(), self.monitor),
        }
    }

    /// The snapshot running in this boot, where it is one of this place.
    fn running(&self) -> Option<&SnapshotId> {
        let own = match self.request.target {
            Target::System => self.machine.is_installed(),
            Target::Recovery => false,
        };
        own.then_some(&self.machine.boot.snapshot)
    }

    fn followed(&self) -> Result<(Source, Option<String>), OpsError> {
        let own = self.machine.own_store();
        let running = own.metadata(&self.machine.boot.snapshot).ok();
        follow::find(
            &self.request.wanted,
            self.config,
            running.as_ref(),
            &self.request.image.options,
            self.monitor,
        )
    }

    /// The active snapshot, if it is of this digest. One that failed is an error: whoever asks again
    /// and again must not be sent around in circles.
    fn present(&self, store: &Store, digest: Option<&str>) -> Result<Option<SnapshotId>, OpsError> {
        if self.request.force || digest.is_none() {
            return Ok(None);
        }
        for id in self.before.snapshots() {
            if !is_image(store, id, digest) {
                continue;
            }
            self.refuse_failed(store, id)?;
            if *id == self.before.active {
                return Ok(Some(id.clone()));
            }
        }
        Ok(None)
    }

    fn refuse_failed(&self, store: &Store, id: &SnapshotId) -> Result<(), OpsError> {
        if self.request.force || !self.before.failed.contains(id) {
            return Ok(());
        }
        let snapshot = store.metadata(id).ok();
        Err(OpsError::FailedBefore {
            id: id.clone(),
            digest: snapshot.and_then(|it| it.digest),
            reason: store.failure(id).map(|failure| failure.reason),
        })
    }

    /// Writes the snapshot and reads it back.
    fn write(
        &self,
        store: &Store,
        source: &Source,
        follows: Option<String>,
        (image, seals): (Trusted, Option<Seals>),
    ) -> Result<SnapshotId, OpsError> {
        let draft = store.draft()?;
        let seal = match seals {
            Some(seals) if self.machine.boot.sealed => {
                seals.fetch_program(draft.directory(), self.machine.boot.encrypted, self.monitor)?
            }
            seals => seals.and_then(Seals::newest),
        };
        hook("before-upgrade", self.hooks.before())?;
        let snapshot = self.fill(&draft, source, follows, image, seal.as_ref())?;
        let id = snapshot.id.clone();
        if self.is_there(store, &snapshot) {
            // The same bytes under another digest: what is there stays, it may be running.
            self.refuse_failed(store, &id)?;
            drop(draft);
        } else {
            draft.finish(&snapshot, &boot_config(&snapshot)?)?;
            self.read_back(store, &id)?;
        }
        hook("after-upgrade", self.hooks.after())?;
        Ok(id)
    }

    /// Whether the snapshot is one of this place already.
    fn is_there(&self, store: &Store, snapshot: &Snapshot) -> bool {
        let id = &snapshot.id;
        self.before.snapshots().any(|it| it == id)
            && store.is_whole(id).is_ok()
            && store
                .metadata(id)
                .is_ok_and(|it| it.program == snapshot.program)
    }

    fn fill(
        &self,
        draft: &Draft,
        source: &Source,
        follows: Option<String>,
        mut trusted: Trusted,
        seal: Option<&Seal>,
    ) -> Result<Snapshot, OpsError> {
        let bytes = trusted.resolved().size();
        let scratch = space::scratch(draft.directory(), &self.request.scratch, bytes)?;
        let mut request = self.request.image.clone();
        request.options.temp_dir.clone_from(&scratch);
        if let Some(seal) = seal {
            request.compression = seal.compression(request.compression);
        }
        let kept = space::kept_blobs(draft.directory(), &scratch, bytes);
        if let Some(kept) = &kept {
            trusted.keep_blobs(kept.clone());
        }
        let loaded = load_trusted(trusted, &request, &scratch, self.monitor);
        if let Some(kept) = kept.filter(|_| !loaded.as_ref().is_err_and(download::is_resumable)) {
            download::forget(&kept, self.monitor);
        }
        let mut loaded = loaded?;
        let boot = loaded.fitted_boot_files(request.compression, &scratch, self.monitor)?;
        let files = boot.kernel.size + boot.initrd.size;
        space::for_snapshot(draft.directory(), loaded.spool.stored(), files)?;
        let described = Described {
            source: source.to_string(),
            follows,
            machine_arguments: match seal {
                Some(seal) if seal.boots() => KernelArguments::default(),
                _ => self.machine_arguments()?,
            },
            action: Action::Upgrade,
            time: self.request.now,
        };
        let mut snapshot = write_snapshot(
            &mut loaded,
            &boot,
            described,
            draft.directory(),
            self.monitor,
        )?;
        drop(loaded);
        let directory = draft.directory();
        if let Some(seal) = seal {
            seal.hold(&mut snapshot, directory, self.monitor)?;
        }
        let mut snapshot = self.after_chroot(snapshot, draft)?;
        if let Some(seal) = seal.filter(|seal| seal.boots()) {
            seal.hold(&mut snapshot, directory, self.monitor)?;
            seal.adopt(&mut snapshot)?;
        }
        Ok(snapshot)
    }

    fn machine_arguments(&self) -> Result<KernelArguments, OpsError> {
        let own = self.machine.own_store();
        let text = own
            .metadata(&self.machine.boot.snapshot)
            .map(|it| it.machine_arguments)
            .unwrap_or_default();
        Ok(KernelArguments::new(&text)?)
    }

    /// What hooks change inside the new root becomes part of it.
    fn after_chroot(&self, mut snapshot: Snapshot, draft: &Draft) -> Result<Snapshot, OpsError> {
        let scratch = draft.directory().join("changes");
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| OpsError::Write { path, source }
        };
        fs_err::create_dir_all(&scratch).map_err(failed(&scratch))?;
        let target = draft.directory().join(ROOT_IMAGE);
        let root = RootImage {
            path: &target,
            root_hash: &snapshot.root_hash,
            hash_offset: snapshot.hash_offset,
            scratch: &scratch,
        };
        if let Some(new) = hook("after-upgrade-chroot", self.hooks.after_chroot(&root))? {
            fs_err::rename(&new.path, &target).map_err(failed(&target))?;
            replace_root(&mut snapshot, &new.verity)?;
        }
        Ok(snapshot)
    }

    fn read_back(&self, store: &Store, id: &SnapshotId) -> Result<Snapshot, OpsError> {
        let task = Task::items(self.monitor, "read the snapshot back", None);
        let snapshot = verify_snapshot(store, id).map_err(|source| OpsError::Damaged {
            id: id.clone(),
            source,
        })?;
        task.finish();
        Ok(snapshot)
    }

    fn apply_staged(&self, store: &Store) -> Result<UpgradeResult, OpsError> {
        let id = store.staged().ok_or(OpsError::NothingStaged)?;
        let unsigned_is_fine = match &self.request.image.gate {
            Gate::Open => true,
            Gate::Guarded(guard) => guard.allow_unsigned,
        };
        let verified = store.metadata(&id).ok().and_then(|it| it.verified);
        if verified.is_none() && !unsigned_is_fine {
            return Err(OpsError::NotVerified { id });
        }
        self.apply(store, id)
    }

    /// Commits a snapshot that was downloaded before and judged then.
    fn apply(&self, store: &Store, id: SnapshotId) -> Result<UpgradeResult, OpsError> {
        let snapshot = self.read_back(store, &id)?;
        let version = snapshot.image_version.as_deref();
        let version = version.and_then(trust::parse_version);
        let question = self.question(&snapshot.source, version.as_ref());
        self.ask_floor(store, &question)?;
        self.refuse_failed(store, &id)?;
        let removed = self.commit(store, &id, &question)?;
        Ok(UpgradeResult {
            expires: snapshot.verified.and_then(|it| it.expires),
            outcome: Outcome::Committed,
            target: self.request.target,
            source: snapshot.source,
            digest: snapshot.digest,
            snapshot: Some(id),
            removed,
        })
    }

    /// Makes the snapshot what boots next. What comes after that can fail without undoing it, and is
    /// told as warnings. Returns what was removed.
    fn commit(
        &self,
        store: &Store,
        id: &SnapshotId,
        question: &FloorQuestion<'_>,
    ) -> Result<Vec<String>, OpsError> {
        self.monitor.checkpoint()?;
        let state = self.next_state(id)?;
        step(self.monitor, "commit", || {
            self.record.commit(store, &state, self.request.target)
        })?;
        let tidied = store
            .stage(None)
            .and_then(|()| store.collect(&state, &[]))
            .and_then(|removed| {
                let known: Vec<SnapshotId> = state.snapshots().cloned().collect();
                store.forget_failures(&known).map(|()| removed)
            });
        let removed = tidied.unwrap_or_else(|error| {
            let error = crate::error::chain(&error);
            warn(
                self.monitor,
                format!("the upgrade is committed; not tidied up: {error}"),
            );
            Vec::new()
        });
        if self.request.target == Target::System
            && let Err(error) = question.lower(store)
        {
            let error = crate::error::chain(&error);
            warn(self.monitor, format!("the upgrade is committed; {error}"));
        }
        if let Err(error) = hook("post-upgrade", self.hooks.post()) {
            let error = crate::error::chain(&error);
            warn(self.monitor, format!("the upgrade is committed; {error}"));
        }
        Ok(removed)
    }

    fn next_state(&self, id: &SnapshotId) -> Result<BootState, OpsError> {
        if self.request.target == Target::Recovery {
            let mut state = BootState::first(id.clone());
            state.generation = self.before.generation + 1;
            return Ok(state);
        }
        let tries = Tries {
            trial: self.config.tries.value,
            good: self.config.good_tries.value,
        };
        let state = self.before.deploy(id, tries)?;
        Ok(state.pruned(self.config.keep.value, self.running()))
    }
}

/// Whether a snapshot was made from the image with this digest.
fn is_image(store: &Store, id: &SnapshotId, digest: Option<&str>) -> bool {
    let made_from = || store.metadata(id).ok().and_then(|it| it.digest);
    digest.is_some() && made_from().as_deref() == digest
}

fn hook<T>(stage: &'static str, ran: Result<T, HookError>) -> Result<T, OpsError> {
    ran.map_err(|source| OpsError::Hook { stage, source })
}
