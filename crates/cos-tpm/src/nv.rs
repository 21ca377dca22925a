//! Indices of non-volatile memory. Source: Part 2, §13; Part 3, §31.

use crate::wire::{Command, Fields, Kind, OWNER, Response};
use crate::{Tpm, TpmError};
use std::fmt;
use std::io::{Read, Write};

const DEFINE: Kind = Kind(0x12A, "TPM2_NV_DefineSpace");
const INCREMENT: Kind = Kind(0x134, "TPM2_NV_Increment");
const WRITE: Kind = Kind(0x137, "TPM2_NV_Write");
const READ: Kind = Kind(0x14E, "TPM2_NV_Read");
const READ_PUBLIC: Kind = Kind(0x169, "TPM2_NV_ReadPublic");

/// First of the indices that belong to the owner of a machine.
const OWNERS_FIRST: u32 = 0x0180_0000;
/// Bits that differ among those.
const OWNERS_BITS: u32 = 0x003F_FFFF;

/// `TPM_ALG_SHA256`: what names of indices are made with.
const SHA256: u16 = 0x000B;
/// A counter, of the types that an index can be.
const COUNTER: u32 = 1 << 4;
/// Where an index has been written or counted.
const WRITTEN: u32 = 1 << 29;
/// Read and written with the authorization of the owner or with its own; wrong guesses lock nobody out.
const ACCESS: u32 = OWNERWRITE | AUTHWRITE | OWNERREAD | AUTHREAD | NO_DA;
const OWNERWRITE: u32 = 1 << 1;
const AUTHWRITE: u32 = 1 << 2;
const OWNERREAD: u32 = 1 << 17;
const AUTHREAD: u32 = 1 << 18;
const NO_DA: u32 = 1 << 25;
/// A counter's size, bytes.
const COUNTER_SIZE: u16 = 8;
/// Every TPM takes as many bytes in one command.
const MAX_PIECE: u16 = 512;

/// The number of a place in non-volatile memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NvIndex(u32);

impl NvIndex {
    /// One of those that belong to the owner of a machine; of `number`, the bits count that those leave.
    pub const fn of_owner(number: u32) -> Self {
        Self(OWNERS_FIRST | (number & OWNERS_BITS))
    }
}

impl fmt::Display for NvIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

/// What everybody may know of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NvPublic {
    index: NvIndex,
    attributes: u32,
    size: u16,
}

impl NvPublic {
    /// A counter.
    pub const fn counter(index: NvIndex) -> Self {
        Self {
            index,
            attributes: ACCESS | COUNTER,
            size: COUNTER_SIZE,
        }
    }

    /// A place for bytes, of which one command takes all.
    pub const fn bytes(index: NvIndex, size: u16) -> Self {
        Self {
            index,
            attributes: ACCESS,
            size: if size < MAX_PIECE { size } else { MAX_PIECE },
        }
    }

    /// The index.
    pub fn index(&self) -> NvIndex {
        self.index
    }

    /// Whether anything was ever put there.
    pub fn is_written(&self) -> bool {
        self.attributes & WRITTEN != 0
    }

    /// Whether it was defined like another, written or not.
    pub fn is_like(&self, other: &Self) -> bool {
        let defined = |it: &Self| (it.index, it.attributes & !WRITTEN, it.size);
        defined(self) == defined(other)
    }

    fn to_bytes(self) -> Vec<u8> {
        let mut bytes = self.index.0.to_be_bytes().to_vec();
        bytes.extend(SHA256.to_be_bytes());
        bytes.extend(self.attributes.to_be_bytes());
        // No policy.
        bytes.extend(0u16.to_be_bytes());
        bytes.extend(self.size.to_be_bytes());
        bytes
    }

    fn from_fields(mut fields: Fields<'_>) -> Result<Self, TpmError> {
        let mut public = fields.structure()?;
        let index = NvIndex(public.u32()?);
        let _name_algorithm = public.u16()?;
        let attributes = public.u32()?;
        let _policy = public.sized()?;
        Ok(Self {
            index,
            attributes,
            size: public.u16()?,
        })
    }
}

impl<C: Read + Write> Tpm<C> {
    /// What is known of an index; `None` where there is none.
    pub fn nv_public(&mut self, index: NvIndex) -> Result<Option<NvPublic>, TpmError> {
        let response = match self.run(&Command::open(READ_PUBLIC, &[index.0])) {
            Err(TpmError::Refused { code, .. }) if code.is_no_handle() => return Ok(None),
            other => other?,
        };
        let public = NvPublic::from_fields(response.fields())?;
        if public.index != index {
            return Err(response.fields().malformed("it is about another index"));
        }
        Ok(Some(public))
    }

    /// Makes an index. Its own authorization is empty.
    pub fn nv_define(&mut self, public: &NvPublic) -> Result<(), TpmError> {
        let command = Command::authorized(DEFINE, &[OWNER]);
        self.run(&command.sized(&[]).sized(&public.to_bytes()))
            .map(drop)
    }

    /// Counts on by one. The first time, a counter begins behind the highest value that any counter of this
    /// TPM ever had, those that are no more among them.
    pub fn nv_increment(&mut self, index: NvIndex) -> Result<(), TpmError> {
        let command = Command::authorized(INCREMENT, &[index.0, index.0]);
        self.run(&command).map(drop)
    }

    /// Writes the bytes of an index, from the first on.
    pub fn nv_write(&mut self, index: NvIndex, bytes: &[u8]) -> Result<(), TpmError> {
        let command = Command::authorized(WRITE, &[index.0, index.0]);
        self.run(&command.sized(bytes).u16(0)).map(drop)
    }

    /// Reads `N` bytes of an index, from the first on.
    pub fn nv_read<const N: usize>(&mut self, index: NvIndex) -> Result<[u8; N], TpmError> {
        let command = Command::authorized(READ, &[index.0, index.0]);
        let response: Response = self.run(&command.u16(N as u16).u16(0))?;
        let mut fields = response.fields();
        let bytes = fields.sized()?.try_into();
        bytes.map_err(|_| response.fields().malformed("it has another length"))
    }

    /// The value of a counter.
    pub fn nv_count(&mut self, index: NvIndex) -> Result<u64, TpmError> {
        self.nv_read(index).map(u64::from_be_bytes)
    }
}

#[cfg(test)]
mod tests;
