//! The last answer, kept for boots at which nobody answers.
//!
//! A metadata service may be away, and a seed CD is often detached after the first boot. What was
//! read last is kept with the identity of the machine it was for (the firmware's UUID and serial
//! number). It is used only when no provider answers, and only on the same machine: a disk that was
//! copied or moved does not bring its old user-data along. Every good answer replaces it, so that a
//! new instance id is a new instance.

use crate::dmi::Dmi;
use crate::error::DatasourceError;
use crate::fetch::{Machine, Request, fetch};
use crate::user_data::UserData;
use cos_events::{Monitor, warn};
use cos_http::HttpClient;
use cos_sys::root_file::Metadata;
use cos_sys::root_path::{Root, RootPathError};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The file's name in the caller's directory.
const FILE: &str = "user-data.json";
/// Its largest size in bytes: three documents in base64, and the rest.
const LIMIT: u64 = 64 << 20;

/// Why the cache could not be used.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The file could not be read or written.
    #[error("cannot use the cached user-data")]
    File {
        /// Why.
        #[from]
        source: RootPathError,
    },
    /// What is in the file is not what was written.
    #[error("the cached user-data in {} is damaged", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

impl CacheError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Damaged { .. } => Some("remove the file; it is written again".into()),
            Self::File { source } => source.hint(),
        }
    }
}

/// Where the last answer is kept: `user-data.json` (mode 0600) in a directory.
#[derive(Debug, Clone)]
pub struct Cache {
    directory: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    /// Of the machine it was read on.
    machine: Option<String>,
    data: UserData,
}

impl Cache {
    /// Keeps it in `directory`, which is made when needed.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        let directory = directory.into();
        Self { directory }
    }

    /// What was kept for this machine; `None` when nothing was, or it was another machine, or the
    /// firmware does not say which machine this is.
    pub fn load(&self, dmi: &Dmi) -> Result<Option<UserData>, CacheError> {
        let Some(machine) = dmi.identity() else {
            return Ok(None);
        };
        let entry = self.entry()?;
        Ok(entry
            .filter(|entry| entry.machine.as_ref() == Some(&machine))
            .map(|entry| entry.data))
    }

    fn entry(&self) -> Result<Option<Entry>, CacheError> {
        if !self.directory.exists() {
            return Ok(None);
        }
        let root = Root::open(&self.directory)?;
        let Some(bytes) = root.read(Path::new(FILE), LIMIT)? else {
            return Ok(None);
        };
        let entry = serde_json::from_slice(&bytes).map_err(|source| CacheError::Damaged {
            path: self.directory.join(FILE),
            source,
        })?;
        Ok(Some(entry))
    }

    /// Keeps an answer in place of the last one.
    pub fn store(&self, data: &UserData, dmi: &Dmi) -> Result<(), CacheError> {
        let path = self.directory.join(FILE);
        let entry = Entry {
            machine: dmi.identity(),
            data: data.clone(),
        };
        let bytes =
            serde_json::to_vec(&entry).map_err(|source| CacheError::Damaged { path, source })?;
        let everything = Root::open(Path::new("/"))?;
        let directory = everything.make_directory(&self.directory)?;
        let secret = Metadata {
            mode: Some(0o600),
            ..Metadata::default()
        };
        Root::open(&directory)?.write(Path::new(FILE), &bytes, &secret)?;
        Ok(())
    }

    /// Forgets it.
    pub fn clear(&self) -> Result<(), CacheError> {
        if self.directory.exists() {
            Root::open(&self.directory)?.remove(Path::new(FILE))?;
        }
        Ok(())
    }
}

/// An answer, and what it means against the last one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cached {
    /// The answer.
    pub data: UserData,
    /// Whether nobody answered and it is the last one.
    pub from_cache: bool,
    /// Whether this is another instance than last time: the first boot, another id, provider or
    /// machine, or a provider that gives no id.
    pub new_instance: bool,
}

/// Like [`fetch`], but keeps the answer, and falls back on the last one when nobody has any.
///
/// A cache that cannot be read or written is warned of and otherwise as if it were empty.
pub fn fetch_cached(
    request: &Request<'_>,
    machine: &Machine<'_>,
    http: &HttpClient,
    cache: &Cache,
    monitor: &dyn Monitor,
) -> Result<Cached, DatasourceError> {
    let last = cache.load(machine.dmi).unwrap_or_else(|error| {
        warn(monitor, line(&error));
        None
    });
    match fetch(request, machine, http, monitor) {
        Ok(data) => {
            if let Err(error) = cache.store(&data, machine.dmi) {
                warn(monitor, line(&error));
            }
            let new_instance = last.is_none_or(|last| {
                let same = (last.provider, &last.instance_id) == (data.provider, &data.instance_id);
                last.instance_id.is_none() || !same
            });
            Ok(Cached {
                data,
                from_cache: false,
                new_instance,
            })
        }
        Err(error @ DatasourceError::NoneFound { .. }) => match asked(last, request) {
            Some(data) => {
                let provider = data.provider;
                warn(
                    monitor,
                    format!("{error}\nthe user-data that {provider} gave before is used"),
                );
                Ok(Cached {
                    data,
                    from_cache: true,
                    new_instance: false,
                })
            }
            None => Err(error),
        },
        Err(error) => Err(error),
    }
}

/// The last answer, if its provider is still one that is asked.
fn asked(last: Option<UserData>, request: &Request<'_>) -> Option<UserData> {
    last.filter(|last| request.providers.contains(&last.provider))
}

fn line(error: &CacheError) -> String {
    let cause = std::error::Error::source(error);
    cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}
