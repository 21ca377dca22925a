//! UEFI programs and the keys they are trusted by.
//!
//! ```text
//! stub + kernel + initrd + command line ──Uki──▶ Image ──sign──▶ what firmware runs
//!                                                          ▲
//!                                            SigningKey ───┤
//!                                                          ▼
//!                                  SignatureList ──sign──▶ what firmware enrols (PK, KEK, db)
//! ```
//!
//! A [`PolicyKey`] signs what a TPM will measure of a unified kernel image, so that data are unsealed by systems of
//! that key alone.
//!
//! [`verify`] says what firmware would say of a program. Everything is bytes in, bytes out: no file, no
//! variable and no firmware is touched.

mod authenticode;
mod cms;
mod database;
mod der;
mod error;
mod key;
mod pcr_policy;
mod pe;
mod policy_key;
mod signature_list;
mod signed_data;
mod uki;
mod verify;

pub use authenticode::sign;
pub use error::{EfiError, KeyError, PeError, VerifyError};
pub use key::SigningKey;
pub use pcr_policy::{BOOT_PCR, BootMeasurement, MeasuredSection, sign_measurements};
pub use pe::{Image, NewSection, Section};
pub use policy_key::PolicyKey;
pub use signature_list::{Database, SignatureList, Timestamp};
pub use uki::{Uki, UkiParts, UkiPolicy};
pub use verify::{Vouched, verify};
