//! One user, made or changed to be as stated.

use crate::allocate::{free_id, used};
use crate::check::{bad_field, check_field, check_name, check_path};
use crate::database::{Database, id_of};
use crate::error::AccountsError;
use crate::home::{self, Owner};
use crate::members;
use crate::password::{Password, locked, unlocked};
use crate::table::{Kind, group, passwd, shadow};
use rustix::fs::FileType;
use std::path::{Path, PathBuf};

/// The most supplementary groups of one user: `NGROUPS_MAX` of Linux.
const MAX_GROUPS: usize = 65_536;

/// The gid of `users` on Debian, where nothing names the group for users without their own.
const USERS_GID: u32 = 100;

/// A user as yip (`users:`) and cloud-init (`users:`) describe one. What is `None` is not stated: a
/// new user gets the default, an existing one keeps what it has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a key of the documents"
)]
pub struct UserSpec {
    /// The login name.
    pub name: String,
    /// yip `passwd`; cloud-init `passwd`, `hashed_passwd`, `plain_text_passwd`. An empty one is not
    /// stated. A new user without one cannot log in with any.
    pub password: Option<Password>,
    /// `gecos`: the full name, or anything about the user.
    pub gecos: Option<String>,
    /// `homedir`: an absolute path inside the root.
    pub homedir: Option<String>,
    /// `no_create_home`
    pub no_create_home: bool,
    /// `primary_group`: the name or number of a group that is there.
    pub primary_group: Option<String>,
    /// `groups`: supplementary groups to be added to. Those that are not there are warnings.
    pub groups: Vec<String>,
    /// `no_user_group`: instead of a group of the user's own name, a new user gets the one that
    /// `/etc/default/useradd` names, else `users`, else 100.
    pub no_user_group: bool,
    /// `system`: a new user gets a uid for services, and a home directory only if `homedir` is
    /// stated.
    pub system: bool,
    /// `no_log_init`: accepted and without effect, as `lastlog(8)` is not written.
    pub no_log_init: bool,
    /// `shell`: an absolute path, or empty.
    pub shell: Option<String>,
    /// `lock_passwd`: a locked user cannot log in with a password, but with a key. `false` unlocks
    /// a password that is there.
    pub lock_passwd: Option<bool>,
    /// `uid`; one of another user is an error.
    pub uid: Option<u32>,
    /// cloud-init `expiredate`: the day the account closes, `YYYY-MM-DD` or days since 1970
    /// (`shadow(5)`); empty for never.
    pub expiredate: Option<String>,
    /// cloud-init `inactive`: the days that an expired password may still be changed (`shadow(5)`);
    /// negative for no limit.
    pub inactive: Option<i64>,
}

/// What became of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserOutcome {
    /// Whether the user is new.
    pub created: bool,
    /// The user id.
    pub uid: u32,
    /// The id of the primary group.
    pub gid: u32,
    /// The home directory, inside the root.
    pub home: PathBuf,
    /// Whether the home directory is new.
    pub home_created: bool,
    /// What was left out, in words.
    pub warnings: Vec<String>,
}

/// Ids and home, and whether the user's own group is still to be made.
struct Identity {
    uid: u32,
    gid: u32,
    new_group: bool,
    home: String,
}

