//! The non-volatile memory of a TPM 2.0: counters that only go up, and bytes that are on no disk.
//!
//! ```text
//! Tpm::open("/dev/tpmrm0") ──▶ nv_public ─ nv_define ─ nv_increment ─ nv_write ─ nv_read
//!                                   │ command bytes        ▲ response bytes, bounded
//!                                   ▼                      │
//!                              anything that is read and written
//! ```
//!
//! Only what needs no session of its own: an index is read and written with its own, empty, authorization,
//! and defined with that of the owner, which is empty on machines whose owner set none.
//!
//! Source: TCG, "Trusted Platform Module Library", Family 2.0, Part 2 (structures) and Part 3 (commands).

mod code;
mod device;
mod error;
mod nv;
mod wire;

pub use code::ResponseCode;
pub use device::Device;
pub use error::TpmError;
pub use nv::{NvIndex, NvPublic};

use std::io::{Read, Write};
use std::thread;
use std::time::Duration;
use wire::{Command, Response};

/// How long a TPM that has no time yet is waited for before each further try.
const PAUSES: [Duration; 7] = [
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// A TPM behind a channel that takes a command and gives its response.
#[derive(Debug)]
pub struct Tpm<C> {
    channel: C,
}

impl<C: Read + Write> Tpm<C> {
    /// The TPM at the other end of a channel.
    pub fn new(channel: C) -> Self {
        Self { channel }
    }

    /// Sends a command until the TPM takes it, and returns its response.
    fn run(&mut self, command: &Command) -> Result<Response, TpmError> {
        let mut pauses = PAUSES.iter();
        loop {
            let response = self.exchange(command)?;
            let code = response.code();
            if code.is_success() {
                return Ok(response);
            }
            match pauses.next().filter(|_| code.is_passing()) {
                Some(pause) => thread::sleep(*pause),
                None => {
                    return Err(TpmError::Refused {
                        command: command.name(),
                        code,
                    });
                }
            }
        }
    }

    fn exchange(&mut self, command: &Command) -> Result<Response, TpmError> {
        let name = command.name();
        let bytes = command.to_bytes();
        let sent = self.channel.write_all(&bytes);
        sent.and_then(|()| self.channel.flush())
            .map_err(|source| TpmError::Send {
                command: name,
                source,
            })?;
        Response::read(&mut self.channel, command)
    }
}
