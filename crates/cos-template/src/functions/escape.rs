//! `html`, `js` and `urlquery`.

use super::{Args, Function, Param};
use crate::format::{self, is_print};
use crate::limits::Outcome;
use crate::value::{Scope, Value};
use Param::Any;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::variadic("html", &[], Any, html),
    Function::variadic("js", &[], Any, js),
    Function::variadic("urlquery", &[], Any, urlquery),
];

/// The text of the arguments; unlike `print`, nothing shows as `<no value>`.
fn joined(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<String> {
    let mut values = Vec::with_capacity(args.0.len());
    for value in args.0 {
        values.push(match value {
            Value::Nil => scope.text(format::NO_VALUE)?,
            value => value.clone(),
        });
    }
    format::sprint(scope, &values)
}

fn html(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let text = joined(scope, args)?;
    let mut escaped = scope.buffer();
    for c in text.chars() {
        match c {
            '"' => escaped.push("&#34;")?,
            '\'' => escaped.push("&#39;")?,
            '&' => escaped.push("&amp;")?,
            '<' => escaped.push("&lt;")?,
            '>' => escaped.push("&gt;")?,
            '\0' => escaped.push("\u{fffd}")?,
            c => escaped.push_char(c)?,
        }
    }
    scope.text(escaped.text)
}

fn js(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let text = joined(scope, args)?;
    let mut escaped = scope.buffer();
    for c in text.chars() {
        match c {
            '\\' => escaped.push("\\\\")?,
            '\'' => escaped.push("\\'")?,
            '"' => escaped.push("\\\"")?,
            '<' | '>' | '&' | '=' | '\0'..='\x1f' => {
                escaped.push(&format!("\\u{:04X}", u32::from(c)))?;
            }
            c if c.is_ascii() || is_print(c) => escaped.push_char(c)?,
            c => escaped.push(&format!("\\u{:04X}", u32::from(c)))?,
        }
    }
    scope.text(escaped.text)
}

fn urlquery(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let text = joined(scope, args)?;
    let mut escaped = scope.buffer();
    for byte in text.bytes() {
        match byte {
            b' ' => escaped.push("+")?,
            b'-' | b'_' | b'.' | b'~' => escaped.push_char(byte.into())?,
            _ if byte.is_ascii_alphanumeric() => escaped.push_char(byte.into())?,
            _ => escaped.push(&format!("%{byte:02X}"))?,
        }
    }
    scope.text(escaped.text)
}
