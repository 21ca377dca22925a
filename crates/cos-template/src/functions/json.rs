//! JSON in and out, as Go's `encoding/json` writes it.

use super::{Args, Function, Param};
use crate::float::{self, Shape};
use crate::format;
use crate::limits::{Buffer, Fault, Outcome};
use crate::value::{Scope, Value};
use Param::{Any, Text};
use std::rc::Rc;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("fromJson", &[Text], |scope, args| {
        let depth = scope.budget.depth();
        match parse(scope, args) {
            Err(Fault::Wrong(_)) => {
                scope.budget.restore(depth);
                Ok(Value::Nil)
            }
            result => result,
        }
    }),
    Function::new("mustFromJson", &[Text], parse),
    Function::new("toJson", &[Any], |s, args| write(s, args, PLAIN, false)),
    Function::new("mustToJson", &[Any], |s, args| write(s, args, PLAIN, true)),
    Function::new("toPrettyJson", &[Any], |s, args| {
        write(s, args, PRETTY, false)
    }),
    Function::new("mustToPrettyJson", &[Any], |s, args| {
        write(s, args, PRETTY, true)
    }),
    Function::new("toRawJson", &[Any], |s, args| write(s, args, RAW, true)),
    Function::new("mustToRawJson", &[Any], |s, args| write(s, args, RAW, true)),
];

/// How JSON is written.
#[derive(Clone, Copy)]
struct Style {
    /// `<`, `>` and `&` as escapes.
    escapes_html: bool,
    pretty: bool,
}

const PLAIN: Style = Style {
    escapes_html: true,
    pretty: false,
};
const PRETTY: Style = Style {
    escapes_html: true,
    pretty: true,
};
const RAW: Style = Style {
    escapes_html: false,
    pretty: false,
};

fn parse(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let text = args.text(0)?;
    // A parsed value takes far more than its text.
    scope.budget.room(text.len().saturating_mul(32))?;
    scope.budget.step(text.len() as u64 / 8)?;
    let json: serde_json::Value =
        serde_json::from_str(text).map_err(|error| format!("no JSON: {error}"))?;
    scope.json(&json)
}

fn write(scope: &mut Scope<'_>, args: Args<'_>, style: Style, must: bool) -> Outcome<Value> {
    let mut out = scope.buffer();
    let depth = scope.budget.depth();
    match write_value(scope, &mut out, args.at(0)?, style, 0) {
        Ok(()) => scope.text(out.text),
        Err(Fault::Wrong(_)) if !must => {
            scope.budget.restore(depth);
            scope.text("")
        }
        Err(fault) => Err(fault),
    }
}

fn write_value(
    scope: &mut Scope<'_>,
    out: &mut Buffer,
    value: &Value,
    style: Style,
    level: usize,
) -> Outcome<()> {
    scope.budget.step(1)?;
    match value {
        Value::Nil => out.push("null"),
        Value::Bool(is) => out.push(if *is { "true" } else { "false" }),
        Value::Int(int) | Value::Int64(int) => out.push(&int.to_string()),
        Value::Byte(byte) => out.push(&byte.to_string()),
        Value::Float(float) => out.push(&number(*float)?),
        Value::Text(text) => {
            scope.budget.read(text.len())?;
            write_text(out, text, style)
        }
        Value::Time(_) | Value::Version(_) => {
            let text = match value {
                Value::Time(time) => super::layout::rfc3339(*time),
                value => format::text_of(scope, value)?,
            };
            write_text(out, &text, style)
        }
        Value::List(list) if list.is_nil => out.push("null"),
        Value::List(list) => {
            let items = scope.items(*list)?;
            let items: Vec<_> = items.iter().map(|item| (None, item.clone())).collect();
            write_all(scope, out, &items, style, level, ["[", "]"])
        }
        Value::Map(map) => {
            let entries = scope.entries(*map)?;
            let entries = entries.into_iter().map(|(key, value)| (Some(key), value));
            write_all(
                scope,
                out,
                &entries.collect::<Vec<_>>(),
                style,
                level,
                ["{", "}"],
            )
        }
    }
}

fn write_all(
    scope: &mut Scope<'_>,
    out: &mut Buffer,
    items: &[(Option<Rc<str>>, Value)],
    style: Style,
    level: usize,
    [open, close]: [&str; 2],
) -> Outcome<()> {
    out.push(open)?;
    if items.is_empty() {
        return out.push(close);
    }
    scope.budget.enter()?;
    let line = |out: &mut Buffer, level: usize| {
        if style.pretty {
            out.push("\n")?;
            out.repeat("  ", level)?;
        }
        Ok::<(), Fault>(())
    };
    for (index, (key, value)) in items.iter().enumerate() {
        if index > 0 {
            out.push(",")?;
        }
        line(out, level + 1)?;
        if let Some(key) = key {
            write_text(out, key, style)?;
            out.push(if style.pretty { ": " } else { ":" })?;
        }
        write_value(scope, out, value, style, level + 1)?;
    }
    line(out, level)?;
    scope.budget.leave();
    out.push(close)
}

fn write_text(out: &mut Buffer, text: &str, style: Style) -> Outcome<()> {
    out.push("\"")?;
    for c in text.chars() {
        match c {
            '"' => out.push("\\\"")?,
            '\\' => out.push("\\\\")?,
            '\n' => out.push("\\n")?,
            '\r' => out.push("\\r")?,
            '\t' => out.push("\\t")?,
            '<' | '>' | '&' if !style.escapes_html => out.push_char(c)?,
            '<' | '>' | '&' | '\0'..='\x1f' | '\u{2028}' | '\u{2029}' => {
                out.push(&format!("\\u{:04x}", u32::from(c)))?;
            }
            c => out.push_char(c)?,
        }
    }
    out.push("\"")
}

fn number(float: f64) -> Outcome<String> {
    if !float.is_finite() {
        return Err("JSON has no such number".into());
    }
    let size = float.abs();
    if size == 0.0 || (1e-6..1e21).contains(&size) {
        return Ok(float::format(float, Shape::Fixed, None));
    }
    let text = float::format(float, Shape::Exponent, None);
    // `e-09` becomes `e-9`, and only that.
    Ok(match text.split_once("e-0") {
        Some((mantissa, exponent)) => format!("{mantissa}e-{exponent}"),
        None => text,
    })
}
