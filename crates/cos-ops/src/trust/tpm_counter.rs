//! What vouches for the version floor, in a TPM 2.0.

use super::keeper::{FloorCounter, Held, KEY_SIZE, Key};
use cos_tpm::{Device, NvIndex, NvPublic, Tpm, TpmError};
use std::path::Path;

/// The counter. Of the indices that belong to the owner, those are taken by nobody in the registry of the
/// TCG; this one has the letters "cOS" (63 4F 53) in the bits that the range leaves.
const COUNTER: NvPublic = NvPublic::counter(NvIndex::of_owner(0x63_4F53));
/// The key, right behind it.
const KEY: NvPublic = NvPublic::bytes(NvIndex::of_owner(0x63_4F54), KEY_SIZE as u16);

/// A machine's TPM.
#[derive(Debug)]
pub(super) struct TpmCounter {
    tpm: Tpm<Device>,
}

impl TpmCounter {
    /// The TPM at a path, if there is one.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, TpmError> {
        Ok(Tpm::open(path)?.map(|tpm| Self { tpm }))
    }

    /// An index as it is, where it is there; an error where it is another's.
    fn find(&mut self, wanted: &NvPublic) -> Result<Option<NvPublic>, TpmError> {
        let index = wanted.index();
        match self.tpm.nv_public(index)? {
            Some(found) if !found.is_like(wanted) => Err(TpmError::Taken { index }),
            found => Ok(found),
        }
    }

    /// Makes an index where it is not there. Returns whether it was ever written.
    fn make(&mut self, wanted: &NvPublic) -> Result<bool, TpmError> {
        match self.find(wanted)? {
            Some(found) => Ok(found.is_written()),
            None => self.tpm.nv_define(wanted).map(|()| false),
        }
    }
}

impl FloorCounter for TpmCounter {
    fn held(&mut self) -> Result<Held, TpmError> {
        let is_written = |found: Option<NvPublic>| found.is_some_and(|it| it.is_written());
        let mut held = Held::default();
        if is_written(self.find(&COUNTER)?) {
            held.count = Some(self.tpm.nv_count(COUNTER.index())?);
        }
        if is_written(self.find(&KEY)?) {
            held.key = Some(self.tpm.nv_read(KEY.index())?);
        }
        Ok(held)
    }

    fn prepare(&mut self) -> Result<u64, TpmError> {
        if self.make(&COUNTER)? {
            self.tpm.nv_count(COUNTER.index())
        } else {
            self.increment()
        }
    }

    fn arm(&mut self, key: &Key) -> Result<(), TpmError> {
        self.make(&KEY)?;
        self.tpm.nv_write(KEY.index(), key)
    }

    fn increment(&mut self) -> Result<u64, TpmError> {
        self.tpm.nv_increment(COUNTER.index())?;
        self.tpm.nv_count(COUNTER.index())
    }
}
