//! The four files of a root, edited together under their lock.

use crate::check::check_name;
use crate::defaults::Defaults;
use crate::error::AccountsError;
use crate::lock::Lock;
use crate::members;
use crate::password::{HashMethod, Password};
use crate::table::{Kind, Row, Table, group, gshadow, passwd, shadow};
use cos_sys::root_file::Metadata;
use cos_sys::root_path::Root;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// The most that is read of one file, in bytes: room for 200 000 users. Of nothing but line breaks,
/// that many lines take 400 MiB of memory.
pub(crate) const MAX_FILE: u64 = 16 << 20;

const SECONDS_PER_DAY: u64 = 24 * 60 * 60;

/// The user database of a root: `passwd(5)`, `shadow(5)`, `group(5)`, `gshadow(5)`.
///
/// It is locked, against `useradd(8)`, `passwd(1)` and systemd too, as long as this lives. Edits are
/// made in memory; [`Database::save`] writes them, and dropping it without throws them away.
///
/// Open one at a time in a process. A second one waits for the first, but when it gives up, the
/// first one's lock does not hold against other programs any more: so are `fcntl(2)` locks.
#[derive(Debug)]
pub struct Database<'a> {
    pub(crate) root: &'a Root,
    pub(crate) passwd: Table,
    pub(crate) shadow: Table,
    pub(crate) group: Table,
    pub(crate) gshadow: Table,
    pub(crate) defaults: Defaults,
    pub(crate) method: HashMethod,
    /// Today in days since 1970, as `shadow(5)` counts; empty when the clock was never set.
    pub(crate) today: String,
    _lock: Lock,
}

impl<'a> Database<'a> {
    /// Locks and reads the user database of `root`. Waits at most 15 s for the lock, as
    /// `lckpwdf(3)` does. A file that is missing is empty, and made when something is to be in it.
    pub fn open(root: &'a Root) -> Result<Self, AccountsError> {
        let lock = Lock::take(root)?;
        let defaults = Defaults::read(root)?;
        let table = |kind: Kind| read_table(root, kind, Path::new(kind.path()));
        Ok(Self {
            passwd: table(Kind::Passwd)?,
            shadow: table(Kind::Shadow)?,
            group: table(Kind::Group)?,
            gshadow: table(Kind::Gshadow)?,
            method: HashMethod::of_root(root, &defaults)?,
            defaults,
            root,
            today: today(),
            _lock: lock,
        })
    }

    /// Writes the files that changed, each whole or not at all.
    ///
    /// What `passwd` and `group` refer to is written before them, and what they referred to goes
    /// after them: a power cut never leaves a user whose password is in a line that is not there.
    pub fn save(&mut self) -> Result<(), AccountsError> {
        let secret = self.metadata_of_secrets();
        save_pair(self.root, &mut self.gshadow, &mut self.group, &secret)?;
        save_pair(self.root, &mut self.shadow, &mut self.passwd, &secret)
    }

    /// Whether there is anything to save.
    pub fn changed(&self) -> bool {
        [&self.passwd, &self.shadow, &self.group, &self.gshadow]
            .iter()
            .any(|table| table.changed())
    }

    /// A new `shadow` or `gshadow` is for the group `shadow`, where there is one, as on Debian.
    fn metadata_of_secrets(&self) -> Metadata {
        let readers = self.group.find("shadow").and_then(|row| row.id(group::GID));
        Metadata {
            mode: Some(if readers.is_some() { 0o640 } else { 0o600 }),
            owner: None,
            group: readers,
        }
    }

    /// Gives a user a password, as `chpasswd(8)` does. With `expire` it must be changed at the next
    /// login (cloud-init's `chpasswd: {expire: true}`); else it counts as changed today. Password
    /// aging is kept. The same password again changes nothing but `expire`.
    pub fn set_password(
        &mut self,
        user: &str,
        password: &Password,
        expire: bool,
    ) -> Result<(), AccountsError> {
        check_name("user", user)?;
        if self.passwd.find(user).is_none() {
            return Err(AccountsError::NoUser { name: user.into() });
        }
        let now = self.password_of(user);
        let hash = password.hashed(user, self.method, &now)?;
        self.store_hash(user, hash.expose());
        if expire {
            self.shadow.set(user, shadow::CHANGED, "0");
        }
        Ok(())
    }

    /// The hash of a user, wherever it is; empty when there is none.
    pub(crate) fn password_of(&self, user: &str) -> String {
        let public = self.passwd.find(user).map(|row| row.text(passwd::PASSWORD));
        match public {
            Some(hash) if hash != "x" => hash,
            _ => {
                let row = self.shadow.find(user);
                row.map_or(String::new(), |row| row.text(shadow::PASSWORD))
            }
        }
    }

