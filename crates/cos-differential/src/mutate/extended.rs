//! Extension headers: PAX records, GNU's long names, and their order.

use super::{is_member, odd_name, place};
use crate::part::{NAMES, Part, SIZE, long, pax, record};
use cos_testkit::Random;

const KEYS: [&[u8]; 24] = [
    b"path",
    b"linkpath",
    b"size",
    b"uid",
    b"gid",
    b"mtime",
    b"atime",
    b"uname",
    b"hdrcharset",
    b"charset",
    b"comment",
    b"SCHILY.devmajor",
    b"SCHILY.devminor",
    b"SCHILY.xattr.user.x",
    b"SCHILY.xattr.security.capability",
    b"LIBARCHIVE.xattr.user.y",
    b"SCHILY.realsize",
    b"SUN.devmajor",
    b"SUN.holesdata",
    b"GNU.sparse.realsize",
    b"SCHILY.fflags",
    b"SCHILY.ino",
    b"Path",
    b"odd key",
];

fn pax_value(random: &mut Random, key: &[u8]) -> Vec<u8> {
    let plain: Vec<u8> = match key {
        b"path" | b"linkpath" => random.pick(&NAMES).to_vec(),
        b"mtime" | b"atime" => b"1500000000.25".to_vec(),
        b"hdrcharset" => b"BINARY".to_vec(),
        b"charset" => b"ISO-IR 10646 2000 UTF-8".to_vec(),
        b"LIBARCHIVE.xattr.user.y" => b"AP8".to_vec(),
        b"SUN.holesdata" => b" 0 5".to_vec(),
        b"SCHILY.xattr.security.capability" => random.bytes(20),
        _ => random.below(600).to_string().into_bytes(),
    };
    match random.below(20) {
        0 => Vec::new(),
        1 => odd_name(random),
        2 => [&b" "[..], &plain].concat(),
        3 => [&plain[..], b" "].concat(),
        4 => [&b"-"[..], &plain].concat(),
        5 => [&b"+"[..], &plain].concat(),
        6 => [&b"00"[..], &plain].concat(),
        7 => [&plain[..], b"\0x"].concat(),
        8 => [&plain[..], b".9"].concat(),
        9 => b"18446744073709551616".to_vec(),
        10 => b"4294967295".to_vec(),
        11 => b"1e3".to_vec(),
        12 => b"0x10".to_vec(),
        13 => b"1_0".to_vec(),
        14 => b"-0.5".to_vec(),
        _ => plain,
    }
}

fn some_record(random: &mut Random) -> Vec<u8> {
    let key = random.pick(&KEYS);
    let value = pax_value(random, key);
    record(key, &value)
}

/// The PAX header in front of a member, made if there is none.
fn with_pax(
    random: &mut Random,
    parts: &mut Vec<Part>,
    flag: u8,
    change: impl Fn(&mut Random, &mut Part),
) {
    let mut header = pax(flag, &[some_record(random)]);
    change(random, &mut header);
    header.put(SIZE, format!("{:011o}\0", header.data.len()).as_bytes());
    let at = parts
        .iter()
        .position(|part| part.flag() == flag)
        .filter(|_| random.chance(60));
    match at {
        Some(at) => parts[at] = header,
        None => {
            let members: Vec<usize> = (0..parts.len())
                .filter(|&at| is_member(parts[at].flag()))
                .collect();
            let at = members.get(random.below(members.len()));
            parts.insert(at.copied().unwrap_or_default(), header);
        }
    }
}

pub(super) fn pax_values(random: &mut Random, parts: &mut Vec<Part>) {
    with_pax(random, parts, b'x', |random, header| {
        for _ in 0..random.below(3) {
            let more = some_record(random);
            header.data.extend(more);
        }
        if random.chance(20) {
            let again = header.data.clone();
            header.data.extend(again);
        }
    });
}

pub(super) fn pax_syntax(random: &mut Random, parts: &mut Vec<Part>) {
    with_pax(random, parts, b'x', |random, header| {
        let good = record(b"path", b"named");
        let data = &mut header.data;
        match random.below(15) {
            0 => data.extend_from_slice(b"0 path=a\n"),
            1 => data.extend_from_slice(b"9 path=a\n"),
            2 => data.extend_from_slice(b"11 path=a\n"),
            3 => data.extend_from_slice(b"010 path=a\n"),
            4 => data.extend_from_slice(b" 10 path=a\n"),
            5 => data.extend_from_slice(b"+10 path=a\n"),
            6 => data.extend_from_slice(b"10 path=ab"),
            7 => data.extend_from_slice(b"9 path a\n"),
            8 => data.extend_from_slice(b"5 =a\n"),
            9 => data.extend_from_slice(&[0; 20]),
            10 => data.extend_from_slice(b"\n"),
            11 => data.clear(),
            12 => data.extend_from_slice(b"13 path=a\nb=\n"),
            13 => {
                data.extend_from_slice(&good);
                let length = data.len();
                data.truncate(length - 1 - random.below(4));
            }
            _ => {
                let at = random.below(data.len());
                data[at] = random.next() as u8;
            }
        }
        if random.chance(30) {
            header.data.extend(good);
        }
    });
}

pub(super) fn global_pax(random: &mut Random, parts: &mut Vec<Part>) {
    with_pax(random, parts, b'g', |random, header| {
        if random.chance(50) {
            header.data = record(random.pick(&[&b"comment"[..], b"VENDOR.key"]), b"x");
        }
        for _ in 0..random.below(2) {
            let more = some_record(random);
            header.data.extend(more);
        }
    });
}

pub(super) fn extensions(random: &mut Random, parts: &mut Vec<Part>) {
    let at = place(random, parts);
    match random.below(8) {
        0 => parts.insert(at, long(b'L', b"from/L")),
        1 => parts.insert(at, long(b'K', b"from/K")),
        2 => parts.insert(at, pax(b'x', &[record(b"path", b"from/x")])),
        3 => {
            parts.insert(at, pax(b'x', &[record(b"path", b"from/x")]));
            parts.insert(at + random.below(2), long(b'L', b"from/L"));
        }
        4 => {
            let part = parts[random.below(parts.len())].clone();
            parts.insert(at, part);
        }
        5 => {
            let part = parts.remove(random.below(parts.len()));
            let at = place(random, parts);
            parts.insert(at, part);
        }
        6 => {
            let mut header = long(*random.pick(&[&b'L', &b'K']), b"no end");
            header.data.pop();
            header.put(SIZE, format!("{:011o}\0", header.data.len()).as_bytes());
            parts.insert(at, header);
        }
        _ => {
            let mut header = long(*random.pick(&[&b'L', &b'K', &b'x']), b"");
            header.data.clear();
            header.put(SIZE, b"00000000000\0");
            parts.insert(at, header);
        }
    }
}
