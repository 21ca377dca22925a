//! The files of a new file system, in the order in which they are made.

use super::{BLOCK, Ext4Content, Ext4Entry, size};
use crate::DiskError;
use crate::content::OpenSource;
use std::collections::BTreeMap;

/// The deepest nesting of directories.
const MAX_DEPTH: usize = 32;

const S_IFDIR: u16 = 0o040_000;
const S_IFREG: u16 = 0o100_000;

#[derive(Debug)]
pub(super) struct Item<'s> {
    /// Permission bits.
    pub(super) mode: u16,
    /// `None` for a directory.
    pub(super) source: Option<OpenSource<'s>>,
}

impl Item<'_> {
    /// The mode with the file type.
    pub(super) fn full_mode(&self) -> u16 {
        self.mode
            | if self.source.is_some() {
                S_IFREG
            } else {
                S_IFDIR
            }
    }
}

/// Every item by its path; directories sort before their members.
#[derive(Debug)]
pub(super) struct Members<'s>(BTreeMap<Vec<&'s str>, Item<'s>>);

impl<'s> Members<'s> {
    pub(super) fn collect(entries: &'s [Ext4Entry]) -> Result<Self, DiskError> {
        let mut members: BTreeMap<Vec<&str>, Item<'_>> = BTreeMap::new();
        for entry in entries {
            let path = split(&entry.path)?;
            let source = match &entry.content {
                Ext4Content::Directory => None,
                Ext4Content::File(source) => {
                    Some(source.open().map_err(|source| DiskError::ReadContent {
                        path: entry.path.as_str().into(),
                        source,
                    })?)
                }
            };
            if entry.mode > 0o7777 || (path.is_empty() && source.is_some()) {
                return Err(DiskError::Ext4Name {
                    path: entry.path.clone(),
                });
            }
            if members
                .insert(
                    path,
                    Item {
                        mode: entry.mode,
                        source,
                    },
                )
                .is_some()
            {
                return Err(DiskError::DuplicatePath {
                    path: entry.path.clone(),
                });
            }
        }
        let paths: Vec<_> = members.keys().cloned().collect();
        for path in &paths {
            for depth in 1..path.len() {
                let above = Item {
                    mode: 0o755,
                    source: None,
                };
                let parent = members.entry(path[..depth].to_vec()).or_insert(above);
                if parent.source.is_some() {
                    return Err(DiskError::DuplicatePath {
                        path: path.join("/"),
                    });
                }
            }
        }
        Ok(Self(members))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Vec<&'s str>, &Item<'s>)> {
        self.0.iter().map(|(path, item)| (path.clone(), item))
    }

    /// The lengths of all files, in bytes.
    pub(super) fn sizes(&self) -> Vec<u64> {
        self.0
            .values()
            .filter_map(|item| item.source.as_ref())
            .map(OpenSource::len)
            .collect()
    }

    pub(super) fn directories(&self) -> usize {
        self.0.values().filter(|item| item.source.is_none()).count()
    }

    /// How many blocks all of it takes at most.
    pub(super) fn blocks(&self) -> u64 {
        size::content_blocks(&self.sizes(), self.directories())
    }
}

/// The names of a path, if the tools can be told them: they split commands at spaces and give
/// quotes and angle brackets a meaning.
fn split(path: &str) -> Result<Vec<&str>, DiskError> {
    let trimmed = path.trim_matches('/');
    if trimmed.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<&str> = trimmed.split('/').collect();
    let special = |c: char| c.is_control() || c.is_whitespace() || "\"'\\<>#".contains(c);
    let bad = |name: &&str| {
        matches!(*name, "" | "." | "..")
            || name.len() > 255
            || name.starts_with('-')
            || name.contains(special)
    };
    if names.len() > MAX_DEPTH || names.iter().any(bad) {
        return Err(DiskError::Ext4Name {
            path: path.to_owned(),
        });
    }
    Ok(names)
}

/// Blocks of `bytes` bytes.
pub(super) fn blocks_of(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, content: Ext4Content) -> Ext4Entry {
        Ext4Entry {
            path: path.into(),
            mode: 0o600,
            content,
        }
    }

    #[test]
    fn directories_above_come_first_and_keep_what_was_asked() {
        let file = || Ext4Content::File(b"x".as_slice().into());
        let entries = [entry("/a/b/c", file()), entry("a", Ext4Content::Directory)];
        let members = Members::collect(&entries).unwrap();
        let seen: Vec<_> = members
            .iter()
            .map(|(p, i)| (p.join("/"), i.full_mode()))
            .collect();
        assert_eq!(
            seen,
            [
                ("a".into(), 0o40600),
                ("a/b".into(), 0o40755),
                ("a/b/c".into(), 0o100_600)
            ]
        );
        assert!(Members::collect(&[entry("a", file()), entry("a/b", file())]).is_err());
        for bad in ["a b", "a/../b", "<12>", "a\nb", "-x", "/"] {
            assert!(Members::collect(&[entry(bad, file())]).is_err(), "{bad}");
        }
    }
}
