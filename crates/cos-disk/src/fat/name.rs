//! Long names, the 8.3 names that go with them, and volume labels.

use crate::DiskError;
use std::collections::BTreeSet;

/// UTF-16 units in one slot of a long name.
pub(super) const UNITS_PER_SLOT: usize = 13;

/// Checks that FAT can store `name` as it is.
pub(super) fn check(name: &str, path: &str) -> Result<(), DiskError> {
    let forbidden = |c: char| c < ' ' || c == '\x7f' || "\"*/:<>?\\|".contains(c);
    let bad = name.is_empty()
        || name.ends_with(['.', ' '])
        || name.starts_with(' ')
        || name.contains(forbidden)
        || name.encode_utf16().count() > 255;
    if bad {
        return Err(DiskError::FatName {
            path: path.to_owned(),
        });
    }
    Ok(())
}

/// The label as stored; `None` for an empty one.
pub(super) fn label(label: &str) -> Result<Option<[u8; 11]>, DiskError> {
    let upper = label.to_ascii_uppercase();
    let good = |byte: u8| is_short(byte) || byte == b' ';
    if upper.len() > 11 || upper.starts_with(' ') || !upper.bytes().all(good) {
        return Err(DiskError::FatLabel {
            label: label.to_owned(),
        });
    }
    Ok((!upper.is_empty()).then(|| padded(&upper)))
}

/// Characters that an 8.3 name may hold.
fn is_short(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"!#$%&'()-@^_`{}~".contains(&byte)
}

fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [b' '; N];
    for (byte, character) in bytes.iter_mut().zip(text.bytes()) {
        *byte = character;
    }
    bytes
}

/// Whether `name` needs a long name beside `short`.
pub(super) fn needs_long(name: &str, short: &[u8; 11]) -> bool {
    let base = String::from_utf8_lossy(&short[..8]);
    let extension = String::from_utf8_lossy(&short[8..]);
    let shown = match extension.trim_end() {
        "" => base.trim_end().to_owned(),
        extension => format!("{}.{extension}", base.trim_end()),
    };
    shown != name
}

/// The 8.3 name of `name`, unlike any of `taken`, to which it is added.
pub(super) fn short(name: &str, taken: &mut BTreeSet<[u8; 11]>) -> [u8; 11] {
    let upper = name.to_ascii_uppercase();
    let (base, extension) = match upper.rsplit_once('.') {
        Some((base, extension)) if !base.is_empty() => (base, extension),
        _ => (upper.as_str(), ""),
    };
    let fits = |part: &str, limit| part.len() <= limit && part.bytes().all(is_short);
    if fits(base, 8) && fits(extension, 3) {
        let exact = joined(base, extension);
        if taken.insert(exact) {
            return exact;
        }
    }
    let (base, extension) = (squeezed(base), squeezed(extension));
    let mut number = 1_u32;
    loop {
        let tail = format!("~{number}");
        let kept = base.len().min(8 - tail.len().min(7));
        let candidate = joined(&format!("{}{tail}", &base[..kept]), &extension);
        if taken.insert(candidate) {
            return candidate;
        }
        number += 1;
    }
}

fn joined(base: &str, extension: &str) -> [u8; 11] {
    let mut short = [b' '; 11];
    short[..8].copy_from_slice(&padded::<8>(base));
    short[8..].copy_from_slice(&padded::<3>(extension));
    short
}

/// What of `part` an 8.3 name can hold: no spaces and dots, `_` for all else.
fn squeezed(part: &str) -> String {
    let kept = part.chars().filter(|c| !matches!(c, ' ' | '.'));
    kept.map(|c| match u8::try_from(c) {
        Ok(byte) if is_short(byte) => c,
        _ => '_',
    })
    .collect()
}

/// The checksum that ties the slots of a long name to its 8.3 name.
pub(super) fn checksum(short: &[u8; 11]) -> u8 {
    short
        .iter()
        .fold(0, |sum: u8, byte| sum.rotate_right(1).wrapping_add(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_unique_and_valid() {
        let mut taken = BTreeSet::new();
        let mut of = |name: &str| String::from_utf8(short(name, &mut taken).to_vec()).unwrap();
        assert_eq!(of("EFI"), "EFI        ");
        assert_eq!(of("grub.cfg"), "GRUB    CFG");
        assert_eq!(of("grub.config"), "GRUB~1  CON");
        assert_eq!(of("vmlinuz-6.1.0-amd64"), "VMLINU~10-A");
        assert_eq!(of("vmlinuz-6.2.0-amd64"), "VMLINU~20-A");
        assert_eq!(of("ünïcode"), "_N_COD~1   ");
        assert_eq!(of(".hidden"), "HIDDEN~1   ");
        for _ in 0..20 {
            taken.insert(*b"X          ");
        }
    }

    #[test]
    fn long_names_only_where_needed() {
        assert!(!needs_long("BOOTX64.EFI", b"BOOTX64 EFI"));
        assert!(needs_long("bootx64.efi", b"BOOTX64 EFI"));
        assert!(check("con:", "con:").is_err());
        assert!(check("a.", "a.").is_err());
        assert!(check("..", "..").is_err());
        assert!(label("far too long a label").is_err());
        assert_eq!(label("cos_grub").unwrap().unwrap(), *b"COS_GRUB   ");
    }
}
