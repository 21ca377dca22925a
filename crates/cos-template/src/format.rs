//! Values as text, as Go's `fmt` writes them.

use crate::float::{self, Shape};
use crate::functions;
use crate::limits::{Buffer, Outcome};
use crate::value::{Scope, Value};

/// What an action prints where there is no value.
pub(crate) const NO_VALUE: &str = "<no value>";

pub(crate) const NIL: &str = "<nil>";

/// A value as `%v` and sprig's `toString` have it.
pub(crate) fn text_of(scope: &mut Scope<'_>, value: &Value) -> Outcome<String> {
    if let Value::Text(text) = value {
        scope.budget.room(text.len())?;
        return Ok(text.to_string());
    }
    let out = scope.buffer();
    let mut printer = Printer::new(scope, out);
    printer.argument(value, 'v')?;
    Ok(printer.out.text)
}

/// `fmt.Sprint`: a space between two values neither of which is a text.
pub(crate) fn sprint(scope: &mut Scope<'_>, values: &[Value]) -> Outcome<String> {
    let out = scope.buffer();
    let mut printer = Printer::new(scope, out);
    let mut before_is_text = true;
    for value in values {
        let is_text = matches!(value, Value::Text(_));
        if !is_text && !before_is_text {
            printer.out.push(" ")?;
        }
        printer.argument(value, 'v')?;
        before_is_text = is_text;
    }
    Ok(printer.out.text)
}

/// `fmt.Sprintln`
pub(crate) fn sprintln(scope: &mut Scope<'_>, values: &[Value]) -> Outcome<String> {
    let out = scope.buffer();
    let mut printer = Printer::new(scope, out);
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            printer.out.push(" ")?;
        }
        printer.argument(value, 'v')?;
    }
    printer.out.push("\n")?;
    Ok(printer.out.text)
}

/// Near enough to Go's `unicode.IsPrint`: what Rust shows as it is, and combining marks.
pub(crate) fn is_print(c: char) -> bool {
    if c.is_ascii() {
        return (' '..='~').contains(&c);
    }
    // In a text, a mark after a letter is not escaped; alone it would be.
    format!("a{c}").escape_debug().count() == 2
}

/// `strconv.Quote`
pub(crate) fn quote(text: &str) -> String {
    quote_with(text, '"', false)
}

fn quote_with(text: &str, mark: char, ascii: bool) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push(mark);
    for c in text.chars() {
        match c {
            '\x07' => quoted.push_str("\\a"),
            '\x08' => quoted.push_str("\\b"),
            '\x0c' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\x0b' => quoted.push_str("\\v"),
            '\\' => quoted.push_str("\\\\"),
            c if c == mark => quoted.extend(['\\', c]),
            c if is_print(c) && (c.is_ascii() || !ascii) => quoted.push(c),
            c => {
                let escape = match u32::from(c) {
                    code @ 0..=0x7f => format!("\\x{code:02x}"),
                    code @ 0x80..=0xffff => format!("\\u{code:04x}"),
                    code => format!("\\U{code:08x}"),
                };
                quoted.push_str(&escape);
            }
        }
    }
    quoted.push(mark);
    quoted
}

/// What stands between `%` and the verb.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of printf's")]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Flags {
    pub(crate) plus: bool,
    pub(crate) minus: bool,
    pub(crate) sharp: bool,
    pub(crate) space: bool,
    pub(crate) zero: bool,
    /// `%#v`
    pub(crate) go_syntax: bool,
    pub(crate) width: Option<usize>,
    pub(crate) precision: Option<usize>,
}

/// Writes values.
#[derive(Debug)]
pub(crate) struct Printer<'s, 'e> {
    scope: &'s mut Scope<'e>,
    pub(crate) out: Buffer,
    pub(crate) flags: Flags,
}

