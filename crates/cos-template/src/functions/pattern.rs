//! Regular expressions as Go understands them (RE2), brought into the words of the `regex` crate.
//!
//! The differences that matter: `\d`, `\w`, `\s` and `\b` are ASCII, octal escapes and `\Q…\E`
//! exist, a brace that starts no repetition stands for itself, and repetitions do not stack.

use crate::limits::{Fault, Outcome};

/// Largest compiled program, in bytes.
const SIZE_LIMIT: usize = 1 << 20;

/// Most literals and classes, repetitions counted, of one expression.
const MAX_WEIGHT: u64 = 20_000;

/// Most a repetition may say, as in Go.
const MAX_REPEAT: u64 = 1000;

/// A compiled expression.
#[derive(Debug)]
pub(crate) struct Pattern {
    pub(crate) regex: regex::Regex,
    /// How many literals and classes it has, repetitions counted: what matching a byte may cost.
    pub(crate) weight: u64,
}

impl Pattern {
    /// Compiles an expression of Go's.
    pub(crate) fn new(go: &str) -> Outcome<Self> {
        let (translated, weight) = translate(go)?;
        let regex = regex::RegexBuilder::new(&translated)
            .size_limit(SIZE_LIMIT)
            .dfa_size_limit(SIZE_LIMIT)
            .nest_limit(2 * MAX_DEPTH as u32 + 10)
            .build()
            .map_err(|error| Fault::Unsupported(last_line(&error.to_string())))?;
        Ok(Self { regex, weight })
    }
}

/// The crate's messages draw the expression; the last line says what is wrong.
fn last_line(message: &str) -> String {
    let last = message.lines().last().unwrap_or_default();
    last.trim_start_matches("error: ").to_owned()
}

/// Deepest nesting of groups.
const MAX_DEPTH: usize = 100;

/// What may stand between `[:` and `:]`: the same there and here.
const POSIX_CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];

/// The name that a group of Go's has here.
pub(super) fn group_name(go: &str) -> String {
    format!("_{go}")
}

struct Translator<'a> {
    rest: &'a str,
    out: String,
    /// The weight so far at every open parenthesis, outermost first.
    weights: Vec<u64>,
    /// The weight of what a repetition would repeat; nothing where there is nothing to repeat.
    operand: Option<u64>,
    /// The largest product of repetitions within that operand and within the open groups.
    repeats: Vec<u64>,
    operand_repeats: u64,
    /// Whether the operand is repeated already.
    repeated: bool,
    /// The groups that have names.
    names: Vec<String>,
}

fn translate(go: &str) -> Outcome<(String, u64)> {
    let mut translator = Translator {
        rest: go,
        out: String::new(),
        weights: vec![0],
        operand: None,
        repeats: vec![1],
        operand_repeats: 1,
        repeated: false,
        names: Vec::new(),
    };
    while let Some(c) = translator.rest.chars().next() {
        translator.next(c)?;
        if translator.weights.iter().sum::<u64>() > MAX_WEIGHT {
            return Err(Fault::Unsupported("the expression is too large".to_owned()));
        }
    }
    if translator.weights.len() > 1 {
        return Err("missing closing )".into());
    }
    Ok((translator.out, translator.weights[0]))
}

