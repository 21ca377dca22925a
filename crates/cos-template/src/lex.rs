//! The words of a template, as Go's `text/template/parse` cuts them.

use crate::error::Located;

const LEFT: &str = "{{";
const RIGHT: &str = "}}";
const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Left,
    Right,
    Space,
    /// `=`
    Assign,
    /// `:=`
    Declare,
    Comma,
    Pipe,
    LeftParen,
    RightParen,
    Dot,
    Field,
    Variable,
    Identifier,
    Bool,
    Nil,
    Number,
    Quoted,
    Raw,
    Keyword,
    End,
}

/// A word of the template and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind,
    pub(crate) text: &'a str,
    pub(crate) at: usize,
}

const KEYWORDS: [&str; 10] = [
    "block", "break", "continue", "define", "else", "end", "if", "range", "template", "with",
];

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    tokens: Vec<Token<'a>>,
}

/// Cuts a template into tokens; the last is [`Kind::End`].
pub(crate) fn tokens(text: &str) -> Result<Vec<Token<'_>>, Located> {
    let mut lexer = Lexer {
        text,
        at: 0,
        tokens: Vec::new(),
    };
    while lexer.outside()? {
        lexer.inside()?;
    }
    lexer.tokens.push(Token {
        kind: Kind::End,
        text: "",
        at: text.len(),
    });
    Ok(lexer.tokens)
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphabetic() || c.is_numeric()
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Takes the next `length` bytes as a token.
    fn take(&mut self, kind: Kind, length: usize) {
        let text = &self.rest()[..length];
        self.tokens.push(Token {
            kind,
            text,
            at: self.at,
        });
        self.at += length;
    }

    /// Text up to the next action; whether there is one. Comments are skipped.
    fn outside(&mut self) -> Result<bool, Located> {
        loop {
            let Some(length) = self.rest().find(LEFT) else {
                let length = self.rest().len();
                if length > 0 {
                    self.take(Kind::Text, length);
                }
                return Ok(false);
            };
            let after = &self.rest()[length + LEFT.len()..];
            let trims = after.starts_with('-') && after[1..].starts_with(SPACES);
            let text = &self.rest()[..length];
            let kept = if trims {
                text.trim_end_matches(SPACES)
            } else {
                text
            };
            if !kept.is_empty() {
                let token = Token {
                    kind: Kind::Text,
                    text: kept,
                    at: self.at,
                };
                self.tokens.push(token);
            }
            self.at += length;
            let marker = LEFT.len() + if trims { 2 } else { 0 };
            if !self.rest()[marker..].starts_with("/*") {
                self.take(Kind::Left, LEFT.len());
                // The marker's space is left for the action to skip.
                self.at += usize::from(trims);
                return Ok(true);
            }
            self.comment(marker)?;
        }
    }

    fn comment(&mut self, marker: usize) -> Result<(), Located> {
        let start = self.at;
        let body = &self.rest()[marker..];
        let Some(length) = body.find("*/") else {
            return Err(Located::parse(start, "unclosed comment"));
        };
        self.at += marker + length + "*/".len();
        if !self.close(false) {
            return Err(Located::parse(
                start,
                "comment ends before closing delimiter",
            ));
        }
        Ok(())
    }

    /// Takes a closing delimiter, with its trim marker, if there is one here.
    fn close(&mut self, emit: bool) -> bool {
        let rest = self.rest();
        let marked = rest
            .strip_prefix(SPACES)
            .and_then(|rest| rest.strip_prefix('-'))
            .is_some_and(|rest| rest.starts_with(RIGHT));
        if !marked && !rest.starts_with(RIGHT) {
            return false;
        }
        if marked {
            self.at += 2;
        }
        if emit {
            self.take(Kind::Right, RIGHT.len());
        } else {
            self.at += RIGHT.len();
        }
        if marked {
            let rest = self.rest();
            self.at += rest.len() - rest.trim_start_matches(SPACES).len();
        }
        true
    }

    /// An action up to its end.
    fn inside(&mut self) -> Result<(), Located> {
        let start = self.at;
        let mut parens = 0usize;
        loop {
            if self.close(true) {
                if parens > 0 {
                    return Err(Located::parse(start, "unclosed left paren"));
                }
                return Ok(());
            }
            let Some(c) = self.peek() else {
                return Err(Located::parse(start, "unclosed action"));
            };
            match c {
                '(' => {
                    parens += 1;
                    self.take(Kind::LeftParen, 1);
                }
                ')' => {
                    let Some(left) = parens.checked_sub(1) else {
                        return Err(Located::parse(self.at, "unexpected right paren"));
                    };
                    parens = left;
                    self.take(Kind::RightParen, 1);
                }
                _ => self.word(c)?,
            }
        }
    }

    fn word(&mut self, c: char) -> Result<(), Located> {
        let rest = self.rest();
        match c {
            _ if SPACES.contains(&c) => self.space(),
            '=' => self.take(Kind::Assign, 1),
            ':' if rest.starts_with(":=") => self.take(Kind::Declare, 2),
            ':' => return Err(Located::parse(self.at, "expected :=")),
            ',' => self.take(Kind::Comma, 1),
            '|' => self.take(Kind::Pipe, 1),
            '"' => self.quoted('"', Kind::Quoted, "unterminated quoted string")?,
            '\'' => self.quoted('\'', Kind::Number, "unterminated character constant")?,
            '`' => match rest[1..].find('`') {
                Some(length) => self.take(Kind::Raw, length + 2),
                None => return Err(Located::parse(self.at, "unterminated raw quoted string")),
            },
            '$' => self.name(Kind::Variable)?,
            '.' if !rest[1..].starts_with(|c: char| c.is_ascii_digit()) => self.field()?,
            '.' | '+' | '-' | '0'..='9' => self.number()?,
            _ if is_word(c) => self.identifier()?,
            _ => {
                let message = format!("unexpected {c:?} in action");
                return Err(Located::parse(self.at, message));
            }
        }
        Ok(())
    }

    /// Spaces, except one that belongs to a closing trim marker.
    fn space(&mut self) {
        let rest = self.rest();
        let mut length = rest.len() - rest.trim_start_matches(SPACES).len();
        if rest[length..].starts_with("-}}") {
            length -= 1;
        }
        if length > 0 {
            self.take(Kind::Space, length);
        }
    }

    fn quoted(&mut self, quote: char, kind: Kind, unterminated: &str) -> Result<(), Located> {
        let mut escaped = false;
        for (length, c) in self.rest().char_indices().skip(1) {
            match c {
                '\n' => break,
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                _ if c == quote => {
                    self.take(kind, length + 1);
                    return Ok(());
                }
                _ => {}
            }
        }
        Err(Located::parse(self.at, unterminated))
    }

    /// How long the run of word characters after the first `skipped` bytes is, with those.
    fn run(&self, skipped: usize) -> usize {
        let rest = self.rest();
        rest[skipped..]
            .find(|c| !is_word(c))
            .map_or(rest.len(), |length| length + skipped)
    }

    /// Checks that a name of that length ends where a name may end.
    fn check_end(&self, length: usize) -> Result<(), Located> {
        let rest = &self.rest()[length..];
        let ends = |c: char| SPACES.contains(&c) || ".,|:()".contains(c);
        match rest.chars().next() {
            Some(c) if !ends(c) && !rest.starts_with(RIGHT) => Err(Located::parse(
                self.at + length,
                format!("bad character {c:?}"),
            )),
            _ => Ok(()),
        }
    }

    fn name(&mut self, kind: Kind) -> Result<(), Located> {
        let length = self.run(1);
        self.check_end(length)?;
        self.take(kind, length);
        Ok(())
    }

    fn field(&mut self) -> Result<(), Located> {
        let kind = if self.run(1) == 1 {
            Kind::Dot
        } else {
            Kind::Field
        };
        self.name(kind)
    }

    fn identifier(&mut self) -> Result<(), Located> {
        let length = self.run(0);
        self.check_end(length)?;
        let kind = match &self.rest()[..length] {
            word if KEYWORDS.contains(&word) => Kind::Keyword,
            "true" | "false" => Kind::Bool,
            "nil" => Kind::Nil,
            _ => Kind::Identifier,
        };
        self.take(kind, length);
        Ok(())
    }

    fn number(&mut self) -> Result<(), Located> {
        let rest = self.rest();
        let mut end = 1;
        let mut before = ' ';
        for (at, c) in rest.char_indices().skip(1) {
            let exponent = matches!(before, 'e' | 'E' | 'p' | 'P');
            if !(is_word(c) || c == '.' || (exponent && matches!(c, '+' | '-'))) {
                break;
            }
            end = at + c.len_utf8();
            before = c;
        }
        if crate::literal::number(&rest[..end]).is_none() {
            let message = format!("bad number syntax: {:?}", &rest[..end]);
            return Err(Located::parse(self.at, message));
        }
        self.take(Kind::Number, end);
        Ok(())
    }
}
