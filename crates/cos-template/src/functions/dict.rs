//! Maps. `set`, `unset` and the merges change the map itself, wherever else it is used.

use super::{Args, Function, Param, merge, text_in};
use crate::format;
use crate::limits::{Fault, Outcome};
use crate::value::{ListKind, Map, MapKind, Scope, Value, internal};
use Param::{Any, Dict, Text};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::variadic("dict", &[], Any, dict),
    Function::new("get", &[Dict, Text], get),
    Function::new("set", &[Dict, Text, Any], set),
    Function::new("unset", &[Dict, Text], unset),
    Function::new("hasKey", &[Dict, Text], has_key),
    Function::variadic("pluck", &[Text], Dict, pluck),
    Function::variadic("keys", &[], Dict, keys),
    Function::variadic("pick", &[Dict], Text, |scope, args| {
        chosen(scope, args, true)
    }),
    Function::variadic("omit", &[Dict], Text, |scope, args| {
        chosen(scope, args, false)
    }),
    Function::new("values", &[Dict], values),
    Function::variadic("dig", &[], Any, dig),
    Function::new("deepCopy", &[Any], deep_copy),
    Function::new("mustDeepCopy", &[Any], deep_copy),
    Function::variadic("merge", &[Dict], Dict, |s, a| merged(s, a, false)),
    Function::variadic("mustMerge", &[Dict], Dict, |s, a| merged(s, a, false)),
    Function::variadic("mergeOverwrite", &[Dict], Dict, |s, a| merged(s, a, true)),
    Function::variadic("mustMergeOverwrite", &[Dict], Dict, |s, a| {
        merged(s, a, true)
    }),
];

fn dict(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let mut map = BTreeMap::new();
    for pair in args.0.chunks(2) {
        let Some(key) = pair.first() else { continue };
        let key: Rc<str> = match key {
            Value::Text(key) => Rc::clone(key),
            key => format::text_of(scope, key)?.into(),
        };
        let value = match pair.get(1) {
            Some(value) => value.clone(),
            None => scope.text("")?,
        };
        map.insert(key, value);
    }
    scope.map(MapKind::Any, map)
}

fn get(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let key = args.text(1)?;
    match args.dict(0)?.and_then(|map| scope.get(map, key)) {
        Some(value) => Ok(value),
        None => scope.text(""),
    }
}

fn set(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let Some(map) = args.dict(0)? else {
        return Err("there is no dict to set a key of".into());
    };
    scope.insert(map, args.text(1)?.into(), args.at(2)?.clone())?;
    Ok(args.at(0)?.clone())
}

fn unset(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let Some(map) = args.dict(0)? else {
        return scope.map(MapKind::Any, BTreeMap::new());
    };
    scope.remove(map, args.text(1)?);
    Ok(args.at(0)?.clone())
}

fn has_key(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let key = args.text(1)?;
    let value = args.dict(0)?.and_then(|map| scope.get(map, key));
    Ok(Value::Bool(value.is_some()))
}

/// The maps among arguments that are maps or nil.
fn maps(values: &[Value]) -> impl Iterator<Item = Map> {
    values.iter().filter_map(|value| match value {
        Value::Map(map) => Some(*map),
        _ => None,
    })
}

fn pluck(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let key = args.text(0)?;
    let found = maps(args.rest(1)).filter_map(|map| scope.get(map, key));
    let found = found.collect();
    scope.list(ListKind::Any, found)
}

/// Go goes through maps in no order; here it is that of the keys.
fn keys(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let mut keys = Vec::new();
    for map in maps(args.0) {
        let entries = scope.entries(map)?;
        scope.room_for(keys.len() + entries.len())?;
        keys.extend(entries.into_iter().map(|(key, _)| Value::Text(key)));
    }
    scope.list(ListKind::Text, keys)
}

fn values(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let mut values = Vec::new();
    if let Some(map) = args.dict(0)? {
        values.extend(scope.entries(map)?.into_iter().map(|(_, value)| value));
    }
    scope.list(ListKind::Any, values)
}

fn chosen(scope: &mut Scope<'_>, args: Args<'_>, named: bool) -> Outcome<Value> {
    let keys = args.rest(1).iter().map(text_in);
    let keys = keys.collect::<Outcome<BTreeSet<&str>>>()?;
    let mut map = BTreeMap::new();
    if let Some(from) = args.dict(0)? {
        let entries = scope.entries(from)?.into_iter();
        map.extend(entries.filter(|(key, _)| keys.contains(&**key) == named));
    }
    scope.map(MapKind::Any, map)
}

/// The last argument is the map, the one before it the default, the others the path.
fn dig(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let [path @ .., default, Value::Map(map)] = args.0 else {
        return Err("wants keys, a default and a dict".into());
    };
    if path.is_empty() || map.kind != MapKind::Any {
        return Err("wants keys, a default and a dict".into());
    }
    let mut map = *map;
    for (index, key) in path.iter().enumerate() {
        let Value::Text(key) = key else {
            return Err(format!("a {} is no key", key.type_name()).into());
        };
        match scope.get(map, key) {
            None => return Ok(default.clone()),
            Some(value) if index + 1 == path.len() => return Ok(value),
            Some(Value::Map(next)) if next.kind == MapKind::Any => map = next,
            Some(value) => {
                let message = format!("{key:?} is a {} and no dict", value.type_name());
                return Err(Fault::Wrong(message));
            }
        }
    }
    Ok(default.clone())
}

fn deep_copy(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    match args.at(0)? {
        Value::Nil => Err("nothing to copy".into()),
        value => copy(scope, value),
    }
}

fn copy(scope: &mut Scope<'_>, value: &Value) -> Outcome<Value> {
    scope.budget.step(1)?;
    scope.budget.enter()?;
    let copied = match value {
        Value::List(list) => {
            let items = scope.items(*list)?;
            let mut copies = Vec::new();
            for item in items.iter() {
                copies.push(copy(scope, item)?);
            }
            scope.list(list.kind, copies)?
        }
        Value::Map(map) => {
            let mut copies = BTreeMap::new();
            for (key, value) in scope.entries(*map)? {
                copies.insert(key, copy(scope, &value)?);
            }
            scope.map(map.kind, copies)?
        }
        value => value.clone(),
    };
    scope.budget.leave();
    Ok(copied)
}

fn merged(scope: &mut Scope<'_>, args: Args<'_>, overwrite: bool) -> Outcome<Value> {
    // Into nothing, Go merges by making a map.
    let result = match args.at(0)? {
        Value::Nil => scope.map(MapKind::Any, BTreeMap::new())?,
        into => into.clone(),
    };
    let Value::Map(into) = result else {
        return Err(internal("argument is no dict"));
    };
    for from in maps(args.rest(1)) {
        merge::merge(scope, into, from, overwrite)?;
    }
    Ok(result)
}
