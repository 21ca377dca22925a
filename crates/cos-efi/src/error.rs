//! What can go wrong with programs and keys.

/// Why bytes are no UEFI program, or cannot become another one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeError {
    /// The bytes end before something they promise.
    #[error("it ends before its {0}")]
    Truncated(&'static str),
    /// A field that no loader would take.
    #[error("{0}")]
    Malformed(&'static str),
    /// A section that lies outside the file, or over another one.
    #[error("section {0} lies outside the file or over another one")]
    Section(String),
    /// No room in the headers for another section.
    #[error("its headers have no room for section {0}")]
    NoRoom(String),
    /// A section that is there already, or whose name no header can hold.
    #[error("section {0} is there already, or its name is longer than 8 bytes")]
    Name(String),
    /// More than the format can address.
    #[error("with section {0} it would be larger than 2 GiB")]
    TooLarge(String),
    /// A section that a unified kernel image must have, and this has not.
    #[error("it has no section {0}")]
    NoSection(&'static str),
    /// A stub of which nobody can say what it measures.
    #[error("it does not say that it is systemd-stub, and of which version")]
    NotSystemdStub,
}

/// Why a key or its certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Making a key, or signing with it.
    #[error("RSA failed: {0}")]
    Rsa(String),
    /// A private key that is not PKCS#8 in PEM.
    #[error("this is no RSA private key in PEM (PKCS#8): {0}")]
    Private(String),
    /// A certificate that is not X.509 in PEM or DER.
    #[error("this is no X.509 certificate: {0}")]
    Certificate(String),
    /// A certificate for another key.
    #[error("the certificate is of another key")]
    OtherKey,
    /// A name that no certificate can hold.
    #[error("{0:?} cannot be the name in a certificate")]
    Name(String),
}

/// Why a program was not signed.
#[derive(Debug, thiserror::Error)]
pub enum EfiError {
    /// The program.
    #[error(transparent)]
    Pe(#[from] PeError),
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Why firmware would not run a program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// A database of the firmware cannot be read.
    #[error("{name} of the firmware cannot be read: {reason}")]
    Database {
        /// `db` or `dbx`.
        name: &'static str,
        /// What is wrong.
        reason: &'static str,
    },
    /// The table of certificates is none.
    #[error("its certificates cannot be read: {0}")]
    Certificates(&'static str),
    /// Nobody signed it.
    #[error("it is not signed")]
    Unsigned,
    /// A signature that is none, or of a kind that is not known here.
    #[error("its signature cannot be used: {0}")]
    Signature(String),
    /// The signature of another program, or the program was changed.
    #[error("its signature is of another program")]
    OtherProgram,
    /// A signature that the key of the one that it names did not make.
    #[error("its signature is not one of {signer}")]
    Forged {
        /// Who is said to have made it.
        signer: String,
    },
    /// Signed by somebody whom the firmware does not know.
    #[error("it is signed by {signer}, whom the firmware's db does not know")]
    Unknown {
        /// Who signed.
        signer: String,
    },
    /// Signed by somebody whom the firmware no longer trusts.
    #[error("the firmware's dbx revokes {by}, who stands behind its signature")]
    Revoked {
        /// Who is revoked.
        by: String,
    },
    /// The firmware does not run this very program.
    #[error("the firmware's dbx revokes it by its digest")]
    RevokedProgram,
}
