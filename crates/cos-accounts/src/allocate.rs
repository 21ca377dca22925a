//! Which ids are free.

use crate::defaults::Range;
use crate::error::AccountsError;
use crate::table::Table;
use std::collections::BTreeSet;

/// The ids in a column.
pub(crate) fn used(table: &Table, column: usize) -> BTreeSet<u32> {
    table.rows().filter_map(|row| row.id(column)).collect()
}

/// A free id, as `useradd(8)` picks one: above the highest in use, for system accounts below the
/// lowest; when that end is reached, what is free between. `preferred` when it is in the range and
/// free.
pub(crate) fn free_id(
    kind: &'static str,
    used: &BTreeSet<u32>,
    range: Range,
    system: bool,
    preferred: Option<u32>,
) -> Result<u32, AccountsError> {
    let Range { first, last } = range;
    let none = AccountsError::NoFreeId { kind, first, last };
    if first > last {
        return Err(none);
    }
    if let Some(id) = preferred.filter(|id| range.contains(*id) && !used.contains(id)) {
        return Ok(id);
    }
    let mut in_range = used.range(first..=last);
    let free = |id: &u32| !used.contains(id);
    let found = if system {
        let end = in_range.next().copied().unwrap_or(last + 1);
        (first..end)
            .next_back()
            .or_else(|| (first..=last).rev().find(free))
    } else {
        match in_range.next_back() {
            Some(highest) if *highest < last => Some(highest + 1),
            Some(_) => (first..=last).find(free),
            None => Some(first),
        }
    };
    found.ok_or(none)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pick(used: &[u32], system: bool, preferred: Option<u32>) -> Option<u32> {
        let range = Range {
            first: 10,
            last: 13,
        };
        let used = used.iter().copied().collect();
        free_id("uid", &used, range, system, preferred).ok()
    }

    #[test]
    fn ids_are_picked_like_useradd_does() {
        assert_eq!(pick(&[0, 99], false, None), Some(10));
        assert_eq!(pick(&[10, 12], false, None), Some(13));
        assert_eq!(pick(&[10, 13], false, None), Some(11));
        assert_eq!(pick(&[10, 11, 12, 13], false, None), None);
        assert_eq!(pick(&[0, 99], true, None), Some(13));
        assert_eq!(pick(&[12], true, None), Some(11));
        assert_eq!(pick(&[10, 13], true, None), Some(12));
        assert_eq!(pick(&[10, 11, 12, 13], true, None), None);
        assert_eq!(pick(&[10], false, Some(12)), Some(12));
        assert_eq!(pick(&[10], false, Some(10)), Some(11));
        assert_eq!(pick(&[10], false, Some(99)), Some(11));
    }

    #[test]
    fn a_range_that_is_none_has_nothing_free() {
        let range = Range { first: 5, last: 4 };
        free_id("gid", &BTreeSet::new(), range, false, None).unwrap_err();
        let all = Range {
            first: 0,
            last: u32::MAX - 1,
        };
        let id = free_id("gid", &BTreeSet::new(), all, true, None).unwrap();
        assert_eq!(id, u32::MAX - 1);
    }
}
