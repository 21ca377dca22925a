//! `eq` and its kin.

use super::{Args, Function, Param};
use crate::limits::Outcome;
use crate::value::{Scope, Value};
use Param::Any;
use std::cmp::Ordering;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::variadic("eq", &[Any], Any, eq),
    Function::new("ne", &[Any, Any], ne),
    Function::new("lt", &[Any, Any], lt),
    Function::new("le", &[Any, Any], le),
    Function::new("gt", &[Any, Any], gt),
    Function::new("ge", &[Any, Any], ge),
];

fn eq(_: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let left = args.at(0)?;
    if args.rest(1).is_empty() {
        return Err("nothing to compare with".into());
    }
    for right in args.rest(1) {
        if equal(left, right)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn ne(_: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    Ok(Value::Bool(!equal(args.at(0)?, args.at(1)?)?))
}

fn equal(left: &Value, right: &Value) -> Outcome<bool> {
    if let (Some(left), Some(right)) = (left.integer(), right.integer()) {
        return Ok(left == right);
    }
    match (left, right) {
        (Value::Nil, Value::Nil) => Ok(true),
        (Value::List(list), Value::Nil) | (Value::Nil, Value::List(list)) => Ok(list.is_nil),
        (Value::Nil, _) | (_, Value::Nil) => Ok(false),
        (Value::Bool(left), Value::Bool(right)) => Ok(left == right),
        #[expect(clippy::float_cmp, reason = "as Go compares")]
        (Value::Float(left), Value::Float(right)) => Ok(left == right),
        (Value::Text(left), Value::Text(right)) => Ok(left == right),
        (Value::Time(left), Value::Time(right)) => Ok(left == right),
        (Value::Version(left), Value::Version(right)) => Ok(std::rc::Rc::ptr_eq(left, right)),
        _ => Err(incompatible(left, right)),
    }
}

fn incompatible(left: &Value, right: &Value) -> crate::limits::Fault {
    let (left, right) = (left.type_name(), right.type_name());
    format!("a {left} cannot be compared with a {right}").into()
}

fn order(args: Args<'_>) -> Outcome<Option<Ordering>> {
    let (left, right) = (args.at(0)?, args.at(1)?);
    if let (Some(left), Some(right)) = (left.integer(), right.integer()) {
        return Ok(Some(left.cmp(&right)));
    }
    match (left, right) {
        (Value::Float(left), Value::Float(right)) => Ok(left.partial_cmp(right)),
        (Value::Text(left), Value::Text(right)) => Ok(Some(left.cmp(right))),
        _ => Err(incompatible(left, right)),
    }
}

fn lt(_: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    Ok(Value::Bool(order(args)? == Some(Ordering::Less)))
}

fn le(_: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    Ok(Value::Bool(matches!(
        order(args)?,
        Some(Ordering::Less | Ordering::Equal)
    )))
}

/// Go's `gt` is "not `le`", which matters for NaN only.
fn gt(_: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    Ok(Value::Bool(!matches!(
        order(args)?,
        Some(Ordering::Less | Ordering::Equal)
    )))
}

fn ge(_: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    Ok(Value::Bool(order(args)? != Some(Ordering::Less)))
}
