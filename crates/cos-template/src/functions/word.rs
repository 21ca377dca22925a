//! Words and their case: `upper`, `title`, `snakecase`.

use super::builtin::map_text;
use super::{Function, Param};
use Param::Text;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("upper", &[Text], |s, a| {
        map_text(s, a, |t| t.chars().map(upper).collect())
    }),
    Function::new("lower", &[Text], |s, a| {
        map_text(s, a, |t| t.chars().map(lower).collect())
    }),
    Function::new("title", &[Text], |s, a| map_text(s, a, title)),
    Function::new("untitle", &[Text], |s, a| map_text(s, a, untitle)),
    Function::new("swapcase", &[Text], |s, a| map_text(s, a, swapcase)),
    Function::new("camelcase", &[Text], |s, a| map_text(s, a, camelcase)),
    Function::new("snakecase", &[Text], |s, a| {
        map_text(s, a, |t| separated(t, '_'))
    }),
    Function::new("kebabcase", &[Text], |s, a| {
        map_text(s, a, |t| separated(t, '-'))
    }),
];

/// One character for one, as Go maps them: `ß` stays.
fn upper(c: char) -> char {
    let mut mapped = c.to_uppercase();
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

/// `unicode.ToTitle`: but for letters that are two in one, the capital.
fn title_case(c: char) -> char {
    match c {
        'Ǆ' | 'ǆ' => 'ǅ',
        'Ǉ' | 'ǉ' => 'ǈ',
        'Ǌ' | 'ǌ' => 'ǋ',
        'Ǳ' | 'ǳ' => 'ǲ',
        c => upper(c),
    }
}

fn lower(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

/// Go's `strings.Title`.
fn title(text: &str) -> String {
    let mut before = ' ';
    text.chars()
        .map(|c| {
            let starts = if before.is_ascii() {
                !before.is_ascii_alphanumeric() && before != '_'
            } else {
                before.is_whitespace()
            };
            before = c;
            if starts { title_case(c) } else { c }
        })
        .collect()
}

fn untitle(text: &str) -> String {
    let mut starts = true;
    text.chars()
        .map(|c| {
            if c.is_whitespace() {
                starts = true;
                c
            } else if std::mem::take(&mut starts) {
                lower(c)
            } else {
                c
            }
        })
        .collect()
}

/// `goutils.SwapCase`: not quite what its name says.
fn swapcase(text: &str) -> String {
    let mut gap = true;
    text.chars()
        .map(|c| {
            let after_gap = std::mem::take(&mut gap);
            if c.is_uppercase() || matches!(c, 'ǅ' | 'ǈ' | 'ǋ' | 'ǲ') {
                lower(c)
            } else if c.is_lowercase() {
                if after_gap { title_case(c) } else { upper(c) }
            } else {
                gap = c.is_whitespace();
                c
            }
        })
        .collect()
}

fn is_connector(c: char) -> bool {
    c == '-' || c == '_' || c.is_whitespace()
}

/// `xstrings.ToCamelCase`
fn camelcase(text: &str) -> String {
    let mut result = String::new();
    let mut chars = text.chars();
    let mut current = None;
    for c in chars.by_ref() {
        if !is_connector(c) {
            current = Some(upper(c));
            break;
        }
        result.push(c);
    }
    let Some(mut current) = current else {
        // Of connectors alone, the last is written twice.
        result.extend(text.chars().next_back());
        return result;
    };
    for c in chars {
        let before = current;
        current = c;
        if is_connector(c) && is_connector(before) {
            result.push(before);
        } else if is_connector(before) {
            current = upper(c);
        } else {
            current = lower(c);
            result.push(before);
        }
    }
    result.push(current);
    result
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Nothing,
    Number,
    Upper,
    Letters,
    Connector,
    Punctuation,
    Other,
}

/// Letters, but for the scripts that have no words.
fn is_letter(c: char) -> bool {
    let has_no_words =
        matches!(c, '\u{3400}'..='\u{4d85}' | '\u{4e00}'..='\u{9fcc}' | '\u{20000}'..='\u{2b81d}');
    c.is_alphabetic() && !has_no_words
}

fn is_punctuation(c: char) -> bool {
    match c {
        '$' | '+' | '<' | '=' | '>' | '^' | '`' | '|' | '~' => false,
        '\u{a1}'
        | '\u{a7}'
        | '\u{ab}'
        | '\u{b6}'
        | '\u{b7}'
        | '\u{bb}'
        | '\u{bf}'
        | '\u{2010}'..='\u{2027}'
        | '\u{2030}'..='\u{205e}'
        | '\u{3001}'..='\u{3003}' => true,
        c => c.is_ascii_punctuation(),
    }
}

fn run(text: &[char], from: usize, is: impl Fn(char) -> bool) -> usize {
    let length = text[from..].iter().take_while(|&&c| is(c)).count();
    from + length
}

/// The next word: its kind, itself, and what comes after it.
fn next_word(text: &[char]) -> (Kind, &[char], &[char]) {
    let Some(&first) = text.first() else {
        return (Kind::Nothing, &[], &[]);
    };
    let small = |c: char| is_letter(c) && !c.is_uppercase();
    let (kind, length) = if is_connector(first) {
        (Kind::Connector, run(text, 1, is_connector))
    } else if is_punctuation(first) {
        (Kind::Punctuation, run(text, 1, is_punctuation))
    } else if first.is_uppercase() {
        (Kind::Upper, upper_word(text))
    } else if is_letter(first) {
        (Kind::Letters, run(text, 1, small))
    } else if first.is_numeric() {
        (Kind::Number, run(text, 1, char::is_numeric))
    } else {
        let known = |c| is_connector(c) || is_letter(c) || c.is_numeric() || is_punctuation(c);
        (Kind::Other, run(text, 1, |c| !known(c)))
    };
    let (word, rest) = text.split_at(length);
    (kind, word, rest)
}

/// How long a word in capitals, or with one, is: of `HTTPStatus` the first four.
fn upper_word(text: &[char]) -> usize {
    match text.get(1) {
        Some(c) if c.is_uppercase() => {
            let end = run(text, 1, char::is_uppercase);
            match text.get(end) {
                Some(&c) if is_letter(c) => end - 1,
                _ => end,
            }
        }
        Some(&c) if is_letter(c) => run(text, 1, |c| is_letter(c) && !c.is_uppercase()),
        _ => 1,
    }
}

struct Separated {
    result: String,
    connector: char,
}

impl Separated {
    fn push(&mut self, kind: Kind, word: &[char]) {
        let connector = self.connector;
        if matches!(kind, Kind::Upper | Kind::Connector) {
            let changed = word
                .iter()
                .map(|&c| if is_connector(c) { connector } else { lower(c) });
            self.result.extend(changed);
        } else {
            self.result.extend(word);
        }
    }

    fn connect_before(&mut self, next: Kind) {
        if !matches!(next, Kind::Nothing | Kind::Punctuation | Kind::Connector) {
            self.result.push(self.connector);
        }
    }
}

/// `xstrings.ToSnakeCase` and `ToKebabCase`.
fn separated(text: &str, connector: char) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = Separated {
        result: String::new(),
        connector,
    };
    let (mut kind, mut word, mut rest) = next_word(&chars);
    while !rest.is_empty() {
        if kind != Kind::Connector {
            out.push(kind, word);
        }
        let (before, last) = (kind, word);
        (kind, word, rest) = next_word(rest);
        match before {
            Kind::Number => {
                (kind, word, rest) = absorb(&mut out, (kind, word, rest));
            }
            Kind::Connector => out.push(before, last),
            Kind::Punctuation => {}
            _ if kind != Kind::Number => out.connect_before(kind),
            _ if rest.is_empty() => {}
            _ => {
                let number = word;
                (kind, word, rest) = next_word(rest);
                if kind == Kind::Letters {
                    // Small letters after a number belong to it: `http_2xx`.
                    out.result.push(connector);
                    out.push(Kind::Number, number);
                    (kind, word, rest) = absorb(&mut out, (kind, word, rest));
                } else {
                    out.push(Kind::Number, number);
                    out.connect_before(kind);
                }
            }
        }
    }
    out.push(kind, word);
    out.result
}

/// Writes the small letters and numbers that follow, and a connector before the next word.
fn absorb<'a>(
    out: &mut Separated,
    (mut kind, mut word, mut rest): (Kind, &'a [char], &'a [char]),
) -> (Kind, &'a [char], &'a [char]) {
    while matches!(kind, Kind::Letters | Kind::Number) {
        out.push(kind, word);
        (kind, word, rest) = next_word(rest);
    }
    out.connect_before(kind);
    (kind, word, rest)
}
