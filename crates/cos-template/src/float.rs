//! Floating-point numbers as Go's `strconv.FormatFloat` writes them.

/// Which notation: the verbs `e`, `f` and `g`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `1.5e+06`
    Exponent,
    /// `1500000`
    Fixed,
    /// The shorter of the two, roughly.
    General,
}

/// No number has more digits than this after its point; further ones are zeros.
const MOST_DIGITS: usize = 1100;

/// A number without an explicit precision gets as many digits as it takes to tell it apart.
pub(crate) fn format(value: f64, shape: Shape, precision: Option<usize>) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    let sign = if value.is_sign_negative() { "-" } else { "" };
    if value.is_infinite() {
        return if sign.is_empty() { "+Inf" } else { "-Inf" }.to_owned();
    }
    let size = value.abs();
    let text = match shape {
        Shape::Exponent => exponent(size, precision),
        Shape::Fixed => fixed(size, precision),
        Shape::General => general(size, precision),
    };
    format!("{sign}{text}")
}

fn zeros(precision: usize) -> String {
    "0".repeat(precision.saturating_sub(MOST_DIGITS))
}

fn fixed(size: f64, precision: Option<usize>) -> String {
    match precision {
        None => format!("{size}"),
        Some(precision) => {
            let digits = precision.min(MOST_DIGITS);
            format!("{size:.digits$}{}", zeros(precision))
        }
    }
}

/// The digits of a number, the first of them before the point, and its power of ten.
fn digits(size: f64, precision: Option<usize>) -> (String, i32) {
    let text = match precision {
        None => format!("{size:e}"),
        Some(precision) => format!("{size:.*e}", precision.min(MOST_DIGITS)),
    };
    let (mantissa, power) = text.split_once('e').unwrap_or((&text, "0"));
    (mantissa.replace('.', ""), power.parse().unwrap_or(0))
}

fn with_exponent(digits: &str, power: i32) -> String {
    let (first, rest) = digits.split_at(digits.len().min(1));
    let point = if rest.is_empty() { "" } else { "." };
    let sign = if power < 0 { '-' } else { '+' };
    format!("{first}{point}{rest}e{sign}{:02}", power.abs())
}

fn exponent(size: f64, precision: Option<usize>) -> String {
    let (mut digits, power) = digits(size, precision);
    digits.push_str(&zeros(precision.unwrap_or(0)));
    with_exponent(&digits, power)
}

fn general(size: f64, precision: Option<usize>) -> String {
    let wanted = precision.map(|precision| precision.max(1));
    let (all, power) = digits(size, wanted.map(|wanted| wanted - 1));
    let digits = match all.trim_end_matches('0') {
        "" => "0",
        trimmed => trimmed,
    };
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    let bound = match wanted {
        None => 6,
        Some(wanted) => {
            let wanted = i32::try_from(wanted).unwrap_or(i32::MAX);
            if wanted > count && count > power {
                count
            } else {
                wanted
            }
        }
    };
    if power < -4 || power >= bound {
        return with_exponent(digits, power);
    }
    let decimals = usize::try_from(count - 1 - power).unwrap_or(0);
    format!("{size:.decimals$}")
}