impl<'s, 'e> Printer<'s, 'e> {
    pub(crate) fn new(scope: &'s mut Scope<'e>, out: Buffer) -> Self {
        Self {
            scope,
            out,
            flags: Flags::default(),
        }
    }

    /// Writes a text, padded to the width.
    fn pad(&mut self, text: &str) -> Outcome<()> {
        let length = text.chars().count();
        let missing = self.flags.width.unwrap_or(0).saturating_sub(length);
        if self.flags.minus {
            self.out.push(text)?;
            return self.out.repeat(" ", missing);
        }
        let filler = if self.flags.zero { "0" } else { " " };
        self.out.repeat(filler, missing)?;
        self.out.push(text)
    }

    fn pad_with_spaces(&mut self, text: &str) -> Outcome<()> {
        let zero = std::mem::take(&mut self.flags.zero);
        let result = self.pad(text);
        self.flags.zero = zero;
        result
    }

    fn bad_verb(&mut self, value: &Value, verb: char) -> Outcome<()> {
        self.out.push(&format!("%!{verb}("))?;
        match value {
            Value::Nil => self.out.push(NIL)?,
            value => {
                self.out.push(value.type_name())?;
                self.out.push("=")?;
                self.argument(value, 'v')?;
            }
        }
        self.out.push(")")
    }

    /// One argument of `printf`, or one value that is printed.
    pub(crate) fn argument(&mut self, value: &Value, verb: char) -> Outcome<()> {
        match (value, verb) {
            (Value::Nil, 'T' | 'v') => self.pad(NIL),
            (value, 'T') => self.text(value.type_name(), 's', value),
            (value, 'p') => self.bad_verb(value, verb),
            _ => self.value(value, verb),
        }
    }

    fn value(&mut self, value: &Value, verb: char) -> Outcome<()> {
        self.scope.budget.step(1)?;
        match value {
            Value::Nil => self.bad_verb(value, verb),
            Value::Bool(is) => match verb {
                't' | 'v' => self.pad(if *is { "true" } else { "false" }),
                _ => self.bad_verb(value, verb),
            },
            Value::Int(int) | Value::Int64(int) => {
                self.integer(int.unsigned_abs(), *int < 0, verb, value)
            }
            Value::Byte(byte) if verb == 'v' && self.flags.go_syntax => {
                self.pad(&format!("0x{byte:x}"))
            }
            Value::Byte(byte) => self.integer((*byte).into(), false, verb, value),
            Value::Float(float) => self.float(*float, verb, value),
            Value::Text(text) => {
                self.scope.budget.read(text.len())?;
                self.text(text, verb, value)
            }
            Value::List(list) => {
                let items = self.scope.items(*list)?;
                let items: Vec<_> = items.iter().map(|item| (None, item.clone())).collect();
                self.all(value, &items, verb)
            }
            Value::Map(map) => {
                let entries = self.scope.entries(*map)?.into_iter();
                let entries = entries.map(|(key, value)| (Some(Value::Text(key)), value));
                self.all(value, &entries.collect::<Vec<_>>(), verb)
            }
            Value::Time(_) | Value::Version(_) => {
                let text = match value {
                    Value::Time(time) => functions::time_text(*time)?,
                    Value::Version(version) => version.to_string(),
                    _ => String::new(),
                };
                self.text(&text, verb, value)
            }
        }
    }

    /// What a list or map holds.
    fn all(&mut self, value: &Value, items: &[(Option<Value>, Value)], verb: char) -> Outcome<()> {
        let go = verb == 'v' && self.flags.go_syntax;
        let (open, between, close) = match (value, go) {
            (Value::List(list), true) if list.is_nil => {
                return self.out.push(&format!("{}(nil)", value.type_name()));
            }
            (value, true) => (format!("{}{{", value.type_name()), ", ", "}"),
            (Value::Map(_), false) => ("map[".to_owned(), " ", "]"),
            _ => ("[".to_owned(), " ", "]"),
        };
        self.scope.budget.enter()?;
        self.out.push(&open)?;
        for (index, (key, item)) in items.iter().enumerate() {
            if index > 0 {
                self.out.push(between)?;
            }
            if let Some(key) = key {
                self.value(key, verb)?;
                self.out.push(":")?;
            }
            match item {
                Value::Nil if go => self.out.push("interface {}(nil)")?,
                Value::Nil => self.out.push(NIL)?,
                item => self.value(item, verb)?,
            }
        }
        self.scope.budget.leave();
        self.out.push(close)
    }

