//! Directory records with their Rock Ridge fields.

use super::tree::{Kind, Node, Tree};
use super::{SECTOR, date_of};

/// The longest extent of one record: whole sectors below 4 GiB.
const MAX_EXTENT: u64 = 0xffff_f800;

const FLAG_DIRECTORY: u8 = 0x02;
const FLAG_MORE_EXTENTS: u8 = 0x80;

const S_IFDIR: u32 = 0o040_000;
const S_IFREG: u32 = 0o100_000;

/// Writes directories whose places are known.
pub(super) struct Directories<'t> {
    pub(super) tree: &'t Tree,
    /// First sector and length in bytes of each directory, by node; 0 while not known.
    pub(super) places: Vec<(u32, u32)>,
    pub(super) time: i64,
}

impl Directories<'_> {
    /// The directory `index`, in whole sectors.
    pub(super) fn bytes(&self, index: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let parent = self.tree.nodes[index].parent;
        let is_root = index == super::tree::ROOT;
        append(&mut bytes, &self.dot(b"\0", index, is_root));
        append(&mut bytes, &self.dot(b"\x01", parent, false));
        for (identifier, child) in self.tree.members(index) {
            for record in self.records(identifier.as_bytes(), child) {
                append(&mut bytes, &record);
            }
        }
        bytes.resize(bytes.len().next_multiple_of(SECTOR as usize), 0);
        bytes
    }

    /// The root's record in the volume descriptor: no name, no fields.
    pub(super) fn root_record(&self) -> Vec<u8> {
        let (first, length) = self.places[super::tree::ROOT];
        self.record(b"\0", first, length, FLAG_DIRECTORY, &[])
    }

    fn dot(&self, identifier: &[u8], index: usize, announce: bool) -> Vec<u8> {
        let (first, length) = self.places[index];
        let mut fields = Vec::new();
        if announce {
            // SP opens the use of system areas, ER names the extension in use.
            fields.extend(*b"SP\x07\x01\xbe\xef\0");
        }
        fields.extend(self.attributes(&self.tree.nodes[index]));
        if announce {
            fields.extend(*b"ER\x12\x01\x0a\0\0\x01RRIP_1991A");
        }
        self.record(identifier, first, length, FLAG_DIRECTORY, &fields)
    }

    /// The records of a member: one, or as many as a file has extents.
    fn records(&self, identifier: &[u8], index: usize) -> Vec<Vec<u8>> {
        let node = &self.tree.nodes[index];
        let mut fields = self.attributes(node);
        fields.extend([b'N', b'M', 5 + node.name.len() as u8, 1, 0]);
        fields.extend(node.name.bytes());
        match node.kind {
            Kind::Directory(_) => {
                let (first, length) = self.places[index];
                vec![self.record(identifier, first, length, FLAG_DIRECTORY, &fields)]
            }
            Kind::File { first, length } => {
                let count = length.div_ceil(MAX_EXTENT).max(1);
                let extents = (0..count).map(|number| {
                    let done = number * MAX_EXTENT;
                    let flags = if number + 1 < count {
                        FLAG_MORE_EXTENTS
                    } else {
                        0
                    };
                    let part = (length - done).min(MAX_EXTENT) as u32;
                    let start = (first + done / SECTOR) as u32;
                    self.record(identifier, start, part, flags, &fields)
                });
                extents.collect()
            }
        }
    }

    /// PX (mode, links, owner) and TF (times).
    fn attributes(&self, node: &Node) -> Vec<u8> {
        let (mode, links) = match &node.kind {
            Kind::File { .. } => (S_IFREG | 0o644, 1),
            Kind::Directory(children) => {
                let below = children
                    .values()
                    .filter(|child| self.tree.nodes[**child].is_directory());
                (S_IFDIR | 0o755, 2 + below.count() as u32)
            }
        };
        let mut fields = b"PX\x24\x01".to_vec();
        for number in [mode, links, 0, 0] {
            fields.extend(both32(number));
        }
        // Modification, access and attribute change, in the short form.
        fields.extend(*b"TF\x1a\x01\x0e");
        for _ in 0..3 {
            fields.extend(self.short_date());
        }
        fields
    }

    fn record(&self, name: &[u8], first: u32, length: u32, flags: u8, fields: &[u8]) -> Vec<u8> {
        let mut record = vec![0, 0];
        record.extend(both32(first));
        record.extend(both32(length));
        record.extend(self.short_date());
        record.extend([flags, 0, 0]);
        record.extend(both16(1));
        record.push(name.len() as u8);
        record.extend(name);
        // Fields, and the next record, start at even places.
        record.resize(record.len().next_multiple_of(2), 0);
        record.extend(fields);
        record.resize(record.len().next_multiple_of(2), 0);
        record[0] = record.len() as u8;
        record
    }

    fn short_date(&self) -> [u8; 7] {
        let c = date_of(self.time);
        [
            (c.year - 1900) as u8,
            c.month,
            c.day,
            c.hour,
            c.minute,
            c.second,
            0,
        ]
    }
}

/// Appends a record; none may cross the end of a sector.
fn append(directory: &mut Vec<u8>, record: &[u8]) {
    let sector = SECTOR as usize;
    if directory.len() % sector + record.len() > sector {
        directory.resize(directory.len().next_multiple_of(sector), 0);
    }
    directory.extend(record);
}

/// A number as ISO 9660 stores it: in both byte orders.
pub(super) fn both32(number: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    bytes[4..].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// A number as ISO 9660 stores it: in both byte orders.
pub(super) fn both16(number: u16) -> [u8; 4] {
    let mut bytes = [0; 4];
    bytes[..2].copy_from_slice(&number.to_le_bytes());
    bytes[2..].copy_from_slice(&number.to_be_bytes());
    bytes
}
