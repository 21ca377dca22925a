//! What the image says about new accounts: `login.defs(5)` and `/etc/default/useradd`.

use crate::error::AccountsError;
use cos_sys::root_path::Root;
use std::path::Path;

/// The most that is read of a settings file, in bytes.
const LIMIT: u64 = 1 << 20;

/// A range of ids, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) first: u32,
    pub(crate) last: u32,
}

impl Range {
    pub(crate) fn contains(self, id: u32) -> bool {
        (self.first..=self.last).contains(&id)
    }
}

/// The settings that are used here; those missing are as `useradd(8)` has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Defaults {
    pub(crate) uids: Range,
    pub(crate) gids: Range,
    pub(crate) system_uids: Range,
    pub(crate) system_gids: Range,
    /// The mode of new home directories.
    pub(crate) home_mode: u32,
    /// `PASS_MIN_DAYS`, `PASS_MAX_DAYS`, `PASS_WARN_AGE`, as they are for `shadow(5)`.
    pub(crate) ages: [String; 3],
    pub(crate) encrypt_method: Option<String>,
    /// A name or number.
    pub(crate) group: Option<String>,
    pub(crate) home: String,
    pub(crate) shell: String,
    pub(crate) skeleton: String,
    pub(crate) inactive: String,
    pub(crate) expire: String,
}

impl Defaults {
    /// Reads both files of the root; what is not there or not understood is as usual.
    pub(crate) fn read(root: &Root) -> Result<Self, AccountsError> {
        let text = |path: &str| -> Result<String, AccountsError> {
            let bytes = root.read(Path::new(path), LIMIT)?.unwrap_or_default();
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        Ok(Self::parse(
            &text("/etc/login.defs")?,
            &text("/etc/default/useradd")?,
        ))
    }

    pub(crate) fn parse(login_defs: &str, useradd: &str) -> Self {
        let login = |key| login_setting(login_defs, key);
        let number = |key, usual| login(key).and_then(parse_number).unwrap_or(usual);
        let uids = Range {
            first: number("UID_MIN", 1000),
            last: number("UID_MAX", 60000),
        };
        let gids = Range {
            first: number("GID_MIN", 1000),
            last: number("GID_MAX", 60000),
        };
        let age = |key| {
            let days = login(key).and_then(|value| value.parse::<u32>().ok());
            days.map_or(String::new(), |days| days.to_string())
        };
        let user = |key| useradd_setting(useradd, key).map(str::to_owned);
        // -1 is how useradd(8) writes "none".
        let days = |key| user(key).filter(|value| value != "-1").unwrap_or_default();
        Self {
            system_uids: Range {
                first: number("SYS_UID_MIN", 101),
                last: number("SYS_UID_MAX", uids.first.saturating_sub(1)),
            },
            system_gids: Range {
                first: number("SYS_GID_MIN", 101),
                last: number("SYS_GID_MAX", gids.first.saturating_sub(1)),
            },
            uids,
            gids,
            home_mode: number("HOME_MODE", 0o755) & 0o777,
            ages: [
                age("PASS_MIN_DAYS"),
                age("PASS_MAX_DAYS"),
                age("PASS_WARN_AGE"),
            ],
            encrypt_method: login("ENCRYPT_METHOD").map(str::to_owned),
            group: user("GROUP"),
            home: user("HOME").unwrap_or_else(|| "/home".into()),
            shell: user("SHELL").unwrap_or_else(|| "/bin/sh".into()),
            skeleton: user("SKEL").unwrap_or_else(|| "/etc/skel".into()),
            inactive: days("INACTIVE"),
            expire: days("EXPIRE"),
        }
    }

    pub(crate) fn range_of_uids(&self, system: bool) -> Range {
        if system { self.system_uids } else { self.uids }
    }

    pub(crate) fn range_of_gids(&self, system: bool) -> Range {
        if system { self.system_gids } else { self.gids }
    }
}

/// A value of `login.defs(5)`: `NAME value`, the last one said.
fn login_setting<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut found = None;
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if words.next() == Some(key) {
            found = words.next().map(|word| word.trim_matches('"'));
        }
    }
    found
}

/// A value of `/etc/default/useradd`: `NAME=value`, the last one said.
fn useradd_setting<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let value = text
        .lines()
        .filter_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        .next_back()?;
    Some(value.trim().trim_matches('"')).filter(|value| !value.is_empty())
}

/// A number of `login.defs(5)`: decimal, octal after `0`, hexadecimal after `0x`.
fn parse_number(text: &str) -> Option<u32> {
    let number = if let Some(digits) = text.strip_prefix("0x") {
        u32::from_str_radix(digits, 16)
    } else {
        match text.strip_prefix('0') {
            Some(digits) if !digits.is_empty() => u32::from_str_radix(digits, 8),
            _ => text.parse(),
        }
    };
    // The largest means "none" to the kernel (chown(2)).
    number.ok().filter(|number| *number != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_the_image_count() {
        let login = "# UID_MIN 5\nUID_MIN\t\t 2000\nUID_MAX 0xffff\nHOME_MODE 0700\nPASS_MAX_DAYS 99999\nPASS_MIN_DAYS -1\nENCRYPT_METHOD YESCRYPT\n";
        let useradd =
            "# HOME=/no\nHOME=/var/home\nSHELL=\"/bin/zsh\"\nINACTIVE=-1\nGROUP=100\nSKEL=\n";
        let defaults = Defaults::parse(login, useradd);
        assert_eq!((defaults.uids.first, defaults.uids.last), (2000, 0xffff));
        assert_eq!(defaults.system_uids.last, 1999);
        assert_eq!(defaults.home_mode, 0o700);
        assert_eq!(defaults.ages, ["", "99999", ""]);
        assert_eq!(defaults.group.as_deref(), Some("100"));
        assert_eq!(defaults.home, "/var/home");
        assert_eq!(defaults.shell, "/bin/zsh");
        assert_eq!(defaults.skeleton, "/etc/skel");
        assert_eq!(defaults.inactive, "");
    }

    #[test]
    fn the_largest_number_is_no_id() {
        for text in ["4294967295", "0xffffffff", "037777777777"] {
            let defaults = Defaults::parse(&format!("UID_MAX {text}\n"), "");
            assert_eq!(defaults.uids.last, 60000, "{text}");
        }
    }

    #[test]
    fn without_settings_everything_is_as_usual() {
        let defaults = Defaults::parse("", "");
        assert_eq!((defaults.uids.first, defaults.uids.last), (1000, 60000));
        assert_eq!(defaults.range_of_gids(true).last, 999);
        assert_eq!(defaults.home_mode, 0o755);
        assert_eq!((&*defaults.home, &*defaults.shell), ("/home", "/bin/sh"));
    }
}