    fn text(&mut self, text: &str, verb: char, value: &Value) -> Outcome<()> {
        let shown = match self.flags.precision {
            Some(most) if !matches!(verb, 'x' | 'X') => {
                let end = text.char_indices().nth(most);
                &text[..end.map_or(text.len(), |(at, _)| at)]
            }
            _ => text,
        };
        match verb {
            'v' if self.flags.go_syntax => self.quoted(shown),
            'v' | 's' => self.pad(shown),
            'q' => self.quoted(shown),
            'x' | 'X' => self.hex(text.as_bytes(), verb == 'X'),
            _ => self.bad_verb(value, verb),
        }
    }

    fn quoted(&mut self, text: &str) -> Outcome<()> {
        let plain = |c: char| c != '`' && c != '\u{feff}' && (c == '\t' || !c.is_ascii_control());
        if self.flags.sharp && text.chars().all(plain) {
            return self.pad(&format!("`{text}`"));
        }
        self.scope.budget.room(text.len().saturating_mul(10))?;
        let quoted = quote_with(text, '"', self.flags.plus);
        self.pad(&quoted)
    }

    fn hex(&mut self, bytes: &[u8], upper: bool) -> Outcome<()> {
        let most = self.flags.precision.unwrap_or(bytes.len());
        let bytes = &bytes[..most.min(bytes.len())];
        self.scope.budget.room(bytes.len().saturating_mul(5))?;
        let prefix = match (self.flags.sharp, upper) {
            (false, _) => "",
            (true, false) => "0x",
            (true, true) => "0X",
        };
        let mut text = String::new();
        for (index, byte) in bytes.iter().enumerate() {
            if index > 0 && self.flags.space {
                text.push(' ');
            }
            if index == 0 || self.flags.space {
                text.push_str(prefix);
            }
            let digits = if upper {
                format!("{byte:02X}")
            } else {
                format!("{byte:02x}")
            };
            text.push_str(&digits);
        }
        self.pad(&text)
    }

    fn integer(&mut self, size: u64, negative: bool, verb: char, value: &Value) -> Outcome<()> {
        let digits = match verb {
            'v' | 'd' => size.to_string(),
            'b' => format!("{size:b}"),
            'o' | 'O' => format!("{size:o}"),
            'x' => format!("{size:x}"),
            'X' => format!("{size:X}"),
            'c' | 'q' | 'U' => return self.rune(size, negative, verb),
            _ => return self.bad_verb(value, verb),
        };
        let flags = self.flags;
        if flags.precision == Some(0) && size == 0 {
            return self.pad_with_spaces("");
        }
        let signed = negative || flags.plus || flags.space;
        let least = match (flags.precision, flags.width) {
            (Some(precision), _) => precision,
            (None, Some(width)) if flags.zero => width - usize::from(signed && width > 0),
            _ => 0,
        };
        let mut text = String::new();
        text.push_str(match (negative, flags.plus, flags.space) {
            (true, ..) => "-",
            (_, true, _) => "+",
            (_, _, true) => " ",
            _ => "",
        });
        let padding = least.saturating_sub(digits.len());
        self.scope.budget.room(padding)?;
        let leads = padding == 0 && !digits.starts_with('0');
        text.push_str(match verb {
            'O' if flags.sharp && leads => "0o0",
            'O' => "0o",
            'b' if flags.sharp => "0b",
            'o' if flags.sharp && leads => "0",
            'x' if flags.sharp => "0x",
            'X' if flags.sharp => "0X",
            _ => "",
        });
        text.extend(std::iter::repeat_n('0', padding));
        text.push_str(&digits);
        self.pad_with_spaces(&text)
    }

