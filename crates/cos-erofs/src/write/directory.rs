//! Directory data: entries sorted by name, in blocks that can be searched by halves.

use crate::BLOCK_SIZE;

/// Bytes of `struct erofs_dirent`.
const ENTRY: usize = 12;

/// One name in a directory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'n> {
    pub(crate) name: &'n [u8],
    pub(crate) nid: u64,
    pub(crate) file_type: u8,
}

/// Bytes of the directory with these names (sorted, `.` and `..` among them).
pub(crate) fn size<'n>(names: impl Iterator<Item = &'n [u8]>) -> u64 {
    let mut full = 0;
    let mut used = 0;
    for name in names {
        let need = ENTRY + name.len();
        if used + need > BLOCK_SIZE {
            full += BLOCK_SIZE as u64;
            used = 0;
        }
        used += need;
    }
    full + used as u64
}

/// The directory's data: every block holds its entries, then their names.
pub(crate) fn encode(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = entries;
    while !rest.is_empty() {
        out.resize(out.len().next_multiple_of(BLOCK_SIZE), 0);
        let mut used = 0;
        let count = rest
            .iter()
            .take_while(|entry| {
                used += ENTRY + entry.name.len();
                used <= BLOCK_SIZE
            })
            .count();
        let (block, later) = rest.split_at(count);
        let mut name_offset = ENTRY * count;
        for entry in block {
            out.extend_from_slice(&entry.nid.to_le_bytes());
            out.extend_from_slice(&(name_offset as u16).to_le_bytes());
            out.extend_from_slice(&[entry.file_type, 0]);
            name_offset += entry.name.len();
        }
        for entry in block {
            out.extend_from_slice(entry.name);
        }
        rest = later;
    }
    out
}

/// Children's names with `.` and `..` put where they sort.
pub(crate) fn with_dots<'n>(
    names: impl Iterator<Item = &'n [u8]>,
) -> impl Iterator<Item = &'n [u8]> {
    let mut names = names.peekable();
    let mut dots = [&b"."[..], b".."].into_iter().peekable();
    std::iter::from_fn(move || match (names.peek(), dots.peek()) {
        (Some(name), Some(dot)) if name < dot => names.next(),
        (_, Some(_)) => dots.next(),
        _ => names.next(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_sort_among_the_names() {
        let names = [&b"!"[..], b"-x", b"..a", b".a", b"a"];
        let all: Vec<_> = with_dots(names.into_iter()).collect();
        assert!(all.is_sorted());
        assert_eq!(all.len(), 7);
    }

    #[test]
    fn the_size_is_that_of_the_data() {
        for count in [0, 1, 100, 340, 341, 342, 12_000] {
            let names: Vec<_> = (0..count)
                .map(|i| format!("{i:06}{}", "x".repeat(i % 250)))
                .collect();
            let entries: Vec<_> = names
                .iter()
                .map(|name| Entry {
                    name: name.as_bytes(),
                    nid: 1,
                    file_type: 1,
                })
                .collect();
            let data = encode(&entries);
            assert_eq!(data.len() as u64, size(names.iter().map(String::as_bytes)));
        }
    }
}
