//! `wrap`, `abbrev` and others of sprig's that go by bytes (`goutils`).

use super::builtin::map_text;
use super::{Args, Function, Param, cut};
use crate::limits::Outcome;
use crate::value::{Scope, Value};
use Param::{Int, Text};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("wrap", &[Int, Text], |scope, args| {
        wrapped(scope, args.int(0)?, "", args.text(1)?, false)
    }),
    Function::new("wrapWith", &[Int, Text, Text], |scope, args| {
        wrapped(scope, args.int(0)?, args.text(1)?, args.text(2)?, true)
    }),
    Function::new("abbrev", &[Int, Text], abbrev),
    Function::new("abbrevboth", &[Int, Int, Text], abbrevboth),
    Function::new("initials", &[Text], initials),
    Function::new("nospace", &[Text], |s, a| map_text(s, a, nospace)),
];

/// `goutils.WrapCustom`, which takes one line.
fn wrapped(
    scope: &mut Scope<'_>,
    width: i64,
    line_end: &str,
    text: &str,
    breaks_words: bool,
) -> Outcome<Value> {
    let line_end = if line_end.is_empty() { "\n" } else { line_end };
    let width = usize::try_from(width).unwrap_or(0).max(1);
    let mut lines = scope.buffer();
    let bytes = text.as_bytes();
    let mut offset = 0;
    while bytes.len().saturating_sub(offset) > width {
        if bytes[offset] == b' ' {
            offset += 1;
            continue;
        }
        let end = offset + width;
        let space = bytes[offset..=end].iter().rposition(|&byte| byte == b' ');
        let (stop, next) = match space {
            Some(space) => (offset + space, offset + space + 1),
            None if breaks_words => (end, end),
            None => match bytes[end..].iter().position(|&byte| byte == b' ') {
                Some(space) => (end + space, end + space + 1),
                None => {
                    lines.push(cut(text, offset, bytes.len())?)?;
                    offset = bytes.len();
                    break;
                }
            },
        };
        lines.push(cut(text, offset, stop)?)?;
        lines.push(line_end)?;
        offset = next;
    }
    lines.push(cut(text, offset.min(bytes.len()), bytes.len())?)?;
    scope.text(lines.text)
}

/// `goutils.AbbreviateFull`; nothing where it fails, as sprig drops the error.
fn abbreviated(text: &str, offset: i64, width: i64) -> Outcome<String> {
    let length = i64::try_from(text.len()).unwrap_or(i64::MAX);
    let part = |from: i64, to: i64| {
        let position = |at| usize::try_from(at).unwrap_or(usize::MAX);
        cut(text, position(from), position(to))
    };
    if text.is_empty() || width < 4 {
        return Ok(String::new());
    }
    if length <= width {
        return Ok(text.to_owned());
    }
    let mut offset = offset.min(length);
    if length - offset < width - 3 {
        offset = length - (width - 3);
    }
    if offset <= 4 {
        return Ok(format!("{}...", part(0, width - 3)?));
    }
    if width < 7 {
        return Ok(String::new());
    }
    if offset + width - 3 < length {
        let rest = abbreviated(part(offset, length)?, 0, width - 3)?;
        return Ok(format!("...{rest}"));
    }
    Ok(format!("...{}", part(length - (width - 3), length)?))
}

fn abbrev(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let (width, text) = (args.int(0)?, args.text(1)?);
    if width < 4 {
        return scope.text(text);
    }
    let short = abbreviated(text, 0, width)?;
    scope.text(short)
}

fn abbrevboth(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let (left, right, text) = (args.int(0)?, args.int(1)?, args.text(2)?);
    if right < 4 || (left > 0 && right < 7) {
        return scope.text(text);
    }
    let short = abbreviated(text, left, right)?;
    scope.text(short)
}

/// A byte as the character of that number, as these functions of sprig do it.
fn char_of(byte: u8) -> char {
    byte.into()
}

fn initials(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let mut initials = scope.buffer();
    let mut gap = true;
    for c in args.text(0)?.bytes().map(char_of) {
        if c.is_whitespace() {
            gap = true;
        } else if std::mem::take(&mut gap) {
            initials.push_char(c)?;
        }
    }
    scope.text(initials.text)
}

fn nospace(text: &str) -> String {
    if text.bytes().any(|byte| char_of(byte).is_whitespace()) {
        let chars = text.bytes().map(char_of);
        chars.filter(|c| !c.is_whitespace()).collect()
    } else {
        text.to_owned()
    }
}
