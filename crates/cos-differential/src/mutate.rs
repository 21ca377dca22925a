//! Mutations that know what an archive is made of: most of them leave it readable to somebody.

#![allow(
    clippy::ptr_arg,
    reason = "mutations have one signature, whether they add parts or not"
)]

mod extended;
mod sparse;

use self::extended::{extensions, global_pax, pax_syntax, pax_values};
use self::sparse::sparse_maps;
use crate::part::{
    BLOCK, FLAG, GID, LINK, MAGIC, MAGICS, MAJOR, MINOR, MODE, MTIME, NAME, NAMES, PREFIX, Part,
    SIZE, Sum, UID, base, content, joined, long, pax, record,
};
use cos_testkit::Random;
use std::ops::Range;

/// An archive, and what was done to it.
#[derive(Debug, Clone)]
pub struct Case {
    /// The kind of mutation, as in the report.
    pub class: &'static str,
    /// The archive.
    pub bytes: Vec<u8>,
}

type Mutation = fn(&mut Random, &mut Vec<Part>);

/// All kinds of mutation by name. The last two work on the archive's bytes instead.
const CLASSES: [(&str, Mutation); 14] = [
    ("nothing", |_, _| ()),
    ("numbers", numbers),
    ("type flag", type_flag),
    ("format mark", format_mark),
    ("names", names),
    ("PAX values", pax_values),
    ("PAX syntax", pax_syntax),
    ("global PAX", global_pax),
    ("extension order", extensions),
    ("sizes", sizes),
    ("sparse maps", sparse_maps),
    ("checksums", checksums),
    ("end of archive", |_, _| ()),
    ("bytes", |_, _| ()),
];

impl Case {
    /// The case of a number under a seed: the same at all times.
    pub fn new(seed: u64, number: u64) -> Self {
        let mut random = Random::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ number);
        let (class, mutate) = CLASSES[random.below(CLASSES.len())];
        let mut parts = base(&mut random);
        for _ in 0..=random.below(2) {
            mutate(&mut random, &mut parts);
        }
        // Two kinds at once find what one alone does not.
        if class != "nothing" && random.chance(15) {
            let (_, other) = CLASSES[random.below(CLASSES.len())];
            other(&mut random, &mut parts);
        }
        let mut bytes = joined(&parts);
        match class {
            "end of archive" => ends(&mut random, &mut bytes),
            _ => bytes.extend([0; 2 * BLOCK]),
        }
        if class == "bytes" {
            some_bytes(&mut random, &mut bytes);
        }
        Self { class, bytes }
    }

    /// The names of all classes.
    pub fn classes() -> impl Iterator<Item = &'static str> {
        CLASSES.iter().map(|(name, _)| *name)
    }
}

/// A part whose type flag is wanted; otherwise any.
fn choose<'p>(
    random: &mut Random,
    parts: &'p mut [Part],
    wanted: impl Fn(u8) -> bool,
) -> Option<&'p mut Part> {
    let number = |wanted: &dyn Fn(u8) -> bool| -> Vec<usize> {
        (0..parts.len())
            .filter(|&at| wanted(parts[at].flag()))
            .collect()
    };
    let mut places = number(&wanted);
    if places.is_empty() {
        places = number(&|_| true);
    }
    let at = *places.get(random.below(places.len()))?;
    parts.get_mut(at)
}

fn is_member(flag: u8) -> bool {
    !matches!(flag, b'x' | b'g' | b'L' | b'K')
}

/// Where in `parts` something can be put in.
fn place(random: &mut Random, parts: &[Part]) -> usize {
    random.below(parts.len() + 1)
}

const NUMBERS: [(Range<usize>, u64); 7] = [
    (MODE, 0o755),
    (UID, 1000),
    (GID, 100),
    (SIZE, 5),
    (MTIME, 1_700_000_000),
    (MAJOR, 8),
    (MINOR, 3),
];