impl Translator<'_> {
    fn skip(&mut self, length: usize) {
        self.rest = self.rest.get(length..).unwrap_or_default();
    }

    /// Writes something that can be repeated.
    fn operand(&mut self, translated: &str) {
        self.out.push_str(translated);
        self.set_operand(1, 1);
    }

    fn set_operand(&mut self, weight: u64, repeats: u64) {
        if let Some(open) = self.weights.last_mut() {
            *open += weight;
        }
        if let Some(open) = self.repeats.last_mut() {
            *open = (*open).max(repeats);
        }
        self.operand = Some(weight);
        self.operand_repeats = repeats;
        self.repeated = false;
    }

    fn literal(&mut self, c: char) {
        let mut bytes = [0; 4];
        let escaped = regex::escape(c.encode_utf8(&mut bytes));
        self.operand(&escaped);
    }

    fn next(&mut self, c: char) -> Outcome<()> {
        match c {
            '\\' => return self.escape(),
            '[' => return self.class(),
            '(' => return self.open(),
            ')' => return self.close(),
            '*' | '+' | '?' => return self.repeat(1, 1, 1),
            '{' => match self.braces() {
                Some((length, least, most)) => return self.repeat(length, least, most),
                None => self.literal('{'),
            },
            '|' => {
                self.out.push('|');
                self.operand = None;
                self.repeated = false;
            }
            '^' | '$' | '.' => self.operand(c.encode_utf8(&mut [0; 4])),
            c => self.literal(c),
        }
        self.skip(c.len_utf8());
        Ok(())
    }

    fn open(&mut self) -> Outcome<()> {
        if self.weights.len() > MAX_DEPTH {
            return Err(Fault::Unsupported("nested too deeply".to_owned()));
        }
        self.operand = None;
        self.repeated = false;
        let rest = self.rest;
        let flags = rest.strip_prefix("(?");
        let name = flags.and_then(|rest| rest.strip_prefix("P<").or(rest.strip_prefix('<')));
        if let Some(name) = name {
            let Some((name, after)) = name.split_once('>') else {
                return Err("missing closing >".into());
            };
            self.named_group(name)?;
            self.rest = after;
        } else if let Some(flags) = flags {
            let end = flags.find([':', ')']).ok_or("missing closing )")?;
            let known = |c: char| matches!(c, 'i' | 'm' | 's' | 'U' | '-');
            if !flags[..end].chars().all(known) {
                return Err(format!("unknown group (?{}", &flags[..end]).into());
            }
            let group = &rest[..end + 3];
            self.out.push_str(group);
            self.rest = &rest[end + 3..];
            if group.ends_with(')') {
                if self.rest.starts_with(['*', '+', '?']) {
                    // Go repeats what stands before the flags.
                    let message = "a repetition after flags is not supported";
                    return Err(Fault::Unsupported(message.to_owned()));
                }
                return Ok(());
            }
        } else {
            self.out.push('(');
            self.skip(1);
        }
        self.weights.push(1);
        self.repeats.push(1);
        Ok(())
    }

    /// Opens a group with a name. Go lets names start with digits, and be used twice: `expand` finds
    /// the first.
    fn named_group(&mut self, name: &str) -> Outcome<()> {
        let known = |c: char| c == '_' || c.is_ascii_alphanumeric();
        if name.is_empty() || !name.chars().all(known) {
            return Err(format!("bad name of a group {name:?}").into());
        }
        let name = group_name(name);
        if self.names.contains(&name) {
            self.out.push('(');
        } else {
            self.out.extend(["(?P<", &name, ">"]);
            self.names.push(name);
        }
        Ok(())
    }

    fn close(&mut self) -> Outcome<()> {
        if self.weights.len() < 2 {
            return Err("unexpected )".into());
        }
        let weight = self.weights.pop().unwrap_or(1);
        let repeats = self.repeats.pop().unwrap_or(1);
        self.out.push(')');
        self.set_operand(weight, repeats);
        self.skip(1);
        Ok(())
    }

    /// `{2}`, `{2,}` or `{2,5}`: its length, least and most.
    fn braces(&self) -> Option<(usize, u64, u64)> {
        let (inner, _) = self.rest[1..].split_once('}')?;
        let (least, most) = inner.split_once(',').unwrap_or((inner, inner));
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            // Go takes no leading zeros, and of what is too long only that it is.
            let plain = digits && (text.len() == 1 || !text.starts_with('0'));
            plain.then(|| text.parse().unwrap_or(u64::MAX))
        };
        let least = number(least)?;
        let most = match most {
            "" => least,
            most => number(most)?,
        };
        Some((inner.len() + 2, least, most))
    }

    fn repeat(&mut self, length: usize, least: u64, most: u64) -> Outcome<()> {
        let open_ended = self.rest[..length].ends_with(",}");
        if least > MAX_REPEAT || most > MAX_REPEAT || most < least {
            return Err(format!("bad repetition {}", &self.rest[..length]).into());
        }
        let operator = &self.rest[..length];
        let Some(weight) = self.operand else {
            return Err(format!("nothing to repeat before {operator}").into());
        };
        if self.repeated {
            return Err(format!("{operator} repeats a repetition").into());
        }
        let times = most.max(least).max(1) + u64::from(open_ended);
        let repeats = self.operand_repeats.saturating_mul(most.max(1));
        if repeats > MAX_REPEAT {
            return Err(format!("bad repetition {operator}").into());
        }
        self.out.push_str(operator);
        self.skip(length);
        if self.rest.starts_with('?') {
            self.out.push('?');
            self.skip(1);
        }
        let extra = weight.saturating_mul(times - 1);
        self.set_operand(extra, repeats);
        self.operand = Some(weight.saturating_mul(times));
        self.repeated = true;
        Ok(())
    }

    fn escape(&mut self) -> Outcome<()> {
        let Some(c) = self.rest[1..].chars().next() else {
            return Err("trailing backslash".into());
        };
        if c == 'Q' {
            let text = &self.rest[2..];
            let (literal, length) = match text.split_once("\\E") {
                Some((literal, _)) => (literal, literal.len() + 4),
                None => (text, text.len() + 2),
            };
            for c in literal.chars() {
                self.literal(c);
            }
            self.skip(length);
            return Ok(());
        }
        let assertion = match c {
            'A' => Some(r"\A"),
            'z' => Some(r"\z"),
            'b' => Some(r"(?-u:\b)"),
            'B' => Some(r"(?-u:\B)"),
            _ => None,
        };
        if let Some(class) = assertion.or(perl_class(c)) {
            let class = if assertion.is_none() {
                format!("[{class}]")
            } else {
                class.to_owned()
            };
            self.operand(&class);
            self.skip(2);
            return Ok(());
        }
        if matches!(c, 'p' | 'P') {
            return Err(Fault::Unsupported(
                "classes of Unicode (\\p) are not supported".to_owned(),
            ));
        }
        let (c, length) = escaped_char(self.rest)?;
        self.literal(c);
        self.skip(length);
        Ok(())
    }

    fn class(&mut self) -> Outcome<()> {
        let mut out = "[".to_owned();
        self.skip(1);
        if self.rest.starts_with('^') {
            out.push('^');
            self.skip(1);
        }
        let mut first = true;
        loop {
            let Some(c) = self.rest.chars().next() else {
                return Err("missing closing ]".into());
            };
            if c == ']' && !first {
                self.skip(1);
                break;
            }
            first = false;
            if let Some(named) = self.rest.strip_prefix("[:")
                && let Some(end) = named.find(":]")
            {
                let name = named[..end].trim_start_matches('^');
                if !POSIX_CLASSES.contains(&name) || end > name.len() + 1 {
                    return Err(format!("unknown class [:{name}:]").into());
                }
                out.push_str(&self.rest[..end + 4]);
                self.skip(end + 4);
                continue;
            }
            self.class_item(&mut out)?;
        }
        out.push(']');
        self.operand(&out);
        Ok(())
    }

    fn class_item(&mut self, out: &mut String) -> Outcome<()> {
        if let Some(escape) = self.rest.strip_prefix('\\')
            && let Some(c) = escape.chars().next()
        {
            if matches!(c, 'p' | 'P') {
                return Err(Fault::Unsupported(
                    "classes of Unicode (\\p) are not supported".to_owned(),
                ));
            }
            if let Some(class) = perl_class(c) {
                out.extend(["[", class, "]"]);
                self.skip(2);
                return Ok(());
            }
        }
        let low = self.class_char()?;
        let mut high = low;
        if let Some(after) = self.rest.strip_prefix('-')
            && !after.is_empty()
            && !after.starts_with(']')
        {
            self.skip(1);
            high = self.class_char()?;
        }
        if high < low {
            return Err(format!("bad range {low}-{high}").into());
        }
        let (low, high) = (u32::from(low), u32::from(high));
        let range = format!("\\x{{{low:x}}}-\\x{{{high:x}}}");
        out.push_str(&range);
        Ok(())
    }

    fn class_char(&mut self) -> Outcome<char> {
        let (c, length) = match self.rest.chars().next() {
            Some('\\') => escaped_char(self.rest)?,
            Some(c) => (c, c.len_utf8()),
            None => return Err("missing closing ]".into()),
        };
        self.skip(length);
        Ok(c)
    }
}

