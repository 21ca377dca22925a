//! Lists. sprig's `must…` forms return an error where the plain ones panic: to a template both are
//! errors, so they are the same here.

use super::builtin::first_items;
use super::number::index;
use super::{Args, Function, Param, items_of};
use crate::limits::Outcome;
use crate::value::{ListKind, Scope, Value};
use Param::{Any, Int};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::variadic("list", &[], Any, list),
    Function::variadic("tuple", &[], Any, list),
    Function::new("append", &[Any, Any], append),
    Function::new("push", &[Any, Any], append),
    Function::new("mustAppend", &[Any, Any], append),
    Function::new("mustPush", &[Any, Any], append),
    Function::new("prepend", &[Any, Any], prepend),
    Function::new("mustPrepend", &[Any, Any], prepend),
    Function::new("first", &[Any], first),
    Function::new("mustFirst", &[Any], first),
    Function::new("last", &[Any], last),
    Function::new("mustLast", &[Any], last),
    Function::new("rest", &[Any], rest),
    Function::new("mustRest", &[Any], rest),
    Function::new("initial", &[Any], initial),
    Function::new("mustInitial", &[Any], initial),
    Function::new("reverse", &[Any], reverse),
    Function::new("mustReverse", &[Any], reverse),
    Function::new("compact", &[Any], compact),
    Function::new("mustCompact", &[Any], compact),
    Function::new("uniq", &[Any], uniq),
    Function::new("mustUniq", &[Any], uniq),
    Function::variadic("without", &[Any], Any, without),
    Function::variadic("mustWithout", &[Any], Any, without),
    Function::new("has", &[Any, Any], has),
    Function::new("mustHas", &[Any, Any], has),
    Function::variadic("slice", &[Any], Any, slice),
    Function::variadic("mustSlice", &[Any], Any, slice),
    Function::variadic("concat", &[], Any, concat),
    Function::new("chunk", &[Int, Any], chunk),
    Function::new("mustChunk", &[Int, Any], chunk),
];

fn list(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    scope.list(ListKind::Any, args.0.to_vec())
}

fn append(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let items = first_items(scope, args, "append to")?;
    scope.room_for(items.len() + 1)?;
    let mut items = items.to_vec();
    items.push(args.at(1)?.clone());
    scope.list(ListKind::Any, items)
}

fn prepend(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let items = first_items(scope, args, "prepend to")?;
    scope.room_for(items.len() + 1)?;
    let mut all = vec![args.at(1)?.clone()];
    all.extend_from_slice(&items);
    scope.list(ListKind::Any, all)
}

fn first(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let items = first_items(scope, args, "take the first of")?;
    Ok(items.first().cloned().unwrap_or(Value::Nil))
}

fn last(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let items = first_items(scope, args, "take the last of")?;
    Ok(items.last().cloned().unwrap_or(Value::Nil))
}

fn rest(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let items = first_items(scope, args, "take the rest of")?;
    scope.room_for(items.len())?;
    part_or_nil(scope, &items, items.get(1..))
}

fn initial(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let items = first_items(scope, args, "take the beginning of")?;
    scope.room_for(items.len())?;
    part_or_nil(
        scope,
        &items,
        items.len().checked_sub(1).map(|end| &items[..end]),
    )
}

/// A part of a list; nil only where the list itself is empty.
fn part_or_nil(scope: &mut Scope<'_>, all: &[Value], part: Option<&[Value]>) -> Outcome<Value> {
    let part = part.unwrap_or_default().to_vec();
    if all.is_empty() {
        scope.list_or_nil(ListKind::Any, part)
    } else {
        scope.list(ListKind::Any, part)
    }
}

fn reverse(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let items = first_items(scope, args, "reverse")?;
    scope.room_for(items.len())?;
    scope.list(ListKind::Any, items.iter().rev().cloned().collect())
}

fn compact(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let items = first_items(scope, args, "compact")?;
    scope.room_for(items.len())?;
    let kept = items.iter().filter(|item| scope.is_true(item)).cloned();
    let kept = kept.collect();
    scope.list(ListKind::Any, kept)
}

fn contains(scope: &mut Scope<'_>, items: &[Value], wanted: &Value) -> Outcome<bool> {
    for item in items {
        if scope.deep_equal(wanted, item)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn uniq(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let items = first_items(scope, args, "find what is unique in")?;
    scope.room_for(items.len())?;
    let mut kept: Vec<Value> = Vec::new();
    for item in items.iter() {
        if !contains(scope, &kept, item)? {
            kept.push(item.clone());
        }
    }
    scope.list(ListKind::Any, kept)
}

fn without(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let items = first_items(scope, args, "take something out of")?;
    scope.room_for(items.len())?;
    let mut kept: Vec<Value> = Vec::new();
    for item in items.iter() {
        if !contains(scope, args.rest(1), item)? {
            kept.push(item.clone());
        }
    }
    scope.list(ListKind::Any, kept)
}

fn has(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    if matches!(args.at(1)?, Value::Nil) {
        return Ok(Value::Bool(false));
    }
    let items = items_of(scope, args.at(1)?, "look into")?;
    Ok(Value::Bool(contains(scope, &items, args.at(0)?)?))
}

fn slice(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let Value::List(list) = args.at(0)? else {
        return Err(format!("cannot slice a {}", args.at(0)?.type_name()).into());
    };
    let items = scope.items(*list)?;
    if items.is_empty() {
        return Ok(Value::Nil);
    }
    let start = args.rest(1).first().map_or(Ok(0), index)?;
    let end = args.rest(1).get(1).map_or(Ok(items.len()), index)?;
    let Some(part) = items.get(start..end) else {
        return Err(format!("{start}:{end} is out of range of {}", items.len()).into());
    };
    scope.list(list.kind, part.to_vec())
}

fn concat(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let mut all = Vec::new();
    for value in args.0 {
        let items = items_of(scope, value, "concatenate")?;
        scope.room_for(all.len() + items.len())?;
        all.extend_from_slice(&items);
    }
    scope.list_or_nil(ListKind::Any, all)
}

fn chunk(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let items = items_of(scope, args.at(1)?, "chunk")?;
    let size = args.int(0)?;
    let count = i64::try_from(items.len()).unwrap_or(i64::MAX);
    if size < 0 && (1..=size.saturating_neg()).contains(&(count - 1)) {
        // Go's arithmetic comes to no chunks at all.
        return scope.list(ListKind::Lists, Vec::new());
    }
    let size = usize::try_from(size).unwrap_or(0);
    if size == 0 {
        return Err("a chunk has at least one item".into());
    }
    let mut chunks = Vec::new();
    for chunk in items.chunks(size) {
        chunks.push(scope.list(ListKind::Any, chunk.to_vec())?);
    }
    scope.list(ListKind::Lists, chunks)
}
