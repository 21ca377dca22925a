//! What archives are made of: header blocks with what follows them, field by field.

use cos_testkit::Random;
use std::ops::Range;

pub(crate) const BLOCK: usize = 512;

/// Fields of a header block (POSIX.1-1988, ustar).
pub(crate) const NAME: Range<usize> = 0..100;
pub(crate) const MODE: Range<usize> = 100..108;
pub(crate) const UID: Range<usize> = 108..116;
pub(crate) const GID: Range<usize> = 116..124;
pub(crate) const SIZE: Range<usize> = 124..136;
pub(crate) const MTIME: Range<usize> = 136..148;
pub(crate) const SUM: Range<usize> = 148..156;
pub(crate) const FLAG: usize = 156;
pub(crate) const LINK: Range<usize> = 157..257;
pub(crate) const MAGIC: Range<usize> = 257..265;
pub(crate) const MAJOR: Range<usize> = 329..337;
pub(crate) const MINOR: Range<usize> = 337..345;
pub(crate) const PREFIX: Range<usize> = 345..500;

/// How a header's checksum is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sum {
    /// Six digits, NUL, space: as everybody does.
    Right,
    /// The same over signed bytes, as some old writers did.
    Signed,
    /// Seven digits and a NUL, as others do.
    Seven,
    /// With spaces in front.
    Spaced,
    /// Off by one.
    Wrong,
    /// Whatever the block holds.
    Kept,
}

/// A header with the data behind it.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) header: [u8; BLOCK],
    pub(crate) sum: Sum,
    pub(crate) data: Vec<u8>,
}

/// How headers are marked: v7, ustar, GNU.
pub(crate) const MAGICS: [&[u8]; 3] = [b"\0\0\0\0\0\0\0\0", b"ustar\x0000", b"ustar  \0"];

impl Part {
    /// A header for `data`, everything else at rest.
    pub(crate) fn new(magic: &[u8], name: &[u8], flag: u8, data: Vec<u8>) -> Self {
        let mut part = Self {
            header: [0; BLOCK],
            sum: Sum::Right,
            data,
        };
        part.put(NAME, name);
        part.put(MODE, b"0000644\0");
        part.put(UID, b"0000000\0");
        part.put(GID, b"0000000\0");
        part.put(SIZE, format!("{:011o}\0", part.data.len()).as_bytes());
        part.put(MTIME, b"00000000000\0");
        part.put(FLAG..FLAG + 1, &[flag]);
        part.put(MAGIC, magic);
        part
    }

    /// Puts as much of `bytes` into a field as it holds, and clears the rest of it.
    pub(crate) fn put(&mut self, field: Range<usize>, bytes: &[u8]) {
        let length = bytes.len().min(field.len());
        self.header[field.start..field.start + length].copy_from_slice(&bytes[..length]);
        self.header[field.start + length..field.end].fill(0);
    }

    pub(crate) fn flag(&self) -> u8 {
        self.header[FLAG]
    }

    fn bytes(&self) -> Vec<u8> {
        let mut header = self.header;
        seal(&mut header, self.sum);
        let mut out = header.to_vec();
        out.extend_from_slice(&self.data);
        out.resize(out.len().next_multiple_of(BLOCK), 0);
        out
    }
}

fn seal(header: &mut [u8; BLOCK], sum: Sum) {
    if sum == Sum::Kept {
        return;
    }
    header[SUM].fill(b' ');
    let unsigned: i64 = header.iter().map(|&byte| i64::from(byte)).sum();
    let signed: i64 = header
        .iter()
        .map(|&byte| i64::from(byte.cast_signed()))
        .sum();
    let text = match sum {
        Sum::Right | Sum::Kept => format!("{unsigned:06o}\0 "),
        Sum::Signed => format!("{:06o}\0 ", signed.max(0)),
        Sum::Seven => format!("{unsigned:07o}\0"),
        Sum::Spaced => format!(" {unsigned:5o}\0 "),
        Sum::Wrong => format!("{:06o}\0 ", unsigned + 1),
    };
    header[SUM].copy_from_slice(&text.as_bytes()[..8]);
}

/// The archive, without its end.
pub(crate) fn joined(parts: &[Part]) -> Vec<u8> {
    parts.iter().flat_map(Part::bytes).collect()
}

/// One PAX record.
pub(crate) fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

/// A PAX header of one entry (`x`) or of all that follow (`g`).
pub(crate) fn pax(flag: u8, records: &[Vec<u8>]) -> Part {
    Part::new(MAGICS[1], b"PaxHeaders/x", flag, records.concat())
}

/// A GNU long name (`L`) or link target (`K`).
pub(crate) fn long(flag: u8, name: &[u8]) -> Part {
    Part::new(
        MAGICS[2],
        b"././@LongLink",
        flag,
        [name, b"\0".as_slice()].concat(),
    )
}

pub(crate) const NAMES: [&[u8]; 16] = [
    b"a",
    b"b",
    b"a/b",
    b"dir",
    b"dir/c",
    b"./d",
    b"/etc/e",
    b"x y",
    b"\xc3\xa9",
    b"\xff\xfe",
    b"dir//f",
    b"new\nline",
    b"a -> b",
    b"back\\slash\"",
    b".wh.a",
    b"dir/.wh..wh..opq",
];

