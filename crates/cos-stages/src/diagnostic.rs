//! What is wrong with a document, and where.

use serde::Serialize;
use std::fmt;

/// A place in a text, counted from one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column, in characters.
    pub column: usize,
}

impl Position {
    /// The first character.
    pub const START: Self = Self { line: 1, column: 1 };

    pub(crate) const fn new(line: usize, column: usize) -> Self {
        Self { line, column }
    }
}

/// Whether a document can be used all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It can; what is named has no effect.
    Warning,
    /// It cannot.
    Error,
}

/// One finding in a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The file, URL or other name of the source.
    pub source: String,
    /// Where.
    #[serde(flatten)]
    pub at: Position,
    /// What is wrong.
    pub message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The line itself, for people; left out where the document holds secrets on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excerpt: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        let Position { line, column } = self.at;
        write!(
            f,
            "{}:{line}:{column}: {severity}: {}",
            self.source, self.message
        )?;
        if let Some(excerpt) = &self.excerpt {
            let gutter = line.to_string().len();
            let marker = " ".repeat(column.saturating_sub(1));
            write!(
                f,
                "\n {line} | {excerpt}\n {:gutter$} | {marker}^",
                "",
                gutter = gutter
            )?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  help: {hint}")?;
        }
        Ok(())
    }
}

/// Words on a line that make it unfit to be shown.
const SECRET_WORDS: [&str; 4] = ["passw", "secret", "token", "private_key"];
/// Longest line shown, in characters.
const MAX_EXCERPT: usize = 160;

/// The findings of one source, as they are made.
#[derive(Debug)]
pub(crate) struct Findings<'t> {
    pub(crate) source: String,
    pub(crate) text: &'t str,
    pub(crate) list: Vec<Diagnostic>,
    /// Errors found, those that are no longer listed too.
    pub(crate) errors: usize,
    warnings: usize,
}

/// More errors, or more warnings, than this help nobody.
const MAX_FINDINGS: usize = 100;

impl<'t> Findings<'t> {
    pub(crate) fn new(source: impl Into<String>, text: &'t str) -> Self {
        Self {
            source: source.into(),
            text,
            list: Vec::new(),
            errors: 0,
            warnings: 0,
        }
    }

    /// Whether findings of this severity are still listed.
    pub(crate) fn has_room(&self, severity: Severity) -> bool {
        let count = match severity {
            Severity::Warning => self.warnings,
            Severity::Error => self.errors,
        };
        count < MAX_FINDINGS
    }

    /// Counts a finding without listing it.
    pub(crate) fn count(&mut self, severity: Severity) {
        match severity {
            Severity::Warning => self.warnings += 1,
            Severity::Error => self.errors += 1,
        }
    }

    pub(crate) fn add(
        &mut self,
        severity: Severity,
        at: Position,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        let room = self.has_room(severity);
        self.count(severity);
        if !room {
            return;
        }
        let excerpt = self.excerpt(at);
        self.list.push(Diagnostic {
            severity,
            source: self.source.clone(),
            at,
            message: message.into(),
            hint,
            excerpt,
        });
    }

    pub(crate) fn error(&mut self, at: Position, message: impl Into<String>) {
        self.add(Severity::Error, at, message, None);
    }

    fn excerpt(&self, at: Position) -> Option<String> {
        let line = self.text.lines().nth(at.line.checked_sub(1)?)?;
        let long = line.chars().nth(MAX_EXCERPT).is_some();
        let fit = !long && !self.below_secret(at.line);
        fit.then(|| line.replace(|c: char| c.is_control(), " "))
    }

    /// Whether a line or one that it belongs to, being indented less, speaks of secrets.
    fn below_secret(&self, line: usize) -> bool {
        let lines: Vec<&str> = self.text.lines().take(line).collect();
        let mut below = usize::MAX;
        for line in lines
            .into_iter()
            .rev()
            .filter(|line| !line.trim().is_empty())
        {
            let indent = line.len() - line.trim_start().len();
            if indent < below {
                if has_secret_word(line) {
                    return true;
                }
                below = indent;
            }
            if below == 0 {
                break;
            }
        }
        false
    }
}

/// Whether a line speaks of something that is not for everybody's eyes.
pub(crate) fn has_secret_word(line: &str) -> bool {
    let lower = line.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| lower.contains(word))
}

/// Longest word that a known one is looked for, in bytes.
const MAX_MISTYPED: usize = 64;

/// The known word nearest to a mistyped one, where one is near enough to be meant.
pub(crate) fn nearest<'w>(word: &str, known: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    if word.len() > MAX_MISTYPED {
        return None;
    }
    let folded = |word: &str| word.to_ascii_lowercase().replace(['-', '_'], "");
    let wanted = folded(word);
    known
        .map(|candidate| {
            let distance = strsim::damerau_levenshtein(&wanted, &folded(candidate));
            (distance, candidate)
        })
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(1))
        .min()
        .map(|(_, candidate)| candidate)
}
