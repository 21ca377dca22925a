//! Randomness from the kernel, and the environment that the caller lets templates see.

use super::{Args, Function, Param};
use crate::limits::{Fault, Outcome};
use crate::value::{Scope, Value};
use Param::{Int, Text};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("randAlphaNum", &[Int], |scope, args| {
        random(scope, args, u8::is_ascii_alphanumeric)
    }),
    Function::new("randAlpha", &[Int], |scope, args| {
        random(scope, args, u8::is_ascii_alphabetic)
    }),
    Function::new("randNumeric", &[Int], |scope, args| {
        random(scope, args, u8::is_ascii_digit)
    }),
    Function::new("randAscii", &[Int], |scope, args| {
        random(scope, args, |c| (b' '..=b'~').contains(c))
    }),
    Function::new("randInt", &[Int, Int], rand_int),
    Function::new("uuidv4", &[], uuidv4),
    Function::new("env", &[Text], |scope, args| {
        let value = scope.environment.get(args.text(0)?);
        scope.text(value.map_or("", String::as_str))
    }),
    Function::new("expandenv", &[Text], expandenv),
];

fn fill(bytes: &mut [u8]) -> Outcome<()> {
    getrandom::fill(bytes)
        .map_err(|error| Fault::from(format!("no randomness from the kernel: {error}")))
}

/// So many random characters of a set; none where the number is negative, as sprig drops the error.
fn random(scope: &mut Scope<'_>, args: Args<'_>, is: fn(&u8) -> bool) -> Outcome<Value> {
    let set: Vec<u8> = (0..=127).filter(is).collect();
    let wanted = usize::try_from(args.int(0)?).unwrap_or(0);
    scope.budget.room(wanted)?;
    scope.budget.step(wanted as u64 / 16)?;
    // Bytes past the last whole multiple of the set would favour its beginning.
    let fair = 256 - 256 % set.len();
    let mut text = String::with_capacity(wanted);
    let mut bytes = [0u8; 256];
    while text.len() < wanted {
        fill(&mut bytes)?;
        let chosen = bytes.iter().map(|&byte| usize::from(byte));
        let chosen = chosen.filter(|&byte| byte < fair).take(wanted - text.len());
        text.extend(chosen.map(|byte| char::from(set[byte % set.len()])));
    }
    scope.text(text)
}

fn rand_int(_: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let (from, to) = (args.int(0)?, args.int(1)?);
    let span = to
        .checked_sub(from)
        .and_then(|span| u64::try_from(span).ok());
    let Some(span) = span.filter(|&span| span > 0) else {
        return Err(format!("{from} is not below {to}").into());
    };
    let mut bytes = [0; 16];
    fill(&mut bytes)?;
    // Of 128 bits, the unevenness of the remainder is far too small to matter.
    let offset = u128::from_le_bytes(bytes) % u128::from(span);
    Ok(Value::Int(from.wrapping_add(offset as i64)))
}

fn uuidv4(scope: &mut Scope<'_>, _: Args<'_>) -> Outcome<Value> {
    let mut bytes = [0; 16];
    fill(&mut bytes)?;
    let uuid = uuid::Builder::from_random_bytes(bytes).into_uuid();
    scope.text(uuid.to_string())
}

/// Go's `os.Expand`.
fn expandenv(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let mut text = args.text(0)?;
    let mut expanded = scope.buffer();
    while let Some((before, after)) = text.split_once('$') {
        expanded.push(before)?;
        let (name, length) = variable_name(after);
        match name {
            Some(name) => {
                let value = scope.environment.get(name);
                expanded.push(value.map_or("", String::as_str))?;
            }
            // A dollar before no name stays; bad braces go.
            None if length == 0 => expanded.push("$")?,
            None => {}
        }
        text = &after[length..];
    }
    expanded.push(text)?;
    scope.text(expanded.text)
}

/// The variable's name behind a dollar, and how much of the text it takes.
fn variable_name(text: &str) -> (Option<&str>, usize) {
    let special = |c: char| "*#$@!?-".contains(c) || c.is_ascii_digit();
    if let Some(braced) = text.strip_prefix('{') {
        if braced.starts_with(special) && braced[1..].starts_with('}') {
            return (Some(&braced[..1]), 3);
        }
        return match braced.find('}') {
            Some(0) => (None, 2),
            Some(end) => (Some(&braced[..end]), end + 2),
            None => (None, 1),
        };
    }
    if text.starts_with(special) {
        return (Some(&text[..1]), 1);
    }
    let is_name = |c: char| c == '_' || c.is_ascii_alphanumeric();
    let length = text.find(|c| !is_name(c)).unwrap_or(text.len());
    match length {
        0 => (None, 0),
        length => (Some(&text[..length]), length),
    }
}