impl Database<'_> {
    /// Makes the user, or changes it in every field that is stated, and makes its home directory
    /// (of the mode that `HOME_MODE` of `login.defs(5)` says, else 0755, with the files of
    /// `/etc/skel`) where it is missing.
    ///
    /// A new user's uid is the stated one, else that of who owns the home directory that is already
    /// there, if it is free — homes survive where `/etc` does not —, else the next one in the range
    /// of `login.defs(5)`. Unlike yip, and like cloud-init's `users` of new machines, an existing
    /// user gets all that is stated, not only the password. A changed uid changes no owners of
    /// files.
    ///
    /// On an error nothing was changed, but for one about the home directory: the user is there.
    pub fn ensure_user(&mut self, spec: &UserSpec) -> Result<UserOutcome, AccountsError> {
        spec.check()?;
        let name = spec.name.as_str();
        let created = self.passwd.find(name).is_none();
        let identity = if created {
            self.new_identity(spec)?
        } else {
            self.changed_identity(spec)?
        };
        let now = self.password_of(name);
        let password = spec
            .password
            .as_ref()
            .filter(|password| !password.is_empty());
        let hash = password
            .map(|password| password.hashed(name, self.method, unlocked(&now)))
            .transpose()?;
        let expire = spec
            .expiredate
            .as_deref()
            .map(|date| expire_days(name, date));
        let expire = expire.transpose()?;
        // Nothing fails from here to the home directory.
        if created {
            self.add_user(spec, &identity);
        } else {
            self.change_user(spec, &identity);
        }
        let hash = hash.as_ref().map_or(&*now, |hash| hash.expose());
        self.apply_password(spec, hash, created);
        if expire.is_some() || spec.inactive.is_some() {
            self.add_shadow(name, "!", spec.system);
        }
        if let Some(days) = expire {
            self.shadow.set(name, shadow::EXPIRE, &days);
        }
        if let Some(days) = spec.inactive {
            let days = u32::try_from(days).map_or(String::new(), |days| days.to_string());
            self.shadow.set(name, shadow::INACTIVE, &days);
        }
        let mut warnings = self.join_groups(spec);
        let home_created = self.make_home(spec, created, &identity, &mut warnings)?;
        Ok(UserOutcome {
            created,
            uid: identity.uid,
            gid: identity.gid,
            home: identity.home.into(),
            home_created,
            warnings,
        })
    }

    fn new_identity(&self, spec: &UserSpec) -> Result<Identity, AccountsError> {
        let name = spec.name.as_str();
        let base = self.defaults.home.trim_end_matches('/');
        let home = spec
            .homedir
            .clone()
            .unwrap_or_else(|| format!("{base}/{name}"));
        let uids = used(&self.passwd, passwd::UID);
        let gids = used(&self.group, group::GID);
        let owner = self.owner_of(Path::new(&home))?;
        let owner = owner.filter(|owner| spec.uid.is_none() && !uids.contains(&owner.uid));
        let uid = match (spec.uid, owner) {
            (Some(uid), _) => self.free_uid(name, uid)?,
            (None, Some(owner)) => owner.uid,
            (None, None) => {
                let range = self.defaults.range_of_uids(spec.system);
                free_id("uid", &uids, range, spec.system, None)?
            }
        };
        let own = self.group.find(name);
        let (gid, new_group) = match (&spec.primary_group, own) {
            (Some(group), _) => (self.gid_of(group)?, false),
            (None, _) if spec.no_user_group => (self.default_gid(), false),
            (None, Some(row)) => (id_of(Kind::Group, &row, group::GID, "gid")?, false),
            (None, None) => match owner.filter(|owner| !gids.contains(&owner.gid)) {
                Some(owner) => (owner.gid, true),
                None => {
                    let range = self.defaults.range_of_gids(spec.system);
                    (free_id("gid", &gids, range, spec.system, Some(uid))?, true)
                }
            },
        };
        Ok(Identity {
            uid,
            gid,
            new_group,
            home,
        })
    }

    fn changed_identity(&self, spec: &UserSpec) -> Result<Identity, AccountsError> {
        let no_user = || AccountsError::NoUser {
            name: spec.name.clone(),
        };
        let row = self.passwd.find(&spec.name).ok_or_else(no_user)?;
        let uid = match spec.uid {
            Some(uid) => self.free_uid(&spec.name, uid)?,
            None => id_of(Kind::Passwd, &row, passwd::UID, "uid")?,
        };
        let gid = match &spec.primary_group {
            Some(group) => self.gid_of(group)?,
            None => id_of(Kind::Passwd, &row, passwd::GID, "gid")?,
        };
        let home = spec.homedir.clone();
        Ok(Identity {
            uid,
            gid,
            new_group: false,
            home: home.unwrap_or_else(|| row.text(passwd::HOME)),
        })
    }

    /// Who owns a home directory that is there, unless it is root: then nobody has lived in it.
    fn owner_of(&self, home: &Path) -> Result<Option<Owner>, AccountsError> {
        let status = self.root.status(home)?;
        let lived_in = status
            .filter(|status| status.kind == FileType::Directory && status.owner != 0)
            .map(|status| Owner {
                uid: status.owner,
                gid: status.group,
            });
        Ok(lived_in)
    }

    /// `uid`, if no other user has it.
    fn free_uid(&self, name: &str, uid: u32) -> Result<u32, AccountsError> {
        let mut rows = self.passwd.rows();
        let other =
            rows.find(|row| row.id(passwd::UID) == Some(uid) && row.name() != name.as_bytes());
        match other {
            None => Ok(uid),
            Some(row) => Err(AccountsError::UidTaken {
                uid,
                name: name.to_owned(),
                owner: row.text(0),
            }),
        }
    }

    pub(crate) fn default_gid(&self) -> u32 {
        let named = self.defaults.group.as_deref();
        named
            .and_then(|group| self.gid_of(group).ok())
            .or_else(|| self.gid_of("users").ok())
            .unwrap_or(USERS_GID)
    }

    fn add_user(&mut self, spec: &UserSpec, identity: &Identity) {
        let name = spec.name.as_str();
        if identity.new_group {
            self.add_group(name, identity.gid);
        }
        // A line of that name without a user is from somebody else.
        self.shadow.remove(name);
        self.add_shadow(name, "!", spec.system);
        let shell = spec.shell.as_deref().unwrap_or(&self.defaults.shell);
        self.passwd.append(&[
            name,
            "x",
            &identity.uid.to_string(),
            &identity.gid.to_string(),
            spec.gecos.as_deref().unwrap_or_default(),
            &identity.home,
            shell,
        ]);
    }

    fn change_user(&mut self, spec: &UserSpec, identity: &Identity) {
        let (uid, gid) = (identity.uid.to_string(), identity.gid.to_string());
        let stated = [
            (passwd::UID, spec.uid.map(|_| uid.as_str())),
            (
                passwd::GID,
                spec.primary_group.as_ref().map(|_| gid.as_str()),
            ),
            (passwd::GECOS, spec.gecos.as_deref()),
            (passwd::HOME, spec.homedir.as_deref()),
            (passwd::SHELL, spec.shell.as_deref()),
        ];
        for (column, value) in stated {
            if let Some(value) = value {
                self.passwd.set(&spec.name, column, value);
            }
        }
    }

    fn apply_password(&mut self, spec: &UserSpec, hash: &str, created: bool) {
        let stated = spec
            .password
            .as_ref()
            .is_some_and(|password| !password.is_empty());
        // A line left over from another user of that name says nothing about this one.
        let hash = if created && !stated { "!" } else { hash };
        let hash = match spec.lock_passwd {
            Some(true) => locked(hash),
            Some(false) => unlocked(hash).to_owned(),
            None if stated || created => hash.to_owned(),
            None => return,
        };
        // Where there was no password, unlocking must not make the empty one of it.
        if !hash.is_empty() {
            self.store_hash(&spec.name, &hash);
        }
    }

    /// Adds the user to its groups; returns which are not there.
    fn join_groups(&mut self, spec: &UserSpec) -> Vec<String> {
        let mut warnings = Vec::new();
        for name in &spec.groups {
            let Some(row) = self.group.find(name) else {
                warnings.push(format!(
                    "there is no group {name:?} for user {:?}",
                    spec.name
                ));
                continue;
            };
            if !members::contains(&row, group::MEMBERS, &spec.name) {
                self.add_members(name, &[&spec.name]);
            }
        }
        warnings
    }

    /// A user that is there already gets a missing home only when it is stated or for people:
    /// `/nonexistent` is to stay what it is.
    fn make_home(
        &self,
        spec: &UserSpec,
        created: bool,
        identity: &Identity,
        warnings: &mut Vec<String>,
    ) -> Result<bool, AccountsError> {
        let person = self.defaults.uids.contains(identity.uid);
        let wanted = spec.homedir.is_some() || (!spec.system && (created || person));
        if spec.no_create_home || !wanted || !identity.home.starts_with('/') {
            return Ok(false);
        }
        let home = Path::new(&identity.home);
        let owner = Owner {
            uid: identity.uid,
            gid: identity.gid,
        };
        let skeleton = Path::new(&self.defaults.skeleton);
        let mode = self.defaults.home_mode;
        if home::make(self.root, home, skeleton, owner, mode, warnings)? {
            return Ok(true);
        }
        let status = self.root.status(home)?;
        if status.is_none_or(|status| status.owner != identity.uid) {
            warnings.push(format!(
                "{} was there before and does not belong to user {:?}",
                identity.home, spec.name
            ));
        }
        Ok(false)
    }
}

