//! What can go wrong.

use crate::certificate::time_trouble;
use crate::url::redact;
use cos_events::Cancelled;
use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use ureq::http::Uri;

/// Why a request, or the making of a client, failed. URLs are shown without what may be secret.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// A file of certificate authorities could not be used.
    #[error("cannot use the certificate authorities in {}", .path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A proxy's URL could not be used. It may hold a password, so it is not shown.
    #[error("cannot use the {scheme} proxy")]
    Proxy {
        /// Which proxy: `http` or `https`.
        scheme: &'static str,
        /// Why.
        source: Box<ureq::Error>,
    },
    /// The URL is none that can be asked.
    #[error("cannot use the URL {url}: {reason}")]
    BadUrl {
        /// The URL.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No answer came.
    #[error("no answer from {url}")]
    Request {
        /// The URL.
        url: String,
        /// Why.
        source: Box<ureq::Error>,
    },
    /// The answer broke off.
    #[error("the answer from {url} broke off")]
    Transfer {
        /// The URL.
        url: String,
        /// Why.
        source: io::Error,
    },
    /// The time was up.
    #[error("no complete answer from {url} in the time allowed")]
    Deadline {
        /// The URL.
        url: String,
    },
    /// The server answered with something else than success.
    #[error("{url} answered with status {status}{}", detail(.message.as_ref()))]
    Status {
        /// The URL.
        url: String,
        /// The status.
        status: u16,
        /// The first line of what it had to say.
        message: Option<String>,
        /// When it wants to be asked again (`Retry-After`, in seconds).
        retry_after: Option<Duration>,
    },
    /// A redirect is not followed.
    #[error("cannot follow the redirect of {url}: {reason}")]
    Redirect {
        /// The URL that redirects.
        url: String,
        /// Why not.
        reason: &'static str,
    },
    /// The answer is larger than allowed.
    #[error("the answer from {url} is larger than the limit of {limit} bytes")]
    TooLarge {
        /// The URL.
        url: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// A download cannot be taken up where it was left.
    #[error("cannot resume the download of {url} at byte {offset}: {reason}")]
    Resume {
        /// The URL.
        url: String,
        /// Where it was to be taken up.
        offset: u64,
        /// Why not.
        reason: &'static str,
    },
    /// What was downloaded could not be put down.
    #[error("cannot write what was downloaded from {url}")]
    Write {
        /// The URL.
        url: String,
        /// Why.
        source: io::Error,
    },
    /// The request was stopped.
    #[error("the request was cancelled")]
    Cancelled(#[from] Cancelled),
}

fn detail(message: Option<&String>) -> String {
    message.map_or_else(String::new, |message| format!(": {message}"))
}

impl HttpError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Request { source, .. } if time_trouble(source).is_some() => time_trouble(source),
            Self::Request { source, .. } if is_certificate_error(source) => Some(
                "check the machine's clock; a server with a private certificate authority needs \
                 that authority's certificate among the CA files"
                    .into(),
            ),
            Self::Resume { .. } => Some("download it again from the start".into()),
            _ => None,
        }
    }

    /// The status of the answer, when the server gave one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    pub(crate) fn request(uri: &Uri, source: ureq::Error) -> Self {
        let url = redact(&uri.to_string());
        match source {
            ureq::Error::Timeout(ureq::Timeout::Global) => Self::Deadline { url },
            source => Self::Request {
                url,
                source: Box::new(source),
            },
        }
    }

    pub(crate) fn transfer(url: &str, source: io::Error) -> Self {
        let url = redact(url);
        let inner = source.get_ref().and_then(|inner| inner.downcast_ref());
        match inner {
            Some(ureq::Error::Timeout(ureq::Timeout::Global)) => Self::Deadline { url },
            _ => Self::Transfer { url, source },
        }
    }

    /// Whether the same request may succeed a moment later. `sent_once` is for requests that must
    /// not be acted on twice.
    pub(crate) fn is_transient(&self, sent_once: bool) -> bool {
        match self {
            Self::Status { status, .. } if sent_once => matches!(status, 429 | 503),
            Self::Status { status, .. } => match status {
                501 | 505 => false,
                status => matches!(status, 408 | 429 | 500..=599),
            },
            Self::Transfer { .. } => !sent_once,
            Self::Request { source, .. } => match &**source {
                ureq::Error::HostNotFound
                | ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => true,
                ureq::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => true,
                ureq::Error::Io(_) => !sent_once && !is_certificate_error(source),
                ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed => !sent_once,
                _ => false,
            },
            _ => false,
        }
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// rustls reports a refused certificate as invalid data.
fn is_certificate_error(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(error) => error.kind() == io::ErrorKind::InvalidData,
        ureq::Error::Rustls(_) | ureq::Error::Tls(_) => true,
        _ => false,
    }
}
