//! What one rendering may use, and the account kept of it.

use std::fmt;

/// The deepest nesting that [`Limits::depth`] can allow: every level costs stack.
pub(crate) const MAX_DEPTH: usize = 200;

/// What one rendering may use. A template that wants more fails with
/// [`TemplateError::Limit`](crate::TemplateError::Limit).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of template text.
    pub input: usize,
    /// Most bytes of rendered text.
    pub output: usize,
    /// Most steps: actions, calls and iterations, and more for calls that read long texts.
    pub steps: u64,
    /// Most bytes of all values made on the way, whether still in use or not.
    pub memory: usize,
    /// Deepest nesting of blocks, parentheses, calls of templates, and of values. Never more than
    /// 200, whatever is asked for.
    pub depth: usize,
}

impl Default for Limits {
    /// Far beyond any sensible cloud-config, and still over within a few seconds at worst.
    fn default() -> Self {
        Self {
            input: 1 << 20,
            output: 4 << 20,
            steps: 1_000_000,
            memory: 32 << 20,
            depth: MAX_DEPTH,
        }
    }
}

/// Which of the [`Limits`] was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitKind {
    /// [`Limits::input`]
    Input,
    /// [`Limits::output`]
    Output,
    /// [`Limits::steps`]
    Steps,
    /// [`Limits::memory`]
    Memory,
    /// [`Limits::depth`]
    Depth,
}

impl fmt::Display for LimitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Input => "the template is too long",
            Self::Output => "the rendered text is too long",
            Self::Steps => "too many steps (a loop without end?)",
            Self::Memory => "the values made on the way are too large",
            Self::Depth => "nested too deeply (a template that calls itself?)",
        })
    }
}

/// Why a part of the template could not be evaluated; the place is added further up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Wrong, in words.
    Wrong(String),
    /// Right in Go and not possible here; no function takes it for a plain mistake.
    Unsupported(String),
    /// Too much.
    Limit(LimitKind),
}

impl From<String> for Fault {
    fn from(message: String) -> Self {
        Self::Wrong(message)
    }
}

impl From<&str> for Fault {
    fn from(message: &str) -> Self {
        Self::Wrong(message.to_owned())
    }
}

/// What evaluation gives.
pub(crate) type Outcome<T> = Result<T, Fault>;

/// What is left of the [`Limits`].
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    steps: u64,
    memory: usize,
    output: usize,
    depth: usize,
}

impl Budget {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            steps: limits.steps,
            memory: limits.memory,
            output: limits.output,
            depth: limits.depth.min(MAX_DEPTH),
        }
    }

    /// How much deeper it may go.
    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// Pays for `count` steps.
    pub(crate) fn step(&mut self, count: u64) -> Outcome<()> {
        match self.steps.checked_sub(count) {
            Some(left) => {
                self.steps = left;
                Ok(())
            }
            None => {
                self.steps = 0;
                Err(Fault::Limit(LimitKind::Steps))
            }
        }
    }

    /// Pays for reading so many bytes.
    pub(crate) fn read(&mut self, bytes: usize) -> Outcome<()> {
        self.step(bytes as u64 / 256)
    }

    /// Pays for `bytes` of values.
    pub(crate) fn allocate(&mut self, bytes: usize) -> Outcome<()> {
        self.room(bytes)?;
        self.memory -= bytes;
        Ok(())
    }

    /// Checks, before it is made, that a value of so many bytes can be paid for.
    pub(crate) fn room(&self, bytes: usize) -> Outcome<()> {
        if bytes > self.memory {
            return Err(Fault::Limit(LimitKind::Memory));
        }
        Ok(())
    }

    /// Pays for `bytes` of rendered text.
    pub(crate) fn emit(&mut self, bytes: usize) -> Outcome<()> {
        match self.output.checked_sub(bytes) {
            Some(left) => {
                self.output = left;
                Ok(())
            }
            None => Err(Fault::Limit(LimitKind::Output)),
        }
    }

    /// An empty text that cannot grow beyond what is left.
    pub(crate) fn buffer(&self) -> Buffer {
        Buffer {
            text: String::new(),
            room: self.memory,
        }
    }

    /// Goes one level deeper; see [`Budget::leave`].
    pub(crate) fn enter(&mut self) -> Outcome<()> {
        match self.depth.checked_sub(1) {
            Some(left) => {
                self.depth = left;
                Ok(())
            }
            None => Err(Fault::Limit(LimitKind::Depth)),
        }
    }

    /// Goes back to a depth that [`Budget::depth`] gave: an error on the way may have left out some
    /// [`Budget::leave`].
    pub(crate) fn restore(&mut self, depth: usize) {
        self.depth = depth;
    }

    /// Comes back from a level that [`Budget::enter`] let in.
    pub(crate) fn leave(&mut self) {
        self.depth += 1;
    }
}

/// A text that is being put together and cannot grow without end.
#[derive(Debug)]
pub(crate) struct Buffer {
    pub(crate) text: String,
    room: usize,
}

impl Buffer {
    /// For texts whose size is known to be small.
    pub(crate) fn unbounded() -> Self {
        Self {
            text: String::new(),
            room: usize::MAX,
        }
    }

    /// Appends.
    pub(crate) fn push(&mut self, text: &str) -> Outcome<()> {
        self.spend(text.len())?;
        self.text.push_str(text);
        Ok(())
    }

    /// Appends one character.
    pub(crate) fn push_char(&mut self, c: char) -> Outcome<()> {
        self.spend(c.len_utf8())?;
        self.text.push(c);
        Ok(())
    }

    /// Appends `text` so many times.
    pub(crate) fn repeat(&mut self, text: &str, count: usize) -> Outcome<()> {
        self.spend(text.len().saturating_mul(count))?;
        self.text.extend(std::iter::repeat_n(text, count));
        Ok(())
    }

    fn spend(&mut self, bytes: usize) -> Outcome<()> {
        match self.room.checked_sub(bytes) {
            Some(left) => {
                self.room = left;
                Ok(())
            }
            None => Err(Fault::Limit(LimitKind::Memory)),
        }
    }
}