    fn rune(&mut self, size: u64, negative: bool, verb: char) -> Outcome<()> {
        let code = u32::try_from(size).ok().filter(|_| !negative);
        let c = code.and_then(char::from_u32).unwrap_or('\u{fffd}');
        match verb {
            'c' => self.pad(c.encode_utf8(&mut [0; 4])),
            'q' => {
                let text = quote_with(c.encode_utf8(&mut [0; 4]), '\'', self.flags.plus);
                self.pad(&text)
            }
            _ => {
                let code = if negative { size.wrapping_neg() } else { size };
                let digits = self.flags.precision.unwrap_or(0).max(4);
                self.scope.budget.room(digits)?;
                let bare = format!("{code:X}");
                let zeros = "0".repeat(digits.saturating_sub(bare.len()));
                let mut text = format!("U+{zeros}{bare}");
                if self.flags.sharp && !negative && is_print(c) && u64::from(u32::from(c)) == size {
                    text.extend([' ', '\'', c, '\'']);
                }
                self.pad_with_spaces(&text)
            }
        }
    }

    fn float(&mut self, float: f64, verb: char, value: &Value) -> Outcome<()> {
        let (shape, default) = match verb {
            'v' | 'g' | 'G' => (Shape::General, None),
            'f' | 'F' => (Shape::Fixed, Some(6)),
            'e' | 'E' => (Shape::Exponent, Some(6)),
            'b' | 'x' | 'X' => {
                return Err(format!("%{verb} of a float64 is not supported").into());
            }
            _ => return self.bad_verb(value, verb),
        };
        let precision = self.flags.precision.or(default);
        self.scope
            .budget
            .room(precision.unwrap_or(0).saturating_add(400))?;
        let mut text = float::format(float, shape, precision);
        if verb.is_ascii_uppercase() && verb != 'F' {
            text = text.replace('e', "E");
        }
        if self.flags.sharp && float.is_finite() {
            text = with_point(
                &text,
                matches!(verb, 'v' | 'g' | 'G').then_some(precision.unwrap_or(6)),
            );
        }
        if !text.starts_with(['+', '-']) {
            text.insert(0, '+');
        }
        if self.flags.space && text.starts_with('+') && !self.flags.plus {
            text.replace_range(..1, " ");
        }
        let (sign, digits) = text.split_at(1);
        if !float.is_finite() {
            let bare = float.is_nan() && !self.flags.space && !self.flags.plus;
            return self.pad_with_spaces(if bare { digits } else { &text });
        }
        if sign == "+" && !self.flags.plus {
            return self.pad(digits);
        }
        let width = self.flags.width.unwrap_or(0);
        if self.flags.zero && width > text.len() {
            // The sign goes before the zeros.
            self.out.push(sign)?;
            self.out.repeat("0", width - text.len())?;
            return self.out.push(digits);
        }
        self.pad(&text)
    }
}

/// `%#g`: a point in any case, and the zeros up to so many digits.
fn with_point(text: &str, digits: Option<usize>) -> String {
    let (number, tail) = match text.find(['e', 'E']) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let mut number = number.to_owned();
    let bare = number.trim_start_matches(['+', '-']);
    let significant = bare
        .chars()
        .filter(|&c| c != '.')
        .skip_while(|&c| c == '0')
        .count();
    // A lone zero counts as a digit.
    let significant = if bare == "0" { 1 } else { significant };
    if !number.contains('.') {
        number.push('.');
    }
    let zeros = digits.unwrap_or(0).saturating_sub(significant);
    format!("{number}{}{tail}", "0".repeat(zeros))
}
