//! The bytes of a directory.

use super::Stamp;
use super::name::{self, UNITS_PER_SLOT};
use super::tree::{Node, ROOT, Tree};

const ATTRIBUTE_VOLUME: u8 = 0x08;
const ATTRIBUTE_DIRECTORY: u8 = 0x10;
const ATTRIBUTE_ARCHIVE: u8 = 0x20;
const ATTRIBUTE_LONG_NAME: u8 = 0x0f;

/// Marks the slot that holds the end of a long name; it comes first.
const LAST_SLOT: u8 = 0x40;

/// The directory `node`, without the zeros that end it.
pub(super) fn bytes(
    tree: &Tree<'_>,
    node: &Node<'_>,
    label: Option<[u8; 11]>,
    stamp: Stamp,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let is_root = std::ptr::eq(node, tree.node(ROOT));
    if is_root {
        if let Some(label) = label {
            bytes.extend(slot(&label, ATTRIBUTE_VOLUME, 0, 0, stamp));
        }
    } else {
        // `..` of the root's members says 0, whatever cluster the root has.
        let parent = if node.parent == ROOT {
            0
        } else {
            tree.node(node.parent).first_cluster
        };
        bytes.extend(slot(
            b".          ",
            ATTRIBUTE_DIRECTORY,
            node.first_cluster,
            0,
            stamp,
        ));
        bytes.extend(slot(b"..         ", ATTRIBUTE_DIRECTORY, parent, 0, stamp));
    }
    for child in node.children.values().map(|index| tree.node(*index)) {
        if name::needs_long(&child.name, &child.short) {
            bytes.extend(long_slots(child));
        }
        let (attribute, size) = match &child.source {
            None => (ATTRIBUTE_DIRECTORY, 0),
            Some(source) => (ATTRIBUTE_ARCHIVE, source.len() as u32),
        };
        bytes.extend(slot(
            &child.short,
            attribute,
            child.first_cluster,
            size,
            stamp,
        ));
    }
    bytes
}

fn slot(name: &[u8; 11], attribute: u8, cluster: u32, size: u32, stamp: Stamp) -> [u8; 32] {
    let mut slot = [0; 32];
    let mut put = |at: usize, bytes: &[u8]| slot[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name);
    put(11, &[attribute]);
    put(14, &stamp.time.to_le_bytes());
    put(16, &stamp.date.to_le_bytes());
    put(18, &stamp.date.to_le_bytes());
    put(20, &((cluster >> 16) as u16).to_le_bytes());
    put(22, &stamp.time.to_le_bytes());
    put(24, &stamp.date.to_le_bytes());
    put(26, &(cluster as u16).to_le_bytes());
    put(28, &size.to_le_bytes());
    slot
}

/// The slots of a long name: its end first.
fn long_slots(node: &Node<'_>) -> Vec<u8> {
    let units: Vec<u16> = node.name.encode_utf16().collect();
    let checksum = name::checksum(&node.short);
    let parts = units.chunks(UNITS_PER_SLOT).enumerate().rev();
    let mut bytes = Vec::new();
    for (index, part) in parts {
        let is_end = (index + 1) * UNITS_PER_SLOT >= units.len();
        let mut slot = [0; 32];
        slot[0] = (index as u8 + 1) | if is_end { LAST_SLOT } else { 0 };
        slot[11] = ATTRIBUTE_LONG_NAME;
        slot[13] = checksum;
        let places = (1..11)
            .step_by(2)
            .chain((14..26).step_by(2))
            .chain([28, 30]);
        // One zero ends the name where the slot is not full, and ones fill the rest.
        let padding = std::iter::once(0).chain(std::iter::repeat(0xffff));
        for (at, unit) in places.zip(part.iter().copied().chain(padding)) {
            slot[at..at + 2].copy_from_slice(&unit.to_le_bytes());
        }
        bytes.extend(slot);
    }
    bytes
}
