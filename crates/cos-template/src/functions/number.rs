//! Integers and floating-point numbers.

use super::{Args, Function, Param};
use crate::format;
use crate::limits::{Fault, Outcome};
use crate::literal::{float_to_int, parse_float, parse_int};
use crate::value::{ListKind, Scope, Value};
use Param::{Any, Float, Int, Text};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("atoi", &[Text], |_, args| {
        Ok(Value::Int(atoi(args.text(0)?)))
    }),
    Function::new("int", &[Any], |_, args| Ok(Value::Int(to_int(args.at(0)?)))),
    Function::new("int64", &[Any], |_, a| Ok(Value::Int64(to_int(a.at(0)?)))),
    Function::new("float64", &[Any], |_, args| {
        Ok(Value::Float(to_float(args.at(0)?)))
    }),
    Function::new("toDecimal", &[Any], to_decimal),
    Function::new("add1", &[Any], |_, args| {
        Ok(Value::Int64(to_int(args.at(0)?).wrapping_add(1)))
    }),
    Function::variadic("add", &[], Any, |_, args| {
        Ok(fold(0, args.0, i64::wrapping_add))
    }),
    Function::new("sub", &[Any, Any], |_, args| {
        Ok(fold(to_int(args.at(0)?), args.rest(1), i64::wrapping_sub))
    }),
    Function::variadic("mul", &[Any], Any, |_, args| {
        Ok(fold(to_int(args.at(0)?), args.rest(1), i64::wrapping_mul))
    }),
    Function::new("div", &[Any, Any], |_, args| {
        divide(args, i64::wrapping_div)
    }),
    Function::new("mod", &[Any, Any], |_, args| {
        divide(args, i64::wrapping_rem)
    }),
    Function::variadic("max", &[Any], Any, max),
    Function::variadic("biggest", &[Any], Any, max),
    Function::variadic("min", &[Any], Any, |_, args| {
        Ok(fold(to_int(args.at(0)?), args.rest(1), i64::min))
    }),
    Function::variadic("maxf", &[Any], Any, |_, args| {
        Ok(fold_float(
            args,
            |a, b| if a > b || a.is_nan() { a } else { b },
        ))
    }),
    Function::variadic("minf", &[Any], Any, |_, args| {
        Ok(fold_float(
            args,
            |a, b| if a < b || a.is_nan() { a } else { b },
        ))
    }),
    Function::new("floor", &[Any], |_, args| {
        Ok(Value::Float(to_float(args.at(0)?).floor()))
    }),
    Function::new("ceil", &[Any], |_, args| {
        Ok(Value::Float(to_float(args.at(0)?).ceil()))
    }),
    Function::variadic("round", &[Any, Int], Float, round),
    Function::new("until", &[Int], until),
    Function::new("untilStep", &[Int, Int, Int], |scope, args| {
        let numbers = steps(scope, args.int(0)?, args.int(1)?, args.int(2)?)?;
        scope.list(ListKind::Int, numbers.into_iter().map(Value::Int).collect())
    }),
    Function::variadic("seq", &[], Int, seq),
];

/// `strconv.Atoi` without its error: what is too large becomes the largest.
fn atoi(text: &str) -> i64 {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let are_digits = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    match parse_int(text, 10) {
        Some(int) => int,
        None if !are_digits => 0,
        None if text.starts_with('-') => i64::MIN,
        None => i64::MAX,
    }
}

fn fold(start: i64, values: &[Value], join: fn(i64, i64) -> i64) -> Value {
    Value::Int64(values.iter().map(to_int).fold(start, join))
}

fn fold_float(args: Args<'_>, join: fn(f64, f64) -> f64) -> Value {
    let floats = args.0.iter().map(to_float);
    Value::Float(floats.reduce(join).unwrap_or(0.0))
}

fn max(_: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    Ok(fold(to_int(args.at(0)?), args.rest(1), i64::max))
}

fn divide(args: Args<'_>, divide: fn(i64, i64) -> i64) -> Outcome<Value> {
    let by = to_int(args.at(1)?);
    if by == 0 {
        return Err("division by zero".into());
    }
    Ok(Value::Int64(divide(to_int(args.at(0)?), by)))
}

