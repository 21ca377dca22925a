//! The machine's TPM: whether there is one, and taking its secrets away from whatever runs later.

use super::EncryptionError;
use fs_err::OpenOptions;
use sha2::{Digest as _, Sha256};
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

/// The TPM behind the kernel's resource manager.
const DEVICE: &str = "/dev/tpmrm0";
/// Shown for a TPM of either version, once its driver is there.
const VERSION: &str = "/sys/class/tpm/tpm0/tpm_version_major";
/// systemd-stub leaves this variable when it measured something.
const MEASURED: &str =
    "/sys/firmware/efi/efivars/StubPcrKernelImage-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// How long a driver may take.
const PATIENCE: Duration = Duration::from_secs(10);
const INTERVAL: Duration = Duration::from_millis(100);
/// What systems are measured into.
const REGISTER: u32 = 11;
/// What is measured when data were unlocked.
const WORD: &[u8] = b"cos-unlocked";

/// Whether there is a TPM 2.0. One that measured this boot and has no driver is an error: whoever loads the driver
/// later would find its secrets open.
pub(super) fn is_there() -> Result<bool, EncryptionError> {
    if !Path::new(MEASURED).exists() {
        return Ok(Path::new(DEVICE).exists());
    }
    let start = Instant::now();
    loop {
        if Path::new(DEVICE).exists() {
            return Ok(true);
        }
        // An older one has no resource manager, and seals nothing for us.
        if fs_err::read_to_string(VERSION).is_ok_and(|version| version.trim() == "1") {
            return Ok(false);
        }
        if start.elapsed() > PATIENCE {
            return Err(EncryptionError::NoTpmDriver);
        }
        std::thread::sleep(INTERVAL);
    }
}

/// Measures that data were unlocked. From here on until the next boot, no policy that systems are signed for is
/// met, whoever asks.
pub(super) fn close() -> Result<(), EncryptionError> {
    if !Path::new(DEVICE).exists() {
        return Ok(());
    }
    extend(REGISTER, &Sha256::digest(WORD).into())
        .map_err(|source| EncryptionError::Close { source })
}

fn extend(register: u32, digest: &[u8; 32]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut tpm = options.read(true).write(true).open(DEVICE)?;
    tpm.write_all(&extend_command(register, digest))?;
    let mut response = [0; 4096];
    let length = tpm.read(&mut response)?;
    match response_code(&response[..length]) {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::other(format!("the TPM answers {code:#x}"))),
        None => Err(io::Error::other("the TPM does not answer")),
    }
}

/// `TPM2_PCR_Extend` of one digest of SHA-256, by an empty password (TPM 2.0 Library, part 3, 22.2).
fn extend_command(register: u32, digest: &[u8; 32]) -> Vec<u8> {
    const SESSIONS: u16 = 0x8002;
    const PCR_EXTEND: u32 = 0x182;
    const PASSWORD: u32 = 0x4000_0009;
    const SHA_256: u16 = 0x0b;
    // Nonce, attributes and password: none of each.
    let authorization = [&PASSWORD.to_be_bytes()[..], &[0; 5]].concat();
    let parts: [&[u8]; 6] = [
        &register.to_be_bytes(),
        &(authorization.len() as u32).to_be_bytes(),
        &authorization,
        &1_u32.to_be_bytes(),
        &SHA_256.to_be_bytes(),
        digest,
    ];
    let body = parts.concat();
    let mut command = SESSIONS.to_be_bytes().to_vec();
    command.extend((body.len() as u32 + 10).to_be_bytes());
    command.extend(PCR_EXTEND.to_be_bytes());
    command.extend(body);
    command
}

/// Part 1, 18.2: tag, size, code.
fn response_code(response: &[u8]) -> Option<u32> {
    let code = response.get(6..10)?;
    Some(u32::from_be_bytes(code.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_what_tpm2_tools_send() {
        // From `tpm2_pcrextend 11:sha256=ab…ab`, as swtpm logs it.
        let wanted = [
            "80020000004100000182", // tag, size, command
            "0000000b",             // PCR 11
            "00000009",             // bytes of authorization
            "400000090000000000",   // password session
            "00000001000b",         // one digest, SHA-256
        ]
        .concat();
        let command = extend_command(11, &[0xab; 32]);
        let wanted = format!("{wanted}{}", "ab".repeat(32));
        let bytes: Vec<u8> = (0..wanted.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&wanted[at..at + 2], 16).unwrap())
            .collect();
        assert_eq!(command, bytes);
        assert_eq!(
            response_code(&[0x80, 2, 0, 0, 0, 10, 0, 0, 1, 1]),
            Some(0x101)
        );
        assert_eq!(response_code(&[0x80, 2]), None);
    }
}