    /// Puts a hash into `shadow`, and an `x` into `passwd`.
    pub(crate) fn store_hash(&mut self, user: &str, hash: &str) {
        let same = self.password_of(user) == hash;
        self.add_shadow(user, hash, false);
        self.shadow.set(user, shadow::PASSWORD, hash);
        self.passwd.set(user, passwd::PASSWORD, "x");
        if !same {
            let today = self.today.clone();
            self.shadow.set(user, shadow::CHANGED, &today);
        }
    }

    /// Adds the line of a new user, as `useradd(8)` writes it, unless there is one.
    pub(crate) fn add_shadow(&mut self, user: &str, hash: &str, system: bool) {
        if self.shadow.find(user).is_some() {
            return;
        }
        // Passwords of services do not age.
        let none = [String::new(), String::new(), String::new()];
        let [minimum, maximum, warn] = if system { &none } else { &self.defaults.ages };
        self.shadow.append(&[
            user,
            hash,
            &self.today,
            minimum,
            maximum,
            warn,
            &self.defaults.inactive,
            &self.defaults.expire,
            "",
        ]);
    }

    /// Adds a group without members, to `gshadow` too.
    pub(crate) fn add_group(&mut self, name: &str, gid: u32) {
        self.group.append(&[name, "x", &gid.to_string(), ""]);
        if self.gshadow.find(name).is_none() {
            self.gshadow.append(&[name, "!", "", ""]);
        }
    }

    /// Adds users to a group, in `gshadow` too where the group is there.
    pub(crate) fn add_members(&mut self, name: &str, users: &[&str]) {
        members::add(&mut self.group, name, group::MEMBERS, users);
        members::add(&mut self.gshadow, name, gshadow::MEMBERS, users);
    }

    /// The gid of a group that is said by name or by number.
    pub(crate) fn gid_of(&self, group: &str) -> Result<u32, AccountsError> {
        let no_group = || AccountsError::NoGroup { name: group.into() };
        if let Some(row) = self.group.find(group) {
            return id_of(Kind::Group, &row, group::GID, "gid");
        }
        let gid: u32 = group.parse().map_err(|_| no_group())?;
        let mut all = self.group.rows();
        let known = all.any(|row| row.id(group::GID) == Some(gid));
        known.then_some(gid).ok_or_else(no_group)
    }
}

/// An id of a line that must have one.
pub(crate) fn id_of(
    kind: Kind,
    row: &Row<'_>,
    column: usize,
    field: &'static str,
) -> Result<u32, AccountsError> {
    row.id(column).ok_or_else(|| AccountsError::Malformed {
        path: kind.path().into(),
        line: row.line,
        name: row.text(0),
        field,
    })
}

pub(crate) fn read_table(root: &Root, kind: Kind, path: &Path) -> Result<Table, AccountsError> {
    let bytes = root.read(path, MAX_FILE)?.unwrap_or_default();
    Ok(Table::parse(kind, &bytes))
}

/// Writes a file of secrets and the one that refers to it.
fn save_pair(
    root: &Root,
    secrets: &mut Table,
    public: &mut Table,
    secret: &Metadata,
) -> Result<(), AccountsError> {
    let later = secrets.has_removed() && public.changed();
    if later {
        write(root, secrets, &secrets.bytes_with_removed(), secret)?;
    } else if secrets.changed() {
        write(root, secrets, &secrets.bytes(), secret)?;
        secrets.written();
    }
    if public.changed() {
        write(root, public, &public.bytes(), &Metadata::default())?;
        public.written();
    }
    if later {
        write(root, secrets, &secrets.bytes(), secret)?;
        secrets.written();
    }
    Ok(())
}

/// Writes one file; `new` is for one that is not there, an existing one keeps mode and owner.
fn write(root: &Root, table: &Table, bytes: &[u8], new: &Metadata) -> Result<(), AccountsError> {
    let path = Path::new(table.kind().path());
    let metadata = if root.exists(path) {
        Metadata::default()
    } else {
        *new
    };
    Ok(root.write(path, bytes, &metadata)?)
}

fn today() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    match since.map_or(0, |since| since.as_secs() / SECONDS_PER_DAY) {
        // A clock that was never set: 0 would mean "must change the password" (shadow(5)).
        0 => String::new(),
        days => days.to_string(),
    }
}

#[cfg(test)]
mod tests;