/// `cast.ToInt64`: nothing fails, what is no number is 0.
pub(super) fn to_int(value: &Value) -> i64 {
    match value {
        Value::Bool(is) => (*is).into(),
        // Out of range, the processor's answer, which Go passes on.
        Value::Float(float) => float_to_int(*float).unwrap_or(i64::MIN),
        Value::Text(text) => parse_int(without_zero_decimals(text), 0).unwrap_or(0),
        value => value.integer().unwrap_or(0),
    }
}

/// `12.00` is `12` (`cast.trimZeroDecimal`).
fn without_zero_decimals(text: &str) -> &str {
    let zeros = text.trim_end_matches('0');
    match zeros.strip_suffix('.') {
        Some(whole) if zeros.len() < text.len() => whole,
        _ => text,
    }
}

/// `cast.ToFloat64`
#[expect(clippy::cast_precision_loss, reason = "as Go converts")]
fn to_float(value: &Value) -> f64 {
    match value {
        Value::Bool(is) => u8::from(*is).into(),
        Value::Float(float) => *float,
        Value::Text(text) => parse_float(text).unwrap_or(0.0),
        value => value.integer().unwrap_or(0) as f64,
    }
}

fn to_decimal(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let text = format::text_of(scope, args.at(0)?)?;
    Ok(Value::Int64(parse_int(&text, 8).unwrap_or(0)))
}

#[expect(clippy::cast_precision_loss, reason = "a few decimal places")]
fn round(_: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let up_from = match args.rest(2).first() {
        Some(Value::Float(from)) => *from,
        _ => 0.5,
    };
    let power = 10f64.powf(args.int(1)? as f64);
    let shifted = power * to_float(args.at(0)?);
    let rounded = if shifted.fract() >= up_from {
        shifted.ceil()
    } else {
        shifted.floor()
    };
    Ok(Value::Float(rounded / power))
}

/// `start`, and on by `step` up to, not including, `end`.
fn steps(scope: &mut Scope<'_>, start: i64, end: i64, step: i64) -> Outcome<Vec<i64>> {
    let down = end < start;
    if (down && step >= 0) || (!down && step <= 0) {
        return Ok(Vec::new());
    }
    let count = start.abs_diff(end).div_ceil(step.unsigned_abs());
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    scope.room_for(count)?;
    scope.budget.step(count as u64 / 16)?;
    let numbers = std::iter::successors(Some(start), |number| Some(number.wrapping_add(step)));
    Ok(numbers.take(count).collect())
}

fn until(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let count = args.int(0)?;
    let numbers = steps(scope, 0, count, if count < 0 { -1 } else { 1 })?;
    scope.list(ListKind::Int, numbers.into_iter().map(Value::Int).collect())
}

fn seq(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let (start, step, end) = match args.0.len() {
        1 => (1, None, args.int(0)?),
        2 => (args.int(0)?, None, args.int(1)?),
        3 => (args.int(0)?, Some(args.int(1)?), args.int(2)?),
        _ => return scope.text(""),
    };
    let direction = if end < start { -1 } else { 1 };
    if direction < 0 && step.is_some_and(|step| step > 0) {
        return scope.text("");
    }
    let numbers = steps(
        scope,
        start,
        end.saturating_add(direction),
        step.unwrap_or(direction),
    )?;
    let mut text = scope.buffer();
    for (index, number) in numbers.iter().enumerate() {
        if index > 0 {
            text.push(" ")?;
        }
        text.push(&number.to_string())?;
    }
    scope.text(text.text)
}

/// An index: an integer of sprig's kind.
pub(super) fn index(value: &Value) -> Outcome<usize> {
    let number = to_int(value);
    usize::try_from(number).map_err(|_| Fault::from(format!("{number} is out of range")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_of_zero_go() {
        assert_eq!(without_zero_decimals("12.00"), "12");
        assert_eq!(without_zero_decimals("12.50"), "12.50");
        assert_eq!(without_zero_decimals("100"), "100");
        assert_eq!(without_zero_decimals("1."), "1.");
    }
}
