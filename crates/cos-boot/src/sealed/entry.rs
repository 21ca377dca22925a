//! One entry of systemd-boot.

use super::SEALED_PROGRAMS_DIRECTORY;
use crate::SnapshotId;
use crate::grub::menu_title;
use std::fmt;

/// No text of an entry that is read is longer, bytes.
const MAX_TEXT: usize = 4096;
/// Digits of a program's digest in its name: enough to tell programs apart, short in a menu.
const DIGITS: usize = 16;

/// How often an entry may be tried, and was: systemd-boot counts by renaming it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TriesLeft {
    /// Tries left. At 0, the entry comes behind all others.
    pub left: u32,
    /// Tries used up.
    pub done: u32,
}

/// The name of an entry: `cos-RANK-SNAPSHOT.conf`, or `cos-RANK-SNAPSHOT+LEFT-DONE.conf` while its
/// snapshot is on trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedEntry {
    /// The entry with the highest one boots first. 0 is the recovery system's.
    pub rank: u64,
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// Absent once the snapshot had a good boot.
    pub tries: Option<TriesLeft>,
}

/// An entry that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresentEntry {
    /// What its name says.
    pub entry: SealedEntry,
    /// Name of the program in [`SEALED_PROGRAMS_DIRECTORY`]; absent where the entry is torn, which
    /// systemd-boot then leaves out.
    pub program: Option<String>,
}

impl SealedEntry {
    /// Whether it is the recovery system's.
    pub fn is_recovery(&self) -> bool {
        self.rank == 0
    }

    /// Whether it used up its tries.
    pub fn is_exhausted(&self) -> bool {
        self.tries.is_some_and(|tries| tries.left == 0)
    }

    /// What the boot loader calls it: its name without the tries.
    pub fn id(&self) -> String {
        format!("cos-{}-{}.conf", self.rank, self.snapshot)
    }

    /// Reads the name of an entry. `None` if it is none of cOS.
    pub fn parse(name: &str) -> Option<Self> {
        let stem = name.strip_suffix(".conf")?.strip_prefix("cos-")?;
        let (stem, tries) = match stem.split_once('+') {
            Some((stem, tries)) => (stem, Some(TriesLeft::parse(tries)?)),
            None => (stem, None),
        };
        let (rank, snapshot) = stem.split_once('-')?;
        Some(Self {
            rank: rank.parse().ok()?,
            snapshot: snapshot.parse::<SnapshotId>().ok()?,
            tries,
        })
    }
}

impl fmt::Display for SealedEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cos-{}-{}", self.rank, self.snapshot)?;
        if let Some(tries) = self.tries {
            write!(f, "+{}-{}", tries.left, tries.done)?;
        }
        f.write_str(".conf")
    }
}

impl TriesLeft {
    /// All of them left.
    pub fn new(left: u8) -> Self {
        Self {
            left: left.into(),
            done: 0,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (left, done) = text.split_once('-').unwrap_or((text, "0"));
        Some(Self {
            left: left.parse().ok()?,
            done: done.parse().ok()?,
        })
    }
}

/// The name of a program with this SHA-256.
pub fn program_name(digest: &[u8; 32]) -> String {
    format!("{}.efi", hex::encode(&digest[..DIGITS / 2]))
}

/// The text of an entry. The line that makes it one comes last, so that a torn entry is none.
pub fn entry_text(title: &str, program: &str) -> String {
    let title = menu_title(title);
    format!("title {title}\nefi /{SEALED_PROGRAMS_DIRECTORY}/{program}\n")
}

/// The program that the text of an entry names. `None` if it is not whole.
pub fn entry_program(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text.get(..text.len().min(MAX_TEXT))?).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("efi "))?;
    let name = line
        .strip_prefix('/')?
        .strip_prefix(SEALED_PROGRAMS_DIRECTORY)?;
    let name = name.strip_prefix('/')?;
    let stem = name.strip_suffix(".efi")?;
    let is_whole = text.ends_with('\n') && !stem.contains('/');
    is_whole.then(|| name.to_owned())
}
