//! Go's literals: quoted texts, characters, numbers.

use crate::tree::Number;

/// The text of a quoted literal, its quotes included (`strconv.Unquote`).
pub(crate) fn unquote(literal: &str) -> Option<String> {
    let mut inner = literal.strip_prefix('"')?.strip_suffix('"')?;
    let mut bytes = Vec::with_capacity(inner.len());
    while !inner.is_empty() {
        inner = unescape(inner, '"', &mut bytes)?;
    }
    String::from_utf8(bytes).ok()
}

/// The code point of a character literal, its quotes included.
pub(crate) fn unquote_char(literal: &str) -> Option<u32> {
    let inner = literal.strip_prefix('\'')?.strip_suffix('\'')?;
    let mut bytes = Vec::new();
    let rest = unescape(inner, '\'', &mut bytes)?;
    if !rest.is_empty() {
        return None;
    }
    match bytes.as_slice() {
        // `\xff` and octal escapes are bytes, and as characters their number.
        [byte] => Some((*byte).into()),
        _ => std::str::from_utf8(&bytes)
            .ok()?
            .chars()
            .next()
            .map(u32::from),
    }
}

/// Takes one character or escape off the front.
fn unescape<'a>(text: &'a str, quote: char, bytes: &mut Vec<u8>) -> Option<&'a str> {
    let mut chars = text.chars();
    let c = chars.next()?;
    let push = |c: char, bytes: &mut Vec<u8>| bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
    if c != '\\' {
        if c == quote || c == '\n' {
            return None;
        }
        push(c, bytes);
        return Some(chars.as_str());
    }
    let rest = |chars: &std::str::Chars<'a>| chars.as_str();
    match chars.next()? {
        'a' => bytes.push(7),
        'b' => bytes.push(8),
        'f' => bytes.push(12),
        'n' => bytes.push(b'\n'),
        'r' => bytes.push(b'\r'),
        't' => bytes.push(b'\t'),
        'v' => bytes.push(11),
        '\\' => bytes.push(b'\\'),
        c @ ('\'' | '"') if c == quote => push(c, bytes),
        'x' => {
            let (code, rest) = digits(rest(&chars), 2, 16)?;
            bytes.push(u8::try_from(code).ok()?);
            return Some(rest);
        }
        c @ ('u' | 'U') => {
            let (code, rest) = digits(rest(&chars), if c == 'u' { 4 } else { 8 }, 16)?;
            push(char::from_u32(code)?, bytes);
            return Some(rest);
        }
        '0'..='7' => {
            let (code, rest) = digits(text.get(1..)?, 3, 8)?;
            bytes.push(u8::try_from(code).ok()?);
            return Some(rest);
        }
        _ => return None,
    }
    Some(rest(&chars))
}

fn digits(text: &str, count: usize, radix: u32) -> Option<(u32, &str)> {
    let (head, rest) = text.split_at_checked(count)?;
    if !head.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    Some((u32::from_str_radix(head, radix).ok()?, rest))
}

/// A number or character literal.
pub(crate) fn number(text: &str) -> Option<Number> {
    let integer = |int: i64| Number {
        int: Some(int),
        #[expect(clippy::cast_precision_loss, reason = "as Go converts")]
        float: int as f64,
        is_float: false,
    };
    if text.starts_with('\'') {
        return unquote_char(text).map(|code| integer(code.into()));
    }
    // Go takes `-0x1e` for a floating-point number for its `e`, as it looks for `0x` at the start.
    let is_hex = text.starts_with("0x") || text.starts_with("0X");
    let is_float = text.contains(['p', 'P']) || (!is_hex && text.contains(['.', 'e', 'E']));
    if let Some(int) = parse_int(text, 0) {
        let number = integer(int);
        return Some(Number { is_float, ..number });
    }
    let hex = text.to_ascii_lowercase().contains("0x");
    if !text.contains(['.', 'e', 'E', 'p', 'P']) || (hex && !text.contains(['p', 'P'])) {
        return None;
    }
    let float = parse_float(text)?;
    #[expect(clippy::float_cmp, reason = "whether it is exactly an integer")]
    let is_exact = |int: &i64| int_to_float(*int) == float;
    Some(Number {
        int: float_to_int(float).filter(is_exact),
        float,
        is_float: true,
    })
}

