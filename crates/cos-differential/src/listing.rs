//! What a reader says is in an archive, in a form in which readers can be compared.

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// One member. Names are in hexadecimal: they are bytes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Listed {
    /// The path, without slashes at its end.
    pub path: String,
    /// `-` file, `d` directory, `l` symbolic link, `h` hard link, `c` and `b` devices, `p` FIFO.
    pub kind: char,
    /// Target of a link.
    pub link: String,
    /// Bytes of a file, holes included.
    pub size: u64,
    /// SHA-256 of a file's bytes.
    pub content: Option<String>,
    /// Permissions, with set-user-ID and the like.
    pub mode: u32,
    /// Owner.
    pub uid: i64,
    /// Group.
    pub gid: i64,
    /// Whole seconds since 1970, rounded down.
    pub mtime: i64,
    /// Major and minor number of a device.
    pub device: Option<(u64, u64)>,
    /// Extended attributes by name, sorted, from readers that tell.
    pub attributes: Option<Vec<(String, String)>>,
    /// How many bytes at a file's end are a hole, from cOS' own reader. Not compared.
    #[serde(default)]
    pub hole: u64,
}

/// A reader's answer: the members, or why it refuses the archive.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// What is in the archive.
    Members(Vec<Listed>),
    /// The reader's words.
    Refused(String),
}

impl Listed {
    /// The same without what no reader's answer may depend on.
    pub(crate) fn normal(mut self) -> Self {
        self.path = single_slashes(&self.path);
        if self.path.is_empty() && self.kind == 'd' {
            // What `tarfile` leaves of the root.
            self.path = hex::encode("/");
        }
        if self.kind == 'h' {
            self.link = single_slashes(&self.link);
        }
        self.hole = 0;
        // Linux has no permissions of symbolic links, and a hard link has its target's metadata.
        if matches!(self.kind, 'l' | 'h') {
            self.mode = 0o777;
        }
        self
    }
}

/// A path with one slash between names and none at its end, as any system call takes it.
fn single_slashes(path: &str) -> String {
    let bytes = hex::decode(path).unwrap_or_default();
    let mut out = Vec::with_capacity(bytes.len());
    for byte in bytes {
        if byte != b'/' || out.last() != Some(&b'/') {
            out.push(byte);
        }
    }
    if out.len() > 1 && out.ends_with(b"/") {
        out.pop();
    }
    hex::encode(out)
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Whether another reader means the same: what it does not tell counts as the same.
pub(crate) fn same(ours: &[Listed], theirs: &[Listed]) -> bool {
    ours.len() == theirs.len()
        && ours.iter().zip(theirs).all(|(ours, theirs)| {
            let mut theirs = theirs.clone().normal();
            // A fraction of a second before 1970: rounded down as GNU tar and `tarfile` unpack it. libarchive
            // rounds up, and so does what GNU tar prints.
            if ours.mtime < 0 && theirs.mtime == ours.mtime + 1 {
                theirs.mtime = ours.mtime;
            }
            if theirs.attributes.is_none() {
                theirs.attributes.clone_from(&ours.attributes);
            }
            ours.clone().normal() == theirs
        })
}
