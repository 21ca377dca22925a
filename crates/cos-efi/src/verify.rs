//! Whether firmware would run a program: its signatures, judged by the databases of Secure Boot.
//!
//! Source: UEFI specification, "UEFI Image Validation"; EDK II, `DxeImageVerificationLib`.

use crate::database::Entries;
use crate::signed_data::{Certificate, SignedProgram};
use crate::{Image, VerifyError, authenticode};
use sha2::{Digest as _, Sha256};

/// Signatures of one program.
const MAX_SIGNATURES: usize = 8;

/// Why a program may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Vouched {
    /// It is signed.
    Signed {
        /// By whom, as their certificate names them.
        signer: String,
        /// Subject of the certificate in db that vouches for them; their own, as a rule.
        by: String,
    },
    /// db names its digest.
    Digest,
}

/// Whether firmware with these databases would run the program. `db` and `dbx` are contents of the variables
/// of these names: lists of signatures, without the attributes that efivarfs puts in front.
///
/// Like firmware it does not look at dates. Unlike some firmware it knows RSA with SHA-256 and larger only, and
/// what dbx revokes from a certain time on it takes for revoked.
pub fn verify(image: &Image, db: &[u8], dbx: Option<&[u8]>) -> Result<Vouched, VerifyError> {
    let read = |name, bytes| {
        Entries::parse(bytes).map_err(|reason| VerifyError::Database { name, reason })
    };
    let allowed = read("db", db)?;
    let revoked = read("dbx", dbx.unwrap_or_default())?;
    let digest = image.digest();
    if revoked.programs.contains(&digest) {
        return Err(VerifyError::RevokedProgram);
    }
    let allowed_by = certificates(&allowed);
    let revoked_by = certificates(&revoked);
    let mut vouched = None;
    let mut refusal = VerifyError::Unsigned;
    let signatures = authenticode::signatures(image)?;
    if signatures.len() > MAX_SIGNATURES {
        return Err(VerifyError::Certificates("there are too many"));
    }
    for signature in signatures {
        // One that cannot be used does not hide those beside it, as in firmware.
        let program = match SignedProgram::parse(signature, &digest) {
            Ok(program) => program,
            Err(error) => {
                refusal = error;
                continue;
            }
        };
        if let Some(by) = revoked_in(&program, &revoked_by, &revoked) {
            return Err(VerifyError::Revoked { by });
        }
        let signer = program.signer().name();
        match program.vouched_by(&allowed_by) {
            Some(by) => vouched = vouched.or(Some(Vouched::Signed { signer, by })),
            None => refusal = VerifyError::Unknown { signer },
        }
    }
    let by_digest = allowed.programs.contains(&digest);
    vouched
        .or(by_digest.then_some(Vouched::Digest))
        .ok_or(refusal)
}

/// The certificates of a database. What is none vouches for nobody.
fn certificates(entries: &Entries) -> Vec<Certificate> {
    let read = entries.certificates.iter();
    read.filter_map(|der| Certificate::parse(der).ok())
        .collect()
}

/// Who of those that stand behind a signature is revoked.
fn revoked_in(
    program: &SignedProgram,
    certificates: &[Certificate],
    entries: &Entries,
) -> Option<String> {
    program.vouched_by(certificates).or_else(|| {
        let by_digest = |it: &&Certificate| {
            let digest: [u8; 32] = Sha256::digest(it.signed_part()).into();
            entries.certificate_digests.contains(&digest)
        };
        program
            .chain()
            .into_iter()
            .find(by_digest)
            .map(Certificate::name)
    })
}