/// A number in ways that numbers are written, and in ways that they are not.
fn spelled(random: &mut Random, value: u64, width: usize) -> Vec<u8> {
    let digits = format!("{value:o}").into_bytes();
    let base_256 = |first: u8, value: u64| {
        let mut field = vec![if first & 0x40 == 0 { 0 } else { 0xff }; width];
        field[width - 8..].copy_from_slice(&value.to_be_bytes());
        field[0] |= first;
        field
    };
    match random.below(22) {
        0 => [&b" "[..], &digits].concat(),
        1 => [&digits[..], b" \0"].concat(),
        2 => [&digits[..], b" "].concat(),
        3 => format!("{value:0width$o}").into_bytes(),
        4 => format!("{value:>width$o}").into_bytes(),
        5 => base_256(0x80, value),
        6 => base_256(0xff, value.wrapping_neg()),
        7 => [&b"+"[..], &digits].concat(),
        8 => [&b"-"[..], &digits].concat(),
        9 => Vec::new(),
        10 => vec![b' '; width],
        11 => [&digits[..], b"\x001"].concat(),
        12 => [&digits[..], b" 1"].concat(),
        13 => [&b"\0"[..], &digits].concat(),
        14 => b"9".to_vec(),
        15 => [&digits[..], b"x"].concat(),
        16 => [&b"\t"[..], &digits].concat(),
        17 => vec![0xff; width],
        18 => vec![b'7'; width],
        19 => [&b"0x"[..], &digits].concat(),
        20 => [&b"0o"[..], &digits].concat(),
        _ => random.bytes(width),
    }
}

fn numbers(random: &mut Random, parts: &mut Vec<Part>) {
    let (field, value) = NUMBERS[random.below(NUMBERS.len())].clone();
    let value = match random.below(4) {
        0 => 0,
        1 => random.next() >> random.below(64),
        _ => value,
    };
    if let Some(part) = choose(random, parts, is_member) {
        // Of sizes mostly the right one.
        let value = if field == SIZE && random.chance(80) {
            part.data.len() as u64
        } else {
            value
        };
        let text = spelled(random, value, field.len());
        part.put(field, &text);
    }
}

fn type_flag(random: &mut Random, parts: &mut Vec<Part>) {
    let known = b"01234567\0LKxgSDMNVXAZz89 ";
    let flag = if random.chance(90) {
        known[random.below(known.len())]
    } else {
        random.next() as u8
    };
    let keep_data = random.chance(50);
    if let Some(part) = choose(random, parts, is_member) {
        part.put(FLAG..FLAG + 1, &[flag]);
        if !keep_data {
            part.data.clear();
            part.put(SIZE, b"00000000000\0");
        }
    }
}

fn format_mark(random: &mut Random, parts: &mut Vec<Part>) {
    let marks: [&[u8]; 10] = [
        MAGICS[0],
        MAGICS[1],
        MAGICS[2],
        b"ustar\0\0\0",
        b"ustar\x0001",
        b"ustar 00",
        b"ustar\0  ",
        b"USTAR\x0000",
        b"ustar\0 \0",
        b"ustar",
    ];
    let mark = random.pick(&marks);
    let prefix: [&[u8]; 4] = [b"", b"pre", b"/pre/", b"pre/fix"];
    let prefix = random.pick(&prefix);
    let star = random.chance(20);
    if let Some(part) = choose(random, parts, |_| true) {
        part.put(MAGIC, mark);
        if !prefix.is_empty() {
            part.put(PREFIX, prefix);
        }
        if star {
            part.put(508..512, b"tar\0");
        }
    }
}

fn odd_name(random: &mut Random) -> Vec<u8> {
    let name = random.pick(&NAMES);
    match random.below(16) {
        0 => [name, b"/"].concat(),
        1 => [name, b"//"].concat(),
        2 => [b"//", name].concat(),
        3 => [b"../", name].concat(),
        4 => [b"a/../", name].concat(),
        5 => [name, b"/."].concat(),
        6 => [name, b"/.."].concat(),
        7 => [name, b"\0junk"].concat(),
        8 => vec![b'n'; 100],
        9 => Vec::new(),
        10 => b".".to_vec(),
        11 => b"/".to_vec(),
        12 => b"./".to_vec(),
        13 => [name, b" "].concat(),
        14 => [b" ", name].concat(),
        _ => random.bytes(8),
    }
}

