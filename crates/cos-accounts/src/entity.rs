//! Lines of the four files, each described by a document.
//!
//! The format is that of mudler/entities, which yip's `ensure_entities` and `delete_entities` take.

use crate::allocate::{free_id, used};
use crate::check::{bad_field, check_field, check_name};
use crate::database::{Database, read_table};
use crate::error::AccountsError;
use crate::members;
use crate::password::Password;
use crate::secret::Secret;
use crate::table::{Kind, Table, group, gshadow, passwd, shadow};
use cos_sys::root_file::Metadata;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::path::Path;

/// An entity document; `kind` says which. Keys that are not known are ignored, as yip does.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Entity {
    /// A line of `passwd(5)`.
    User(UserEntity),
    /// A line of `shadow(5)`.
    Shadow(ShadowEntity),
    /// A line of `group(5)`.
    Group(GroupEntity),
    /// A line of `gshadow(5)`.
    Gshadow(GshadowEntity),
}

/// `kind: user`. What is not stated is kept; in a new line it is as noted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct UserEntity {
    /// The login name.
    pub username: String,
    /// New: `x`. A password or hash goes to `shadow`, where no user can read it.
    #[serde(default)]
    pub password: Option<Secret>,
    /// A number, also as text; -1 or empty is "not stated". New: the next that is free.
    #[serde(default, deserialize_with = "id")]
    pub uid: Option<u32>,
    /// Likewise. New: that of `group`, else of the group of the user's name, else `users` or 100.
    #[serde(default, deserialize_with = "id")]
    pub gid: Option<u32>,
    /// The name of the primary group; `gid` wins.
    #[serde(default)]
    pub group: Option<String>,
    /// The GECOS field.
    #[serde(default)]
    pub info: Option<String>,
    /// The home directory; it is not made.
    #[serde(default)]
    pub homedir: Option<String>,
    /// The login shell.
    #[serde(default)]
    pub shell: Option<String>,
}

/// `kind: shadow`. What is not stated is kept; in a new line it is empty, the password `!`.
/// Numbers may be text; -1 is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct ShadowEntity {
    /// The login name.
    pub username: String,
    /// A hash of `crypt(5)`, or a password to be hashed.
    #[serde(default)]
    pub password: Option<Secret>,
    /// Days since 1970, or `now`.
    #[serde(default, deserialize_with = "text")]
    pub last_changed: Option<String>,
    /// Days until the password may be changed.
    #[serde(default, deserialize_with = "text")]
    pub minimum_changed: Option<String>,
    /// Days until it must be changed.
    #[serde(default, deserialize_with = "text")]
    pub maximum_changed: Option<String>,
    /// Days before that the user is warned.
    #[serde(default, deserialize_with = "text")]
    pub warn: Option<String>,
    /// Days after it that the password still works.
    #[serde(default, deserialize_with = "text")]
    pub inactive: Option<String>,
    /// Days since 1970 when the account closes.
    #[serde(default, deserialize_with = "text")]
    pub expire: Option<String>,
}

/// `kind: group`. What is not stated is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct GroupEntity {
    /// The group's name.
    pub group_name: String,
    /// New: `x`.
    #[serde(default)]
    pub password: Option<Secret>,
    /// A number, also as text; -1 or empty is "not stated". New: the next that is free.
    #[serde(default, deserialize_with = "id")]
    pub gid: Option<u32>,
    /// Users, parted by commas. They are added to those that are there, as mudler/entities does.
    #[serde(default)]
    pub users: Option<String>,
}

/// `kind: gshadow`. What is not stated is kept; in a new line it is empty, the password `!`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct GshadowEntity {
    /// The group's name.
    pub name: String,
    /// A hash of `crypt(5)`, or a password to be hashed.
    #[serde(default)]
    pub password: Option<Secret>,
    /// Users who may change the group, parted by commas.
    #[serde(default)]
    pub administrators: Option<String>,
    /// Users in the group, parted by commas.
    #[serde(default)]
    pub members: Option<String>,
}

