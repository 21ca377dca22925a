//! What the files can hold.

use crate::error::AccountsError;

/// The longest name, in bytes: what `utmp(5)` and `useradd(8)` take.
const MAX_NAME: usize = 32;

/// The longest other field, in bytes; programs read lines into buffers of limited size.
const MAX_FIELD: usize = 4096;

/// How much of a bad name a message shows, in characters.
const SHOWN: usize = 40;

/// Checks a user or group name (`kind`) as `useradd(8)` of Debian does, which takes more than the
/// POSIX portable set: not what would break a line, a list or a path, or be read as an option, a
/// number, a comment or a NIS line.
pub fn check_name(kind: &'static str, name: &str) -> Result<(), AccountsError> {
    let bad = |character: char| {
        character.is_whitespace() || character.is_control() || ":,/".contains(character)
    };
    let why = if name.is_empty() {
        "it is empty"
    } else if name.len() > MAX_NAME {
        "it is longer than 32 bytes"
    } else if name == "." || name == ".." {
        "it is a directory"
    } else if name.starts_with(['-', '+', '~', '#']) {
        "it must not begin with -, +, ~ or #"
    } else if name.chars().any(bad) {
        "it must not contain white space, control characters, ':', ',' or '/'"
    } else if name.bytes().all(|byte| byte.is_ascii_digit()) {
        "it is a number"
    } else {
        return Ok(());
    };
    Err(AccountsError::Name {
        kind,
        name: name.chars().take(SHOWN).collect(),
        why,
    })
}

/// Checks that a value can be a field of `name`'s line.
pub(crate) fn check_field(
    name: &str,
    field: &'static str,
    value: &str,
) -> Result<(), AccountsError> {
    let why = if value.contains([':', '\n', '\r', '\0']) {
        "must not contain ':' or line breaks"
    } else if value.len() > MAX_FIELD {
        "is longer than 4096 bytes"
    } else {
        return Ok(());
    };
    Err(bad_field(name, field, why))
}

/// Checks a field that is a path; `empty` says whether it may be empty.
pub(crate) fn check_path(
    name: &str,
    field: &'static str,
    value: &str,
    empty: bool,
) -> Result<(), AccountsError> {
    check_field(name, field, value)?;
    if value.starts_with('/') || (empty && value.is_empty()) {
        return Ok(());
    }
    Err(bad_field(name, field, "must be an absolute path"))
}

/// The error for a field.
pub(crate) fn bad_field(name: &str, field: &'static str, why: &'static str) -> AccountsError {
    AccountsError::Field {
        name: name.chars().take(SHOWN).collect(),
        field,
        why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_programs_would_misread_are_refused() {
        for name in [
            "root",
            "_apt",
            "systemd-network",
            "j.doe",
            "DOM\\bob",
            "pc$",
            "é",
        ] {
            check_name("user", name).unwrap();
        }
        let long = "x".repeat(33);
        let bad = [
            "", ".", "..", "-r", "+nis", "#no", "a:b", "a\nb", "a b", "a,b", "a/b", "1000", "a\0",
            &long,
        ];
        for name in bad {
            check_name("user", name).unwrap_err();
        }
        let error = check_name("group", "a:b\u{1b}[31m")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("group name") && !error.contains('\u{1b}'),
            "{error}"
        );
    }

    #[test]
    fn a_bad_field_is_named() {
        let error = check_field("bob", "gecos", "a:b").unwrap_err().to_string();
        insta::assert_snapshot!(error, @r#"gecos of "bob" must not contain ':' or line breaks"#);
        check_field("bob", "gecos", "root\nroot::0:0:::").unwrap_err();
        check_path("bob", "homedir", "home", true).unwrap_err();
        check_path("bob", "shell", "", true).unwrap();
        check_path("bob", "homedir", "", false).unwrap_err();
    }
}
