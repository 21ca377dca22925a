//! Where the version floor is kept: in a file on COS_STATE, for which a TPM vouches where there is one.
//!
//! Who can write the disk can put an older file back, remove it or write another. So the TPM holds two
//! things: a counter that only goes up, and a key. The file has a number and a code over version and number
//! by that key. A floor counts where the code is right and the number is the counter's; or the next one,
//! which is how a power cut leaves it between the file and the counter.
//!
//! | step of a change | a cut behind it leaves |
//! |---|---|
//! | the counter is made, where there is none | a TPM that vouches for nothing: the file counts as it is |
//! | the file is written | the new floor, as far as the TPM vouches for anything |
//! | the key is put into the TPM, where there is none | the new floor |
//! | else: the counter counts on | the new floor; the old file is one that was set back |
//!
//! Only the two together vouch, so the key's is the one moment from which on they do. (Where somebody removed
//! the counter and left the key, a cut between counter and file needs `--allow-downgrade`.) A TPM that holds
//! nothing, because somebody cleared it, has the file believed: who can clear it can read the key, too.

use super::tpm_counter::TpmCounter;
use crate::error::ErrorKind;
use cos_store::{FloorSeal, Store, StoreError, VersionFloor};
use cos_tpm::TpmError;
use ring::hmac;
use std::fmt;
use std::path::Path;

/// Keys and codes are as long, bytes.
pub(super) const KEY_SIZE: usize = 32;
/// What codes are made over begins with it: this key is used for nothing else.
const CONTEXT: &[u8] = b"cos version floor 1\n";

/// A secret of the TPM.
pub(super) type Key = [u8; KEY_SIZE];

/// What a TPM holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// What its counter says, where it ever counted.
    pub(super) count: Option<u64>,
    /// The key, where there is one.
    pub(super) key: Option<Key>,
}

impl Held {
    /// Both, without which nothing is vouched for.
    fn armed(&self) -> Option<(u64, Key)> {
        self.count.zip(self.key)
    }

    /// A floor for which it vouches, where it vouches for any. Others are not outdated.
    pub(super) fn in_step(&self, version: Option<&str>) -> VersionFloor {
        match self.armed() {
            Some((counted, key)) => sealed(version, counted, &key),
            None => VersionFloor::plain(version),
        }
    }
}

/// What vouches for floors: a TPM; a made-up one in tests.
pub(super) trait FloorCounter {
    /// What it holds.
    fn held(&mut self) -> Result<Held, TpmError>;
    /// Makes the counter where there is none, and has it count once where it never did. Returns its value.
    fn prepare(&mut self) -> Result<u64, TpmError>;
    /// Puts a key where there is none.
    fn arm(&mut self, key: &Key) -> Result<(), TpmError>;
    /// Counts on. Returns the value.
    fn increment(&mut self) -> Result<u64, TpmError>;
}

/// Why a version floor cannot be believed, or not be kept.
#[derive(Debug, thiserror::Error)]
pub enum FloorError {
    /// It is not the one that the TPM vouches for.
    #[error("the version floor of this machine was set back: {0}")]
    SetBack(SetBack),
    /// It says that a TPM vouches for it, and there is none to be asked.
    #[error(
        "the version floor of this machine was kept with a TPM, which is not there to vouch for it"
    )]
    Unproven(#[source] Option<TpmError>),
    /// The TPM cannot vouch for it.
    #[error("the TPM does not vouch for the version floor")]
    Unsealed(#[source] TpmError),
    /// No key can be made.
    #[error("cannot make a key for the TPM")]
    Random(#[source] getrandom::Error),
    /// The file.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How a floor shows that it is not the one that was written last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetBack {
    /// There is none.
    Gone,
    /// It was not written by this machine, or by nobody who knows the key.
    Foreign,
    /// It is of another time.
    Other {
        /// Its number.
        count: u64,
        /// What the counter says.
        counted: u64,
    },
}

impl fmt::Display for SetBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("its file is gone, and the TPM knows that there was one"),
            Self::Foreign => f.write_str("its file is not one that the TPM vouches for"),
            Self::Other { count, counted } => {
                write!(
                    f,
                    "its file is number {count}, and the TPM has counted {counted}"
                )
            }
        }
    }
}

