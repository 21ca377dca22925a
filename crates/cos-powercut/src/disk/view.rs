//! What a whole disk is after a cut, as firmware, GRUB and the installer see it.

use crate::Part;
use crate::disk::loop_disk::parts_of;
use crate::ext4::Ext4;
use crate::loader::{Known, View, look};
use crate::table::{by_grub, by_linux};
use crate::working_copy::WorkingCopy;
use anyhow::{Context, Result, bail, ensure};
use cos_boot::{
    Attempts, BOOT_ENVIRONMENT, BootState, EnvironmentBlock, INITRD, KERNEL, NEXT_BOOT_ENVIRONMENT,
    SnapshotId,
};
use cos_disk::live::{Survey, WholeContent};
use cos_ops::build::sizes::Role;
use fs_err::File;
use fs_err::os::unix::fs::FileExt;
use std::fmt;
use std::ops::Range;
use std::path::Path;

/// Boot code in the first sector.
const BOOT_CODE: usize = 440;

/// What is on a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskView {
    /// Nothing at all.
    Blank,
    /// Nothing that boots, and the installer knows that.
    Unfinished,
    /// A system.
    Deployed {
        /// What COS_STATE boots; why it boots nothing.
        state: Result<Box<View>, Absent>,
        /// The snapshot of COS_RECOVERY; why there is none.
        recovery: Result<SnapshotId, Absent>,
    },
}

/// Why something is not there. All such reasons are alike.
#[derive(Debug, Clone)]
pub struct Absent(pub String);

impl PartialEq for Absent {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Absent {}

impl fmt::Display for DiskView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank => f.write_str("a blank disk"),
            Self::Unfinished => f.write_str("an unfinished disk"),
            Self::Deployed { state, recovery } => {
                match state {
                    Ok(view) => write!(f, "COS_STATE of {view}")?,
                    Err(absent) => write!(f, "nothing boots from COS_STATE ({})", absent.0)?,
                }
                match recovery {
                    Ok(id) => write!(f, "; COS_RECOVERY with {id}"),
                    Err(absent) => write!(f, "; no recovery ({})", absent.0),
                }
            }
        }
    }
}

impl DiskView {
    /// The system that is seen.
    pub fn state(&self) -> Option<&View> {
        match self {
            Self::Deployed {
                state: Ok(view), ..
            } => Some(view),
            _ => None,
        }
    }

    /// The same disk with nothing on COS_STATE: only recovery boots.
    #[must_use]
    pub fn without_state(&self) -> Self {
        match self {
            Self::Deployed { recovery, .. } => Self::Deployed {
                state: Err(Absent(String::new())),
                recovery: recovery.clone(),
            },
            other => other.clone(),
        }
    }
}

impl DiskView {
    /// The same disk with another boot state on COS_STATE, and no attempts noted.
    #[must_use]
    pub fn with_state(&self, state: impl FnOnce(&View) -> BootState) -> Self {
        self.with_view(|view| View::of(&state(view), &Attempts::default()))
    }

    /// The same disk with another one's recovery system.
    #[must_use]
    pub fn with_recovery_of(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Deployed { state, .. }, Self::Deployed { recovery, .. }) => Self::Deployed {
                state: state.clone(),
                recovery: recovery.clone(),
            },
            _ => self.clone(),
        }
    }

    /// The same disk with something else seen on COS_STATE.
    #[must_use]
    pub fn with_view(&self, change: impl FnOnce(&View) -> View) -> Self {
        match self {
            Self::Deployed {
                state: Ok(view),
                recovery,
            } => Self::Deployed {
                state: Ok(Box::new(change(view))),
                recovery: recovery.clone(),
            },
            other => other.clone(),
        }
    }
}

/// What must be on a disk wherever something boots from it.
#[derive(Debug, Clone, Default)]
pub struct DiskKnown {
    /// The snapshots of COS_STATE.
    pub state: Known,
    /// Those of COS_RECOVERY.
    pub recovery: Known,
    /// The partitions; the last one may be shorter.
    pub parts: Vec<Part>,
    /// Boot sector, GRUB's core image and the EFI system partition, of each installation: where, and
    /// which bytes.
    loaders: Vec<Vec<(Range<u64>, Vec<u8>)>>,
}