impl UserSpec {
    fn check(&self) -> Result<(), AccountsError> {
        let name = self.name.as_str();
        check_name("user", name)?;
        if let Some(gecos) = &self.gecos {
            check_field(name, "gecos", gecos)?;
        }
        if let Some(homedir) = &self.homedir {
            check_path(name, "homedir", homedir, false)?;
        }
        if let Some(shell) = &self.shell {
            check_path(name, "shell", shell, true)?;
        }
        if self.uid == Some(u32::MAX) {
            return Err(bad_field(name, "uid", "must be below 4294967295"));
        }
        if self.groups.len() > MAX_GROUPS {
            return Err(bad_field(name, "groups", "has more than 65536 names"));
        }
        self.groups
            .iter()
            .try_for_each(|group| check_name("group", group))
    }
}

/// Days since 1970 of a date, for `shadow(5)`.
fn expire_days(name: &str, date: &str) -> Result<String, AccountsError> {
    if date.is_empty() || date.bytes().all(|byte| byte.is_ascii_digit()) {
        check_field(name, "expiredate", date)?;
        return Ok(date.to_owned());
    }
    let days = parse_date(date);
    let bad = || {
        bad_field(
            name,
            "expiredate",
            "must be a date, YYYY-MM-DD, from 1970 on",
        )
    };
    days.map(|days| days.to_string()).ok_or_else(bad)
}

fn parse_date(date: &str) -> Option<i64> {
    let mut parts = date.splitn(3, '-').map(str::parse::<i64>);
    let (year, month, day) = (
        parts.next()?.ok()?,
        parts.next()?.ok()?,
        parts.next()?.ok()?,
    );
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=longest).contains(&day)
    {
        return None;
    }
    // A year that begins in March ends with the leap day.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days_before = year * 365 + year / 4 - year / 100 + year / 400;
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    // 719468 days lie between 0000-03-01 and 1970-01-01.
    Some(days_before + day_of_year - 719_468)
}

#[cfg(test)]
mod tests;
