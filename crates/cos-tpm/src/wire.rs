//! Commands and responses as bytes. Source: Part 1, §18; Part 2, §6.5.2, §6.9, §10.13.

use crate::{ResponseCode, TpmError};
use std::io::{self, Read};

/// No response is longer, bytes: what the TPM's interface takes at most.
const MAX_RESPONSE: usize = 4096;
/// Tag, size and code, bytes.
const HEADER: usize = 10;
/// Tag of what has no authorization.
const NO_SESSIONS: u16 = 0x8001;
/// Tag of what has one.
const SESSIONS: u16 = 0x8002;
/// The handle of an authorization that is a password, said aloud.
const PASSWORD: u32 = 0x4000_0009;

/// Handle of the owner.
pub(crate) const OWNER: u32 = 0x4000_0001;

/// What a command is, and its name in messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind(pub(crate) u32, pub(crate) &'static str);

/// A command on its way.
#[derive(Debug)]
pub(crate) struct Command {
    kind: Kind,
    handles: Vec<u32>,
    authorized: bool,
    parameters: Vec<u8>,
}

impl Command {
    /// One that everybody may send.
    pub(crate) fn open(kind: Kind, handles: &[u32]) -> Self {
        Self {
            kind,
            handles: handles.to_vec(),
            authorized: false,
            parameters: Vec::new(),
        }
    }

    /// One that the first handle's authorization is needed for, which is empty.
    pub(crate) fn authorized(kind: Kind, handles: &[u32]) -> Self {
        Self {
            authorized: true,
            ..Self::open(kind, handles)
        }
    }

    pub(crate) fn u16(mut self, value: u16) -> Self {
        self.parameters.extend(value.to_be_bytes());
        self
    }

    /// Bytes with their length in front.
    pub(crate) fn sized(self, bytes: &[u8]) -> Self {
        let mut command = self.u16(bytes.len() as u16);
        command.parameters.extend(bytes);
        command
    }

    pub(crate) fn name(&self) -> &'static str {
        self.kind.1
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for handle in &self.handles {
            body.extend(handle.to_be_bytes());
        }
        if self.authorized {
            // Handle, no nonce, no attributes, the empty password.
            let mut session = PASSWORD.to_be_bytes().to_vec();
            session.extend([0; 5]);
            body.extend((session.len() as u32).to_be_bytes());
            body.extend(session);
        }
        body.extend(&self.parameters);
        let mut bytes = self.tag().to_be_bytes().to_vec();
        bytes.extend(((HEADER + body.len()) as u32).to_be_bytes());
        bytes.extend(self.kind.0.to_be_bytes());
        bytes.extend(body);
        bytes
    }

    fn tag(&self) -> u16 {
        if self.authorized {
            SESSIONS
        } else {
            NO_SESSIONS
        }
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Response {
    code: ResponseCode,
    command: &'static str,
    parameters: Vec<u8>,
}

impl Response {
    /// Reads the response to a command.
    pub(crate) fn read(channel: &mut impl Read, command: &Command) -> Result<Self, TpmError> {
        let name = command.name();
        let malformed = |reason| TpmError::Malformed {
            command: name,
            reason,
        };
        let bytes = read_whole(channel, name)?;
        let mut rest = Fields::new(&bytes, name);
        let (tag, _, code) = (rest.u16()?, rest.u32()?, ResponseCode(rest.u32()?));
        let parameters = match code.is_success() {
            false => &[],
            true if tag != command.tag() => return Err(malformed("its tag is another")),
            true if command.authorized => {
                // What follows the parameters authorizes the response, and an empty password does not.
                let size = rest.u32()?;
                rest.bytes(size as usize)?
            }
            true => rest.rest,
        };
        Ok(Self {
            code,
            command: name,
            parameters: parameters.to_vec(),
        })
    }

    pub(crate) fn code(&self) -> ResponseCode {
        self.code
    }

    pub(crate) fn fields(&self) -> Fields<'_> {
        Fields::new(&self.parameters, self.command)
    }
}

/// Reads as many bytes as the response says that it has. The kernel's device gives them in one piece and
/// forgets what is not taken; a socket gives them as they come.
fn read_whole(channel: &mut impl Read, command: &'static str) -> Result<Vec<u8>, TpmError> {
    let malformed = |reason| TpmError::Malformed { command, reason };
    let mut bytes = vec![0; MAX_RESPONSE];
    let mut filled = 0;
    let mut size = HEADER;
    while filled < size {
        let room = bytes.get_mut(filled..).unwrap_or_default();
        match channel.read(room) {
            Ok(0) => return Err(malformed("it ends too early")),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(TpmError::Receive { command, source }),
        }
        if let (true, Some((_, [a, b, c, d, ..]))) = (filled >= HEADER, bytes.split_at_checked(2)) {
            size = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
            if !(HEADER..=MAX_RESPONSE).contains(&size) {
                return Err(malformed("its size cannot be"));
            }
        }
    }
    if filled > size {
        return Err(malformed("it is longer than it says"));
    }
    bytes.truncate(size);
    Ok(bytes)
}

/// The fields of a response, from the first on.
#[derive(Debug)]
pub(crate) struct Fields<'f> {
    rest: &'f [u8],
    command: &'static str,
}

impl<'f> Fields<'f> {
    fn new(rest: &'f [u8], command: &'static str) -> Self {
        Self { rest, command }
    }

    pub(crate) fn malformed(&self, reason: &'static str) -> TpmError {
        TpmError::Malformed {
            command: self.command,
            reason,
        }
    }

    fn bytes(&mut self, count: usize) -> Result<&'f [u8], TpmError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or_else(|| self.malformed("a field ends behind it"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], TpmError> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, TpmError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, TpmError> {
        self.array().map(u32::from_be_bytes)
    }

    /// Bytes with their length in front.
    pub(crate) fn sized(&mut self) -> Result<&'f [u8], TpmError> {
        let size = self.u16()?;
        self.bytes(size as usize)
    }

    /// A structure with its length in front.
    pub(crate) fn structure(&mut self) -> Result<Self, TpmError> {
        Ok(Self::new(self.sized()?, self.command))
    }
}
