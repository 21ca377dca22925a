//! As much of DER (X.690) as signatures need to be written.

/// `SEQUENCE`.
pub(crate) const SEQUENCE: u8 = 0x30;
/// `SET`.
pub(crate) const SET: u8 = 0x31;
/// `OCTET STRING`.
pub(crate) const OCTETS: u8 = 0x04;

/// One value: tag, length and contents.
pub(crate) fn value(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    let length = contents.len();
    if length < 0x80 {
        bytes.push(length as u8);
    } else {
        let digits = length.to_be_bytes();
        let digits = &digits[digits.iter().take_while(|&&digit| digit == 0).count()..];
        bytes.push(0x80 | digits.len() as u8);
        bytes.extend(digits);
    }
    bytes.extend(contents);
    bytes
}

/// One value that holds others.
pub(crate) fn of(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    value(tag, &parts.concat())
}

/// `INTEGER`, small.
pub(crate) fn integer(number: u8) -> Vec<u8> {
    value(0x02, &[number])
}

/// `[n]`, with other values in it.
pub(crate) fn context(number: u8, contents: &[u8]) -> Vec<u8> {
    value(0xa0 | number, contents)
}

/// `OBJECT IDENTIFIER`; the first two arcs are one number in it.
pub(crate) fn identifier(arcs: &[u32]) -> Vec<u8> {
    let mut contents = Vec::new();
    let (first, rest) = match arcs {
        [first, second, rest @ ..] => (first * 40 + second, rest),
        _ => (0, arcs),
    };
    for arc in std::iter::once(&first).chain(rest) {
        let mut digits = vec![(arc & 0x7f) as u8];
        let mut left = arc >> 7;
        while left > 0 {
            digits.push(0x80 | (left & 0x7f) as u8);
            left >>= 7;
        }
        contents.extend(digits.iter().rev());
    }
    value(0x06, &contents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_in_the_standard() {
        assert_eq!(
            identifier(&[1, 2, 840, 113_549, 1, 7, 2]),
            [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2]
        );
        assert_eq!(integer(1), [2, 1, 1]);
        assert_eq!(value(OCTETS, &[7; 127])[..2], [4, 127]);
        assert_eq!(value(OCTETS, &[7; 128])[..3], [4, 0x81, 128]);
        assert_eq!(
            value(OCTETS, &vec![7; 70_000])[..5],
            [4, 0x83, 1, 0x11, 0x70]
        );
        assert_eq!(
            of(SEQUENCE, &[&integer(1), &[5, 0]]),
            [0x30, 5, 2, 1, 1, 5, 0]
        );
    }
}
