//! Checksums.

use super::builtin::map_text;
use super::{Function, Param};
use Param::Text;
use sha2::{Digest as _, Sha256};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("sha256sum", &[Text], |scope, args| {
        scope.budget.step(args.text(0)?.len() as u64 / 64)?;
        map_text(scope, args, |text| hex::encode(Sha256::digest(text)))
    }),
    Function::new("adler32sum", &[Text], |scope, args| {
        map_text(scope, args, |text| adler32(text.as_bytes()).to_string())
    }),
];

/// RFC 1950, section 9.
fn adler32(bytes: &[u8]) -> u32 {
    const MODULUS: u32 = 65521;
    let (low, high) = bytes.iter().fold((1u32, 0u32), |(low, high), &byte| {
        let low = (low + u32::from(byte)) % MODULUS;
        (low, (high + low) % MODULUS)
    });
    (high << 16) | low
}
