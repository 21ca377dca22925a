//! Maps of sparse files.

use super::choose;
use crate::part::{BLOCK, MAGICS, Part, pax, record};
use cos_testkit::Random;

/// A map of whole blocks, a last segment of any length, and maybe the end; the data for it, and the size.
fn right_map(random: &mut Random) -> (Vec<u64>, Vec<u8>, u64) {
    let mut numbers = Vec::new();
    let (mut end, mut length) = (0, 0);
    for _ in 0..random.below(4) {
        let offset = end + random.below(3) as u64 * 512;
        let size = 512 * (1 + random.below(3) as u64);
        numbers.extend([offset, size]);
        (end, length) = (offset + size, length + size);
    }
    if random.chance(50) {
        let size = 1 + random.below(700) as u64;
        numbers.extend([end + 100, size]);
        (end, length) = (end + 100 + size, length + size);
    }
    let size = end + random.below(2) as u64 * 300;
    if random.chance(70) {
        numbers.extend([size, 0]);
    }
    (numbers, random.bytes(length as usize), size)
}

/// A sparse file with a map of its own; at times one number of it is another.
pub(super) fn sparse_maps(random: &mut Random, parts: &mut Vec<Part>) {
    if random.chance(40) {
        return odd_maps(random, parts);
    }
    let (mut numbers, data, size) = right_map(random);
    let count = numbers.len() / 2;
    if random.chance(30) && !numbers.is_empty() {
        let at = random.below(numbers.len());
        numbers[at] = [0, 1, 511, 512, 1024, size][random.below(6)];
    }
    let text: Vec<String> = numbers.iter().map(u64::to_string).collect();
    let size = size.to_string();
    let mut stored = Vec::new();
    let mut records = vec![record(b"GNU.sparse.name", b"sparse/map")];
    match random.below(3) {
        0 => {
            records.push(record(b"GNU.sparse.size", size.as_bytes()));
            records.push(record(b"GNU.sparse.map", text.join(",").as_bytes()));
            if random.chance(50) {
                let count = count.to_string();
                records.insert(1, record(b"GNU.sparse.numblocks", count.as_bytes()));
            }
        }
        1 => {
            records.push(record(b"GNU.sparse.size", size.as_bytes()));
            let count = count.to_string();
            records.push(record(b"GNU.sparse.numblocks", count.as_bytes()));
            for pair in text.chunks(2) {
                records.push(record(b"GNU.sparse.offset", pair[0].as_bytes()));
                records.push(record(b"GNU.sparse.numbytes", pair[1].as_bytes()));
            }
        }
        _ => {
            records.push(record(b"GNU.sparse.major", b"1"));
            records.push(record(b"GNU.sparse.minor", b"0"));
            records.push(record(b"GNU.sparse.realsize", size.as_bytes()));
            stored = format!("{count}\n{}\n", text.join("\n")).into_bytes();
            stored.resize(stored.len().next_multiple_of(BLOCK), 0);
        }
    }
    stored.extend(data);
    parts.push(pax(b'x', &records));
    parts.push(Part::new(MAGICS[1], b"GNUSparseFile.0/z", b'0', stored));
}

fn odd_maps(random: &mut Random, parts: &mut Vec<Part>) {
    let number = |random: &mut Random| -> String {
        let odd = [
            "0", "1", "2", "3", "5", "512", "1024", "1536", "2000", "2048", "-1", " 3", "",
            "1048577",
        ];
        odd[random.below(odd.len())].to_owned()
    };
    let slot = random.below(4) * 12;
    let numbers: Vec<String> = (0..5).map(|_| number(random)).collect();
    let kind = random.below(6);
    if let Some(part) = choose(random, parts, |flag| flag == b'S' || flag == b'x')
        && part.flag() == b'S'
    {
        let value: u64 = numbers[0].parse().unwrap_or(4);
        let text = format!("{value:011o}\0");
        match kind {
            0 => part.put(483..495, text.as_bytes()),
            1 => part.put(482..483, b"\x01"),
            2 => part.put(386 + slot..398 + slot, b""),
            3 => part.put(482..483, b"\x02"),
            _ => part.put(386 + slot..398 + slot, text.as_bytes()),
        }
        return;
    }
    let n = |at: usize| numbers[at].as_bytes();
    let pair = |at: usize| record(b"GNU.sparse.offset", n(at));
    let records = match kind {
        0 => vec![
            record(b"GNU.sparse.size", n(0)),
            record(b"GNU.sparse.map", numbers[1..].join(",").as_bytes()),
        ],
        1 => vec![
            record(b"GNU.sparse.size", b"2000"),
            record(b"GNU.sparse.numblocks", b"1"),
            pair(0),
            record(b"GNU.sparse.numbytes", n(1)),
        ],
        2 => vec![
            record(b"GNU.sparse.major", n(0)),
            record(b"GNU.sparse.minor", b"0"),
            record(b"GNU.sparse.realsize", n(1)),
        ],
        3 => vec![record(b"GNU.sparse.realsize", n(0))],
        4 => vec![record(b"GNU.sparse.name", b"sparse/name")],
        _ => vec![
            record(b"GNU.sparse.major", b"1"),
            record(b"GNU.sparse.minor", b"0"),
            record(b"GNU.sparse.realsize", b"2000"),
            record(b"GNU.sparse.name", b"sparse/name"),
        ],
    };
    let mut data = format!("{}\n", numbers[..3].join("\n")).into_bytes();
    data.resize(BLOCK, 0);
    data.extend_from_slice(b"abcde");
    parts.push(pax(b'x', &records));
    parts.push(Part::new(MAGICS[1], b"GNUSparseFile.0/y", b'0', data));
}