#[expect(clippy::cast_precision_loss, reason = "as Go converts")]
fn int_to_float(int: i64) -> f64 {
    int as f64
}

/// The integer part, unless out of range.
pub(crate) fn float_to_int(float: f64) -> Option<i64> {
    const BOUND: f64 = 9_223_372_036_854_775_808.0;
    (-BOUND..BOUND).contains(&float).then_some(float as i64)
}

/// `strconv.ParseInt`; a `base` of 0 goes by the prefix and lets underscores stand between digits.
pub(crate) fn parse_int(text: &str, base: u32) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let magnitude = if base == 0 {
        let (radix, digits) = radix_of(digits)?;
        u64::from_str_radix(&digits, radix).ok()?
    } else {
        plain_digits(digits, base)?;
        u64::from_str_radix(digits, base).ok()?
    };
    if negative {
        0i64.checked_sub_unsigned(magnitude)
    } else {
        i64::try_from(magnitude).ok()
    }
}

fn plain_digits(digits: &str, radix: u32) -> Option<()> {
    (!digits.is_empty() && digits.chars().all(|c| c.is_digit(radix))).then_some(())
}

/// The radix that a prefix names, and the digits without it.
fn radix_of(digits: &str) -> Option<(u32, String)> {
    let lower = digits.to_ascii_lowercase();
    let (radix, rest) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    // An underscore must stand between digits, or between the prefix and a digit.
    let misplaced =
        rest.ends_with('_') || rest.contains("__") || (radix == 10 && rest.starts_with('_'));
    if misplaced {
        return None;
    }
    let plain = rest.replace('_', "");
    plain_digits(&plain, radix)?;
    Some((radix, plain))
}

/// `strconv.ParseFloat` to 64 bits.
pub(crate) fn parse_float(text: &str) -> Option<f64> {
    let text = &without_underscores(text)?;
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if let Some(hex) = unsigned.strip_prefix("0x").or(unsigned.strip_prefix("0X")) {
        let value = parse_hex_float(hex)?;
        return Some(if text.starts_with('-') { -value } else { value });
    }
    let value: f64 = text.parse().ok()?;
    let names_infinity = unsigned.starts_with(['i', 'I', 'n', 'N']);
    (value.is_finite() || names_infinity).then_some(value)
}

/// Underscores may stand between digits, and nowhere else.
fn without_underscores(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let hex = text.contains("0x") || text.contains("0X");
    let is_digit = |at: Option<usize>| {
        let byte = at.and_then(|at| bytes.get(at));
        byte.is_some_and(|b| b.is_ascii_digit() || (hex && b.is_ascii_alphanumeric()))
    };
    let misplaced = |at: usize| !is_digit(at.checked_sub(1)) || !is_digit(Some(at + 1));
    let mut underscores = text.match_indices('_').map(|(at, _)| at);
    (!underscores.any(misplaced)).then(|| text.replace('_', ""))
}

fn parse_hex_float(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once(['p', 'P'])?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    // Thirteen digits are all that fit without rounding, which is left out.
    if digits.is_empty() || digits.len() > 13 {
        return None;
    }
    plain_digits(&digits, 16)?;
    let mantissa = u64::from_str_radix(&digits, 16).ok()?;
    let exponent: i32 = exponent.parse().ok()?;
    let shift = exponent.checked_sub(4 * i32::try_from(fraction.len()).ok()?)?;
    #[expect(clippy::cast_precision_loss, reason = "52 bits at most")]
    let value = mantissa as f64 * 2f64.powi(shift);
    value.is_finite().then_some(value)
}
