//! A signature on a program, read: PKCS#7 `SignedData` (RFC 5652) over the program's digest.

use crate::VerifyError;
use cms::cert::CertificateChoices;
use cms::cert::x509::Certificate as X509;
use cms::cert::x509::attr::Attributes;
use cms::cert::x509::der::asn1::{ObjectIdentifier, OctetString, OctetStringRef};
use cms::cert::x509::der::{self, AnyRef, Decode as _, Encode as _, Reader as _, SliceReader};
use cms::cert::x509::ext::pkix::BasicConstraints;
use cms::cert::x509::spki::AlgorithmIdentifierRef;
use cms::content_info::ContentInfo;
use cms::signed_data::{SignedData, SignerIdentifier, SignerInfo};
use ring::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RsaParameters, UnparsedPublicKey,
};
use sha2::{Digest as _, Sha256};

const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
/// `SPC_INDIRECT_DATA_OBJID`
const INDIRECT_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.2.1.4");
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
const SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSA_SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const RSA_SHA_384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const RSA_SHA_512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");
/// Certificates that one signature brings.
const MAX_CERTIFICATES: usize = 16;
/// Longest name that is kept: somebody else wrote it.
const MAX_NAME: usize = 200;

/// A certificate, with the bytes that its issuer signed.
#[derive(Debug)]
pub(crate) struct Certificate {
    parsed: X509,
    der: Vec<u8>,
    signed_part: Vec<u8>,
}

impl Certificate {
    pub(crate) fn parse(der: &[u8]) -> der::Result<Self> {
        let outer = AnyRef::from_der(der)?;
        let signed_part = SliceReader::new(outer.value())?.tlv_bytes()?.to_vec();
        Ok(Self {
            parsed: X509::from_der(der)?,
            der: der.to_vec(),
            signed_part,
        })
    }

    /// Whom it is for, fit for a terminal.
    pub(crate) fn name(&self) -> String {
        let name = self.parsed.tbs_certificate.subject.to_string();
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        name.chars().map(plain).take(MAX_NAME).collect()
    }

    /// What its issuer signed.
    pub(crate) fn signed_part(&self) -> &[u8] {
        &self.signed_part
    }

    /// Whether it may vouch for others.
    fn may_issue(&self) -> bool {
        let constraints = self.parsed.tbs_certificate.get::<BasicConstraints>();
        matches!(
            constraints,
            Ok(Some((_, BasicConstraints { ca: true, .. })))
        )
    }

    /// Whether it vouches for another one.
    fn issued(&self, other: &Self) -> bool {
        let (own, others) = (&self.parsed.tbs_certificate, &other.parsed);
        let algorithm = match others.signature_algorithm.oid {
            RSA_SHA_256 => &RSA_PKCS1_2048_8192_SHA256,
            RSA_SHA_384 => &RSA_PKCS1_2048_8192_SHA384,
            RSA_SHA_512 => &RSA_PKCS1_2048_8192_SHA512,
            _ => return false,
        };
        own.subject == others.tbs_certificate.issuer
            && self.may_issue()
            && others
                .signature
                .as_bytes()
                .is_some_and(|it| self.signed(algorithm, &other.signed_part, it))
    }

    /// Whether its key made a signature.
    fn signed(&self, algorithm: &'static RsaParameters, message: &[u8], signature: &[u8]) -> bool {
        let key = &self.parsed.tbs_certificate.subject_public_key_info;
        let bytes = key.subject_public_key.as_bytes();
        key.algorithm.oid == RSA
            && bytes.is_some_and(|bytes| {
                let key = UnparsedPublicKey::new(algorithm, bytes);
                key.verify(message, signature).is_ok()
            })
    }
}

/// A valid signature over a program's digest, and the certificates that came with it.
#[derive(Debug)]
pub(crate) struct SignedProgram {
    certificates: Vec<Certificate>,
    /// Which of them is the signer's.
    signer: usize,
}

impl SignedProgram {
    /// Reads a signature and checks that its signer signed this digest.
    pub(crate) fn parse(bytes: &[u8], digest: &[u8; 32]) -> Result<Self, VerifyError> {
        let data = signed_data(bytes).map_err(unreadable)?;
        let content = &data.encap_content_info;
        let value = content.econtent.as_ref();
        let value = value.filter(|_| content.econtent_type == INDIRECT_DATA);
        let value = value.ok_or_else(|| because("it is not over a program"))?;
        let content = value.value();
        if signed_digest(content).map_err(unreadable)? != digest {
            return Err(VerifyError::OtherProgram);
        }
        let certificates = certificates(&data)?;
        let [info] = data.signer_infos.0.as_slice() else {
            return Err(because("it has not one signer"));
        };
        let SignerIdentifier::IssuerAndSerialNumber(wanted) = &info.sid else {
            return Err(because("it does not name its signer's certificate"));
        };
        let is_signer = |it: &Certificate| {
            let it = &it.parsed.tbs_certificate;
            it.issuer == wanted.issuer && it.serial_number == wanted.serial_number
        };
        let signer = certificates.iter().position(is_signer);
        let signer = signer.ok_or_else(|| because("its signer's certificate is missing"))?;
        check(&data, info, content, &certificates[signer])?;
        Ok(Self {
            certificates,
            signer,
        })
    }

