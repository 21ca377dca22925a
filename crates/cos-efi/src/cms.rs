//! Signatures as PKCS#7 `SignedData` (RFC 2315, RFC 5652): one signer, RSA with SHA-256.

use crate::der::{self, OCTETS, SEQUENCE, SET};
use crate::{KeyError, SigningKey};
use sha2::{Digest as _, Sha256};

/// `pkcs7-signedData`
const SIGNED_DATA: [u32; 7] = [1, 2, 840, 113_549, 1, 7, 2];
/// `pkcs7-data`
const DATA: [u32; 7] = [1, 2, 840, 113_549, 1, 7, 1];
const CONTENT_TYPE: [u32; 7] = [1, 2, 840, 113_549, 1, 9, 3];
const MESSAGE_DIGEST: [u32; 7] = [1, 2, 840, 113_549, 1, 9, 4];
const RSA_ENCRYPTION: [u32; 7] = [1, 2, 840, 113_549, 1, 1, 1];
const SHA_256: [u32; 9] = [2, 16, 840, 1, 101, 3, 4, 2, 1];

/// An algorithm without parameters.
fn algorithm(arcs: &[u32]) -> Vec<u8> {
    der::of(SEQUENCE, &[&der::identifier(arcs), &[0x05, 0]])
}

/// The algorithm of all digests here.
pub(crate) fn sha_256() -> Vec<u8> {
    algorithm(&SHA_256)
}

/// A signature over data that is kept elsewhere, without attributes: a bare `SignedData`.
pub(crate) fn detached(data: &[u8], key: &SigningKey) -> Result<Vec<u8>, KeyError> {
    let content = der::of(SEQUENCE, &[&der::identifier(&DATA)]);
    signed_data(&content, None, data, key)
}

/// A signature over `body`, the contents of the value of type `kind` that it holds itself; in a
/// `ContentInfo`.
pub(crate) fn attached(kind: &[u32], body: &[u8], key: &SigningKey) -> Result<Vec<u8>, KeyError> {
    let value = der::value(SEQUENCE, body);
    let content = der::of(
        SEQUENCE,
        &[&der::identifier(kind), &der::context(0, &value)],
    );
    let attribute = |arcs: &[u32], value: &[u8]| {
        let set = der::value(SET, value);
        der::of(SEQUENCE, &[&der::identifier(arcs), &set])
    };
    // What is signed is the digest of the contents, without their tag and length.
    let digest = Sha256::digest(body);
    let mut attributes = [
        attribute(&CONTENT_TYPE, &der::identifier(kind)),
        attribute(&MESSAGE_DIGEST, &der::value(OCTETS, &digest)),
    ];
    attributes.sort();
    let attributes = attributes.concat();
    // They are signed as a set, and kept under a tag of their own.
    let message = der::value(SET, &attributes);
    let signed = signed_data(&content, Some(&attributes), &message, key)?;
    let parts = [der::identifier(&SIGNED_DATA), der::context(0, &signed)];
    Ok(der::of(SEQUENCE, &[&parts[0], &parts[1]]))
}

fn signed_data(
    content: &[u8],
    attributes: Option<&[u8]>,
    message: &[u8],
    key: &SigningKey,
) -> Result<Vec<u8>, KeyError> {
    let identity = der::of(SEQUENCE, &[key.issuer(), key.serial_number()]);
    let attributes = attributes.map(|it| der::context(0, it)).unwrap_or_default();
    let signature = der::value(OCTETS, &key.sign(message)?);
    let signer = der::of(
        SEQUENCE,
        &[
            &der::integer(1),
            &identity,
            &sha_256(),
            &attributes,
            &algorithm(&RSA_ENCRYPTION),
            &signature,
        ],
    );
    Ok(der::of(
        SEQUENCE,
        &[
            &der::integer(1),
            &der::value(SET, &sha_256()),
            content,
            &der::context(0, key.certificate_der()),
            &der::value(SET, &signer),
        ],
    ))
}
