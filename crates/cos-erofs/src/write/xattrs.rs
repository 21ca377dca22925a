//! Extended attributes: those that several inodes have are stored once and referred to.

use crate::disk::MAX_XATTR_SIZE;
use cos_tree::Xattrs;
use std::collections::BTreeMap;

/// Bytes of `struct erofs_xattr_ibody_header`.
const HEADER: usize = 12;
/// `h_shared_count` has 8 bits.
const MAX_SHARED: usize = 255;

/// Full names by the start of which `e_name_index` stands; the exact ones have no rest.
const PREFIXES: &[(&[u8], u8, bool)] = &[
    (b"user.", 1, false),
    (b"system.posix_acl_access", 2, true),
    (b"system.posix_acl_default", 3, true),
    (b"trusted.", 4, false),
    (b"security.", 6, false),
];

/// Why an attribute cannot be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No Linux file system has a name of this kind; the kernel could not be asked for it.
    ForeignName,
    /// A name or value too long, or a name with nothing behind its prefix.
    Bounds,
}

/// `struct erofs_xattr_entry` with name and value, filled up to 4 bytes.
fn entry(name: &[u8], value: &[u8]) -> Result<Vec<u8>, Refusal> {
    let prefix = PREFIXES.iter().find(|(prefix, _, exact)| match exact {
        true => name == *prefix,
        false => name.starts_with(prefix),
    });
    let &(prefix, index, exact) = prefix.ok_or(Refusal::ForeignName)?;
    let rest = &name[prefix.len()..];
    let length = u8::try_from(rest.len()).map_err(|_| Refusal::Bounds)?;
    let value_size = u16::try_from(value.len()).map_err(|_| Refusal::Bounds)?;
    if (rest.is_empty() && !exact) || rest.contains(&0) {
        return Err(Refusal::Bounds);
    }
    let mut out = vec![length, index];
    out.extend_from_slice(&value_size.to_le_bytes());
    out.extend_from_slice(rest);
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
    Ok(out)
}

/// Attributes of all inodes: which there are, and which are shared.
#[derive(Debug, Default)]
pub(crate) struct XattrTable<'t> {
    /// Every distinct set of attributes.
    sets: BTreeMap<&'t Xattrs, usize>,
    entries: Vec<Vec<Vec<u8>>>,
    /// How many inodes have each entry, then where it is in the shared area.
    uses: BTreeMap<Vec<u8>, u64>,
    bodies: Vec<Vec<u8>>,
    shared: Vec<u8>,
}

impl<'t> XattrTable<'t> {
    /// Counts an inode's attributes; returns which set they are. `refused` hears of those that
    /// cannot be stored, once for each set.
    pub(crate) fn add(
        &mut self,
        xattrs: &'t Xattrs,
        mut refused: impl FnMut(&[u8], Refusal),
    ) -> usize {
        let set = match self.sets.get(xattrs) {
            Some(&set) => set,
            None => {
                let mut entries = Vec::new();
                for (name, value) in xattrs {
                    match entry(name, value) {
                        Ok(entry) => entries.push(entry),
                        Err(refusal) => refused(name, refusal),
                    }
                }
                self.entries.push(entries);
                self.sets.insert(xattrs, self.entries.len() - 1);
                self.entries.len() - 1
            }
        };
        for entry in &self.entries[set] {
            match self.uses.get_mut(entry) {
                Some(count) => *count += 1,
                None => drop(self.uses.insert(entry.clone(), 1)),
            }
        }
        set
    }

    /// Decides what is shared and builds every set's inline body. Fails with the number of a set
    /// that is too large.
    pub(crate) fn build(&mut self) -> Result<(), usize> {
        let mut shared = Vec::new();
        // An identifier costs 4 bytes, so sharing pays from the second use on.
        self.uses.retain(|_, count| *count > 1);
        for (entry, place) in &mut self.uses {
            *place = shared.len() as u64;
            shared.extend_from_slice(entry);
        }
        self.shared = shared;
        for (set, entries) in self.entries.iter().enumerate() {
            let body = self.body(entries);
            if body.len() > MAX_XATTR_SIZE {
                return Err(set);
            }
            self.bodies.push(body);
        }
        Ok(())
    }

    fn body(&self, entries: &[Vec<u8>]) -> Vec<u8> {
        if entries.is_empty() {
            return Vec::new();
        }
        let mut ids = Vec::new();
        let mut inline = Vec::new();
        for entry in entries {
            match self.uses.get(entry) {
                Some(place) if ids.len() < MAX_SHARED * 4 => {
                    ids.extend_from_slice(&((place / 4) as u32).to_le_bytes());
                }
                _ => inline.extend_from_slice(entry),
            }
        }
        let mut body = vec![0; HEADER];
        body[4] = (ids.len() / 4) as u8;
        body.extend_from_slice(&ids);
        body.extend_from_slice(&inline);
        body
    }

    /// What stands behind the inodes with this set.
    pub(crate) fn inline_body(&self, set: usize) -> &[u8] {
        &self.bodies[set]
    }

    /// The shared area.
    pub(crate) fn shared(&self) -> &[u8] {
        &self.shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xattrs(pairs: &[(&[u8], &[u8])]) -> Xattrs {
        pairs
            .iter()
            .map(|(k, v)| ((*k).into(), (*v).into()))
            .collect()
    }

    #[test]
    fn repeated_attributes_are_stored_once() {
        let common: (&[u8], &[u8]) = (b"security.selinux", b"system_u:object_r:bin_t:s0");
        let sets = [
            xattrs(&[common]),
            xattrs(&[common, (b"user.one", b"1")]),
            xattrs(&[]),
        ];
        let mut table = XattrTable::default();
        let numbers: Vec<_> = sets
            .iter()
            .map(|set| table.add(set, |_, _| panic!("refused")))
            .collect();
        table.build().unwrap();
        assert_eq!(table.shared().len(), 4 + 7 + 26 + 3);
        assert_eq!(table.inline_body(numbers[0]).len(), 12 + 4);
        assert_eq!(table.inline_body(numbers[1]).len(), 12 + 4 + 8);
        assert!(table.inline_body(numbers[2]).is_empty());
    }

    #[test]
    fn what_the_format_cannot_hold_is_refused() {
        assert_eq!(
            entry(b"com.apple.quarantine", b"").unwrap_err(),
            Refusal::ForeignName
        );
        assert_eq!(
            entry(b"system.posix_acl_accessory", b"").unwrap_err(),
            Refusal::ForeignName
        );
        assert_eq!(entry(b"user.", b"").unwrap_err(), Refusal::Bounds);
        assert_eq!(entry(b"user.a\0b", b"").unwrap_err(), Refusal::Bounds);
        let long = [&b"user."[..], &[b'x'; 256]].concat();
        assert_eq!(entry(&long, b"").unwrap_err(), Refusal::Bounds);
        assert_eq!(
            entry(b"user.a", &vec![0; 65_536]).unwrap_err(),
            Refusal::Bounds
        );
        assert!(entry(b"user.a", &vec![0; 65_535]).is_ok());
    }
}
