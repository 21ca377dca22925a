//! Texts: sprig's string functions.

use super::builtin::map_text;
use super::{Args, Function, Param, cut};
use crate::format;
use crate::limits::{Fault, Outcome};
use crate::value::{ListKind, MapKind, Scope, Value};
use Param::{Any, Int, Text};
use std::rc::Rc;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("hello", &[], |scope, _| scope.text("Hello!")),
    Function::new("trim", &[Text], |s, a| map_text(s, a, |t| t.trim().into())),
    Function::new("trimall", &[Text, Text], trim_all),
    Function::new("trimAll", &[Text, Text], trim_all),
    Function::new("trimPrefix", &[Text, Text], trim_prefix),
    Function::new("trimSuffix", &[Text, Text], trim_suffix),
    Function::new("repeat", &[Int, Text], repeat),
    Function::new("substr", &[Int, Int, Text], substr),
    Function::new("trunc", &[Int, Text], trunc),
    Function::new("contains", &[Text, Text], |_, args| {
        Ok(Value::Bool(args.text(1)?.contains(args.text(0)?)))
    }),
    Function::new("hasPrefix", &[Text, Text], |_, args| {
        Ok(Value::Bool(args.text(1)?.starts_with(args.text(0)?)))
    }),
    Function::new("hasSuffix", &[Text, Text], |_, args| {
        Ok(Value::Bool(args.text(1)?.ends_with(args.text(0)?)))
    }),
    Function::variadic("quote", &[], Any, quote),
    Function::variadic("squote", &[], Any, squote),
    Function::variadic("cat", &[], Any, cat),
    Function::new("indent", &[Int, Text], indent),
    Function::new("nindent", &[Int, Text], nindent),
    Function::new("replace", &[Text, Text, Text], replace),
    Function::new("plural", &[Text, Text, Int], plural),
    Function::new("toString", &[Any], to_string),
    Function::new("toStrings", &[Any], to_strings),
    Function::new("join", &[Text, Any], join),
    Function::new("sortAlpha", &[Any], sort_alpha),
    Function::new("split", &[Text, Text], split),
    Function::new("splitn", &[Text, Int, Text], splitn),
    Function::new("splitList", &[Text, Text], split_list),
];

fn trim_all(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let set = args.text(0)?;
    let text = args.text(1)?;
    scope
        .budget
        .step(set.len() as u64 * text.len() as u64 / 256)?;
    scope.text(text.trim_matches(|c| set.contains(c)))
}

fn trim_prefix(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let text = args.text(1)?;
    scope.text(text.strip_prefix(args.text(0)?).unwrap_or(text))
}

fn trim_suffix(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let text = args.text(1)?;
    scope.text(text.strip_suffix(args.text(0)?).unwrap_or(text))
}

/// A number of times or characters: Go panics where it is negative.
fn count(number: i64) -> Outcome<usize> {
    usize::try_from(number).map_err(|_| Fault::from(format!("{number} is negative")))
}

fn repeat(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let mut repeated = scope.buffer();
    let times = count(args.int(0)?)?;
    if !args.text(1)?.is_empty() {
        repeated.repeat(args.text(1)?, times)?;
    }
    scope.text(repeated.text)
}

fn substr(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let text = args.text(2)?;
    let (start, end) = (args.int(0)?, args.int(1)?);
    let length = i64::try_from(text.len()).unwrap_or(i64::MAX);
    let (start, end) = match (start, end) {
        (..0, end) => (0, end),
        (start, end) if end < 0 || end > length => (start, length),
        both => both,
    };
    scope.text(cut(text, count(start)?, count(end)?)?)
}

fn trunc(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let text = args.text(1)?;
    let wanted = args.int(0)?;
    let size = usize::try_from(wanted.unsigned_abs()).unwrap_or(usize::MAX);
    if size >= text.len() {
        return scope.text(text);
    }
    scope.text(if wanted < 0 {
        cut(text, text.len() - size, text.len())?
    } else {
        cut(text, 0, size)?
    })
}

fn quote(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let mut quoted = scope.buffer();
    for value in args.0.iter().filter(|value| !matches!(value, Value::Nil)) {
        if !quoted.text.is_empty() {
            quoted.push(" ")?;
        }
        quoted.push(&format::quote(&format::text_of(scope, value)?))?;
    }
    scope.text(quoted.text)
}

fn squote(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let mut quoted = scope.buffer();
    for value in args.0.iter().filter(|value| !matches!(value, Value::Nil)) {
        if !quoted.text.is_empty() {
            quoted.push(" ")?;
        }
        quoted.push("'")?;
        quoted.push(&format::text_of(scope, value)?)?;
        quoted.push("'")?;
    }
    scope.text(quoted.text)
}