/// Perl's classes, ASCII as in Go, without the brackets.
fn perl_class(c: char) -> Option<&'static str> {
    Some(match c {
        'd' => "0-9",
        'D' => "^0-9",
        's' => r"\t\n\f\r ",
        'S' => r"^\t\n\f\r ",
        'w' => "0-9A-Za-z_",
        'W' => "^0-9A-Za-z_",
        _ => return None,
    })
}

/// The character that an escape stands for, and the escape's length.
fn escaped_char(text: &str) -> Outcome<(char, usize)> {
    let bad = || {
        Fault::Wrong(format!(
            "bad escape {}",
            text.chars().take(2).collect::<String>()
        ))
    };
    let after = &text[1..];
    let c = after.chars().next().ok_or("trailing backslash")?;
    let octal = |b: &u8| (b'0'..=b'7').contains(b);
    Ok(match c {
        'a' => ('\x07', 2),
        'f' => ('\x0c', 2),
        'n' => ('\n', 2),
        'r' => ('\r', 2),
        't' => ('\t', 2),
        'v' => ('\x0b', 2),
        '0'..='7' => {
            let digits = after.bytes().take(3).take_while(octal).count();
            if c != '0' && digits < 2 {
                return Err("references to groups are not supported".into());
            }
            let code = u32::from_str_radix(&after[..digits], 8).map_err(|_| bad())?;
            (char::from_u32(code).ok_or_else(bad)?, 1 + digits)
        }
        'x' => {
            let hex = &after[1..];
            let (digits, length) = match hex.strip_prefix('{') {
                Some(braced) => {
                    let (digits, _) = braced.split_once('}').ok_or_else(bad)?;
                    (digits, digits.len() + 4)
                }
                None => (hex.get(..2).ok_or_else(bad)?, 4),
            };
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(bad());
            }
            let code = u32::from_str_radix(digits, 16).map_err(|_| bad())?;
            (char::from_u32(code).ok_or_else(bad)?, length)
        }
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => (c, 2),
        _ => return Err(bad()),
    })
}
