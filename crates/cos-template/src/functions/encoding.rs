//! Base 64 and base 32.

use super::builtin::map_text;
use super::{Args, Function, Param, text_from};
use crate::limits::Outcome;
use crate::value::{Scope, Value};
use Param::Text;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};

/// As Go decodes: bits that nobody reads may be set.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("b64enc", &[Text], |scope, args| {
        scope.budget.room(args.text(0)?.len().saturating_mul(2))?;
        map_text(scope, args, |text| BASE64.encode(text))
    }),
    Function::new("b64dec", &[Text], b64dec),
    Function::new("b32enc", &[Text], |scope, args| {
        scope.budget.room(args.text(0)?.len().saturating_mul(2))?;
        map_text(scope, args, |text| b32enc(text.as_bytes()))
    }),
    Function::new("b32dec", &[Text], b32dec),
];

/// Go skips line ends in what it decodes.
fn without_line_ends(text: &str) -> String {
    text.replace(['\r', '\n'], "")
}

/// sprig gives Go's error text as the value where the input is bad: nobody wants that in a file, so
/// here it is an error.
fn b64dec(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let bytes = BASE64
        .decode(without_line_ends(args.text(0)?))
        .map_err(|error| format!("no base 64: {error}"))?;
    scope.text(text_from(bytes)?)
}

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

fn b32enc(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(5) {
        let mut group = [0u8; 8];
        group[3..3 + chunk.len()].copy_from_slice(chunk);
        let group = u64::from_be_bytes(group);
        let used = (chunk.len() * 8).div_ceil(5);
        for place in 0..8 {
            let digit = (group >> (35 - 5 * place)) & 31;
            text.push(if place < used {
                ALPHABET[digit as usize].into()
            } else {
                '='
            });
        }
    }
    text
}

fn b32dec(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let text = without_line_ends(args.text(0)?);
    let bytes = b32_bytes(text.as_bytes()).ok_or("no base 32")?;
    scope.text(text_from(bytes)?)
}

fn b32_bytes(text: &[u8]) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(8) {
        return None;
    }
    let mut bytes = Vec::new();
    let groups = text.len() / 8;
    for (number, chunk) in text.chunks(8).enumerate() {
        let used = chunk.iter().position(|&c| c == b'=').unwrap_or(8);
        let padded = chunk[used..].iter().all(|&c| c == b'=');
        let whole = matches!(used, 2 | 4 | 5 | 7 | 8);
        if !padded || !whole || (used < 8 && number + 1 < groups) {
            return None;
        }
        let mut group = 0u64;
        for place in 0..8 {
            let digit = match chunk.get(place).filter(|_| place < used) {
                Some(c) => ALPHABET.iter().position(|known| known == c)?,
                None => 0,
            };
            group = (group << 5) | digit as u64;
        }
        bytes.extend(&group.to_be_bytes()[3..3 + used * 5 / 8]);
    }
    Some(bytes)
}
