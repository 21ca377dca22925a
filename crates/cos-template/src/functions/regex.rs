//! Regular expressions.

use super::builtin::map_text;
use super::pattern::group_name;
use super::{Args, Function, Param, Pattern};
use crate::limits::{Buffer, Fault, Outcome};
use crate::value::{Scope, Value};
use ::regex::Captures;
use Param::{Int, Text};
use std::rc::Rc;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("regexMatch", &[Text, Text], |scope, args| {
        match matches(scope, args) {
            Err(Fault::Wrong(_)) => Ok(Value::Bool(false)),
            result => result,
        }
    }),
    Function::new("mustRegexMatch", &[Text, Text], matches),
    Function::new("regexFind", &[Text, Text], find),
    Function::new("mustRegexFind", &[Text, Text], find),
    Function::new("regexFindAll", &[Text, Text, Int], find_all),
    Function::new("mustRegexFindAll", &[Text, Text, Int], find_all),
    Function::new("regexReplaceAll", &[Text, Text, Text], |scope, args| {
        replace_all(scope, args, false)
    }),
    Function::new("mustRegexReplaceAll", &[Text, Text, Text], |scope, args| {
        replace_all(scope, args, false)
    }),
    Function::new("regexReplaceAllLiteral", &[Text, Text, Text], |s, args| {
        replace_all(s, args, true)
    }),
    Function::new("mustRegexReplaceAllLiteral", &[Text, Text, Text], |s, a| {
        replace_all(s, a, true)
    }),
    Function::new("regexSplit", &[Text, Text, Int], split),
    Function::new("mustRegexSplit", &[Text, Text, Int], split),
    Function::new("regexQuoteMeta", &[Text], |scope, args| {
        scope.budget.room(args.text(0)?.len().saturating_mul(2))?;
        map_text(scope, args, quote_meta)
    }),
];

/// How many patterns are kept for the next use.
const KEPT: usize = 64;

/// What compiling an expression costs in steps, beside what its size costs.
const COMPILE_STEPS: u64 = 500;

fn pattern(scope: &mut Scope<'_>, text: &str) -> Outcome<Rc<Pattern>> {
    if let Some(known) = scope.patterns.get(text) {
        return Ok(Rc::clone(known));
    }
    scope.budget.step(COMPILE_STEPS + text.len() as u64)?;
    let pattern = Rc::new(Pattern::new(text)?);
    scope.budget.step(pattern.weight)?;
    if scope.patterns.len() >= KEPT {
        scope.patterns.clear();
    }
    scope.patterns.insert(text.into(), Rc::clone(&pattern));
    Ok(pattern)
}

/// Pays for reading so many bytes of text.
fn pay(scope: &mut Scope<'_>, pattern: &Pattern, bytes: usize) -> Outcome<()> {
    let work = (bytes as u64).saturating_mul(pattern.weight + 1);
    scope.budget.step(1 + work / 1024)
}

fn matches(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let pattern = pattern(scope, args.text(0)?)?;
    let text = args.text(1)?;
    pay(scope, &pattern, text.len())?;
    Ok(Value::Bool(pattern.regex.is_match(text)))
}

fn find(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let pattern = pattern(scope, args.text(0)?)?;
    let text = args.text(1)?;
    pay(scope, &pattern, text.len())?;
    scope.text(pattern.regex.find(text).map_or("", |found| found.as_str()))
}

/// Where at most `limit` matches are, one after the other.
fn places(
    scope: &mut Scope<'_>,
    pattern: &Pattern,
    text: &str,
    limit: usize,
) -> Outcome<Vec<(usize, usize)>> {
    pay(scope, pattern, text.len())?;
    let mut places = Vec::new();
    for found in pattern.regex.find_iter(text).take(limit) {
        // A match may have been found by reading far ahead: a part of that is paid for.
        pay(scope, pattern, (text.len() - found.start()) / 64)?;
        scope.room_for(places.len())?;
        places.push((found.start(), found.end()));
    }
    Ok(places)
}

/// Go's number of results: all where it is negative.
fn limit(number: i64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn find_all(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let pattern = pattern(scope, args.text(0)?)?;
    let text = args.text(1)?;
    let places = places(scope, &pattern, text, limit(args.int(2)?))?;
    scope.texts_or_nil(places.into_iter().map(|(start, end)| &text[start..end]))
}

fn replace_all(scope: &mut Scope<'_>, args: Args<'_>, literal: bool) -> Outcome<Value> {
    let pattern = pattern(scope, args.text(0)?)?;
    let (text, with) = (args.text(1)?, args.text(2)?);
    pay(scope, &pattern, text.len())?;
    let mut replaced = scope.buffer();
    let mut done = 0;
    for captures in pattern.regex.captures_iter(text) {
        let Some(found) = captures.get(0) else {
            continue;
        };
        pay(scope, &pattern, (text.len() - found.start()) / 64)?;
        replaced.push(&text[done..found.start()])?;
        if literal {
            replaced.push(with)?;
        } else {
            scope.budget.step(with.len() as u64 / 64)?;
            expand(&mut replaced, with, &captures)?;
        }
        done = found.end();
    }
    replaced.push(&text[done..])?;
    scope.text(replaced.text)
}

/// Go's `Regexp.Expand`: `$1`, `${1}`, `$name`, `${name}`, `$$`.
fn expand(out: &mut Buffer, mut template: &str, captures: &Captures<'_>) -> Outcome<()> {
    while let Some((before, after)) = template.split_once('$') {
        out.push(before)?;
        if let Some(rest) = after.strip_prefix('$') {
            out.push("$")?;
            template = rest;
            continue;
        }
        let Some((name, rest)) = reference(after) else {
            out.push("$")?;
            template = after;
            continue;
        };
        template = rest;
        let padded = name.len() > 1 && name.starts_with('0');
        let group = match name.parse::<usize>() {
            Ok(number) if !padded && name.bytes().all(|b| b.is_ascii_digit()) => {
                captures.get(number)
            }
            _ => captures.name(&group_name(name)),
        };
        out.push(group.map_or("", |group| group.as_str()))?;
    }
    out.push(template)
}

/// The name behind a dollar, and what follows it.
fn reference(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('{').unwrap_or(text);
    let is_name = |c: char| c == '_' || c.is_alphanumeric();
    let length = inner.find(|c| !is_name(c)).unwrap_or(inner.len());
    let (name, rest) = inner.split_at(length);
    if name.is_empty() {
        return None;
    }
    let rest = if text.starts_with('{') {
        rest.strip_prefix('}')?
    } else {
        rest
    };
    Some((name, rest))
}

/// Go's `Regexp.Split`.
fn split(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let pattern = pattern(scope, args.text(0)?)?;
    let text = args.text(1)?;
    let limit = limit(args.int(2)?);
    if limit == 0 {
        return scope.texts_or_nil([]);
    }
    if text.is_empty() && !args.text(0)?.is_empty() {
        return scope.texts([""]);
    }
    let mut parts = Vec::new();
    let (mut start, mut end) = (0, 0);
    for (from, to) in places(scope, &pattern, text, limit)? {
        if parts.len() >= limit - 1 {
            break;
        }
        end = from;
        if to != 0 {
            parts.push(&text[start..end]);
        }
        start = to;
    }
    if end != text.len() {
        parts.push(&text[start..]);
    }
    scope.texts(parts)
}

fn quote_meta(text: &str) -> String {
    let mut quoted = String::new();
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted
}
