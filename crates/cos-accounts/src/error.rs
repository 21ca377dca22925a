//! What can go wrong with accounts.

use cos_sys::root_path::RootPathError;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why accounts could not be read or changed. No message holds a password or a hash.
#[derive(Debug, thiserror::Error)]
pub enum AccountsError {
    /// A file could not be read or written.
    #[error("cannot use the user database")]
    File(#[from] RootPathError),
    /// Another program did not let go of the user database in time.
    #[error("the user database is locked by another program ({} for {} s)", .path.display(), .waited.as_secs())]
    Locked {
        /// The lock file, inside the root.
        path: PathBuf,
        /// How long was waited.
        waited: Duration,
    },
    /// The lock could not be taken at all.
    #[error("cannot lock the user database with {}", .path.display())]
    Lock {
        /// The lock file, inside the root.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The line of an account is broken.
    #[error("{}: line {line}: the {field} of {name:?} is no number", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The account.
        name: String,
        /// `uid`, `gid`.
        field: &'static str,
    },
    /// A name that the files cannot hold, or that programs would misread.
    #[error("{name:?} is no {kind} name: {why}")]
    Name {
        /// `user`, `group`.
        kind: &'static str,
        /// The name, its beginning.
        name: String,
        /// What is wrong.
        why: &'static str,
    },
    /// A value that the files cannot hold.
    #[error("{field} of {name:?} {why}")]
    Field {
        /// The account.
        name: String,
        /// The field, as the user calls it.
        field: &'static str,
        /// What is wrong.
        why: &'static str,
    },
    /// No such user.
    #[error("there is no user {name:?}")]
    NoUser {
        /// The name.
        name: String,
    },
    /// No such group.
    #[error("there is no group {name:?}")]
    NoGroup {
        /// The name or number.
        name: String,
    },
    /// The user id is another user's.
    #[error("uid {uid} of {name:?} is already that of {owner:?}")]
    UidTaken {
        /// The id.
        uid: u32,
        /// Who was to have it.
        name: String,
        /// Who has it.
        owner: String,
    },
    /// All ids are in use.
    #[error("no {kind} is free from {first} to {last}")]
    NoFreeId {
        /// `uid`, `gid`.
        kind: &'static str,
        /// Where the range of `login.defs(5)` begins.
        first: u32,
        /// Where it ends.
        last: u32,
    },
    /// A password could not be hashed.
    #[error("cannot hash the password of {name:?}: {why}")]
    Hash {
        /// The account.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// A line is no public key.
    #[error("no SSH public key: {start:?}: {why}")]
    Key {
        /// The line's first 40 characters.
        start: String,
        /// What is wrong.
        why: &'static str,
    },
    /// A file below a home directory is not the user's: writing it would change somebody else's.
    #[error("{} is not used for the keys of {name:?}: {why}", .path.display())]
    Refused {
        /// The path inside the root.
        path: PathBuf,
        /// The user.
        name: String,
        /// What is wrong.
        why: &'static str,
    },
    /// The files to start a home directory with are too many, too large or nested too deep.
    #[error("{} has more than a home directory is started with ({limit})", .path.display())]
    Skeleton {
        /// The directory inside the root.
        path: PathBuf,
        /// Which limit.
        limit: &'static str,
    },
}

impl AccountsError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::File(error) => error.hint(),
            Self::Locked { .. } => Some("see which program edits users, and try again".into()),
            Self::Malformed { path, .. } => Some(format!(
                "repair {}; pwck(8) shows what is wrong",
                path.display()
            )),
            Self::NoFreeId { .. } => Some("widen the range in /etc/login.defs".into()),
            Self::NoGroup { .. } => Some("make the group first".into()),
            Self::UidTaken { .. } => Some("leave the uid out to get one that is free".into()),
            _ => None,
        }
    }
}
