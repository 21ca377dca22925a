//! What the variables of Secure Boot's databases hold, read.
//!
//! Source: UEFI specification, "Signature Database" (`EFI_SIGNATURE_LIST`).

use crate::signature_list::X509;
use uuid::{Uuid, uuid};

/// `EFI_CERT_SHA256_GUID`
const SHA256: Uuid = uuid!("c1c41626-504c-4092-aca9-41f936934328");
/// `EFI_CERT_X509_SHA256_GUID`: digests of what certificates say, with a time.
const X509_SHA256: Uuid = uuid!("3bd2a492-96c0-4079-b420-fcf98ef103ed");
/// Firmware has room for less.
const MAX_SIZE: usize = 1 << 20;
/// Type of the signatures, and the three sizes.
const LIST_HEADER: usize = 28;
/// Who put a signature there.
const OWNER: usize = 16;

/// Certificates and digests.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    /// Certificates in DER.
    pub(crate) certificates: Vec<Vec<u8>>,
    /// Digests of programs.
    pub(crate) programs: Vec<[u8; 32]>,
    /// Digests of what is signed of certificates.
    pub(crate) certificate_digests: Vec<[u8; 32]>,
}

impl Entries {
    /// Reads the lists of a variable, one behind the other. Entries of kinds that are none of these say
    /// nothing about programs that are signed today, and are passed over.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        if bytes.len() > MAX_SIZE {
            return Err("it is larger than any firmware's");
        }
        let mut entries = Self::default();
        let mut rest = bytes;
        while !rest.is_empty() {
            let header = rest.get(..LIST_HEADER).ok_or("a list ends early")?;
            let [size, skip, step] = [16, 20, 24].map(|at| u32_at(header, at));
            let begin = LIST_HEADER
                .checked_add(skip)
                .ok_or("a list has a wrong size")?;
            let body = rest.get(begin..size).ok_or("a list has a wrong size")?;
            if step <= OWNER || body.len() % step != 0 {
                return Err("a list has signatures of a wrong size");
            }
            let mut kind = [0; 16];
            kind.copy_from_slice(&header[..16]);
            let kind = Uuid::from_bytes_le(kind);
            for signature in body.chunks_exact(step) {
                entries.take(kind, &signature[OWNER..])?;
            }
            rest = &rest[size..];
        }
        Ok(entries)
    }

    fn take(&mut self, kind: Uuid, data: &[u8]) -> Result<(), &'static str> {
        let digest = || {
            let digest = data.get(..32).and_then(|it| it.try_into().ok());
            digest.ok_or("a list has digests of a wrong size")
        };
        match kind {
            X509 => self.certificates.push(data.to_vec()),
            SHA256 => self.programs.push(digest()?),
            X509_SHA256 => self.certificate_digests.push(digest()?),
            _ => {}
        }
        Ok(())
    }
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(kind: Uuid, step: u32, data: &[u8]) -> Vec<u8> {
        let mut bytes = kind.to_bytes_le().to_vec();
        for number in [28 + data.len() as u32, 0, step] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(data);
        bytes
    }

    #[test]
    fn lists_are_read_to_their_end_or_not_at_all() {
        let digests = list(SHA256, 48, &[7; 96]);
        let certificate = list(X509, 20, &[1; 20]);
        let unknown = list(Uuid::nil(), 17, &[1; 17]);
        let all = [digests, certificate, unknown].concat();
        let read = Entries::parse(&all).unwrap();
        assert_eq!(read.programs, [[7; 32]; 2]);
        assert_eq!(read.certificates, [vec![1; 4]]);
        assert!(Entries::parse(&[]).unwrap().certificates.is_empty());
        for end in 1..all.len() {
            let whole = [124, 172].contains(&end);
            assert_eq!(Entries::parse(&all[..end]).is_ok(), whole, "{end}");
        }
        for wrong in [
            list(SHA256, 20, &[7; 20]),
            list(SHA256, 0, &[]),
            list(X509, 16, &[1; 16]),
            list(X509, 20, &[1; 19]),
            vec![0; MAX_SIZE + 1],
            vec![0xff; 64],
        ] {
            assert!(Entries::parse(&wrong).is_err());
        }
    }
}
