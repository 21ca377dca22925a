//! One file of lines whose fields are parted by colons, changed without touching other lines.

use std::fmt;

/// Which of the four files: its format is `passwd(5)`, `shadow(5)`, `group(5)`, `gshadow(5)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Passwd,
    Shadow,
    Group,
    Gshadow,
}

impl Kind {
    /// Where the file is.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Passwd => "/etc/passwd",
            Self::Shadow => "/etc/shadow",
            Self::Group => "/etc/group",
            Self::Gshadow => "/etc/gshadow",
        }
    }

    fn columns(self) -> usize {
        match self {
            Self::Passwd => 7,
            Self::Shadow => 9,
            Self::Group | Self::Gshadow => 4,
        }
    }
}

/// The columns of `passwd(5)`.
pub(crate) mod passwd {
    pub(crate) const PASSWORD: usize = 1;
    pub(crate) const UID: usize = 2;
    pub(crate) const GID: usize = 3;
    pub(crate) const GECOS: usize = 4;
    pub(crate) const HOME: usize = 5;
    pub(crate) const SHELL: usize = 6;
}

/// The columns of `shadow(5)`.
pub(crate) mod shadow {
    pub(crate) const PASSWORD: usize = 1;
    pub(crate) const CHANGED: usize = 2;
    pub(crate) const MINIMUM: usize = 3;
    pub(crate) const MAXIMUM: usize = 4;
    pub(crate) const WARN: usize = 5;
    pub(crate) const INACTIVE: usize = 6;
    pub(crate) const EXPIRE: usize = 7;
}

/// The columns of `group(5)`.
pub(crate) mod group {
    pub(crate) const PASSWORD: usize = 1;
    pub(crate) const GID: usize = 2;
    pub(crate) const MEMBERS: usize = 3;
}

/// The columns of `gshadow(5)`.
pub(crate) mod gshadow {
    pub(crate) const PASSWORD: usize = 1;
    pub(crate) const ADMINISTRATORS: usize = 2;
    pub(crate) const MEMBERS: usize = 3;
}

/// A file as lines.
pub(crate) struct Table {
    kind: Kind,
    /// Split at newlines: the last is empty when the file ends with one.
    lines: Vec<Vec<u8>>,
    /// What was removed, while it may still be needed; see [`Table::bytes_with_removed`].
    removed: Vec<Vec<u8>>,
    changed: bool,
}

/// Hashes are in the lines.
impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("kind", &self.kind)
            .field("lines", &self.lines.len())
            .field("changed", &self.changed)
            .finish_non_exhaustive()
    }
}

/// One line that has the form of an account.
#[derive(Clone)]
pub(crate) struct Row<'a> {
    /// Its number, from 1.
    pub(crate) line: usize,
    bytes: &'a [u8],
}

impl<'a> Row<'a> {
    /// A field; empty when the line ends before it.
    pub(crate) fn field(&self, column: usize) -> &'a [u8] {
        self.bytes
            .split(|byte| *byte == b':')
            .nth(column)
            .unwrap_or(b"")
    }

    /// A field as text, for messages and paths.
    pub(crate) fn text(&self, column: usize) -> String {
        String::from_utf8_lossy(self.field(column)).into_owned()
    }

    /// A field as a user or group id.
    pub(crate) fn id(&self, column: usize) -> Option<u32> {
        let text = str::from_utf8(self.field(column)).ok()?;
        // The largest means "none" to the kernel (chown(2)).
        text.parse().ok().filter(|id| *id != u32::MAX)
    }

    /// The account's name.
    pub(crate) fn name(&self) -> &'a [u8] {
        self.field(0)
    }
}

impl Table {
    /// Takes a file apart. Any bytes are a table.
    pub(crate) fn parse(kind: Kind, bytes: &[u8]) -> Self {
        Self {
            kind,
            lines: bytes
                .split(|byte| *byte == b'\n')
                .map(<[u8]>::to_vec)
                .collect(),
            removed: Vec::new(),
            changed: false,
        }
    }

    /// The file as it is to be.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.lines.join(&b'\n')
    }

    /// The same with the lines that were removed: what is on the disk while another file may still
    /// refer to them.
    pub(crate) fn bytes_with_removed(&self) -> Vec<u8> {
        let mut bytes = self.bytes();
        if !bytes.is_empty() && !bytes.ends_with(b"\n") {
            bytes.push(b'\n');
        }
        for line in &self.removed {
            bytes.extend_from_slice(line);
            bytes.push(b'\n');
        }
        bytes
    }

    /// Which file it is.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether the file is to be written.
    pub(crate) fn changed(&self) -> bool {
        self.changed
    }

    /// Whether lines are gone that the file on the disk has.
    pub(crate) fn has_removed(&self) -> bool {
        !self.removed.is_empty()
    }

    /// The file on the disk is this.
    pub(crate) fn written(&mut self) {
        self.changed = false;
        self.removed.clear();
    }

    /// The lines of accounts. Comments, blank lines and those for NIS (`+`, `-`) are none.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let numbered = self.lines.iter().enumerate();
        numbered.filter_map(|(index, bytes)| {
            let first = bytes.first()?;
            let account = !b"#+-:".contains(first) && bytes.contains(&b':');
            account.then_some(Row {
                line: index + 1,
                bytes,
            })
        })
    }

    /// The account `name`; the first one, as for every program that looks it up.
    pub(crate) fn find(&self, name: &str) -> Option<Row<'_>> {
        self.rows().find(|row| row.name() == name.as_bytes())
    }

    /// Puts `value` into a field of the account `name`, and says whether that account is there.
    pub(crate) fn set(&mut self, name: &str, column: usize, value: &str) -> bool {
        let Some(Row { line, bytes }) = self.find(name) else {
            return false;
        };
        let mut fields: Vec<&[u8]> = bytes.split(|byte| *byte == b':').collect();
        if fields.len() < self.kind.columns() {
            fields.resize(self.kind.columns(), b"");
        }
        fields[column] = value.as_bytes();
        let bytes = fields.join(&b':');
        self.changed |= self.lines[line - 1] != bytes;
        self.lines[line - 1] = bytes;
        true
    }

    /// Adds an account at the end, but before lines for NIS, as programs stop reading there.
    pub(crate) fn append(&mut self, fields: &[&str]) {
        let line = fields.join(":").into_bytes();
        let nis = |line: &Vec<u8>| matches!(line.first(), Some(b'+' | b'-'));
        let ends_with_newline = self.lines.last().is_none_or(Vec::is_empty);
        if let Some(place) = self.lines.iter().position(nis) {
            self.lines.insert(place, line);
        } else if ends_with_newline {
            self.lines.pop();
            self.lines.extend([line, Vec::new()]);
        } else {
            self.lines.extend([line, Vec::new()]);
        }
        self.changed = true;
    }

    /// Removes every line of the account `name`, and says whether there was one.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        let lines: Vec<usize> = self
            .rows()
            .filter(|row| row.name() == name.as_bytes())
            .map(|row| row.line)
            .collect();
        for line in lines.iter().rev() {
            let line = self.lines.remove(line - 1);
            self.removed.push(line);
        }
        self.changed |= !lines.is_empty();
        !lines.is_empty()
    }
}

#[cfg(test)]
mod tests;