impl FloorError {
    /// Whose fault it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::SetBack(_) | Self::Unproven(_) => ErrorKind::Refused,
            Self::Unsealed(_) | Self::Random(_) | Self::Store(_) => ErrorKind::Host,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::SetBack(_) | Self::Unproven(_) => Some(
                "where that was meant (a disk that was written anew, a new mainboard), --allow-downgrade writes a \
                 new floor; where it was not, somebody else wrote to the disk"
                    .to_owned(),
            ),
            Self::Unsealed(source) => source.hint(),
            Self::Random(_) | Self::Store(_) => None,
        }
    }
}

/// What is known of the floor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The file says it, and nobody vouches for it.
    Plain(Option<String>),
    /// The TPM vouches for it.
    Sealed {
        /// The floor.
        version: Option<String>,
        /// Whether the counter still has to count on.
        pending: bool,
    },
    /// It is another than was written last.
    SetBack(SetBack),
    /// It needs somebody to vouch for it, who is not there.
    Unproven,
}

/// What the TPM at `tpm` holds, if there is one that can be asked.
fn held(tpm: &Path) -> Held {
    let counter = TpmCounter::open(tpm).ok().flatten();
    let held = counter.and_then(|mut counter| counter.held().ok());
    held.unwrap_or_default()
}

/// Whether the TPM at `tpm` vouches for floors.
pub(crate) fn vouches(tpm: &Path) -> bool {
    held(tpm).armed().is_some()
}

/// A floor for a store that is made anew, for which the TPM at `tpm` vouches if it does for any.
pub(crate) fn in_step(tpm: &Path, version: Option<&str>) -> VersionFloor {
    held(tpm).in_step(version)
}

/// The floor of a store, with what vouches for it.
pub(crate) struct FloorKeeper<'k> {
    store: &'k Store,
    counter: Option<Box<dyn FloorCounter + 'k>>,
    held: Held,
    trouble: Option<TpmError>,
}

impl<'k> FloorKeeper<'k> {
    /// The floor of `store`, on a machine whose TPM is at `tpm` if it has one.
    pub(crate) fn open(store: &'k Store, tpm: &Path) -> Self {
        let counter = TpmCounter::open(tpm);
        Self::with(store, counter.map(|it| it.map(|it| Box::new(it) as Box<_>)))
    }

    pub(super) fn with(
        store: &'k Store,
        counter: Result<Option<Box<dyn FloorCounter + 'k>>, TpmError>,
    ) -> Self {
        let asked = counter.and_then(|mut counter| {
            let held = counter.as_mut().map(|it| it.held()).transpose()?;
            Ok((counter, held.unwrap_or_default()))
        });
        let (counter, held, trouble) = match asked {
            Ok((counter, held)) => (counter, held, None),
            Err(error) => (None, Held::default(), Some(error)),
        };
        Self {
            store,
            counter,
            held,
            trouble,
        }
    }

    /// Why the TPM cannot be asked, where there is one.
    pub(crate) fn trouble(&self) -> Option<&TpmError> {
        self.trouble.as_ref()
    }

    /// Whether the TPM vouches for floors.
    pub(crate) fn is_armed(&self) -> bool {
        self.held.armed().is_some()
    }

    /// Looks at the floor. Changes nothing.
    pub(crate) fn standing(&self) -> Result<Standing, StoreError> {
        let floor = self.store.floor()?;
        let Some((counted, key)) = self.held.armed() else {
            let floor = floor.unwrap_or(VersionFloor::plain(None));
            let is_bound = floor.seal.is_some() && floor.version.is_some();
            return Ok(match self.counter {
                None if is_bound => Standing::Unproven,
                _ => Standing::Plain(floor.version),
            });
        };
        let Some(floor) = floor else {
            return Ok(Standing::SetBack(SetBack::Gone));
        };
        let Some(seal) = floor.seal.filter(|seal| is_genuine(&floor, seal, &key)) else {
            return Ok(Standing::SetBack(SetBack::Foreign));
        };
        let ahead = seal.count.checked_sub(counted);
        Ok(match ahead {
            Some(0 | 1) => Standing::Sealed {
                version: floor.version,
                pending: ahead == Some(1),
            },
            _ => Standing::SetBack(SetBack::Other {
                count: seal.count,
                counted,
            }),
        })
    }