impl DiskKnown {
    /// Remembers table and boot loader of a disk.
    pub fn remember_disk(&mut self, disk: &Path) -> Result<()> {
        self.parts = parts_of(disk)?;
        let file = File::open(disk)?;
        let mut loader = Vec::new();
        let (bios, efi) = (self.part(Role::Bios)?, self.part(Role::Efi)?);
        for (at, length) in [
            (0, BOOT_CODE as u64),
            (bios.offset, bios.size),
            (efi.offset, efi.size),
        ] {
            let mut bytes = vec![0; length as usize];
            file.read_exact_at(&mut bytes, at)?;
            loader.push((at..at + length, bytes));
        }
        self.loaders.push(loader);
        Ok(())
    }

    /// The partition for something.
    pub fn part(&self, role: Role) -> Result<Part> {
        let mut parts = self.parts.iter();
        let found = parts.find(|part| part.number == role.number());
        found
            .copied()
            .with_context(|| format!("no partition {}", role.name()))
    }

    fn check_table(&self, disk: &File) -> Result<()> {
        for (who, found) in [
            ("GRUB", by_grub(disk)?),
            // The initrd makes the kernel take the backup (`cos_sys::gpt::reveal_partitions`).
            ("Linux", by_linux(disk, true)?),
        ] {
            let same = |(found, known): (&Part, &Part)| {
                let grows = known.number == Role::Persistent.number();
                found.number == known.number
                    && found.offset == known.offset
                    && (found.size == known.size || grows)
            };
            let all = found.len() == self.parts.len();
            ensure!(
                all && found.iter().zip(&self.parts).all(same),
                "{who} finds other partitions: {found:?}"
            );
        }
        Ok(())
    }

    fn check_loader(&self, disk: &File) -> Result<()> {
        let is_there = |(range, wanted): &(Range<u64>, Vec<u8>)| -> Result<bool> {
            let mut bytes = vec![0; wanted.len()];
            disk.read_exact_at(&mut bytes, range.start)?;
            Ok(bytes == *wanted)
        };
        for loader in &self.loaders {
            let whole: Result<Vec<bool>> = loader.iter().map(is_there).collect();
            if whole?.into_iter().all(|whole| whole) {
                return Ok(());
            }
        }
        bail!("the boot loader is not whole")
    }

    /// Whether writes to `range` concern the boot loader.
    pub fn is_loader(&self, range: &Range<u64>) -> bool {
        let mut loader = self.loaders.iter().flatten().map(|(range, _)| range);
        loader.any(|it| it.start < range.end && range.start < it.end)
    }
}

/// Looks at a disk. `loader_touched`: whether the boot loader may have changed at all. An error when
/// something is there that is not known as unfinished, and does not boot.
pub fn look_at(disk: &WorkingCopy, known: &DiskKnown, loader_touched: bool) -> Result<DiskView> {
    match Survey::of(disk.path())?.content {
        WholeContent::Nothing => return Ok(DiskView::Blank),
        WholeContent::Unfinished => return Ok(DiskView::Unfinished),
        WholeContent::Other(what) => bail!("the installer finds {what}"),
        WholeContent::Partitions(_) => {}
    }
    known.check_table(disk.file())?;
    if loader_touched {
        known.check_loader(disk.file())?;
    }
    let absent = |error: anyhow::Error| Absent(format!("{error:#}"));
    let state = look(disk, known.part(Role::State)?, &known.state)
        .map(Box::new)
        .map_err(absent);
    let recovery = recovery(disk, known).map_err(absent);
    ensure!(
        state.is_ok() || recovery.is_ok(),
        "nothing boots: {state:?}, {recovery:?}"
    );
    Ok(DiskView::Deployed { state, recovery })
}

/// The snapshot that GRUB boots for recovery, if it is whole.
fn recovery(disk: &WorkingCopy, known: &DiskKnown) -> Result<SnapshotId> {
    let ext4 = Ext4::open(disk.file(), known.part(Role::Recovery)?)?;
    let active = |name| -> Result<SnapshotId> {
        let block = EnvironmentBlock::from_bytes(&ext4.read(name)?)?;
        let active = block.get("cos_active").context("names nothing")?;
        Ok(active.parse()?)
    };
    let id = active(BOOT_ENVIRONMENT).or_else(|_| active(NEXT_BOOT_ENVIRONMENT))?;
    let file = |name: &str| ext4.read(&format!("{}/{name}", id.directory()));
    for name in [KERNEL, INITRD] {
        file(name)?;
    }
    known.recovery.check(&id, file)?;
    Ok(id)
}
