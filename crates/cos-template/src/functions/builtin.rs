//! Go's own functions, but for comparing and escaping.

use super::{Args, Function, Param, items_of};
use crate::format;
use crate::limits::Outcome;
use crate::value::{MapKind, Scope, Value};
use Param::{Any, Text};
use std::rc::Rc;

/// `and` and `or` are evaluated by the executor, which stops at the first that decides; `slice` is
/// sprig's, as sprig's functions go before Go's own.
pub(super) const FUNCTIONS: &[Function] = &[
    Function::variadic("and", &[Any], Any, last),
    Function::variadic("or", &[Any], Any, last),
    Function::new("not", &[Any], not),
    Function::variadic("call", &[Any], Any, call),
    Function::variadic("index", &[Any], Any, index),
    Function::new("len", &[Any], len),
    Function::variadic("print", &[], Any, print),
    Function::variadic("println", &[], Any, println),
    Function::variadic("printf", &[Text], Any, printf),
];

#[expect(clippy::unnecessary_wraps, reason = "all functions have one type")]
fn last(_: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    Ok(args.0.last().cloned().unwrap_or(Value::Nil))
}

fn not(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    Ok(Value::Bool(!scope.is_true(args.at(0)?)))
}

fn call(_: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    Err(match args.at(0)? {
        Value::Nil => "nothing to call".into(),
        value => format!("a {} is no function", value.type_name()).into(),
    })
}

fn index(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let mut value = args.at(0)?.clone();
    if matches!(value, Value::Nil) {
        return Err("nothing to look into".into());
    }
    for key in args.rest(1) {
        value = element(scope, &value, key)?;
    }
    Ok(value)
}

fn element(scope: &mut Scope<'_>, value: &Value, key: &Value) -> Outcome<Value> {
    let position = |length: usize| {
        let Some(wanted) = key.integer() else {
            return Err(format!("cannot index a list with a {}", key.type_name()));
        };
        usize::try_from(wanted)
            .ok()
            .filter(|&at| at < length)
            .ok_or_else(|| format!("{wanted} is out of range of {length}"))
    };
    match value {
        Value::List(list) => {
            let items = scope.items(*list)?;
            Ok(items[position(items.len())?].clone())
        }
        Value::Text(text) => Ok(Value::Byte(text.as_bytes()[position(text.len())?])),
        Value::Map(map) => {
            let Value::Text(key) = key else {
                return Err(format!("cannot index a map with a {}", key.type_name()).into());
            };
            match (scope.get(*map, key), map.kind) {
                (Some(value), _) => Ok(value),
                (None, MapKind::Any) => Ok(Value::Nil),
                (None, MapKind::Text) => scope.text(""),
            }
        }
        _ => Err(format!("cannot index a {}", value.type_name()).into()),
    }
}

fn len(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let value = args.at(0)?;
    match scope.len(value) {
        Some(length) => Ok(Value::Int(i64::try_from(length).unwrap_or(i64::MAX))),
        None => Err(format!("a {} has no length", value.type_name()).into()),
    }
}

fn print(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let text = format::sprint(scope, args.0)?;
    scope.text(text)
}

fn println(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let text = format::sprintln(scope, args.0)?;
    scope.text(text)
}

fn printf(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let text = crate::printf::sprintf(scope, args.text(0)?, args.rest(1))?;
    scope.text(text)
}

/// The result of a function that takes one text and makes another of about its size.
pub(super) fn map_text(
    scope: &mut Scope<'_>,
    args: Args<'_>,
    change: impl FnOnce(&str) -> String,
) -> Outcome<Value> {
    let text = args.text(0)?;
    scope.budget.room(text.len())?;
    let changed = change(text);
    scope.text(changed)
}

/// [`items_of`] the first argument.
pub(super) fn first_items(
    scope: &mut Scope<'_>,
    args: Args<'_>,
    doing: &str,
) -> Outcome<Rc<[Value]>> {
    items_of(scope, args.at(0)?, doing)
}
