//! `mergo.Merge` for maps, with its ways: an empty value counts as missing, lists are taken whole,
//! and a map that is taken over is shared, not copied.

use crate::limits::Outcome;
use crate::value::{Map, Scope, Value};

/// Puts what `from` has and `into` lacks into `into`, or, where `overwrite` is said, all.
pub(super) fn merge(scope: &mut Scope<'_>, into: Map, from: Map, overwrite: bool) -> Outcome<()> {
    scope.budget.step(1)?;
    scope.budget.enter()?;
    for (key, new) in scope.entries(from)? {
        let old = scope.get(into, &key);
        let is_set = old.as_ref().is_some_and(|old| is_set(scope, old));
        let replaces = match (&old, &new) {
            (_, Value::Nil) => overwrite,
            (Some(Value::Map(old)), Value::Map(new)) => {
                merge(scope, *old, *new, overwrite)?;
                // Merged just now, the old one may have stopped being empty.
                scope.len(&Value::Map(*old)) == Some(0)
            }
            (_, Value::Map(_)) => !is_set,
            _ => overwrite || !is_set,
        };
        if replaces {
            scope.insert(into, key, new)?;
        }
    }
    scope.budget.leave();
    Ok(())
}

fn is_set(scope: &Scope<'_>, value: &Value) -> bool {
    scope.is_true(value)
}
