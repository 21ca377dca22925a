//! Signatures on UEFI programs.
//!
//! Source: "Windows Authenticode Portable Executable Signature Format"; UEFI specification, "UEFI Image
//! Validation".

use crate::der::{self, OCTETS, SEQUENCE};
use crate::{EfiError, Image, SigningKey, VerifyError, cms};

/// `SPC_INDIRECT_DATA_OBJID`
const INDIRECT_DATA: [u32; 10] = [1, 3, 6, 1, 4, 1, 311, 2, 1, 4];
/// `SPC_PE_IMAGE_DATAOBJ`
const PE_IMAGE_DATA: [u32; 10] = [1, 3, 6, 1, 4, 1, 311, 2, 1, 15];
/// `WIN_CERT_REVISION_2_0`
const REVISION: u16 = 0x0200;
/// `WIN_CERT_TYPE_PKCS_SIGNED_DATA`
const PKCS_SIGNED_DATA: u16 = 0x0002;

/// Signs an image. Signatures that it had are gone.
pub fn sign(image: Image, key: &SigningKey) -> Result<Image, EfiError> {
    let mut image = image.without_certificates()?;
    let body = indirect_data(&image.digest());
    let signature = cms::attached(&INDIRECT_DATA, &body, key)?;
    image.set_certificates(&certificate_table(&signature))?;
    Ok(image)
}

/// What is signed about an image: its digest, and words that nobody reads but everybody expects.
fn indirect_data(digest: &[u8; 32]) -> Vec<u8> {
    let obsolete: Vec<u8> = "<<<Obsolete>>>"
        .encode_utf16()
        .flat_map(u16::to_be_bytes)
        .collect();
    // SpcPeImageData: no flags, and a file [0] with a name [2] [0].
    let name = der::value(0x80, &obsolete);
    let file = der::context(0, &der::context(2, &name));
    let image_data = der::of(SEQUENCE, &[&[0x03, 0x01, 0x00], &file]);
    let data = der::of(SEQUENCE, &[&der::identifier(&PE_IMAGE_DATA), &image_data]);
    let digest = der::of(SEQUENCE, &[&cms::sha_256(), &der::value(OCTETS, digest)]);
    [data, digest].concat()
}

/// `WIN_CERTIFICATE` with a signature, as long as a multiple of 8 bytes.
fn certificate_table(signature: &[u8]) -> Vec<u8> {
    let length = (8 + signature.len()).next_multiple_of(8);
    let mut table = Vec::with_capacity(length);
    table.extend((length as u32).to_le_bytes());
    table.extend(REVISION.to_le_bytes());
    table.extend(PKCS_SIGNED_DATA.to_le_bytes());
    table.extend(signature);
    table.resize(length, 0);
    table
}

/// The signatures in an image's table of certificates; entries of other kinds are passed over.
pub(crate) fn signatures(image: &Image) -> Result<Vec<&[u8]>, VerifyError> {
    let malformed = VerifyError::Certificates;
    let place = image.certificates();
    let place = place.map_err(|_| malformed("they are not its end"))?;
    let mut rest = &image.as_bytes()[place];
    let mut found = Vec::new();
    while !rest.is_empty() {
        let [a, b, c, d, revision @ .., low, high] =
            rest.first_chunk::<8>().ok_or(malformed("one ends early"))?;
        let length = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
        let entry = rest.get(8..length).ok_or(malformed("one ends early"))?;
        let kind = u16::from_le_bytes([*low, *high]);
        if u16::from_le_bytes(*revision) == REVISION && kind == PKCS_SIGNED_DATA {
            found.push(entry);
        }
        rest = rest.get(length.next_multiple_of(8)..).unwrap_or_default();
    }
    Ok(found)
}
