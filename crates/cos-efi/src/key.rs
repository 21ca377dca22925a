//! Keys with their certificates.

use crate::KeyError;
use rsa::pkcs1v15;
use rsa::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, LineEnding};
use rsa::sha2::Sha256;
use rsa::signature::{Keypair as _, SignatureEncoding as _, Signer as _};
use rsa::{Generate as _, PrivateKey};
use std::fmt;
use std::str::FromStr as _;
use std::time::{Duration, SystemTime};
use x509_cert::Certificate;
use x509_cert::builder::profile::BuilderProfile;
use x509_cert::builder::{Builder as _, CertificateBuilder};
use x509_cert::certificate::TbsCertificate;
use x509_cert::der::{Decode as _, DecodePem as _, Encode as _, EncodePem as _};
use x509_cert::ext::{Extension, ToExtension as _, pkix::BasicConstraints};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{SubjectPublicKeyInfo, SubjectPublicKeyInfoRef};
use x509_cert::time::{Time, Validity};

/// How long the certificates of new keys say they are valid. Firmware does not look; other tools do.
const VALID: Duration = Duration::from_hours(24 * 365 * 20);

/// An RSA key that signs, with the certificate by which its signatures are trusted.
#[derive(Clone)]
pub struct SigningKey {
    key: pkcs1v15::SigningKey<Sha256>,
    private: PrivateKey,
    certificate: Certificate,
    der: Vec<u8>,
    issuer: Vec<u8>,
    serial: Vec<u8>,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = self.certificate.tbs_certificate().subject().to_string();
        f.debug_tuple("SigningKey").field(&subject).finish()
    }
}

/// A certificate that vouches for itself.
struct SelfSigned {
    name: Name,
}

impl BuilderProfile for SelfSigned {
    fn get_issuer(&self, subject: &Name) -> Name {
        subject.clone()
    }

    fn get_subject(&self) -> Name {
        self.name.clone()
    }

    fn build_extensions(
        &self,
        _key: SubjectPublicKeyInfoRef<'_>,
        _issuer: SubjectPublicKeyInfoRef<'_>,
        tbs: &TbsCertificate,
    ) -> x509_cert::builder::Result<Vec<Extension>> {
        let constraints = BasicConstraints {
            ca: true,
            path_len_constraint: None,
        };
        Ok(vec![constraints.to_extension(tbs.subject(), &[])?])
    }
}

impl SigningKey {
    /// Makes a key of 2048 bits, which all firmware takes, and a certificate for it that names
    /// `common_name` and begins `now`.
    pub fn generate(common_name: &str, now: SystemTime) -> Result<Self, KeyError> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || " .-_()".contains(c);
        let fits = (1..=64).contains(&common_name.len()) && common_name.chars().all(is_plain);
        let name = Name::from_str(&format!("CN={common_name}"));
        let (true, Ok(name)) = (fits, name) else {
            return Err(KeyError::Name(common_name.to_owned()));
        };
        let private = PrivateKey::try_generate().map_err(failed)?;
        let key = pkcs1v15::SigningKey::<Sha256>::new(private.clone());
        let public = SubjectPublicKeyInfo::from_key(&key.verifying_key()).map_err(failed)?;
        let validity = Validity::new(
            Time::try_from(now).map_err(failed)?,
            Time::try_from(now + VALID).map_err(failed)?,
        );
        let mut serial = [0; 16];
        getrandom::fill(&mut serial).map_err(failed)?;
        // Positive, and of one length.
        serial[0] = serial[0] & 0x7f | 0x40;
        let serial = SerialNumber::new(&serial).map_err(failed)?;
        let certificate = CertificateBuilder::new(SelfSigned { name }, serial, validity, public)
            .and_then(|builder| builder.build::<_, pkcs1v15::Signature>(&key))
            .map_err(failed)?;
        Self::new(private, certificate)
    }

    /// A private key (PKCS#8, PEM) with its certificate (X.509, PEM).
    pub fn from_pem(private: &str, certificate: &str) -> Result<Self, KeyError> {
        let private = PrivateKey::from_pkcs8_pem(private)
            .map_err(|error| KeyError::Private(error.to_string()))?;
        let certificate = Certificate::from_pem(certificate.as_bytes())
            .map_err(|error| KeyError::Certificate(error.to_string()))?;
        let key = pkcs1v15::SigningKey::<Sha256>::new(private.clone());
        let public = SubjectPublicKeyInfo::from_key(&key.verifying_key()).map_err(failed)?;
        if certificate.tbs_certificate().subject_public_key_info() != &public {
            return Err(KeyError::OtherKey);
        }
        Self::new(private, certificate)
    }

    fn new(private: PrivateKey, certificate: Certificate) -> Result<Self, KeyError> {
        let tbs = certificate.tbs_certificate();
        Ok(Self {
            key: pkcs1v15::SigningKey::new(private.clone()),
            private,
            der: certificate.to_der().map_err(failed)?,
            issuer: tbs.issuer().to_der().map_err(failed)?,
            serial: tbs.serial_number().to_der().map_err(failed)?,
            certificate,
        })
    }

    /// The private key: PKCS#8 in PEM. For its owner's eyes alone.
    pub fn private_pem(&self) -> Result<String, KeyError> {
        let pem = self.private.to_pkcs8_pem(LineEnding::LF).map_err(failed)?;
        Ok(pem.to_string())
    }

    /// The certificate in PEM.
    pub fn certificate_pem(&self) -> Result<String, KeyError> {
        self.certificate.to_pem(LineEnding::LF).map_err(failed)
    }

    /// The certificate in DER.
    pub fn certificate_der(&self) -> &[u8] {
        &self.der
    }

    pub(crate) fn issuer(&self) -> &[u8] {
        &self.issuer
    }

    pub(crate) fn serial_number(&self) -> &[u8] {
        &self.serial
    }

    /// RSASSA-PKCS1-v1_5 with SHA-256.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let signature = self.key.try_sign(message).map_err(failed)?;
        Ok(signature.to_vec())
    }
}

/// The certificate in a PEM file, in DER.
pub(crate) fn certificate_from_pem(pem: &str) -> Result<Vec<u8>, KeyError> {
    let bad = |error: x509_cert::der::Error| KeyError::Certificate(error.to_string());
    let certificate = Certificate::from_pem(pem.as_bytes()).map_err(bad)?;
    let der = certificate.to_der().map_err(bad)?;
    Certificate::from_der(&der).map_err(bad)?;
    Ok(der)
}

fn failed(error: impl fmt::Display) -> KeyError {
    KeyError::Rsa(error.to_string())
}