fn cat(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let mut all = scope.buffer();
    let values = args.0.iter().filter(|value| !matches!(value, Value::Nil));
    for (index, value) in values.enumerate() {
        if index > 0 {
            all.push(" ")?;
        }
        all.push(&format::text_of(scope, value)?)?;
    }
    scope.text(all.text)
}

/// Puts `with` where `old` was, which where empty is around every character.
fn replaced(scope: &Scope<'_>, text: &str, old: &str, with: &str) -> Outcome<String> {
    let mut changed = scope.buffer();
    let mut done = 0;
    for (at, found) in text.match_indices(old) {
        changed.push(&text[done..at])?;
        changed.push(with)?;
        done = at + found.len();
    }
    changed.push(&text[done..])?;
    Ok(changed.text)
}

fn indented(scope: &Scope<'_>, args: Args<'_>, start: &str) -> Outcome<String> {
    let mut pad = scope.buffer();
    pad.repeat(" ", count(args.int(0)?)?)?;
    let lines = replaced(scope, args.text(1)?, "\n", &format!("\n{}", pad.text))?;
    let mut all = scope.buffer();
    all.push(start)?;
    all.push(&pad.text)?;
    all.push(&lines)?;
    Ok(all.text)
}

fn indent(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let text = indented(scope, args, "")?;
    scope.text(text)
}

fn nindent(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let text = indented(scope, args, "\n")?;
    scope.text(text)
}

fn replace(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let text = replaced(scope, args.text(2)?, args.text(0)?, args.text(1)?)?;
    scope.text(text)
}

fn plural(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    scope.text(args.text(usize::from(args.int(2)? != 1))?)
}

fn to_string(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let text = format::text_of(scope, args.at(0)?)?;
    scope.text(text)
}

/// Any value as a list of texts (sprig's `strslice`).
pub(super) fn texts_of(scope: &mut Scope<'_>, value: &Value) -> Outcome<Vec<Rc<str>>> {
    let items = match value {
        Value::List(list) => scope.items(*list)?,
        Value::Nil => return Ok(Vec::new()),
        value => Rc::from([value.clone()]),
    };
    let mut texts = Vec::new();
    for item in items.iter().filter(|item| !matches!(item, Value::Nil)) {
        texts.push(match item {
            Value::Text(text) => Rc::clone(text),
            item => {
                let text = format::text_of(scope, item)?;
                scope.budget.allocate(text.len())?;
                text.into()
            }
        });
    }
    Ok(texts)
}

fn to_strings(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let texts = texts_of(scope, args.at(0)?)?;
    scope.texts(texts)
}

fn join(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let texts = texts_of(scope, args.at(1)?)?;
    let mut joined = scope.buffer();
    for (index, text) in texts.iter().enumerate() {
        if index > 0 {
            joined.push(args.text(0)?)?;
        }
        joined.push(text)?;
    }
    scope.text(joined.text)
}

fn sort_alpha(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let mut texts = match args.at(0)? {
        Value::Nil => vec!["<nil>".into()],
        value => texts_of(scope, value)?,
    };
    scope.budget.step(texts.len() as u64)?;
    texts.sort();
    scope.texts(texts)
}

/// Go's `strings.SplitN`: an empty separator splits into characters.
fn parts<'a>(separator: &str, limit: i64, text: &'a str) -> Vec<&'a str> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if limit == 0 {
        return Vec::new();
    }
    if !separator.is_empty() {
        return text.splitn(limit, separator).collect();
    }
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if parts.len() + 1 == limit {
            parts.push(rest);
            break;
        }
        let (first, others) = rest.split_at(c.len_utf8());
        parts.push(first);
        rest = others;
    }
    parts
}

fn numbered(scope: &mut Scope<'_>, parts: &[&str]) -> Outcome<Value> {
    let mut map = std::collections::BTreeMap::new();
    scope.room_for(parts.len().saturating_mul(3))?;
    for (index, part) in parts.iter().enumerate() {
        map.insert(Rc::from(format!("_{index}")), scope.text(*part)?);
    }
    scope.map(MapKind::Text, map)
}

fn split(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    numbered(scope, &parts(args.text(0)?, -1, args.text(1)?))
}

fn splitn(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    numbered(scope, &parts(args.text(0)?, args.int(1)?, args.text(2)?))
}

fn split_list(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let parts = parts(args.text(0)?, -1, args.text(1)?);
    scope.room_for(parts.len())?;
    let mut items = Vec::with_capacity(parts.len());
    for part in parts {
        items.push(scope.text(part)?);
    }
    scope.list(ListKind::Text, items)
}
