//! Response codes. Source: Part 2, §6.6.

use std::fmt;

/// Set in codes that name a handle, a session or a parameter.
const FORMAT_ONE: u32 = 1 << 7;
/// In those: a parameter is meant.
const PARAMETER: u32 = 1 << 6;
/// What a code is without the layer of software that it came from.
const CODE: u32 = 0xFFF;
/// The first handle does not lead to anything.
const HANDLE_1: u32 = 0x18B;

/// Codes of the first format, with the number of what they name taken out.
const FORMAT_ONE_NAMES: &[(u32, &str)] = &[
    (0x082, "TPM_RC_ATTRIBUTES"),
    (0x083, "TPM_RC_HASH"),
    (0x084, "TPM_RC_VALUE"),
    (0x085, "TPM_RC_HIERARCHY"),
    (0x089, "TPM_RC_MODE"),
    (0x08A, "TPM_RC_TYPE"),
    (0x08B, "TPM_RC_HANDLE"),
    (0x08D, "TPM_RC_RANGE"),
    (0x08E, "TPM_RC_AUTH_FAIL"),
    (0x08F, "TPM_RC_NONCE"),
    (0x095, "TPM_RC_SIZE"),
    (0x097, "TPM_RC_TAG"),
    (0x098, "TPM_RC_SELECTOR"),
    (0x09A, "TPM_RC_INSUFFICIENT"),
    (0x09D, "TPM_RC_POLICY_FAIL"),
    (0x0A1, "TPM_RC_RESERVED_BITS"),
    (0x0A2, "TPM_RC_BAD_AUTH"),
];

/// The other codes.
const NAMES: &[(u32, &str)] = &[
    (0x100, "TPM_RC_INITIALIZE"),
    (0x101, "TPM_RC_FAILURE"),
    (0x120, "TPM_RC_DISABLED"),
    (0x121, "TPM_RC_EXCLUSIVE"),
    (0x124, "TPM_RC_AUTH_TYPE"),
    (0x125, "TPM_RC_AUTH_MISSING"),
    (0x12D, "TPM_RC_UPGRADE"),
    (0x12F, "TPM_RC_AUTH_UNAVAILABLE"),
    (0x130, "TPM_RC_REBOOT"),
    (0x142, "TPM_RC_COMMAND_SIZE"),
    (0x143, "TPM_RC_COMMAND_CODE"),
    (0x144, "TPM_RC_AUTHSIZE"),
    (0x146, "TPM_RC_NV_RANGE"),
    (0x147, "TPM_RC_NV_SIZE"),
    (0x148, "TPM_RC_NV_LOCKED"),
    (0x149, "TPM_RC_NV_AUTHORIZATION"),
    (0x14A, "TPM_RC_NV_UNINITIALIZED"),
    (0x14B, "TPM_RC_NV_SPACE"),
    (0x14C, "TPM_RC_NV_DEFINED"),
    (0x153, "TPM_RC_NEEDS_TEST"),
    (0x904, "TPM_RC_MEMORY"),
    (YIELDED, "TPM_RC_YIELDED"),
    (0x909, "TPM_RC_CANCELED"),
    (TESTING, "TPM_RC_TESTING"),
    (NV_RATE, "TPM_RC_NV_RATE"),
    (0x921, "TPM_RC_LOCKOUT"),
    (RETRY, "TPM_RC_RETRY"),
    (0x923, "TPM_RC_NV_UNAVAILABLE"),
];

const YIELDED: u32 = 0x908;
const TESTING: u32 = 0x90A;
const NV_RATE: u32 = 0x920;
const RETRY: u32 = 0x922;

/// What a TPM says of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseCode(pub(crate) u32);

impl ResponseCode {
    /// The code as it is sent.
    pub fn number(self) -> u32 {
        self.0
    }

    pub(crate) fn is_success(self) -> bool {
        self.0 == 0
    }

    /// Whether the same command can succeed a moment later.
    pub(crate) fn is_passing(self) -> bool {
        [YIELDED, TESTING, NV_RATE, RETRY].contains(&(self.0 & CODE))
    }

    /// Whether there is nothing at the command's first handle.
    pub(crate) fn is_no_handle(self) -> bool {
        self.0 & CODE == HANDLE_1
    }

    /// Whether it is an authorization that does not do.
    pub fn is_authorization(self) -> bool {
        matches!(
            self.name(),
            Some("TPM_RC_AUTH_FAIL" | "TPM_RC_BAD_AUTH" | "TPM_RC_LOCKOUT")
        )
    }

    /// Its name in the specification, for those that commands of this crate can lead to.
    pub fn name(self) -> Option<&'static str> {
        let code = self.0 & CODE;
        let (names, number) = match code & FORMAT_ONE {
            0 => (NAMES, code),
            _ => (FORMAT_ONE_NAMES, code & 0xBF & !PARAMETER),
        };
        let found = names.iter().find(|(it, _)| *it == number);
        found.map(|(_, name)| *name)
    }
}

impl fmt::Display for ResponseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#05x}", self.0)?;
        match self.name() {
            Some(name) => write!(f, " ({name})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_their_names_whatever_they_are_about() {
        for (code, text) in [
            (0x18B, "0x18b (TPM_RC_HANDLE)"),
            // The first session; the second parameter.
            (0x9A2, "0x9a2 (TPM_RC_BAD_AUTH)"),
            (0x2D5, "0x2d5 (TPM_RC_SIZE)"),
            (0x14A, "0x14a (TPM_RC_NV_UNINITIALIZED)"),
            (0x922, "0x922 (TPM_RC_RETRY)"),
            // As the kernel's resource manager sends it.
            (0xB_0904, "0xb0904 (TPM_RC_MEMORY)"),
            (0xFFF, "0xfff"),
        ] {
            assert_eq!(ResponseCode(code).to_string(), text);
        }
        assert!(ResponseCode(0x9A2).is_authorization());
        assert!(ResponseCode(0x98E).is_authorization());
        assert!(!ResponseCode(0x18B).is_authorization());
    }
}
