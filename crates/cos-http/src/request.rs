//! One question and its answer.

use cos_events::{Monitor, Silent};
use std::fmt;
use std::time::{Duration, Instant};

/// What is done with the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Writes; the same twice does no harm, so it is retried like a read.
    Put,
    /// Hands something over; retried only when the server cannot have acted on it.
    Post,
}

/// How long a request takes at most unless it says otherwise.
const DEFAULT_DEADLINE: Duration = Duration::from_mins(1);
/// How large an answer may be unless the request says otherwise, in bytes.
const DEFAULT_MAX_BYTES: u64 = 16 << 20;

/// One request, with all its limits. Made by [`Request::get`] and its like, then changed field by
/// field.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// What is done.
    pub method: Method,
    /// Where: `http` or `https`.
    pub url: &'a str,
    /// Header fields, besides those that HTTP itself needs.
    pub headers: &'a [(&'a str, &'a str)],
    /// What is sent along; not with [`Method::Get`].
    pub body: &'a [u8],
    /// When everything has to be over: name resolution, redirects, retries and the last byte.
    pub deadline: Instant,
    /// How often it is asked again after a failure that may pass: no connection, an answer that
    /// broke off, 408, 429, 5xx.
    pub retries: u32,
    /// The largest answer taken, in bytes.
    pub max_bytes: u64,
    /// Whether redirects are followed: never from `https` to `http`, and to another origin without
    /// the request's own headers. Only reads are redirected. When `false` a redirect is an error
    /// like any status that is not 2xx.
    pub follow_redirects: bool,
    /// Whether proxies are passed by: for addresses that only this machine can reach, such as the
    /// metadata services of clouds.
    pub direct: bool,
    /// Who may stop it. Asked between attempts, while pausing and while the answer comes in; a
    /// server that is silent is waited for up to the timeouts.
    pub monitor: &'a dyn Monitor,
}

impl<'a> Request<'a> {
    /// A read with the defaults: a minute, 16 MiB, three retries, redirects followed.
    pub fn get(url: &'a str) -> Self {
        Self {
            method: Method::Get,
            url,
            headers: &[],
            body: &[],
            deadline: Instant::now() + DEFAULT_DEADLINE,
            retries: 3,
            max_bytes: DEFAULT_MAX_BYTES,
            follow_redirects: true,
            direct: false,
            monitor: &Silent,
        }
    }

    /// A write with the defaults.
    pub fn put(url: &'a str, body: &'a [u8]) -> Self {
        let method = Method::Put;
        Self {
            method,
            body,
            ..Self::get(url)
        }
    }

    /// A handing over with the defaults.
    pub fn post(url: &'a str, body: &'a [u8]) -> Self {
        let method = Method::Post;
        Self {
            method,
            body,
            ..Self::get(url)
        }
    }

    /// The same request, to be over that much time from now.
    #[must_use]
    pub fn within(self, time: Duration) -> Self {
        let now = Instant::now();
        let deadline = now.checked_add(time).unwrap_or(now + DEFAULT_DEADLINE);
        Self { deadline, ..self }
    }

    pub(crate) fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

impl fmt::Debug for Request<'_> {
    /// Without headers and body, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("url", &crate::redact(self.url))
            .finish_non_exhaustive()
    }
}

/// An answer with a status of 2xx.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Status.
    pub status: u16,
    /// Header fields, names in lower case, values as text where they are text.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Response {
    /// The first value of a header field, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }
}

pub(crate) fn header<'h>(headers: &'h [(String, String)], name: &str) -> Option<&'h str> {
    let mut fields = headers.iter();
    fields
        .find(|(field, _)| field.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}