fn names(random: &mut Random, parts: &mut Vec<Part>) {
    let name = odd_name(random);
    let kind = random.below(4);
    if let Some(part) = choose(random, parts, is_member) {
        match kind {
            0 => part.put(LINK, &name),
            1 => part.put(PREFIX, &name),
            2 => {
                part.put(NAME, &name);
                if random.chance(40) {
                    part.put(FLAG..FLAG + 1, b"5");
                    part.data.clear();
                    part.put(SIZE, b"00000000000\0");
                }
            }
            _ => {
                let flag = if random.chance(50) { b'L' } else { b'K' };
                let at = place(random, parts);
                parts.insert(at, long(flag, &name));
            }
        }
    }
}

/// Sizes in the header, in the PAX record and of what is there: any of the three differs.
fn sizes(random: &mut Random, parts: &mut Vec<Part>) {
    let said = [0, 1, 5, 511, 512, 513, 1024, 2048][random.below(8)];
    let mut record_says = None;
    let mut at = 0;
    if let Some(part) = choose(random, parts, is_member) {
        if random.chance(30) {
            part.data = content(random);
        }
        let length = part.data.len();
        match random.below(4) {
            0 => part.put(SIZE, format!("{said:011o}\0").as_bytes()),
            1 => {
                part.put(SIZE, format!("{said:011o}\0").as_bytes());
                record_says = Some(length);
            }
            2 => record_says = Some(said),
            _ => {
                part.put(SIZE, b"00000000000\0");
                record_says = Some(length);
            }
        }
        let header = part.header;
        at = parts
            .iter()
            .position(|part| part.header == header)
            .unwrap_or_default();
    }
    if let Some(size) = record_says {
        let record = record(b"size", size.to_string().as_bytes());
        parts.insert(at, pax(b'x', &[record]));
    }
}

fn checksums(random: &mut Random, parts: &mut Vec<Part>) {
    let sums = [
        &Sum::Signed,
        &Sum::Seven,
        &Sum::Spaced,
        &Sum::Wrong,
        &Sum::Kept,
    ];
    let sum = *random.pick(&sums);
    if let Some(part) = choose(random, parts, |_| true) {
        part.sum = sum;
        if random.chance(40) {
            part.put(NAME, b"\xc3\xa9\xff");
        }
    }
}

fn ends(random: &mut Random, bytes: &mut Vec<u8>) {
    let more = joined(&base(random));
    match random.below(9) {
        0 => {}
        1 => bytes.extend([0; BLOCK]),
        2 => {
            bytes.extend([0; 2 * BLOCK]);
            bytes.extend(more);
        }
        3 => {
            bytes.extend([0; BLOCK]);
            bytes.extend(more);
        }
        4 => {
            bytes.extend([0; 2 * BLOCK]);
            bytes.extend(random.bytes(700));
        }
        5 => bytes.truncate(random.below(bytes.len() + 1)),
        6 => {
            let blocks = bytes.len() / BLOCK;
            bytes.truncate(random.below(blocks + 1) * BLOCK);
            bytes.extend([0; 2 * BLOCK]);
        }
        7 => {
            bytes.extend([0; 2 * BLOCK]);
            bytes.truncate(bytes.len() - random.below(2 * BLOCK));
        }
        _ => {
            let at = random.below(bytes.len() / BLOCK + 1) * BLOCK;
            let tail = bytes.split_off(at);
            bytes.extend([0; BLOCK]);
            bytes.extend(tail);
            bytes.extend([0; 2 * BLOCK]);
        }
    }
}

/// Bytes of a header changed, and its checksum made right again.
fn some_bytes(random: &mut Random, bytes: &mut [u8]) {
    let blocks = bytes.len() / BLOCK;
    let at = random.below(blocks) * BLOCK;
    let Some(block) = bytes.get_mut(at..at + BLOCK) else {
        return;
    };
    for _ in 0..=random.below(3) {
        block[random.below(BLOCK)] = match random.below(3) {
            0 => 0,
            1 => b'0' + random.below(10) as u8,
            _ => random.next() as u8,
        };
    }
    if block[257..262] == *b"ustar" && random.chance(90) {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_the_same_at_all_times_and_every_class_comes() {
        let cases = || (0..400).map(|number| Case::new(7, number));
        assert!(
            cases()
                .zip(cases())
                .all(|(one, other)| one.bytes == other.bytes)
        );
        for class in Case::classes() {
            assert!(cases().any(|case| case.class == class), "{class}");
        }
        assert_ne!(Case::new(7, 1).bytes, Case::new(8, 1).bytes);
    }
}
