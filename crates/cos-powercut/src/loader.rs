//! What the boot loader finds on a disk, and whether that boots.

use crate::Part;
use crate::ext4::Ext4;
use crate::working_copy::WorkingCopy;
use anyhow::{Context, Result, ensure};
use cos_boot::{
    ATTEMPT_ENVIRONMENT, Attempts, BOOT_CONFIG, BOOT_ENVIRONMENT, BootState, Choice, Decision,
    INITRD, KERNEL, NEXT_BOOT_ENVIRONMENT, ROOT_IMAGE, SnapshotId, decide,
};
use cos_store::Store;
use cos_testkit::{find_tool, tools};
use std::collections::BTreeMap;
use std::fmt;
use std::process::{Command, Stdio};

/// What must be whole of a snapshot that is to boot.
const FILES: [&str; 4] = [BOOT_CONFIG, KERNEL, INITRD, ROOT_IMAGE];
/// What the boot loader itself reads of a snapshot.
const LOADED: [&str; 3] = [BOOT_CONFIG, KERNEL, INITRD];
/// What a file must begin with, or GRUB takes no variable from it.
const SIGNATURE: &[u8] = b"# GRUB Environment Block\n";

/// What the files of the snapshots are.
#[derive(Debug, Clone, Default)]
pub struct Known {
    snapshots: BTreeMap<SnapshotId, BTreeMap<&'static str, Vec<u8>>>,
    /// Whether others than these are taken as they are.
    others: bool,
}

/// What the boot loader makes of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// What boots by default.
    pub state: BootState,
    /// What it noted about that.
    pub attempts: Attempts,
    /// What it does at the next boot.
    pub decision: Decision,
}

impl View {
    /// What the boot loader sees when it sees these.
    pub fn of(state: &BootState, attempts: &Attempts) -> Self {
        let attempts = attempts.clone().about(state.generation);
        Self {
            decision: decide(state, &attempts, |_| true),
            state: state.clone(),
            attempts,
        }
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named: Vec<&str> = self.state.snapshots().map(SnapshotId::as_str).collect();
        let choice = match &self.decision.choice {
            Choice::Snapshot(id) => id.as_str(),
            Choice::Recovery => "recovery",
        };
        let fallback = if self.decision.fallback {
            ", a fallback"
        } else {
            ""
        };
        write!(
            f,
            "generation {} with {}: {choice} boots{fallback}",
            self.state.generation,
            named.join(" ")
        )
    }
}

impl Known {
    /// Remembers a snapshot as it is now.
    pub fn remember(&mut self, store: &Store, id: &SnapshotId) -> Result<()> {
        let directory = store.directory(id);
        let read = |name| Ok((name, fs_err::read(directory.join(name))?));
        let files = FILES.into_iter().map(read).collect::<Result<_>>()?;
        self.snapshots.insert(id.clone(), files);
        Ok(())
    }

    /// The same, to which snapshots may have been added that were not remembered.
    #[must_use]
    pub(crate) fn any(&self) -> Self {
        Self {
            others: true,
            ..self.clone()
        }
    }

    /// All paths the boot loader may want, from the root of the partition.
    pub fn paths(&self) -> Vec<String> {
        let environments = [BOOT_ENVIRONMENT, NEXT_BOOT_ENVIRONMENT, ATTEMPT_ENVIRONMENT];
        let ids = self.snapshots.keys();
        let files = ids.flat_map(|id| FILES.map(|name| format!("{}/{name}", id.directory())));
        environments
            .map(str::to_owned)
            .into_iter()
            .chain(files)
            .collect()
    }

    /// Whether every file of a snapshot is what was remembered.
    pub(crate) fn check(
        &self,
        id: &SnapshotId,
        read: impl Fn(&str) -> Result<Vec<u8>>,
    ) -> Result<()> {
        let files = self.snapshots.get(id);
        if files.is_none() && self.others {
            return Ok(());
        }
        let files = files.with_context(|| format!("snapshot {id} is none of ours"))?;
        for (name, wanted) in files {
            let found = read(name).with_context(|| format!("snapshot {id}"))?;
            ensure!(found == *wanted, "snapshot {id}: {name} is not whole");
        }
        Ok(())
    }
}

/// Looks at a disk as the boot loader does, without replaying the journal. An error when nothing
/// boots from it, or when what it names to boot or to fall back to is not whole.
pub fn look(disk: &WorkingCopy, part: Part, known: &Known) -> Result<View> {
    let ext4 = Ext4::open(disk.file(), part)?;
    let state = state(&ext4)?;
    let attempts = ext4.read(ATTEMPT_ENVIRONMENT).ok();
    let attempts = attempts.and_then(|bytes| Attempts::from_bytes(&bytes).ok());
    let attempts = attempts.context("attempt.env cannot be read")?;
    let attempts = attempts.about(state.generation);
    let file = |id: &SnapshotId, name: &str| ext4.read(&format!("{}/{name}", id.directory()));
    let loads = |id: &SnapshotId| LOADED.iter().all(|name| file(id, name).is_ok());
    let decision = decide(&state, &attempts, loads);
    // Unless recovery is what is to boot once.
    ensure!(
        decision.choice != Choice::Recovery || !decision.fallback,
        "no snapshot loads: recovery would boot"
    );
    for id in state.snapshots() {
        known.check(id, |name| file(id, name))?;
    }
    Ok(View {
        state,
        attempts,
        decision,
    })
}

fn state(ext4: &Ext4<'_>) -> Result<BootState> {
    let mut bytes = ext4.read(BOOT_ENVIRONMENT);
    // GRUB takes whatever follows the signature, so that must never be something in between.
    if !bytes
        .as_ref()
        .is_ok_and(|bytes| bytes.starts_with(SIGNATURE))
    {
        bytes = ext4.read(NEXT_BOOT_ENVIRONMENT);
    }
    BootState::from_bytes(&bytes?).context("what GRUB takes for the boot state")
}

/// Holds our reader against GRUB's own for one file: both read the same bytes, or both none.
#[expect(
    clippy::disallowed_methods,
    reason = "grub-fstest's failures are answers too"
)]
pub fn grub_reads(disk: &WorkingCopy, part: Part, path: &str) -> Result<()> {
    let tool = find_tool("grub-fstest").with_context(|| tools::missing("grub-fstest"))?;
    let mut command = Command::new(tool);
    command.arg(disk.path()).arg("cat");
    command.arg(format!("(loop0,gpt{})/{path}", part.number));
    let output = command.stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    // It exits with 0 whatever happens.
    let grub = said.is_empty().then_some(output.stdout);
    let ours = Ext4::open(disk.file(), part).and_then(|ext4| ext4.read(path));
    ensure!(
        grub == ours.as_ref().ok().cloned(),
        "{path}: grub-fstest reads {:?} ({}), we {:?} ({ours:?})",
        grub.as_ref().map(Vec::len),
        said.trim(),
        ours.as_ref().map(Vec::len).ok(),
    );
    Ok(())
}