/// A few well-formed members, each in a form that some writer uses.
pub(crate) fn base(random: &mut Random) -> Vec<Part> {
    let mut parts = Vec::new();
    for _ in 0..=random.below(4) {
        let magic = random.pick(&MAGICS);
        member(random, magic, &mut parts);
    }
    parts
}

fn member(random: &mut Random, magic: &[u8], parts: &mut Vec<Part>) {
    let name = random.pick(&NAMES);
    let flag = *random.pick(&[
        &b'0', &b'0', &0, &b'5', &b'2', &b'1', &b'3', &b'4', &b'6', &b'7',
    ]);
    if flag == b'0' && random.chance(25) {
        return sparse(random, name, parts);
    }
    let data = match flag {
        b'0' | 0 | b'7' => content(random),
        _ => Vec::new(),
    };
    let mut part = Part::new(magic, name, flag, data);
    if flag == b'5' && random.chance(70) {
        part.put(NAME, &[name, b"/".as_slice()].concat());
    }
    if matches!(flag, b'1' | b'2') {
        part.put(LINK, random.pick(&NAMES));
    }
    if matches!(flag, b'3' | b'4') && magic != MAGICS[0] {
        part.put(MAJOR, b"0000010\0");
        part.put(MINOR, b"0000003\0");
    }
    part.put(UID, format!("{:07o}\0", random.below(70_000)).as_bytes());
    part.put(
        MTIME,
        format!("{:011o}\0", random.below(1 << 31)).as_bytes(),
    );
    if random.chance(25) {
        let mut records = vec![record(b"mtime", b"1234567890.5")];
        if random.chance(50) {
            records.push(record(b"path", random.pick(&NAMES)));
        }
        if random.chance(30) {
            records.push(record(b"SCHILY.xattr.user.a", b"b"));
        }
        parts.push(pax(b'x', &records));
    } else if random.chance(15) {
        let name = [&b"long/"[..], &[b'n'; 150]].concat();
        parts.push(long(b'L', &name));
    } else if magic == MAGICS[1] && random.chance(15) {
        part.put(PREFIX, b"pre/fix");
    }
    parts.push(part);
}

/// File contents: nothing, a little, more than a block, or another archive.
pub(crate) fn content(random: &mut Random) -> Vec<u8> {
    match random.below(8) {
        0 => Vec::new(),
        1..4 => random.bytes(5),
        4 => random.bytes(512),
        5 => random.bytes(1300),
        _ => joined(&[Part::new(MAGICS[1], b"hidden", b'0', b"evil".to_vec())]),
    }
}

/// Where the data of the sparse files are, and that they end in a hole.
const SEGMENTS: [(u64, u64); 3] = [(512, 512), (1536, 5), (2000, 0)];

/// A sparse file in one of the four formats, with whole blocks in all segments but the last, as GNU tar
/// writes them.
fn sparse(random: &mut Random, name: &[u8], parts: &mut Vec<Part>) {
    let data = [vec![b'd'; BLOCK], b"abcde".to_vec()].concat();
    let numbers = SEGMENTS.map(|(offset, length)| [offset, length]).concat();
    let joined = |by: &str| {
        let numbers = numbers.iter().map(u64::to_string);
        numbers.collect::<Vec<_>>().join(by).into_bytes()
    };
    let inner: &[u8] = b"GNUSparseFile.0/x";
    match random.below(4) {
        0 => {
            let mut part = Part::new(MAGICS[2], name, b'S', data);
            let slots = numbers.iter().map(|number| format!("{number:011o}\0"));
            part.put(386..482, slots.collect::<String>().as_bytes());
            part.put(483..495, format!("{:011o}\0", 2000).as_bytes());
            parts.push(part);
        }
        1 => {
            let mut records = vec![
                record(b"GNU.sparse.size", b"2000"),
                record(b"GNU.sparse.numblocks", b"3"),
            ];
            for (offset, length) in SEGMENTS {
                records.push(record(b"GNU.sparse.offset", offset.to_string().as_bytes()));
                records.push(record(
                    b"GNU.sparse.numbytes",
                    length.to_string().as_bytes(),
                ));
            }
            parts.push(pax(b'x', &records));
            parts.push(Part::new(MAGICS[1], name, b'0', data));
        }
        2 => {
            let records = [
                record(b"GNU.sparse.size", b"2000"),
                record(b"GNU.sparse.numblocks", b"3"),
                record(b"GNU.sparse.name", name),
                record(b"GNU.sparse.map", &joined(",")),
            ];
            parts.push(pax(b'x', &records));
            parts.push(Part::new(MAGICS[1], inner, b'0', data));
        }
        _ => {
            let records = [
                record(b"GNU.sparse.major", b"1"),
                record(b"GNU.sparse.minor", b"0"),
                record(b"GNU.sparse.name", name),
                record(b"GNU.sparse.realsize", b"2000"),
            ];
            parts.push(pax(b'x', &records));
            let mut stored = [&b"3\n"[..], &joined("\n"), b"\n"].concat();
            stored.resize(BLOCK, 0);
            stored.extend_from_slice(&data);
            parts.push(Part::new(MAGICS[1], inner, b'0', stored));
        }
    }
}
