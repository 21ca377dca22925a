//! What can be wrong with a template.

use crate::limits::{Fault, LimitKind};
use std::fmt;

/// Where in which template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The template's name, as the caller gave it.
    pub template: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

impl Place {
    /// The place of the byte at `offset` of `text`.
    pub(crate) fn of(template: &str, text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            template: template.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.template, self.line, self.column)
    }
}

/// Why a template could not be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The text is no template.
    #[error("{place}: {message}")]
    Parse {
        /// Where.
        place: Place,
        /// What is wrong.
        message: String,
    },
    /// A function that does not exist.
    #[error("{place}: unknown function \"{function}\"")]
    UnknownFunction {
        /// Where.
        place: Place,
        /// As it was written.
        function: String,
        /// The function it was perhaps meant to be.
        nearest: Option<String>,
    },
    /// The template is well formed and failed when it ran.
    #[error("{place}: {message}")]
    Execute {
        /// Where.
        place: Place,
        /// What is wrong.
        message: String,
    },
    /// The template would take too long or grow too large.
    #[error("{place}: {limit}")]
    Limit {
        /// Where the limit was met.
        place: Place,
        /// Which one.
        limit: LimitKind,
    },
}

impl TemplateError {
    /// Where the template failed.
    pub fn place(&self) -> &Place {
        match self {
            Self::Parse { place, .. }
            | Self::UnknownFunction { place, .. }
            | Self::Execute { place, .. }
            | Self::Limit { place, .. } => place,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownFunction { nearest, .. } => nearest
                .as_ref()
                .map(|name| format!("did you mean \"{name}\"?")),
            Self::Parse { .. } | Self::Execute { .. } | Self::Limit { .. } => None,
        }
    }
}

/// What is wrong at which byte of the text: an error that does not know its template yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Located {
    pub(crate) at: usize,
    pub(crate) what: What,
}

/// The kinds of [`Located`] errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    Parse(String),
    UnknownFunction(String),
    Fault(Fault),
}

impl Located {
    pub(crate) fn parse(at: usize, message: impl Into<String>) -> Self {
        Self {
            at,
            what: What::Parse(message.into()),
        }
    }

    pub(crate) fn fault(at: usize, fault: impl Into<Fault>) -> Self {
        Self {
            at,
            what: What::Fault(fault.into()),
        }
    }

    /// The error that the caller sees.
    pub(crate) fn name(self, template: &str, text: &str) -> TemplateError {
        let place = Place::of(template, text, self.at);
        match self.what {
            What::Parse(message) => TemplateError::Parse { place, message },
            What::Fault(Fault::Wrong(message) | Fault::Unsupported(message)) => {
                TemplateError::Execute { place, message }
            }
            What::Fault(Fault::Limit(limit)) => TemplateError::Limit { place, limit },
            What::UnknownFunction(function) => TemplateError::UnknownFunction {
                place,
                nearest: crate::functions::nearest(&function),
                function,
            },
        }
    }
}