impl Entity {
    fn kind(&self) -> Kind {
        match self {
            Self::User(_) => Kind::Passwd,
            Self::Shadow(_) => Kind::Shadow,
            Self::Group(_) => Kind::Group,
            Self::Gshadow(_) => Kind::Gshadow,
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::User(user) => &user.username,
            Self::Shadow(shadow) => &shadow.username,
            Self::Group(group) => &group.group_name,
            Self::Gshadow(gshadow) => &gshadow.name,
        }
    }

    fn check_name(&self) -> Result<(), AccountsError> {
        let kind = match self {
            Self::User(_) | Self::Shadow(_) => "user",
            Self::Group(_) | Self::Gshadow(_) => "group",
        };
        check_name(kind, self.name())
    }
}

impl Database<'_> {
    /// Makes an entity's line, or changes the fields of it that are stated (yip's
    /// `ensure_entities`). With `path` that file is changed, and written at once, instead of the
    /// usual one of the kind. In the usual files, a new user gets a locked `shadow` line too, and
    /// what is done to a group's members is done in `gshadow` too.
    pub fn ensure_entity(
        &mut self,
        entity: &Entity,
        path: Option<&Path>,
    ) -> Result<(), AccountsError> {
        entity.check_name()?;
        match path.filter(|path| *path != Path::new(entity.kind().path())) {
            None => self.ensure_line(entity, true),
            Some(path) => {
                self.in_other_file(entity, path, |database| database.ensure_line(entity, false))
            }
        }
    }

    /// Removes an entity's line, whatever its fields say (yip's `delete_entities`), and says
    /// whether there was one. Lines of other kinds stay. With `path` as in
    /// [`Database::ensure_entity`].
    pub fn delete_entity(
        &mut self,
        entity: &Entity,
        path: Option<&Path>,
    ) -> Result<bool, AccountsError> {
        entity.check_name()?;
        let kind = entity.kind();
        match path.filter(|path| *path != Path::new(kind.path())) {
            None => Ok(self.table(kind).remove(entity.name())),
            Some(path) => self.in_other_file(entity, path, |database| {
                Ok(database.table(kind).remove(entity.name()))
            }),
        }
    }

    fn table(&mut self, kind: Kind) -> &mut Table {
        match kind {
            Kind::Passwd => &mut self.passwd,
            Kind::Shadow => &mut self.shadow,
            Kind::Group => &mut self.group,
            Kind::Gshadow => &mut self.gshadow,
        }
    }

    /// Runs `edit` with another file in place of the usual one.
    fn in_other_file<T>(
        &mut self,
        entity: &Entity,
        path: &Path,
        edit: impl FnOnce(&mut Self) -> Result<T, AccountsError>,
    ) -> Result<T, AccountsError> {
        let kind = entity.kind();
        let other = read_table(self.root, kind, path)?;
        let usual = std::mem::replace(self.table(kind), other);
        let edited = edit(self);
        let other = std::mem::replace(self.table(kind), usual);
        let result = edited?;
        if other.changed() {
            let mode = match kind {
                Kind::Passwd | Kind::Group => 0o644,
                Kind::Shadow | Kind::Gshadow => 0o600,
            };
            let metadata = Metadata {
                mode: (!self.root.exists(path)).then_some(mode),
                ..Metadata::default()
            };
            self.root.write(path, &other.bytes(), &metadata)?;
        }
        Ok(result)
    }

    /// `usual`: the other three files are those that belong to this one.
    fn ensure_line(&mut self, entity: &Entity, usual: bool) -> Result<(), AccountsError> {
        match entity {
            Entity::User(user) => self.ensure_passwd(user, usual),
            Entity::Shadow(shadow) => self.ensure_shadow(shadow),
            Entity::Group(group) => self.ensure_group(group, usual),
            Entity::Gshadow(gshadow) => self.ensure_gshadow(gshadow),
        }
    }

    fn ensure_passwd(&mut self, user: &UserEntity, usual: bool) -> Result<(), AccountsError> {
        let name = user.username.as_str();
        let fields = [
            (passwd::GECOS, "info", user.info.as_deref()),
            (passwd::HOME, "homedir", user.homedir.as_deref()),
            (passwd::SHELL, "shell", user.shell.as_deref()),
        ];
        check_fields(name, &fields)?;
        let gid = match (user.gid, user.group.as_deref()) {
            (Some(gid), _) => Some(gid),
            (None, Some(group)) if !group.is_empty() => Some(self.gid_of(group)?),
            (None, _) => None,
        };
        let secret = user.password.as_ref().filter(|secret| !is_public(secret));
        let now = if usual {
            self.password_of(name)
        } else {
            String::new()
        };
        let hash = self.hash_of(name, secret, &now)?;
        if self.passwd.find(name).is_none() {
            let uids = used(&self.passwd, passwd::UID);
            let uid = match user.uid {
                Some(uid) => uid,
                None => free_id("uid", &uids, self.defaults.uids, false, None)?,
            };
            let gid = gid.or_else(|| self.gid_of(name).ok());
            let gid = gid.unwrap_or_else(|| self.default_gid());
            let (uid, gid) = (uid.to_string(), gid.to_string());
            self.passwd.append(&[name, "x", &uid, &gid, "", "", ""]);
            if usual {
                self.add_shadow(name, "!", false);
            }
        }
        let uid = user.uid.map(|uid| uid.to_string());
        let gid = gid.map(|gid| gid.to_string());
        set_fields(&mut self.passwd, name, &fields);
        let ids = [
            (passwd::UID, "uid", uid.as_deref()),
            (passwd::GID, "gid", gid.as_deref()),
        ];
        set_fields(&mut self.passwd, name, &ids);
        match (&user.password, hash) {
            (_, Some(hash)) if usual => self.store_hash(name, hash.expose()),
            (_, Some(hash)) => {
                self.passwd.set(name, passwd::PASSWORD, hash.expose());
            }
            // The hash may still be in `passwd`; it must not get lost, nor its line be missing.
            (Some(public), None) if usual && public.expose() == "x" => {
                let now = if now.is_empty() { "!" } else { &now };
                self.store_hash(name, now);
            }
            (Some(public), None) if !public.expose().is_empty() => {
                self.passwd.set(name, passwd::PASSWORD, public.expose());
            }
            _ => {}
        }
        Ok(())
    }

    fn ensure_shadow(&mut self, entity: &ShadowEntity) -> Result<(), AccountsError> {
        let name = entity.username.as_str();
        let row = self.shadow.find(name);
        let now = row.map_or(String::new(), |row| row.text(shadow::PASSWORD));
        let hash = self.hash_of(name, entity.password.as_ref(), &now)?;
        let mut changed = entity.last_changed.as_deref();
        if changed == Some("now") {
            changed = Some(&self.today);
        }
        let stated = [
            (shadow::CHANGED, "last_changed", changed),
            (
                shadow::MINIMUM,
                "minimum_changed",
                entity.minimum_changed.as_deref(),
            ),
            (
                shadow::MAXIMUM,
                "maximum_changed",
                entity.maximum_changed.as_deref(),
            ),
            (shadow::WARN, "warn", entity.warn.as_deref()),
            (shadow::INACTIVE, "inactive", entity.inactive.as_deref()),
            (shadow::EXPIRE, "expire", entity.expire.as_deref()),
        ];
        let numbers: Vec<(usize, &'static str, Option<String>)> = stated
            .into_iter()
            .map(|(column, field, value)| {
                let value = value.map(|value| days(name, field, value)).transpose()?;
                Ok((column, field, value))
            })
            .collect::<Result<_, AccountsError>>()?;
        if self.shadow.find(name).is_none() {
            self.shadow.append(&[name, "!", "", "", "", "", "", "", ""]);
        }
        for (column, _, value) in &numbers {
            if let Some(value) = value {
                self.shadow.set(name, *column, value);
            }
        }
        if let Some(hash) = hash {
            self.shadow.set(name, shadow::PASSWORD, hash.expose());
        }
        Ok(())
    }

    fn ensure_group(&mut self, entity: &GroupEntity, usual: bool) -> Result<(), AccountsError> {
        let name = entity.group_name.as_str();
        let users: Vec<&str> = entity
            .users
            .as_deref()
            .map(members::split)
            .into_iter()
            .flatten()
            .collect();
        users.iter().try_for_each(|user| check_name("user", user))?;
        let secret = entity.password.as_ref().filter(|secret| !is_public(secret));
        let hash = self.hash_of(name, secret, "")?;
        if self.group.find(name).is_none() {
            let gid = match entity.gid {
                Some(gid) => gid,
                None => {
                    let gids = used(&self.group, group::GID);
                    free_id("gid", &gids, self.defaults.gids, false, None)?
                }
            };
            if usual {
                self.add_group(name, gid);
            } else {
                self.group.append(&[name, "x", &gid.to_string(), ""]);
            }
        }
        if let Some(gid) = entity.gid {
            self.group.set(name, group::GID, &gid.to_string());
        }
        if usual {
            self.add_members(name, &users);
        } else {
            members::add(&mut self.group, name, group::MEMBERS, &users);
        }
        match (&entity.password, hash) {
            (_, Some(hash)) if usual && self.gshadow.find(name).is_some() => {
                self.gshadow.set(name, gshadow::PASSWORD, hash.expose());
            }
            (_, Some(hash)) => {
                self.group.set(name, group::PASSWORD, hash.expose());
            }
            (Some(public), None) if !public.expose().is_empty() => {
                self.group.set(name, group::PASSWORD, public.expose());
            }
            _ => {}
        }
        Ok(())
    }

    fn ensure_gshadow(&mut self, entity: &GshadowEntity) -> Result<(), AccountsError> {
        let name = entity.name.as_str();
        let fields = [
            (
                gshadow::ADMINISTRATORS,
                "administrators",
                entity.administrators.as_deref(),
            ),
            (gshadow::MEMBERS, "members", entity.members.as_deref()),
        ];
        check_fields(name, &fields)?;
        let row = self.gshadow.find(name);
        let now = row.map_or(String::new(), |row| row.text(gshadow::PASSWORD));
        let hash = self.hash_of(name, entity.password.as_ref(), &now)?;
        if self.gshadow.find(name).is_none() {
            self.gshadow.append(&[name, "!", "", ""]);
        }
        set_fields(&mut self.gshadow, name, &fields);
        if let Some(hash) = hash {
            self.gshadow.set(name, gshadow::PASSWORD, hash.expose());
        }
        Ok(())
    }

    /// The hash to store for a password, `None` when none is stated.
    fn hash_of(
        &self,
        name: &str,
        secret: Option<&Secret>,
        now: &str,
    ) -> Result<Option<Secret>, AccountsError> {
        let Some(secret) = secret.filter(|secret| !secret.expose().is_empty()) else {
            return Ok(None);
        };
        let password = Password::HashOrPlain(secret.clone());
        password.hashed(name, self.method, now).map(Some)
    }
}

