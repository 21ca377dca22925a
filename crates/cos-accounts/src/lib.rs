//! The user database of a root directory: passwd, shadow, group, gshadow, authorized keys.
//!
//! [`Database`] holds the lock of `lckpwdf(3)` while it edits the files of `passwd(5)`, `shadow(5)`,
//! `group(5)` and `gshadow(5)`. Lines that it does not change, comments and malformed ones among
//! them, stay byte for byte. `/etc/subuid` and `/etc/subgid` are left alone.

mod allocate;
mod authorized_keys;
mod check;
mod database;
mod defaults;
mod entity;
mod error;
mod home;
mod lock;
mod members;
mod password;
#[cfg(test)]
mod scratch;
mod secret;
mod table;
mod user;

pub use authorized_keys::add_authorized_keys;
pub use check::check_name;
pub use database::Database;
pub use entity::{Entity, GroupEntity, GshadowEntity, ShadowEntity, UserEntity};
pub use error::AccountsError;
pub use password::{HashMethod, Password};
pub use secret::Secret;
pub use user::{UserOutcome, UserSpec};