    /// Whose it is.
    pub(crate) fn signer(&self) -> &Certificate {
        &self.certificates[self.signer]
    }

    /// The signer, and all who vouch for them or for one that does, as far as their certificates came along.
    pub(crate) fn chain(&self) -> Vec<&Certificate> {
        let mut reached = vec![self.signer];
        let mut next = 0;
        while let Some(&current) = reached.get(next) {
            for (index, other) in self.certificates.iter().enumerate() {
                if !reached.contains(&index) && other.issued(&self.certificates[current]) {
                    reached.push(index);
                }
            }
            next += 1;
        }
        let certificate = |index: usize| &self.certificates[index];
        reached.into_iter().map(certificate).collect()
    }

    /// Who of these stands behind the signature: the signer, or one that vouches for them.
    pub(crate) fn vouched_by(&self, trusted: &[Certificate]) -> Option<String> {
        let chain = self.chain();
        let stands = |it: &&Certificate| {
            let mut chain = chain.iter();
            chain.any(|link| link.der == it.der || it.issued(link))
        };
        trusted.iter().find(stands).map(Certificate::name)
    }
}

fn unreadable(error: der::Error) -> VerifyError {
    VerifyError::Signature(error.to_string())
}

fn because(reason: &str) -> VerifyError {
    VerifyError::Signature(reason.to_owned())
}

/// The signature is padded to a multiple of 8 bytes.
fn signed_data(bytes: &[u8]) -> der::Result<SignedData> {
    let info = ContentInfo::decode(&mut SliceReader::new(bytes)?)?;
    if info.content_type != SIGNED_DATA {
        return Err(der::Tag::ObjectIdentifier.value_error());
    }
    info.content.decode_as()
}

/// The digest in `SpcIndirectDataContent`, which must be one of SHA-256 to be found equal to one.
fn signed_digest(content: &[u8]) -> der::Result<&[u8]> {
    let mut reader = SliceReader::new(content)?;
    reader.tlv_bytes()?;
    let info = AnyRef::decode(&mut reader)?;
    let mut reader = SliceReader::new(info.value())?;
    let algorithm = AlgorithmIdentifierRef::decode(&mut reader)?;
    let digest = OctetStringRef::decode(&mut reader)?;
    if algorithm.oid != SHA_256 {
        return Err(der::Tag::ObjectIdentifier.value_error());
    }
    Ok(digest.as_bytes())
}

fn certificates(data: &SignedData) -> Result<Vec<Certificate>, VerifyError> {
    let given = data.certificates.as_ref().map(|it| it.0.as_slice());
    let given = given.unwrap_or_default();
    if given.len() > MAX_CERTIFICATES {
        return Err(because("it brings too many certificates"));
    }
    let mut read = Vec::new();
    for choice in given {
        if let CertificateChoices::Certificate(certificate) = choice {
            let der = certificate.to_der().map_err(unreadable)?;
            read.push(Certificate::parse(&der).map_err(unreadable)?);
        }
    }
    Ok(read)
}

/// Whether the signer's key made the signature, and over this content.
fn check(
    data: &SignedData,
    info: &SignerInfo,
    content: &[u8],
    signer: &Certificate,
) -> Result<(), VerifyError> {
    let announced = data.digest_algorithms.iter().any(|it| it.oid == SHA_256);
    let known = [RSA, RSA_SHA_256].contains(&info.signature_algorithm.oid);
    if !known || !announced || info.digest_alg.oid != SHA_256 {
        return Err(because("it is not of RSA with SHA-256"));
    }
    let attributes = info.signed_attrs.as_ref();
    let attributes = attributes.ok_or_else(|| because("it has no signed attributes"))?;
    let kind = attribute(attributes, CONTENT_TYPE).and_then(|it| it.decode_as().ok());
    let digest = attribute(attributes, MESSAGE_DIGEST);
    let digest = digest.and_then(|it| it.decode_as::<OctetString>().ok());
    let digest = digest.ok_or_else(|| because("it does not say what it is over"))?;
    if kind != Some(INDIRECT_DATA) || digest.as_bytes() != Sha256::digest(content).as_slice() {
        return Err(because("it is over something else than it holds"));
    }
    let message = attributes.to_der().map_err(unreadable)?;
    let signature = info.signature.as_bytes();
    if !signer.signed(&RSA_PKCS1_2048_8192_SHA256, &message, signature) {
        return Err(VerifyError::Forged {
            signer: signer.name(),
        });
    }
    Ok(())
}

/// The one value of an attribute that is there once.
fn attribute(attributes: &Attributes, kind: ObjectIdentifier) -> Option<&der::Any> {
    let mut found = attributes.iter().filter(|it| it.oid == kind);
    let (Some(only), None) = (found.next(), found.next()) else {
        return None;
    };
    match only.values.as_slice() {
        [value] => Some(value),
        _ => None,
    }
}
