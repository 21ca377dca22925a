//! Defaults and choices.

use super::{Args, Function, Param};
use crate::limits::Outcome;
use crate::value::{Scope, Value};
use Param::{Any, Bool, Text};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::variadic("default", &[Any], Any, default),
    Function::new("empty", &[Any], empty),
    Function::variadic("coalesce", &[], Any, coalesce),
    Function::variadic("all", &[], Any, all),
    Function::variadic("any", &[], Any, any),
    Function::new("ternary", &[Any, Any, Bool], ternary),
    Function::new("fail", &[Text], |_, args| Err(args.text(0)?.into())),
];

/// The empty values are those that are not true: zero, no text, no items.
fn default(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let given = args.rest(1).first().filter(|given| scope.is_true(given));
    Ok(given.unwrap_or(args.at(0)?).clone())
}

fn empty(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    Ok(Value::Bool(!scope.is_true(args.at(0)?)))
}

#[expect(clippy::unnecessary_wraps, reason = "all functions have one type")]
fn coalesce(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let first = args.0.iter().find(|value| scope.is_true(value));
    Ok(first.cloned().unwrap_or(Value::Nil))
}

#[expect(clippy::unnecessary_wraps, reason = "all functions have one type")]
fn all(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    Ok(Value::Bool(args.0.iter().all(|value| scope.is_true(value))))
}

#[expect(clippy::unnecessary_wraps, reason = "all functions have one type")]
fn any(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    Ok(Value::Bool(args.0.iter().any(|value| scope.is_true(value))))
}

fn ternary(_: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    Ok(args.at(usize::from(!args.is(2)?))?.clone())
}
