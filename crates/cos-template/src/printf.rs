//! `printf`: the directives of a format.

use crate::format::{Flags, NIL, Printer};
use crate::limits::Outcome;
use crate::value::{Scope, Value};

/// Largest width or precision that a value may give.
const MAX_NUMBER: i64 = 1_000_000;

/// `fmt.Sprintf`
pub(crate) fn sprintf(scope: &mut Scope<'_>, format: &str, values: &[Value]) -> Outcome<String> {
    let out = scope.buffer();
    let mut directives = Directives {
        printer: Printer::new(scope, out),
        format,
        at: 0,
        values,
        next: 0,
        reordered: false,
        good_number: true,
        after_number: false,
    };
    while directives.at < format.len() {
        let rest = &format[directives.at..];
        let length = rest.find('%').unwrap_or(rest.len());
        directives.printer.out.push(&rest[..length])?;
        directives.at += length + 1;
        if length < rest.len() {
            directives.directive()?;
        }
    }
    directives.extra()?;
    Ok(directives.printer.out.text)
}

/// A walk over the directives of a format.
struct Directives<'f, 's, 'e> {
    printer: Printer<'s, 'e>,
    format: &'f str,
    at: usize,
    values: &'f [Value],
    /// The value that the next directive takes.
    next: usize,
    /// Whether a directive said which value it takes.
    reordered: bool,
    good_number: bool,
    after_number: bool,
}

impl Directives<'_, '_, '_> {
    fn peek(&self) -> Option<u8> {
        self.format.as_bytes().get(self.at).copied()
    }

    fn directive(&mut self) -> Outcome<()> {
        self.printer.flags = Flags::default();
        self.good_number = true;
        self.after_number = false;
        self.flags();
        self.value_number();
        self.width()?;
        if self.peek() == Some(b'.') && self.at + 1 < self.format.len() {
            self.at += 1;
            self.precision()?;
        }
        if !self.after_number {
            self.value_number();
        }
        let Some(verb) = self
            .format
            .get(self.at..)
            .and_then(|rest| rest.chars().next())
        else {
            return self.printer.out.push("%!(NOVERB)");
        };
        self.at += verb.len_utf8();
        let out = &mut self.printer.out;
        if verb == '%' {
            return out.push("%");
        }
        if !self.good_number {
            return out.push(&format!("%!{verb}(BADINDEX)"));
        }
        let Some(value) = self.values.get(self.next) else {
            return out.push(&format!("%!{verb}(MISSING)"));
        };
        self.next += 1;
        if verb == 'v' {
            let flags = &mut self.printer.flags;
            flags.go_syntax = std::mem::take(&mut flags.sharp);
            flags.plus = false;
        }
        self.printer.argument(value, verb)
    }

    fn flags(&mut self) {
        let flags = &mut self.printer.flags;
        while let Some(c) = self.format.as_bytes().get(self.at) {
            match c {
                b'#' => flags.sharp = true,
                b'0' => flags.zero = !flags.minus,
                b'+' => flags.plus = true,
                b'-' => {
                    flags.minus = true;
                    flags.zero = false;
                }
                b' ' => flags.space = true,
                _ => break,
            }
            self.at += 1;
        }
    }

    fn number(&mut self) -> Option<i64> {
        let rest = self.format.get(self.at..)?;
        let length = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        if length == 0 {
            return None;
        }
        // Go looks whether the number is too large before it takes the next digit.
        let number = rest[..length].parse::<i64>().ok();
        let number = number.filter(|&number| number / 10 <= MAX_NUMBER);
        if number.is_none() {
            // Go gives up on the whole format.
            self.at = self.format.len();
            return None;
        }
        self.at += length;
        number
    }

    /// `[3]`
    fn value_number(&mut self) {
        self.after_number = false;
        if self.peek() != Some(b'[') {
            return;
        }
        self.reordered = true;
        let rest = &self.format[self.at..];
        let Some(end) = rest.find(']') else {
            self.good_number = false;
            self.at += 1;
            return;
        };
        let number = rest[1..end].parse::<usize>().ok();
        let number = number.filter(|_| rest[1..end].bytes().all(|b| b.is_ascii_digit()));
        self.at += end + 1;
        self.after_number = number.is_some();
        match number.and_then(|number| number.checked_sub(1)) {
            Some(index) if index < self.values.len() => self.next = index,
            _ => self.good_number = false,
        }
    }

    /// The number that a `*` stands for.
    fn number_from_value(&mut self) -> Option<i64> {
        let value = self.values.get(self.next)?;
        self.next += 1;
        value.integer().filter(|number| number.abs() <= MAX_NUMBER)
    }

    fn width(&mut self) -> Outcome<()> {
        if self.peek() == Some(b'*') {
            self.at += 1;
            let width = self.number_from_value();
            if width.is_none() {
                self.printer.out.push("%!(BADWIDTH)")?;
            }
            let flags = &mut self.printer.flags;
            flags.width = width.map(|width| width.unsigned_abs() as usize);
            if width.is_some_and(|width| width < 0) {
                flags.minus = true;
                flags.zero = false;
            }
            self.after_number = false;
            return Ok(());
        }
        let width = self.number();
        self.printer.flags.width = width.and_then(|width| usize::try_from(width).ok());
        if self.after_number && width.is_some() {
            self.good_number = false;
        }
        Ok(())
    }

    fn precision(&mut self) -> Outcome<()> {
        if self.after_number {
            self.good_number = false;
        }
        self.value_number();
        if self.peek() == Some(b'*') {
            self.at += 1;
            let precision = self.number_from_value();
            let precision = precision.and_then(|precision| usize::try_from(precision).ok());
            if precision.is_none() {
                self.printer.out.push("%!(BADPREC)")?;
            }
            self.printer.flags.precision = precision;
            self.after_number = false;
            return Ok(());
        }
        let precision = self.number().unwrap_or(0);
        self.printer.flags.precision = usize::try_from(precision).ok();
        Ok(())
    }

    /// Values that no directive took.
    fn extra(&mut self) -> Outcome<()> {
        if self.reordered || self.next >= self.values.len() {
            return Ok(());
        }
        self.printer.flags = Flags::default();
        self.printer.out.push("%!(EXTRA ")?;
        for (index, value) in self.values[self.next..].iter().enumerate() {
            if index > 0 {
                self.printer.out.push(", ")?;
            }
            match value {
                Value::Nil => self.printer.out.push(NIL)?,
                value => {
                    self.printer.out.push(value.type_name())?;
                    self.printer.out.push("=")?;
                    self.printer.argument(value, 'v')?;
                }
            }
        }
        self.printer.out.push(")")
    }
}
