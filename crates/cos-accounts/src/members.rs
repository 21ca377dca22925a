//! Lists of users in a field of a group.

use crate::table::{Row, Table};

/// The users in a field, without empty ones.
pub(crate) fn split(field: &str) -> impl Iterator<Item = &str> {
    field
        .split(',')
        .map(str::trim)
        .filter(|user| !user.is_empty())
}

/// Whether `user` is in a list.
pub(crate) fn contains(row: &Row<'_>, column: usize, user: &str) -> bool {
    row.field(column)
        .split(|byte| *byte == b',')
        .any(|member| member == user.as_bytes())
}

/// Adds users to the list of the group `name`, if that group is there.
pub(crate) fn add(table: &mut Table, name: &str, column: usize, users: &[&str]) {
    let Some(row) = table.find(name) else {
        return;
    };
    // A list that is no UTF-8 holds no name that could be checked; it is left alone.
    let Ok(now) = str::from_utf8(row.field(column)) else {
        return;
    };
    let mut all: Vec<&str> = split(now).collect();
    let before = all.len();
    for user in users {
        if !all.contains(user) {
            all.push(user);
        }
    }
    if all.len() > before {
        let all = all.join(",");
        table.set(name, column, &all);
    }
}