/// What says nothing about a password and may stand where everybody can read it.
fn is_public(secret: &Secret) -> bool {
    matches!(secret.expose(), "" | "x" | "*" | "!" | "!!")
}

fn check_fields(
    name: &str,
    fields: &[(usize, &'static str, Option<&str>)],
) -> Result<(), AccountsError> {
    fields.iter().try_for_each(|(_, field, value)| {
        value.map_or(Ok(()), |value| check_field(name, field, value))
    })
}

fn set_fields(table: &mut Table, name: &str, fields: &[(usize, &'static str, Option<&str>)]) {
    for (column, _, value) in fields {
        if let Some(value) = value {
            table.set(name, *column, value);
        }
    }
}

/// A number of days as `shadow(5)` has it.
fn days(name: &str, field: &'static str, value: &str) -> Result<String, AccountsError> {
    match value.trim() {
        "" | "-1" => Ok(String::new()),
        number => match number.parse::<u32>() {
            Ok(number) => Ok(number.to_string()),
            Err(_) => Err(bad_field(name, field, "must be a number of days")),
        },
    }
}

/// A number or text: YAML has `5` and `"5"`, and people write both.
struct NumberOrText;

impl Visitor<'_> for NumberOrText {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Some(value.to_owned()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Some(value.to_string()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Some(value.to_string()))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    deserializer.deserialize_any(NumberOrText)
}

fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let text = deserializer
        .deserialize_any(NumberOrText)?
        .unwrap_or_default();
    match text.trim() {
        "" | "-1" => Ok(None),
        number => match number.parse() {
            Ok(id) if id != u32::MAX => Ok(Some(id)),
            _ => Err(D::Error::custom("an id is a number from 0 to 4294967294")),
        },
    }
}

#[cfg(test)]
mod tests;