    /// The floor, where it can be believed.
    pub(crate) fn believed(&mut self) -> Result<Option<String>, FloorError> {
        match self.standing()? {
            Standing::Plain(version) | Standing::Sealed { version, .. } => Ok(version),
            Standing::SetBack(how) => Err(FloorError::SetBack(how)),
            Standing::Unproven => Err(FloorError::Unproven(self.trouble.take())),
        }
    }

    /// Sets the floor, from which moment on all earlier ones are such as were set back. Where the TPM fails
    /// that never vouched before, the floor is in the file all the same.
    pub(crate) fn set(&mut self, version: Option<&str>) -> Result<(), FloorError> {
        match self.held.armed() {
            Some((counted, key)) => self.count_on(version, counted, &key),
            None => self.arm(version),
        }
    }

    /// Notes that there is no floor yet, in step with the TPM.
    pub(crate) fn renew(&mut self) -> Result<(), FloorError> {
        Ok(self.store.set_floor(&self.held.in_step(None))?)
    }

    /// Completes what was cut off, and has the TPM vouch for a floor for which nobody does yet.
    pub(crate) fn settle(&mut self) -> Result<(), FloorError> {
        match self.standing()? {
            Standing::Sealed { pending: true, .. } => self.increment().map(drop),
            Standing::Plain(Some(version)) if self.counter.is_some() => self.arm(Some(&version)),
            _ => match self.trouble.take() {
                Some(trouble) => Err(FloorError::Unsealed(trouble)),
                None => Ok(()),
            },
        }
    }

    fn increment(&mut self) -> Result<Option<u64>, FloorError> {
        let counted = self.counter.as_mut().map(|it| it.increment()).transpose();
        let counted = counted.map_err(FloorError::Unsealed)?;
        self.held.count = counted.or(self.held.count);
        Ok(counted)
    }

    fn count_on(
        &mut self,
        version: Option<&str>,
        counted: u64,
        key: &Key,
    ) -> Result<(), FloorError> {
        let is_pending = matches!(self.standing(), Ok(Standing::Sealed { pending: true, .. }));
        // Or there would be two files with the next number.
        let completed = if is_pending { self.increment()? } else { None };
        let counted = completed.unwrap_or(counted);
        self.store.set_floor(&sealed(version, counted + 1, key))?;
        match self.increment()? {
            Some(reached) if reached != counted + 1 => {
                // Somebody else counted on, who must not lock this machine out.
                Ok(self.store.set_floor(&sealed(version, reached, key))?)
            }
            _ => Ok(()),
        }
    }

    fn arm(&mut self, version: Option<&str>) -> Result<(), FloorError> {
        let Some(counter) = self.counter.as_mut() else {
            self.store.set_floor(&VersionFloor::plain(version))?;
            return match self.trouble.take() {
                Some(trouble) => Err(FloorError::Unsealed(trouble)),
                None => Ok(()),
            };
        };
        let count = match counter.prepare() {
            Ok(count) => count,
            Err(error) => {
                self.store.set_floor(&VersionFloor::plain(version))?;
                return Err(FloorError::Unsealed(error));
            }
        };
        let mut key = self.held.key.unwrap_or_default();
        if self.held.key.is_none() {
            getrandom::fill(&mut key).map_err(FloorError::Random)?;
        }
        self.store.set_floor(&sealed(version, count, &key))?;
        if self.held.key.is_none() {
            counter.arm(&key).map_err(FloorError::Unsealed)?;
        }
        self.held = Held {
            count: Some(count),
            key: Some(key),
        };
        Ok(())
    }
}

/// A floor with the TPM's word for it.
fn sealed(version: Option<&str>, count: u64, key: &Key) -> VersionFloor {
    let mut floor = VersionFloor::plain(version);
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let tag = hmac::sign(&key, &message(&floor, count));
    let mut code = [0; KEY_SIZE];
    code.copy_from_slice(tag.as_ref());
    floor.seal = Some(FloorSeal { count, code });
    floor
}

fn is_genuine(floor: &VersionFloor, seal: &FloorSeal, key: &Key) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::verify(&key, &message(floor, seal.count), &seal.code).is_ok()
}

fn message(floor: &VersionFloor, count: u64) -> Vec<u8> {
    let mut message = CONTEXT.to_vec();
    message.extend(count.to_be_bytes());
    // One byte tells no version from a version that is empty.
    message.push(floor.version.is_some().into());
    message.extend(floor.version.iter().flat_map(|version| version.bytes()));
    message
}

#[cfg(test)]
mod tests;
