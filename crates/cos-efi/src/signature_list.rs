//! The databases of Secure Boot, and signed updates of them.
//!
//! Source: UEFI specification, "Signature Database" and "Using the `EFI_VARIABLE_AUTHENTICATION_2`
//! descriptor".

use crate::key::certificate_from_pem;
use crate::{KeyError, SigningKey, cms};
use time::OffsetDateTime;
use uuid::{Uuid, uuid};

/// `EFI_CERT_X509_GUID`
pub(crate) const X509: Uuid = uuid!("a5c059a1-94e4-4aa7-87b5-ab155c2bf072");
/// `EFI_CERT_TYPE_PKCS7_GUID`
const PKCS7: Uuid = uuid!("4aafd29d-68df-49ee-8aa9-347d375665a7");
/// `WIN_CERT_REVISION_2_0` and `WIN_CERT_TYPE_EFI_GUID`
const EFI_GUID_CERTIFICATE: [u8; 4] = [0x00, 0x02, 0xf1, 0x0e];
/// Kept over a reboot, seen by boot loader and system, changed by signed updates only.
const ATTRIBUTES: u32 = 0x27;

/// A database, which is a variable of the firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    /// PK: whoever has this key owns the machine, and may change KEK.
    PlatformKey,
    /// KEK: may change db.
    KeyExchangeKeys,
    /// db: what these signed runs.
    Allowed,
}

impl Database {
    /// All of them; the platform key last, as with it the machine leaves setup mode.
    pub const ALL: [Self; 3] = [Self::Allowed, Self::KeyExchangeKeys, Self::PlatformKey];

    /// Name of the variable.
    pub fn name(self) -> &'static str {
        match self {
            Self::PlatformKey => "PK",
            Self::KeyExchangeKeys => "KEK",
            Self::Allowed => "db",
        }
    }

    /// Namespace of the variable.
    pub fn vendor(self) -> Uuid {
        match self {
            Self::PlatformKey | Self::KeyExchangeKeys => {
                uuid!("8be4df61-93ca-11d2-aa0d-00e098032b8c")
            }
            Self::Allowed => uuid!("d719b2cb-3d3a-4596-a3bc-dad00e67656f"),
        }
    }
}

/// When an update was made: firmware takes none that is older than the last.
#[derive(Debug, Clone, Copy)]
pub struct Timestamp([u8; 16]);

impl Timestamp {
    /// From seconds since 1970. `None` when no calendar has that day.
    pub fn from_unix(seconds: i64) -> Option<Self> {
        let time = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&u16::try_from(time.year()).ok()?.to_le_bytes());
        bytes[2..7].copy_from_slice(&[
            u8::from(time.month()),
            time.day(),
            time.hour(),
            time.minute(),
            time.second(),
        ]);
        Some(Self(bytes))
    }
}

/// Certificates for a database, `EFI_SIGNATURE_LIST` one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SignatureList(Vec<u8>);

impl SignatureList {
    /// Adds a certificate (X.509, PEM) on behalf of `owner`.
    pub fn add(&mut self, owner: Uuid, certificate_pem: &str) -> Result<(), KeyError> {
        let certificate = certificate_from_pem(certificate_pem)?;
        let signature = 16 + certificate.len() as u32;
        self.0.extend(X509.to_bytes_le());
        for number in [28 + signature, 0, signature] {
            self.0.extend(number.to_le_bytes());
        }
        self.0.extend(owner.to_bytes_le());
        self.0.extend(certificate);
        Ok(())
    }

    /// The list.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// What is written to the variable to make the list the database, signed by a key that may change it.
    pub fn update(
        &self,
        database: Database,
        time: Timestamp,
        key: &SigningKey,
    ) -> Result<Vec<u8>, KeyError> {
        let name = database.name().encode_utf16().flat_map(u16::to_le_bytes);
        let mut signed: Vec<u8> = name.collect();
        signed.extend(database.vendor().to_bytes_le());
        signed.extend(ATTRIBUTES.to_le_bytes());
        signed.extend(time.0);
        signed.extend(&self.0);
        let signature = cms::detached(&signed, key)?;
        let mut update = time.0.to_vec();
        update.extend((24 + signature.len() as u32).to_le_bytes());
        update.extend(EFI_GUID_CERTIFICATE);
        update.extend(PKCS7.to_bytes_le());
        update.extend(signature);
        update.extend(&self.0);
        Ok(update)
    }
}
