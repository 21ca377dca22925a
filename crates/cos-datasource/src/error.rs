//! What providers say instead of user-data.

use crate::media::MediaError;
use crate::provider::Provider;
use cos_events::Cancelled;
use cos_http::HttpError;
use cos_sys::root_path::RootPathError;
use cos_sys::tool::ToolError;
use std::error::Error;
use std::fmt::Write as _;
use std::io;

/// Why one provider gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It is not there, or nothing is set up.
    #[error("not here: {0}")]
    Absent(String),
    /// It is there, and has nothing to say.
    #[error("it knows nothing of this machine")]
    Nothing,
    /// The firmware says that the machine is something else, so it was not asked.
    #[error("not asked: this machine is one of {0}")]
    Elsewhere(Provider),
    /// Something answered that is not this provider.
    #[error("what answers there is something else: {0}")]
    Impostor(String),
    /// It could not be asked.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// It could not be asked over a connection of its own making.
    #[error("no answer from {url}")]
    Connection {
        /// The URL.
        url: String,
        /// Why.
        source: io::Error,
    },
    /// It answered with something else than success over such a connection.
    #[error("{url} answered with status {status}")]
    Status {
        /// The URL.
        url: String,
        /// The status.
        status: u16,
    },
    /// A document is not what it should be.
    #[error("cannot understand {what}")]
    Document {
        /// Which document.
        what: String,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A document's encoding is broken.
    #[error("cannot decode the {what} of a document")]
    Encoding {
        /// Which encoding: `base64`, `gzip`.
        what: &'static str,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A document is too large.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// Which document.
        what: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// A medium could not be read.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// A file could not be read.
    #[error(transparent)]
    File(#[from] RootPathError),
    /// A program could not be run.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// It was still at it when the time was up.
    #[error("no answer in the time allowed")]
    Late,
    /// The thread that was to ask could not be started, or went away.
    #[error("cannot ask it in the background")]
    Thread {
        /// Why, when the system said so.
        source: Option<io::Error>,
    },
}

impl From<Cancelled> for Refusal {
    fn from(cancelled: Cancelled) -> Self {
        Self::Http(cancelled.into())
    }
}

impl Refusal {
    /// It and its causes in one line.
    pub fn line(&self) -> String {
        let mut line = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !line.ends_with(&text) {
                line.push_str(": ");
                line.push_str(&text);
            }
            cause = error.source();
        }
        let clean = line.chars().filter(|c| !c.is_control());
        clean.take(500).collect()
    }
}

/// What a provider said.
#[derive(Debug)]
pub struct Said {
    /// Who.
    pub provider: Provider,
    /// What.
    pub refusal: Refusal,
}

/// Why there is no user-data.
#[derive(Debug, thiserror::Error)]
pub enum DatasourceError {
    /// No provider was named.
    #[error("no datasource is named")]
    NoProviders,
    /// None of the providers has any.
    #[error("no user-data was found{}", lines(.said))]
    NoneFound {
        /// What each said.
        said: Vec<Said>,
    },
    /// The search was stopped.
    #[error("the search for user-data was cancelled")]
    Cancelled(#[from] Cancelled),
}

fn lines(said: &[Said]) -> String {
    let mut out = String::new();
    for Said { provider, refusal } in said {
        // Writing to a string cannot fail.
        write!(out, "\n  {provider}: {}", refusal.line()).unwrap_or_default();
    }
    out
}

impl DatasourceError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoneFound { said } => {
                let late = |said: &Said| matches!(said.refusal, Refusal::Late);
                said.iter().any(late).then(|| {
                    "name only the datasource of the machine's own cloud, and run it when the \
                     network is up"
                        .into()
                })
            }
            Self::NoProviders | Self::Cancelled(_) => None,
        }
    }
}
